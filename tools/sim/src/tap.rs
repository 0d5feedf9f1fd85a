//! Reads what passes: the clear parts of packets on the wires, and the records of a transaction.

use crate::app::packet::is_marked;
use crate::digest::digest;
use crate::event::Outer;
use crate::host::HostId;
use crate::network::Wire;
use crate::observation::{Actor, EspFrame, IkeFrame, Key, Observation, Record};
use vipsec_cluster::store::{Entry, Operation, Transaction};
use vipsec_crypto::seal::StoreKey;
use vipsec_wire::esp::{Encapsulated, Header as EspHeader, IKE_PORT, NAT_T_PORT};
use vipsec_wire::id::{Epoch, Vip};
use vipsec_wire::ike::message::encrypted_header_length;
use vipsec_wire::ike::{PayloadType, RawHeader};
use vipsec_wire::record::{self, Sealed, v1};

/// Where the IV of an ESP packet stands.
const ESP_IV: usize = 8;

/// What an outer packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// ESP, with the first 8 bytes of its IV.
    Esp(EspFrame, u64),
    /// IKE; with the first 8 bytes of the IV when it is encrypted.
    Ike(IkeFrame, Option<u64>),
    /// A NAT keepalive.
    Keepalive,
    /// None of these, or with the mark of an inner packet in it.
    Clear,
}

/// Tells what an outer packet is.
#[must_use]
pub(crate) fn read(packet: &Outer) -> Frame {
    if is_marked(&packet.payload) {
        return Frame::Clear;
    }
    let ports = [packet.source.port(), packet.destination.port()];
    let frame = if packet.esp {
        esp(&packet.payload)
    } else if ports.contains(&NAT_T_PORT) {
        match Encapsulated::parse(&packet.payload) {
            Ok(Encapsulated::Ike(message)) => ike(message),
            Ok(Encapsulated::Esp(packet)) => esp(packet),
            Ok(Encapsulated::Keepalive) => Some(Frame::Keepalive),
            Err(_) => None,
        }
    } else if ports.contains(&IKE_PORT) {
        ike(&packet.payload)
    } else {
        None
    };
    frame.unwrap_or(Frame::Clear)
}

fn esp(bytes: &[u8]) -> Option<Frame> {
    let header = EspHeader::parse(bytes).ok()?;
    let iv = word(bytes, ESP_IV)?;
    let (spi, sequence) = (header.spi.0, header.sequence);
    Some(Frame::Esp(EspFrame { spi, sequence, digest: digest(bytes) }, iv))
}

fn ike(message: &[u8]) -> Option<Frame> {
    let raw = RawHeader::parse(message).ok()?;
    let whole = encrypted_header_length(false);
    let (iv_at, fragment) = match raw.first {
        PayloadType::ENCRYPTED => (Some(whole), None),
        // Its number stands where a whole message has its IV.
        PayloadType::ENCRYPTED_FRAGMENT => {
            (Some(encrypted_header_length(true)), message.get(whole..)?.first_chunk())
        }
        _ => (None, None),
    };
    let frame = IkeFrame {
        spis: raw.header.spis,
        exchange: raw.header.exchange,
        from_initiator: raw.header.from_initiator,
        response: raw.header.response,
        id: raw.header.message_id,
        clear: iv_at.is_none(),
        fragment: fragment.map_or(0, |number| u16::from_be_bytes(*number)),
        length: message.len(),
        digest: digest(message),
    };
    let iv = iv_at.and_then(|at| word(message, at));
    Some(Frame::Ike(frame, iv))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_be_bytes(*word))
}

/// What is seen when an outer packet leaves a process.
#[must_use]
pub(crate) fn sent(by: Actor, epoch: Option<Epoch>, frame: &Frame) -> Vec<Observation> {
    match *frame {
        Frame::Esp(esp, iv) => {
            let key = Key::Esp(esp.spi);
            let sealed = Observation::Sealed { by, key, iv, digest: esp.digest };
            vec![sealed, Observation::EspSent(by, epoch, esp)]
        }
        Frame::Ike(ike, iv) => {
            let key = Key::Ike(ike.spis.initiator, ike.spis.responder, ike.from_initiator);
            let sealed = iv.map(|iv| Observation::Sealed { by, key, iv, digest: ike.digest });
            sealed.into_iter().chain([Observation::IkeSent(by, ike)]).collect()
        }
        Frame::Keepalive => Vec::new(),
        Frame::Clear => vec![Observation::Clear(by.host, Wire::Outside)],
    }
}

