//! How far a connection is, judged from the TCP flags that pass (RFC 9293 section 3.3.2). A
//! distributor sees both directions but checks no sequence numbers: the integrity of the packets is
//! ESP's business, and a target's kernel has the last word.

use crate::service::Timeouts;
use core::time::Duration;
use vipsec_wire::cluster::{ConnectionState, Protocol};

/// FIN of RFC 9293 section 3.1.
pub const FIN: u8 = 0x01;
/// SYN.
pub const SYN: u8 = 0x02;
/// RST.
pub const RST: u8 = 0x04;
/// ACK.
pub const ACK: u8 = 0x10;

/// What the distributor must know of a packet beside its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// A TCP segment with these flags (the octet of RFC 9293 section 3.1).
    Tcp(u8),
    /// A UDP datagram.
    Udp,
}

impl Segment {
    /// Whether it may begin a connection: a TCP SYN without ACK, or any datagram.
    #[must_use]
    pub fn opens(self) -> bool {
        match self {
            Segment::Tcp(flags) => flags & (SYN | ACK | RST | FIN) == SYN,
            Segment::Udp => true,
        }
    }

    /// Whether it says that its sender has no such connection.
    #[must_use]
    pub fn resets(self) -> bool {
        matches!(self, Segment::Tcp(flags) if flags & RST != 0)
    }

    fn has(self, flag: u8) -> bool {
        matches!(self, Segment::Tcp(flags) if flags & flag != 0)
    }
}

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the peer to the target.
    Inbound,
    /// From the target to the peer.
    Outbound,
}

/// The state of a known connection, in one octet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State(u8);

impl State {
    /// A segment after the hand-shake was seen.
    const ESTABLISHED: u8 = 0x01;
    const FIN_PEER: u8 = 0x04;
    const FIN_TARGET: u8 = 0x08;
    const RESET: u8 = 0x10;
    const DATAGRAMS: u8 = 0x20;

    /// The state after a first packet. One in the middle of a TCP connection counts as
    /// established: whoever inserts it knows that the connection exists.
    #[must_use]
    pub fn begin(segment: Segment, direction: Direction) -> State {
        match segment {
            Segment::Udp => State(State::DATAGRAMS),
            Segment::Tcp(_) => State(0).after(segment, direction),
        }
    }

    /// The state after one more packet. A SYN, be it answered or not, is a hand-shake that may still
    /// come to nothing.
    #[must_use]
    pub fn after(self, segment: Segment, direction: Direction) -> State {
        if segment == Segment::Udp || self.0 & State::DATAGRAMS != 0 {
            return self;
        }
        let mut bits = self.0;
        if !segment.has(SYN) {
            bits |= State::ESTABLISHED;
        }
        if segment.has(FIN) {
            bits |= match direction {
                Direction::Inbound => State::FIN_PEER,
                Direction::Outbound => State::FIN_TARGET,
            };
        }
        if segment.has(RST) {
            bits |= State::RESET;
        }
        State(bits)
    }

    /// Whether the hand-shake is not known to be done.
    #[must_use]
    pub fn is_opening(self) -> bool {
        self.public() == ConnectionState::Opening
    }

    /// Whether both ends have finished, or one has reset: a SYN may begin anew.
    #[must_use]
    pub fn is_over(self) -> bool {
        let both = State::FIN_PEER | State::FIN_TARGET;
        self.0 & State::RESET != 0 || self.0 & both == both
    }

    /// How long a connection in this state stays known without packets.
    #[must_use]
    pub fn idle_limit(self, timeouts: &Timeouts) -> Duration {
        match self.public() {
            ConnectionState::Opening => timeouts.opening,
            ConnectionState::Established => timeouts.established,
            ConnectionState::ClosedByPeer | ConnectionState::ClosedByTarget => timeouts.half_closed,
            ConnectionState::Closed => timeouts.closed,
            ConnectionState::Reset | ConnectionState::Gone => timeouts.reset,
            ConnectionState::Datagrams => timeouts.udp,
        }
    }

