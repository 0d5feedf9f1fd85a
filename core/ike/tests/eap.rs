//! EAP-MSCHAPv2 (RFC 7296 section 2.16) with a gateway's engine. The peer is put together here from the
//! IKE_SA_INIT exchange of the other engine, which knows no EAP.

#![allow(clippy::unwrap_used)]

mod world;

use vipsec_crypto::aead::{AeadAlgorithm, AeadKey};
use vipsec_crypto::certificate::Authorities;
use vipsec_crypto::mschapv2::{Exchange, PasswordHash};
use vipsec_crypto::prf::PrfAlgorithm;
use vipsec_crypto::signature::SigningKey;
use vipsec_ike::{Authentication, Certificates, CloseReason, Config, Eap, Event};
use vipsec_wire::ike::message::{emit_chain, emit_encrypted_header, parse_chain};
use vipsec_wire::ike::{
    Auth, AuthMethod, EapCode, EapPacket, ExchangeType, Header, Identity, Message, MsChapV2,
    NotifyType, Payload, eap_type,
};
use vipsec_wire::record;
use vipsec_wire::record::v1::{HalfOpenInitiator, Mirrored};
use vipsec_wire::secret::SecretBytes;
use world::site::Fate;
use world::{Packet, Side, World, config};

fn certificate() -> Certificates {
    let key = SigningKey::from_der(include_bytes!("certificates/p256.key")).unwrap();
    let chain = vec![include_bytes!("certificates/p256.der").to_vec()];
    let nobody = Authorities::new(&[], &[]).unwrap();
    Certificates::new(chain, key, nobody).unwrap()
}

fn gateway() -> Config {
    let own = certificate();
    let users = vec![
        ("other".to_owned(), SecretBytes::from(&b"something else"[..])),
        ("alice@example.org".to_owned(), SecretBytes::from(&b"clientPass"[..])),
    ];
    let mut config = config(Side::Right);
    config.connections[0].remote_id = None;
    config.connections[0].authentication = Authentication::Eap(Box::new(Eap { own, users }));
    config
}

/// A peer that speaks EAP.
struct Peer {
    world: World,
    half: HalfOpenInitiator,
    template: Packet,
    next: u32,
    takes_over: bool,
}

impl Peer {
    /// The IKE_SA_INIT exchange is done.
    fn new(takes_over: bool) -> (Peer, Vec<Payload>) {
        // With a certificate it says that it verifies signatures.
        let mut left = config(Side::Left);
        left.connections[0].authentication = Authentication::Certificates(Box::new(certificate()));
        let mut world = World::with(left, gateway());
        world.begin();
        let template = world.lose(Side::Right);
        let (_, state) = world.left.engine.half_open().next().unwrap();
        let Ok(Mirrored::Initiator(half)) = record::decode(state.expose()) else {
            panic!("a half-open IKE SA that it has begun");
        };
        let peer = Peer { world, half: *half, template, next: 1, takes_over };
        let mut asked = peer.open(&peer.template.message, true);
        asked.retain(|payload| !matches!(payload, Payload::Auth(_) | Payload::Certificate(_)));
        (peer, asked)
    }

    fn key(&self, initiator: bool) -> AeadKey {
        let keys = &self.half.auth.as_ref().unwrap().keys;
        let key = if initiator { &keys.ei } else { &keys.er };
        let algorithm = match key.expose().len() {
            20 => AeadAlgorithm::Aes128Gcm16,
            _ => AeadAlgorithm::Aes256Gcm16,
        };
        AeadKey::new(algorithm, key.expose()).unwrap()
    }

    fn open(&self, message: &[u8], initiator: bool) -> Vec<Payload> {
        let encrypted = Message::parse(message).unwrap().encrypted.unwrap();
        let (head, body) = message.split_at(encrypted.body_at);
        let (iv, body) = body.split_first_chunk::<8>().unwrap();
        let (content, tag) = body.split_at(body.len() - 16);
        let mut content = content.to_vec();
        self.key(initiator).open(*iv, head, &mut content, tag).unwrap();
        let padding = usize::from(content.pop().unwrap());
        content.truncate(content.len() - padding);
        parse_chain(encrypted.first, &content).unwrap()
    }

