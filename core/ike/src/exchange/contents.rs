//! The payloads of a message, sorted by what they are.

use vipsec_crypto::certificate::CHAIN_MAX;
use vipsec_wire::ike::{
    Auth, Configuration, Delete, Identity, KeyExchange, Notify, NotifyType, Payload,
    PuzzleSolution, SecurityAssociation, Side, TrafficSelector,
};

/// The payloads of one message; of those that may stand only once, the first.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) security_association: Option<SecurityAssociation>,
    pub(crate) key_exchange: Option<KeyExchange>,
    pub(crate) nonce: Option<Vec<u8>>,
    pub(crate) initiator_identity: Option<Identity>,
    pub(crate) responder_identity: Option<Identity>,
    pub(crate) auth: Option<Auth>,
    /// Bodies of the CERT payloads.
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) eap: Option<Vec<u8>>,
    pub(crate) configuration: Option<Configuration>,
    pub(crate) initiator_selectors: Vec<TrafficSelector>,
    pub(crate) responder_selectors: Vec<TrafficSelector>,
    pub(crate) puzzle_solution: Option<PuzzleSolution>,
    pub(crate) notifies: Vec<Notify>,
    pub(crate) deletes: Vec<Delete>,
}

fn first<T>(place: &mut Option<T>, value: T) {
    if place.is_none() {
        *place = Some(value);
    }
}

impl Contents {
    /// Sorts the payloads.
    //= RFC 7296 section 2.5 #13: in whatever order they stand
    pub(crate) fn sort(payloads: Vec<Payload>) -> Contents {
        let mut contents = Contents::default();
        for payload in payloads {
            contents.add(payload);
        }
        contents
    }

    fn add(&mut self, payload: Payload) {
        match payload {
            Payload::SecurityAssociation(sa) => first(&mut self.security_association, sa),
            Payload::KeyExchange(exchange) => first(&mut self.key_exchange, exchange),
            Payload::Nonce(nonce) => first(&mut self.nonce, nonce.0),
            Payload::Identification(id) => match id.side {
                Side::Initiator => first(&mut self.initiator_identity, id.identity),
                Side::Responder => first(&mut self.responder_identity, id.identity),
            },
            Payload::Auth(auth) => first(&mut self.auth, auth),
            Payload::Eap(packet) => first(&mut self.eap, packet),
            Payload::Configuration(cp) => first(&mut self.configuration, cp),
            Payload::TrafficSelectors(selectors) => match selectors.side {
                Side::Initiator if self.initiator_selectors.is_empty() => {
                    self.initiator_selectors = selectors.selectors;
                }
                Side::Responder if self.responder_selectors.is_empty() => {
                    self.responder_selectors = selectors.selectors;
                }
                Side::Initiator | Side::Responder => {}
            },
            Payload::PuzzleSolution(keys) => first(&mut self.puzzle_solution, keys),
            Payload::Notify(notify) => self.notifies.push(notify),
            Payload::Delete(delete) => self.deletes.push(delete),
            Payload::Certificate(body) if self.certificates.len() < CHAIN_MAX => {
                self.certificates.push(body);
            }
            //= RFC 7296 section 3.12 #1: no Vendor ID changes anything
            //= RFC 7296 section 3.12 #2: they are all ignored
            Payload::Certificate(_) | Payload::CertificateRequest(_) | Payload::Vendor(_) => {}
        }
    }

    /// The notification of a type.
    //= RFC 7296 section 3.10.1 #2: of a request nothing is looked at that is not known
    //= RFC 7296 section 3.10.1 #3: nor of any other message
    pub(crate) fn notify(&self, kind: NotifyType) -> Option<&Notify> {
        self.notifies.iter().find(|notify| notify.kind == kind)
    }

    /// Whether there is a notification of a type.
    pub(crate) fn has(&self, kind: NotifyType) -> bool {
        self.notify(kind).is_some()
    }

    /// The first error notification.
    pub(crate) fn error(&self) -> Option<&Notify> {
        self.notifies.iter().find(|notify| notify.kind.is_error())
    }
}

/// A notification without data.
pub(crate) fn notify(kind: NotifyType) -> Payload {
    Payload::Notify(Notify::new(kind, Vec::new()))
}