    /// The form in which nodes tell each other.
    #[must_use]
    pub fn public(self) -> ConnectionState {
        let (peer, target) = (self.0 & State::FIN_PEER != 0, self.0 & State::FIN_TARGET != 0);
        if self.0 & State::DATAGRAMS != 0 {
            ConnectionState::Datagrams
        } else if self.0 & State::RESET != 0 {
            ConnectionState::Reset
        } else if peer && target {
            ConnectionState::Closed
        } else if peer {
            ConnectionState::ClosedByPeer
        } else if target {
            ConnectionState::ClosedByTarget
        } else if self.0 & State::ESTABLISHED != 0 {
            ConnectionState::Established
        } else {
            ConnectionState::Opening
        }
    }

    /// Reads what another node said; `None` for a connection that is gone, or for a state that the
    /// protocol does not have.
    #[must_use]
    pub fn from_public(state: ConnectionState, protocol: Protocol) -> Option<State> {
        let done = State::ESTABLISHED;
        let bits = match (state, protocol) {
            (ConnectionState::Gone, _) => return None,
            (ConnectionState::Datagrams, Protocol::Udp) => State::DATAGRAMS,
            (ConnectionState::Datagrams, Protocol::Tcp) | (_, Protocol::Udp) => return None,
            (ConnectionState::Opening, _) => 0,
            (ConnectionState::Established, _) => done,
            (ConnectionState::ClosedByPeer, _) => done | State::FIN_PEER,
            (ConnectionState::ClosedByTarget, _) => done | State::FIN_TARGET,
            (ConnectionState::Closed, _) => done | State::FIN_PEER | State::FIN_TARGET,
            (ConnectionState::Reset, _) => done | State::RESET,
        };
        Some(State(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tcp_connection_goes_through_its_states() {
        let mut state = State::begin(Segment::Tcp(SYN), Direction::Inbound);
        assert_eq!(state.public(), ConnectionState::Opening);
        let steps = [
            (SYN | ACK, Direction::Outbound, ConnectionState::Opening),
            (ACK, Direction::Inbound, ConnectionState::Established),
            (FIN | ACK, Direction::Outbound, ConnectionState::ClosedByTarget),
            (ACK, Direction::Inbound, ConnectionState::ClosedByTarget),
            (FIN | ACK, Direction::Inbound, ConnectionState::Closed),
        ];
        for (flags, direction, expected) in steps {
            state = state.after(Segment::Tcp(flags), direction);
            assert_eq!(state.public(), expected);
        }
        assert!(state.is_over());
    }

    #[test]
    fn a_reset_ends_it_from_either_side() {
        for direction in [Direction::Inbound, Direction::Outbound] {
            let state = State::begin(Segment::Tcp(ACK), direction);
            assert_eq!(state.public(), ConnectionState::Established);
            let state = state.after(Segment::Tcp(RST), direction);
            assert_eq!(state.public(), ConnectionState::Reset);
            assert_eq!(state.idle_limit(&Timeouts::default()), Timeouts::default().reset);
        }
    }

    #[test]
    fn every_state_survives_being_told() {
        let states = [
            State::begin(Segment::Udp, Direction::Inbound),
            State::begin(Segment::Tcp(SYN), Direction::Inbound),
            State::begin(Segment::Tcp(SYN | ACK), Direction::Outbound),
            State::begin(Segment::Tcp(ACK), Direction::Inbound),
            State::begin(Segment::Tcp(FIN | ACK), Direction::Inbound),
            State::begin(Segment::Tcp(FIN | ACK), Direction::Outbound),
            State::begin(Segment::Tcp(RST), Direction::Outbound),
        ];
        for state in states {
            let protocol = match state.public() {
                ConnectionState::Datagrams => Protocol::Udp,
                _ => Protocol::Tcp,
            };
            let back = State::from_public(state.public(), protocol).expect("a live state");
            assert_eq!(back.public(), state.public());
        }
        let gone = State::from_public(ConnectionState::Gone, Protocol::Tcp);
        assert_eq!(gone, None);
        let odd = State::from_public(ConnectionState::Opening, Protocol::Udp);
        assert_eq!(odd, None);
    }

    #[test]
    fn only_a_plain_syn_or_a_datagram_opens() {
        assert!(Segment::Tcp(SYN).opens());
        assert!(Segment::Tcp(SYN | 0x40 | 0x80).opens(), "with ECN set-up");
        assert!(Segment::Udp.opens());
        for flags in [SYN | ACK, ACK, FIN, RST, SYN | RST, SYN | FIN, 0] {
            assert!(!Segment::Tcp(flags).opens(), "{flags:02x}");
        }
    }
}