    /// Sends a request and gives what it is answered with. A repetition has the same answer, and so
    /// it is from another owner.
    fn ask(&mut self, payloads: &[Payload]) -> Vec<Payload> {
        let header = Header {
            spis: self.half.auth.as_ref().unwrap().spis,
            exchange: ExchangeType::IkeAuth,
            from_initiator: true,
            response: false,
            higher_version: false,
            message_id: self.next,
        };
        let (first, mut content) = emit_chain(payloads);
        content.push(0);
        let iv = u64::from(self.next).to_be_bytes();
        let mut message = emit_encrypted_header(&header, first, None, 8 + content.len() + 16);
        let tag = self.key(true).seal(iv, &message, &mut content);
        message.extend([&iv[..], &content, &tag].concat());
        let packet = Packet { message, ..self.template.clone() };
        self.next += 1;
        self.world.arrive(&packet);
        self.world.outputs();
        let answer = self.world.lose(Side::Left);
        if self.takes_over {
            self.world.take_over(Side::Right, Fate::Written);
            self.world.outputs();
        }
        self.world.arrive(&packet);
        self.world.outputs();
        assert_eq!(self.world.lose(Side::Left).message, answer.message);
        self.open(&answer.message, false)
    }

    fn say(&mut self, request: &EapPacket, kind: u8, data: Vec<u8>) -> Vec<Payload> {
        let code = EapCode::Response;
        let said = EapPacket { code, identifier: request.identifier, method: Some((kind, data)) };
        self.ask(&[Payload::Eap(said.emit())])
    }

    /// What AUTH has to be over, by either side.
    fn auth(&self, msk: &[u8], initiator: bool, identity: &Identity) -> Vec<u8> {
        let auth = self.half.auth.as_ref().unwrap();
        let prf = PrfAlgorithm::HmacSha2_256;
        let (message, nonce, key) = match initiator {
            true => (&self.half.request, &auth.responder_nonce, &auth.keys.pi),
            false => (&auth.response, &self.half.nonce, &auth.keys.pr),
        };
        let identity = prf.prf(key.expose(), &[&identity.emit_body()]);
        prf.shared_key_auth(msk, &[message, nonce, identity.expose()]).expose().to_vec()
    }

    /// As far as the answer to the challenge.
    fn answer_challenge(&mut self, asked: &[Payload], user: &str, password: &str) -> Answered {
        let first = self.ask(asked);
        assert!(matches!(&first[0], Payload::Identification(_)));
        assert!(first.iter().any(|p| matches!(p, Payload::Certificate(_))));
        assert!(first.iter().any(|p| matches!(p, Payload::Auth(_))));
        let request = packet(&first);
        assert_eq!(request.method, Some((eap_type::IDENTITY, Vec::new())));
        let second = packet(&self.say(&request, eap_type::IDENTITY, user.as_bytes().to_vec()));
        let (_, data) = second.method.as_ref().unwrap();
        assert_eq!((data[0], data[4]), (1, 16));
        let challenge: [u8; 16] = data[5..21].try_into().unwrap();
        let user = user.as_bytes();
        let exchange = Exchange {
            authenticator_challenge: &challenge,
            peer_challenge: &[9; 16],
            user: user.rsplit(|octet| *octet == b'\\').next().unwrap(),
        };
        let hash = PasswordHash::new(password);
        let response = hash.response(exchange);
        let expected = format!("S={} M=OK", hash.authenticator_response(exchange, &response));
        let msk = hash.session_key(&response).expose().to_vec();
        let (id, name) = (data[1], user.to_vec());
        let said = MsChapV2::Response { id, challenge: [9; 16], response, name };
        let answer = self.say(&second, eap_type::MSCHAPV2, said.emit());
        Answered { answer, expected, msk }
    }
}

struct Answered {
    answer: Vec<Payload>,
    expected: String,
    msk: Vec<u8>,
}

fn packet(payloads: &[Payload]) -> EapPacket {
    let body = payloads.iter().find_map(|payload| match payload {
        Payload::Eap(body) => Some(body),
        _ => None,
    });
    EapPacket::parse(body.expect("an EAP payload")).unwrap()
}

fn identities(payloads: &[Payload]) -> Identity {
    let found = payloads.iter().find_map(|payload| match payload {
        Payload::Identification(id) => Some(id.identity.clone()),
        _ => None,
    });
    found.unwrap()
}

