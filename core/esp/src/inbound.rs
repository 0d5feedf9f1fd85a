//! The receiving half of a Child SA (RFC 4303 section 3.4).
//!
//! The order is: what costs nothing first, then the window, then authentication, and only an
//! authentic packet changes anything.

use crate::child::{ChildSa, HalfSa};
use crate::meter::{Expiry, Meter, Usage};
use crate::sequence::high_half;
use crate::transform::Transform;
use crate::window::{Window, WindowSnapshot};
use crate::{EnterError, EspError};
use core::ops::Range;
use vipsec_crypto::KeyError;
use vipsec_wire::esp::{HEADER_LENGTH, Header};
use vipsec_wire::id::{Epoch, EspSpi};
use vipsec_wire::time::Timestamp;

/// What a new owner accepts after a takeover, when it does not know the exact window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Replay {
    /// What is above the last edge that it knows.
    #[default]
    Bounded,
    /// Nothing, until the SA has been rekeyed.
    Strict,
}

/// An opened packet: where its payload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The payload's place in the packet that was given.
    pub payload: Range<usize>,
    /// What the payload is: 4 and 41 are IP packets of tunnel mode.
    pub next_header: u8,
    /// The full sequence number.
    pub sequence: u64,
}

/// What a receiving half hands over at a transfer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboundSnapshot {
    /// The exact replay window.
    pub window: WindowSnapshot,
    /// Its use so far.
    pub usage: Usage,
}

/// The receiving half. First [`Inbound::enter`] or [`Inbound::continue_from`], once an epoch; then
/// [`Inbound::open`], and [`Inbound::expiry`] now and then.
#[derive(Debug)]
pub struct Inbound {
    spi: EspSpi,
    esn: bool,
    transform: Transform,
    born: Epoch,
    entered: Option<Epoch>,
    window: Window,
    /// The highest edge that an owner told of.
    known_edge: u64,
    awaiting_rekey: bool,
    meter: Meter,
}

impl Inbound {
    /// The receiving half of `sa`.
    ///
    /// # Errors
    /// [`KeyError`] when the keys do not fit the algorithms.
    pub fn new(sa: &ChildSa) -> Result<Inbound, KeyError> {
        Inbound::from_half(&sa.inbound_half())
    }

    /// As [`Inbound::new`], for an SA that is no Child SA.
    ///
    /// # Errors
    /// [`KeyError`] when the keys do not fit the algorithms.
    pub fn from_half(half: &HalfSa<'_>) -> Result<Inbound, KeyError> {
        Ok(Inbound {
            spi: half.keys.spi,
            esn: half.esn,
            transform: Transform::new(half.cipher, half.keys)?,
            born: half.born,
            entered: None,
            window: Window::new(half.replay_window),
            known_edge: 0,
            awaiting_rekey: false,
            meter: Meter::new(half.created, &half.lifetime),
        })
    }

    /// The SPI of its packets.
    #[must_use]
    pub fn spi(&self) -> EspSpi {
        self.spi
    }

    /// Whether it has entered `epoch`.
    #[must_use]
    pub fn is_in(&self, epoch: Epoch) -> bool {
        self.entered == Some(epoch)
    }

    /// Begins `epoch` without knowing the exact window of the former owner. In the epoch in which
    /// the SA was born there is none. Entering the same epoch again changes nothing.
    ///
    /// # Errors
    /// [`EnterError::Stale`].
    pub fn enter(&mut self, epoch: Epoch, replay: Replay) -> Result<(), EnterError> {
        if self.is_in(epoch) {
            return Ok(());
        }
        self.begin(epoch)?;
        if epoch > self.born {
            self.awaiting_rekey |= replay == Replay::Strict;
            self.accept_above(self.known_edge);
        }
        Ok(())
    }

    /// Begins `epoch` with the exact window of the former owner.
    ///
    /// # Errors
    /// [`EnterError::Stale`], also when the half is in `epoch` already.
    pub fn continue_from(
        &mut self,
        epoch: Epoch,
        snapshot: &InboundSnapshot,
    ) -> Result<(), EnterError> {
        if self.is_in(epoch) {
            return Err(EnterError::Stale);
        }
        self.begin(epoch)?;
        self.restore(snapshot);
        Ok(())
    }

