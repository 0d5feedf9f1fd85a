//! Where packets go. Given by the data plane, which merges segments behind it, and by the
//! simulator, which delivers them in virtual time.

use core::net::{IpAddr, SocketAddr};
use vipsec_wire::id::{Epoch, Vip};

/// Takes packets from a [`crate::Path`].
pub trait Sink {
    /// One outgoing packet of at most `max` bytes. `fill` gets `max` writable bytes of any content,
    /// writes the packet in place and returns its length; 0 means that nothing leaves. It is called
    /// exactly once, or not at all when there is no room; then the packet is lost like one on the
    /// wire, and no sequence number was used.
    fn emit(&mut self, to: Route, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize);

    /// An IP packet for the local kernel, into the TUN.
    fn inner(&mut self, packet: &[u8]);

    /// A packet that another worker of this process must handle: the data plane gives it to that
    /// worker's [`crate::Path::handle_hand_over`] through a bounded ring.
    fn hand_over(&mut self, worker: u16, kind: HandOver, packet: &[u8]);
}

/// How an outgoing packet travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// As payload of a UDP datagram (ESP in UDP, RFC 3948).
    Udp {
        /// A VIP and port 4500.
        local: SocketAddr,
        /// The peer.
        remote: SocketAddr,
        /// DSCP and ECN of the outer header.
        tos: u8,
        /// It is larger than the path, and has to be fragmented on the outside.
        may_fragment: bool,
    },
    /// As plain ESP, IP protocol 50; the bytes start at the SPI.
    Esp {
        /// A VIP.
        local: IpAddr,
        /// The peer.
        remote: IpAddr,
        /// DSCP and ECN of the outer header.
        tos: u8,
        /// It is larger than the path, and has to be fragmented on the outside.
        may_fragment: bool,
    },
    /// As payload of a UDP datagram from this node's fabric address. It may exceed the MTU of the
    /// link: the kernel may fragment it.
    Fabric {
        /// The other node's fabric address.
        remote: SocketAddr,
    },
}

/// What a packet given to another worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// The UDP payload of an ESP-in-UDP packet, from the SPI on.
    Udp {
        /// Where it arrived.
        local: SocketAddr,
        /// Where it came from.
        remote: SocketAddr,
        /// DSCP and ECN of the outer header.
        tos: u8,
        /// In which the worker that gives it owns the VIP; the other may not know it yet.
        epoch: Epoch,
    },
    /// Plain ESP, from the SPI on.
    Esp {
        /// Where it arrived.
        local: IpAddr,
        /// Where it came from.
        remote: IpAddr,
        /// DSCP and ECN of the outer header.
        tos: u8,
        /// As above.
        epoch: Epoch,
    },
    /// An IP packet to be sealed for this VIP.
    Inner {
        /// The VIP whose SA covers it.
        vip: Vip,
        /// Index of the node whose TUN it came from, if that is known.
        from: Option<u16>,
        /// Another node has forwarded it already.
        late: bool,
        /// As above.
        epoch: Epoch,
    },
    /// A frame of the fabric.
    Fabric {
        /// Where it came from.
        remote: SocketAddr,
    },
}