/// What is seen when an outer packet arrives at a host.
#[must_use]
pub(crate) fn arrived(at: HostId, frame: &Frame) -> Option<Observation> {
    match *frame {
        Frame::Esp(esp, _) => Some(Observation::EspArrived(at, esp)),
        Frame::Ike(ike, _) => Some(Observation::IkeArrived(at, ike)),
        Frame::Keepalive | Frame::Clear => None,
    }
}

/// What is seen of a frame between nodes.
#[must_use]
pub(crate) fn fabric(by: Actor, bytes: &[u8]) -> Observation {
    match (EspHeader::parse(bytes), word(bytes, ESP_IV)) {
        (Ok(header), Some(iv)) if !is_marked(bytes) => {
            let key = Key::Fabric(header.spi.0);
            Observation::Sealed { by, key, iv, digest: digest(bytes) }
        }
        _ => Observation::Clear(by.host, Wire::Fabric),
    }
}

/// The records that a transaction changes.
#[must_use]
pub(crate) fn records(key: &StoreKey, vip: Vip, transaction: &Transaction) -> Vec<Record> {
    transaction.operations.iter().map(|operation| record(key, vip, operation)).collect()
}

fn record(key: &StoreKey, vip: Vip, operation: &Operation) -> Record {
    let parts = |path: &str| -> Vec<String> {
        let rest = path.strip_prefix(&format!("vip/{vip}/")).unwrap_or_default();
        rest.split('/').map(str::to_owned).collect()
    };
    match operation {
        Operation::Put { key: path, value } => {
            let parts = parts(path.as_str());
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            put(key, path.as_str(), &parts, value).unwrap_or(Record::Other)
        }
        Operation::Delete { key: path } => {
            let parts = parts(path.as_str());
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            match parts.as_slice() {
                ["ike", id] => u64::from_str_radix(id, 16).map_or(Record::Other, Record::IkeGone),
                ["child", spi] => {
                    u32::from_str_radix(spi, 16).map_or(Record::Other, Record::ChildGone)
                }
                _ => Record::Other,
            }
        }
        Operation::DeletePrefix { .. } => Record::Other,
    }
}

fn put(key: &StoreKey, path: &str, parts: &[&str], value: &[u8]) -> Option<Record> {
    Some(match parts {
        ["epoch"] => {
            let record: v1::EpochRecord = open(key, path, value)?;
            Record::Epoch(record.epoch, HostId::of(&record.owner)?)
        }
        ["ike", id] => Record::Ike(u64::from_str_radix(id, 16).ok()?),
        ["ike", id, "state"] => {
            let record: v1::IkeMutable = open(key, path, value)?;
            let response = record.last_response.map_or(Vec::new(), |response| response.datagrams);
            let digests = response.iter().map(|datagram| digest(datagram)).collect();
            Record::IkeState(u64::from_str_radix(id, 16).ok()?, digests)
        }
        ["child", _] => {
            let record: v1::ChildConstant = open(key, path, value)?;
            Record::Child(record.inbound.spi.0, record.outbound.spi.0)
        }
        _ => return None,
    })
}

/// Opens a sealed record.
#[must_use]
pub(crate) fn open<T: record::Record>(key: &StoreKey, path: &str, value: &[u8]) -> Option<T> {
    let sealed = Sealed::parse(value).ok()?;
    let plain = key.open(&Sealed::associated_data(path, sealed.epoch), &sealed.body).ok()?;
    record::decode(plain.expose()).ok()
}

/// The epoch that an entry speaks of, if it is an epoch record.
#[must_use]
pub(crate) fn epoch_of(key: &StoreKey, entry: &Entry) -> Option<Epoch> {
    let path = entry.key.as_str();
    let record: v1::EpochRecord =
        path.ends_with("/epoch").then(|| open(key, path, &entry.value)).flatten()?;
    Some(record.epoch)
}
