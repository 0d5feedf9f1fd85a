//! Messages that a peer could send and ours never does, sealed with the keys of an IKE SA.

use super::{LEFT, Packet, RIGHT, Side, World};
use core::net::SocketAddr;
use vipsec_crypto::aead::{AeadAlgorithm, AeadKey};
use vipsec_wire::id::IkeSaId;
use vipsec_wire::ike::message::{emit_chain, emit_encrypted_header, parse_chain};
use vipsec_wire::ike::{ExchangeType, Header, Message, Notify, Payload, PayloadType};

fn algorithm(key: &[u8]) -> AeadAlgorithm {
    match key.len() {
        20 => AeadAlgorithm::Aes128Gcm16,
        _ => AeadAlgorithm::Aes256Gcm16,
    }
}

/// What stands in the Encrypted payload.
pub(crate) enum Content {
    Payloads(Vec<Payload>),
    /// The type of the first payload, and anything.
    Bytes(PayloadType, Vec<u8>),
}

impl World {
    /// A message to `to` under its IKE SA `id`.
    pub(crate) fn forge(
        &mut self,
        to: Side,
        id: IkeSaId,
        (exchange, message_id, response): (ExchangeType, u32, bool),
        content: Content,
    ) -> Packet {
        let message = self.seal(to, id, (exchange, message_id, response), content, false);
        let (left, right): (SocketAddr, SocketAddr) = (
            format!("{LEFT}:500").parse().expect("an address"),
            format!("{RIGHT}:500").parse().expect("an address"),
        );
        let (source, destination) = if to == Side::Left { (right, left) } else { (left, right) };
        Packet { to, source, destination, message }
    }

    /// A message that `from` could send under its IKE SA `id`.
    pub(crate) fn forge_from(
        &mut self,
        from: Side,
        id: IkeSaId,
        kind: (ExchangeType, u32, bool),
        content: Content,
    ) -> Vec<u8> {
        self.seal(from, id, kind, content, true)
    }

    /// What a message to `side` under its IKE SA `id` holds.
    pub(crate) fn open_at(&mut self, side: Side, id: IkeSaId, message: &[u8]) -> Vec<Payload> {
        let about = self.site(side).engine.snapshot(id).expect("it is there").constant;
        let key = if about.initiator { &about.keys.er } else { &about.keys.ei };
        let key = AeadKey::new(algorithm(key.expose()), key.expose()).expect("its key");
        let encrypted = Message::parse(message).expect("a message").encrypted.expect("protected");
        let (head, body) = message.split_at(encrypted.body_at);
        let (iv, body) = body.split_first_chunk::<8>().expect("an IV");
        let (content, tag) = body.split_at(body.len() - 16);
        let mut content = content.to_vec();
        key.open(*iv, head, &mut content, tag).expect("it is authentic");
        let padding = usize::from(content.pop().expect("a pad length"));
        content.truncate(content.len() - padding);
        parse_chain(encrypted.first, &content).expect("payloads")
    }

    /// With the keys that `side` has, in its own direction or in that of its peer.
    fn seal(
        &mut self,
        side: Side,
        id: IkeSaId,
        (exchange, message_id, response): (ExchangeType, u32, bool),
        content: Content,
        own: bool,
    ) -> Vec<u8> {
        let about = self.site(side).engine.snapshot(id).expect("it is there").constant;
        let from_initiator = about.initiator == own;
        let key = if from_initiator { &about.keys.ei } else { &about.keys.er };
        let key = AeadKey::new(algorithm(key.expose()), key.expose()).expect("its key");
        let header = Header {
            spis: about.spis,
            exchange,
            from_initiator,
            response,
            higher_version: false,
            message_id,
        };
        let (first, mut content) = match content {
            Content::Payloads(payloads) => emit_chain(&payloads),
            Content::Bytes(first, bytes) => (first, bytes),
        };
        content.push(0);
        let iv = [0xff; 8];
        let mut message = emit_encrypted_header(&header, first, None, 8 + content.len() + 16);
        let tag = key.seal(iv, &message, &mut content);
        message.extend_from_slice(&iv);
        message.extend_from_slice(&content);
        message.extend_from_slice(&tag);
        message
    }
}

impl World {
    /// The notifications in a message that an engine has sent, opened with the keys that the other
    /// side has; none in one that is in clear or does not open.
    pub(crate) fn open(&mut self, packet: &Packet) -> Vec<Notify> {
        let message = Message::parse(&packet.message).expect("engines emit messages");
        let Some(encrypted) = message.encrypted else { return Vec::new() };
        let views: Vec<IkeSaId> = self.site(packet.to).engine.ike_sas().map(|v| v.id).collect();
        let spis = message.header.spis;
        let Some(id) =
            views.into_iter().find(|id| [spis.initiator, spis.responder].contains(&id.0))
        else {
            return Vec::new();
        };
        let about = self.site(packet.to).engine.snapshot(id).expect("it is there").constant;
        let key =
            if message.header.from_initiator { &about.keys.ei } else { &about.keys.er }.expose();
        let algorithm = match key.len() {
            20 => AeadAlgorithm::Aes128Gcm16,
            _ => AeadAlgorithm::Aes256Gcm16,
        };
        let key = AeadKey::new(algorithm, key).expect("its key");
        let (aad, body) = packet.message.split_at(encrypted.body_at);
        let (iv, sealed) = body.split_at(8);
        let (content, tag) = sealed.split_at(sealed.len() - 16);
        let mut content = content.to_vec();
        let iv = iv.try_into().expect("eight octets");
        key.open(iv, aad, &mut content, tag).expect("it is authentic");
        content.truncate(content.len() - 1 - usize::from(*content.last().expect("padding")));
        let payloads = parse_chain(encrypted.first, &content).expect("engines emit payloads");
        let notifies = payloads.into_iter().filter_map(|payload| match payload {
            Payload::Notify(notify) => Some(notify),
            _ => None,
        });
        notifies.collect()
    }
}