    /// Checks, decrypts and counts `packet`: all of it, from the SPI on.
    ///
    /// # Errors
    /// [`EspError`]: the packet is to be dropped, and may have been overwritten.
    pub fn open(&mut self, now: Timestamp, packet: &mut [u8]) -> Result<Opened, EspError> {
        let sequence = self.admit(now, packet)?;
        let high = self.esn.then(|| high_half(sequence));
        self.transform.open(packet, high)?;
        self.window.mark(sequence);
        let (payload, next_header) = self.strip(packet)?;
        self.meter.count(now, payload.len());
        Ok(Opened { payload, next_header, sequence })
    }

    /// The right edge of the window: the highest sequence number that was authenticated, or below
    /// which nothing is accepted since the last takeover.
    #[must_use]
    pub fn edge(&self) -> u64 {
        self.window.edge()
    }

    /// Notes, on a backup, an edge that the owner streamed or stored.
    pub fn learn_edge(&mut self, edge: u64) {
        self.known_edge = self.known_edge.max(edge);
    }

    /// The peer's numbers have jumped by `jump` (RFC 6311): nothing is accepted any more that is not
    /// so far above the last edge that an owner told of.
    pub fn jump(&mut self, jump: u64) {
        self.known_edge = self.known_edge.saturating_add(jump);
        if self.entered.is_some() {
            self.accept_above(self.known_edge);
        }
    }

    /// Accepts nothing at or below `edge`, or below the present edge if that is higher.
    pub fn accept_above(&mut self, edge: u64) {
        self.window.close(edge);
    }

    /// Whether strict mode refuses everything.
    #[must_use]
    pub fn is_awaiting_rekey(&self) -> bool {
        self.awaiting_rekey
    }

    /// The exact window and the counters.
    #[must_use]
    pub fn snapshot(&self) -> InboundSnapshot {
        InboundSnapshot { window: self.window.snapshot(), usage: self.meter.usage() }
    }

    /// Becomes what [`Inbound::snapshot`] gave on another node; a window older than an edge that
    /// is known is not believed below that.
    pub fn restore(&mut self, snapshot: &InboundSnapshot) {
        let known = self.known_edge.max(self.window.edge());
        self.window.restore(&snapshot.window);
        if known > self.window.edge() {
            self.window.close(known);
        }
        self.meter.inherit(&snapshot.usage);
    }

    /// Its use so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.meter.usage()
    }

    /// A limit that was reached since the last call.
    pub fn expiry(&mut self, now: Timestamp) -> Option<Expiry> {
        self.meter.expiry(now, None)
    }

    fn begin(&mut self, epoch: Epoch) -> Result<(), EnterError> {
        if epoch < self.born || self.entered.is_some_and(|entered| epoch < entered) {
            return Err(EnterError::Stale);
        }
        self.entered = Some(epoch);
        self.meter.begin();
        Ok(())
    }

    /// The full sequence number of a packet that is worth decrypting.
    fn admit(&self, now: Timestamp, packet: &[u8]) -> Result<u64, EspError> {
        if self.entered.is_none() {
            return Err(EspError::NotEntered);
        }
        if self.awaiting_rekey {
            return Err(EspError::AwaitingRekey);
        }
        if self.meter.is_over(now) {
            return Err(EspError::Expired);
        }
        if !self.transform.fits(packet.len()) {
            return Err(EspError::Truncated);
        }
        let low = Header::parse(packet).map_err(|_| EspError::Truncated)?.sequence;
        let sequence = match self.esn {
            true => self.window.infer(low).ok_or(EspError::OutsideWindow)?,
            false => u64::from(low),
        };
        self.window.check(sequence)?;
        Ok(sequence)
    }

    /// Takes the trailer off (RFC 4303 section 2.4): the payload's place and the next header.
    fn strip(&self, packet: &[u8]) -> Result<(Range<usize>, u8), EspError> {
        let start = HEADER_LENGTH + self.transform.iv_length();
        let end = packet.len() - self.transform.icv_length();
        let [body @ .., pad_length, next_header] = &packet[start..end] else {
            return Err(EspError::Truncated);
        };
        let pad_length = usize::from(*pad_length);
        let length = body.len().checked_sub(pad_length).ok_or(EspError::Padding)?;
        let expected = 1u8..=255;
        if body[length..].iter().zip(expected).any(|(&found, expected)| found != expected) {
            return Err(EspError::Padding);
        }
        Ok((start..start + length, *next_header))
    }
}
