//! Messages that prove nothing: those for IKE SAs that are not here, and errors in clear (RFC 7296
//! sections 1.5 and 2.21.4). Nothing that they say changes the state of an SA.

use crate::engine::Engine;
use crate::error::Drop;
use crate::output::Output;
use crate::sa::Datagram;
use vipsec_wire::id::IkeSaId;
use vipsec_wire::ike::{Header, Message, Notify, NotifyType, Payload};
use vipsec_wire::time::Timestamp;

/// INVALID_IKE_SPI notifications that an engine sends within a second.
const PER_SECOND: u32 = 50;

/// How many INVALID_IKE_SPI notifications have left in the present second.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    second: u64,
    sent: u32,
}

impl Refusals {
    fn allow(&mut self, now: Timestamp) -> bool {
        let second = now.0 / 1_000_000;
        if second != self.second {
            *self = Refusals { second, sent: 0 };
        }
        //= RFC 7296 section 2.4 #5: what may be forged causes only so much
        let allowed = self.sent < PER_SECOND;
        self.sent += u32::from(allowed);
        allowed
    }
}

impl Engine {
    /// There is no such SA. If it has just ended, its last answer may have got lost; otherwise the
    /// peer of a request is told, so that it looks into it soon.
    pub(super) fn receive_for_nobody(
        &mut self,
        now: Timestamp,
        id: IkeSaId,
        datagram: &Datagram,
        message: &Message,
    ) {
        let answer = self.tables.exhume(message.header.spis, &datagram.message);
        let answer = answer.map(<[Vec<u8>]>::to_vec);
        if answer.is_none() {
            self.outbox.drops.count(Drop::UnknownSpi);
        }
        // What is not encrypted is no request of an IKE SA, and may be shorter than the answer.
        //= RFC 7296 section 1.5 #1: what is in clear and for no IKE SA of ours is not answered
        //= RFC 7296 section 2.21.4 #1: no response is
        //= RFC 7296 section 2.21.4 #5: nor what holds the notification
        let asks = !message.header.response && message.encrypted.is_some();
        let answer = answer.or_else(|| {
            let allowed = asks && self.refusals.allow(now);
            // Its end may not be said before it is written.
            (allowed && !self.ledger.is_about(id)).then(|| vec![invalid_ike_spi(&message.header)])
        });
        let answer = answer.unwrap_or_default();
        self.outbox.outputs.extend(Output::transmits(datagram.local, datagram.remote, answer));
    }

    /// A message in clear with the SPIs of an SA. That the peer does not know the SA may be true:
    /// then a check, which is due no later than after something that we have sent it in vain, finds
    /// no answer.
    pub(super) fn receive_in_clear(&mut self, now: Timestamp, id: IkeSaId, message: &Message) {
        let said = |payload: &Payload| match payload {
            Payload::Notify(notify) => notify.kind == NotifyType::INVALID_IKE_SPI,
            _ => false,
        };
        if !(message.header.response && message.payloads.iter().any(said)) {
            return self.outbox.drops.count(Drop::Unauthentic);
        }
        //= RFC 7296 section 2.21.4 #6: an error in clear causes a check at most
        self.outbox.drops.count(Drop::UnauthenticatedError);
        if let Some(sa) = self.tables.get_mut(id).filter(|sa| sa.live.complete) {
            let heard = sa.live.last_heard;
            if sa.live.traffic.note(Timestamp(0), now, heard) {
                self.rearm(id);
            }
        }
    }
}

/// The answer to a request that belongs to no IKE SA.
fn invalid_ike_spi(request: &Header) -> Vec<u8> {
    //= RFC 7296 section 2.21.4 #2: to where the request came from, with its SPIs and message ID
    //= RFC 7296 section 2.21.4 #3: in clear
    let header = Header {
        from_initiator: !request.from_initiator,
        response: true,
        higher_version: false,
        ..*request
    };
    //= RFC 7296 section 2.21.4 #4: with the notification that says why
    let payload = Payload::Notify(Notify::new(NotifyType::INVALID_IKE_SPI, Vec::new()));
    Message::new(header, vec![payload]).emit()
}