fn runs_through(takes_over: bool, user: &str) {
    let (mut peer, asked) = Peer::new(takes_over);
    let Answered { answer, expected, msk } = peer.answer_challenge(&asked, user, "clientPass");
    let third = packet(&answer);
    let (kind, data) = third.method.clone().unwrap();
    assert_eq!((kind, data[0], &data[4..]), (eap_type::MSCHAPV2, 3, expected.as_bytes()));
    let fourth = packet(&peer.say(&third, eap_type::MSCHAPV2, MsChapV2::Acknowledged.emit()));
    assert_eq!((fourth.code, fourth.method), (EapCode::Success, None));
    let data = peer.auth(&msk, true, &identities(&asked));
    let auth = Auth { method: AuthMethod::SharedKey, data };
    let last = peer.ask(&[Payload::Auth(auth)]);
    let local = peer.world.right.config.connections[0].local_id.clone().unwrap();
    let data = peer.auth(&msk, false, &local);
    assert!(last.contains(&Payload::Auth(Auth { method: AuthMethod::SharedKey, data })));
    assert!(last.iter().any(|payload| matches!(payload, Payload::SecurityAssociation(_))));
    let view = peer.world.right.engine.ike_sas().next().unwrap();
    // Not what the IDi payload claims.
    assert_eq!(view.remote_identity, Identity::Email("alice@example.org".into()));
    assert_eq!(peer.world.right.engine.children().count(), 1);
}

#[test]
fn a_password_opens_a_tunnel() {
    runs_through(false, "alice@example.org");
    runs_through(false, "DOMAIN\\alice@example.org");
}

#[test]
fn another_owner_goes_on_at_every_step() {
    runs_through(true, "alice@example.org");
}

/// The answer to a failure is authenticated, and the half-open IKE SA leads nowhere any more.
fn is_refused(mut peer: Peer, answer: &[Payload]) {
    assert_eq!(packet(answer).code, EapCode::Failure);
    let failed = |payload: &Payload| matches!(payload, Payload::Notify(n) if n.kind == NotifyType::AUTHENTICATION_FAILED);
    assert!(answer.iter().any(failed));
    let failed = |event: &Event| {
        matches!(event, Event::Failed { reason: CloseReason::AuthenticationFailed, .. })
    };
    assert!(peer.world.right.has_event(failed));
    assert_eq!(peer.world.site(Side::Right).engine.ike_sa_count(), 0);
}

#[test]
fn who_does_not_know_the_password_is_refused() {
    for (user, password) in
        [("alice@example.org", "clientpass"), ("mallory", "clientPass"), ("", "")]
    {
        let (mut peer, asked) = Peer::new(false);
        let answered = peer.answer_challenge(&asked, user, password);
        is_refused(peer, &answered.answer);
    }
}

#[test]
fn the_session_key_must_be_used() {
    let (mut peer, asked) = Peer::new(false);
    let answered = peer.answer_challenge(&asked, "alice@example.org", "clientPass");
    let third = packet(&answered.answer);
    peer.say(&third, eap_type::MSCHAPV2, MsChapV2::Acknowledged.emit());
    let data = peer.auth(&[0; 64], true, &identities(&asked));
    let last = peer.ask(&[Payload::Auth(Auth { method: AuthMethod::SharedKey, data })]);
    is_refused(peer, &last);
}

/// An AUTH payload before EAP has ended, another method, a packet of another exchange, none at all.
#[test]
fn nothing_can_be_left_out() {
    let early: [fn(&mut Peer, &EapPacket) -> Vec<Payload>; 4] = [
        |peer, _| {
            let data = vec![0; 32];
            peer.ask(&[Payload::Auth(Auth { method: AuthMethod::SharedKey, data })])
        },
        |peer, request| peer.say(request, eap_type::NAK, vec![13]),
        |peer, request| {
            let identifier = request.identifier.wrapping_add(1);
            let other = EapPacket { identifier, ..request.clone() };
            peer.say(&other, eap_type::IDENTITY, b"alice@example.org".to_vec())
        },
        |peer, _| peer.ask(&[Payload::Eap(vec![2, 0])]),
    ];
    for ask in early {
        let (mut peer, asked) = Peer::new(false);
        let request = packet(&peer.ask(&asked));
        let answer = ask(&mut peer, &request);
        is_refused(peer, &answer);
    }
}
