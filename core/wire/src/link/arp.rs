//! ARP for IPv4 over Ethernet (RFC 826), with the announcements of RFC 5227.

use super::ethernet::{EtherType, Header, Mac};
use crate::ParseError;
use crate::reader::Reader;
use core::net::Ipv4Addr;

const WHAT: &str = "ARP packet";

/// Hardware type Ethernet, protocol type IPv4, with the lengths of their addresses.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// 1: who has the target address?
    Request,
    /// 2: the sender has the sender address.
    Reply,
}

/// A packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// Question or answer.
    pub operation: Operation,
    /// Hardware address of the sender.
    pub sender_mac: Mac,
    /// Address of the sender; unspecified in a probe.
    pub sender: Ipv4Addr,
    /// Hardware address of the target; meaningless in a request.
    pub target_mac: Mac,
    /// Address of the target.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Reads the content of a frame; padding behind it is ignored.
    ///
    /// # Errors
    /// `Truncated`, or `Value` when it is not for IPv4 over Ethernet or of another operation.
    pub fn parse(content: &[u8]) -> Result<Arp, ParseError> {
        let mut reader = Reader::new(WHAT, content);
        if reader.array::<6>()? != ETHERNET_IPV4 {
            return Err(ParseError::Value(WHAT));
        }
        let operation = match reader.u16()? {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return Err(ParseError::Value(WHAT)),
        };
        Ok(Arp {
            operation,
            sender_mac: Mac(reader.array()?),
            sender: reader.array::<4>()?.into(),
            target_mac: Mac(reader.array()?),
            target: reader.array::<4>()?.into(),
        })
    }

    /// The packet's octets.
    #[must_use]
    pub fn emit(&self) -> [u8; 28] {
        let mut out = [0; 28];
        out[..6].copy_from_slice(&ETHERNET_IPV4);
        out[7] = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        out[8..14].copy_from_slice(&self.sender_mac.0);
        out[14..18].copy_from_slice(&self.sender.octets());
        out[18..24].copy_from_slice(&self.target_mac.0);
        out[24..].copy_from_slice(&self.target.octets());
        out
    }

    /// The frame in which `mac` answers this request; `None` when it is none.
    #[must_use]
    pub fn answer(&self, mac: Mac) -> Option<Vec<u8>> {
        if self.operation != Operation::Request {
            return None;
        }
        let reply = Arp {
            operation: Operation::Reply,
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        };
        Some(frame(mac, self.sender_mac, &reply))
    }

    /// The frame that tells everybody that `mac` has `address` now: a request or a reply, for
    /// neighbours heed one or the other (RFC 5227 section 3).
    #[must_use]
    pub fn announcement(operation: Operation, mac: Mac, address: Ipv4Addr) -> Vec<u8> {
        let target_mac = match operation {
            Operation::Request => Mac([0; 6]),
            Operation::Reply => Mac::BROADCAST,
        };
        let arp = Arp { operation, sender_mac: mac, sender: address, target_mac, target: address };
        frame(mac, Mac::BROADCAST, &arp)
    }

    /// The frame in which `mac` asks who has `target`, on behalf of `sender`.
    #[must_use]
    pub fn request(mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
        let operation = Operation::Request;
        let target_mac = Mac([0; 6]);
        frame(mac, Mac::BROADCAST, &Arp { operation, sender_mac: mac, sender, target_mac, target })
    }
}

fn frame(source: Mac, destination: Mac, arp: &Arp) -> Vec<u8> {
    Header { destination, source, kind: EtherType::ARP }.emit(&arp.emit())
}
