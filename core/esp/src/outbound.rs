//! The sending half of a Child SA (RFC 4303 section 3.3).
//!
//! It never uses an IV twice and never goes back in sequence numbers, whoever owns the SA before
//! and after: see `iv` and `sequence`.

use crate::child::{ChildSa, HalfSa};
use crate::iv::IvCounter;
use crate::meter::{Expiry, Meter, Usage};
use crate::sequence::{Sequencer, high_half, low_half};
use crate::transform::Transform;
use crate::{EnterError, SealError};
use vipsec_crypto::cbc::IvGenerator;
use vipsec_crypto::{KeyError, Random};
use vipsec_wire::esp::{HEADER_LENGTH, Header, TRAILER_LENGTH};
use vipsec_wire::id::{Epoch, EspSpi, Term};
use vipsec_wire::time::Timestamp;

/// What a sending half hands over at a transfer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutboundSnapshot {
    /// The sequence number of the next packet.
    pub next: u64,
    /// The confirmed b.
    pub block: u32,
    /// Its use so far.
    pub usage: Usage,
}

/// The sending half. First [`Outbound::enter`] or [`Outbound::continue_from`], once an epoch; then
/// [`Outbound::seal`], and after a batch [`Outbound::block_low`] and [`Outbound::expiry`].
///
/// In each epoch one value alone, in the whole cluster, may seal for an SA. Not `Clone`: whoever
/// builds a second one in the same epoch has but the random start of the counter between himself
/// and a repeated IV.
#[derive(Debug)]
pub struct Outbound {
    spi: EspSpi,
    esn: bool,
    transform: Transform,
    born: Epoch,
    entered: Option<Epoch>,
    ivs: Option<IvCounter>,
    sequence: Sequencer,
    takeover_reserve: u32,
    exhausted: bool,
    meter: Meter,
}

impl Outbound {
    /// The sending half of `sa`.
    ///
    /// # Errors
    /// [`KeyError`] when the keys do not fit the algorithms.
    pub fn new(sa: &ChildSa) -> Result<Outbound, KeyError> {
        Outbound::from_half(&sa.outbound_half())
    }

    /// As [`Outbound::new`], for an SA that is no Child SA.
    ///
    /// # Errors
    /// [`KeyError`] when the keys do not fit the algorithms.
    pub fn from_half(half: &HalfSa<'_>) -> Result<Outbound, KeyError> {
        Ok(Outbound {
            spi: half.keys.spi,
            esn: half.esn,
            transform: Transform::new(half.cipher, half.keys)?,
            born: half.born,
            entered: None,
            ivs: None,
            sequence: Sequencer::new(half.esn),
            takeover_reserve: half.lifetime.takeover_reserve,
            exhausted: false,
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

    /// Begins `epoch` as a new owner: in a new term, at the start of block `block` (the b of the
    /// record, read after the claim) or after `at_least` (the highest sequence number that is
    /// known to have been used, 0 if none), whichever is higher. What was learnt before counts too.
    /// Entering the same epoch again changes nothing.
    ///
    /// # Errors
    /// [`EnterError`]; after [`EnterError::Exhausted`] the SA reports a hard expiry.
    pub fn enter(
        &mut self,
        epoch: Epoch,
        block: u32,
        at_least: u64,
        random: &mut dyn Random,
    ) -> Result<(), EnterError> {
        if self.is_in(epoch) {
            return Ok(());
        }
        let term = self.begin(epoch, random)?;
        self.sequence.confirm_block(block);
        self.sequence.skip_to(at_least);
        let entered = self.sequence.enter(term);
        self.settle(entered)
    }

    /// Begins `epoch` exactly where the former owner stopped, though in a new term.
    ///
    /// # Errors
    /// [`EnterError`]; [`EnterError::Stale`] also when the half is in `epoch` already.
    pub fn continue_from(
        &mut self,
        epoch: Epoch,
        snapshot: &OutboundSnapshot,
        random: &mut dyn Random,
    ) -> Result<(), EnterError> {
        if self.is_in(epoch) {
            return Err(EnterError::Stale);
        }
        let term = self.begin(epoch, random)?;
        self.sequence.confirm_block(snapshot.block);
        self.meter.inherit(&snapshot.usage);
        let entered = self.sequence.continue_at(term, snapshot.next);
        self.settle(entered)
    }

    /// What [`Outbound::continue_from`] wants on the next owner. This half must not seal any more.
    #[must_use]
    pub fn snapshot(&self) -> OutboundSnapshot {
        OutboundSnapshot {
            next: self.sequence.next(),
            block: self.sequence.block(),
            usage: self.meter.usage(),
        }
    }

    /// Where the payload begins in a packet, which begins with the SPI.
    #[must_use]
    pub fn payload_offset(&self) -> usize {
        HEADER_LENGTH + self.transform.iv_length()
    }

    /// Length of the whole packet around `payload` bytes.
    #[must_use]
    pub fn sealed_length(&self, payload: usize) -> usize {
        let body = (payload + TRAILER_LENGTH).next_multiple_of(self.transform.alignment());
        self.payload_offset() + body + self.transform.icv_length()
    }

    /// The longest payload whose whole packet has at most `length` bytes.
    #[must_use]
    pub fn longest_payload(&self, length: usize) -> usize {
        let body = length.saturating_sub(self.payload_offset() + self.transform.icv_length());
        let aligned = body - body % self.transform.alignment();
        aligned.saturating_sub(TRAILER_LENGTH)
    }

    /// Makes an ESP packet of the payload of `length` bytes that stands at
    /// [`Outbound::payload_offset`] in `packet`, and returns the packet's length,
    /// [`Outbound::sealed_length`]. `ivs` is the worker's own.
    ///
    /// # Errors
    /// [`SealError`]; nothing in `packet` is of use then.
    pub fn seal(
        &mut self,
        now: Timestamp,
        next_header: u8,
        packet: &mut [u8],
        length: usize,
        ivs: &mut IvGenerator,
    ) -> Result<usize, SealError> {
        if length > packet.len() {
            return Err(SealError::NoRoom);
        }
        let sealed_length = self.sealed_length(length);
        let packet = packet.get_mut(..sealed_length).ok_or(SealError::NoRoom)?;
        if self.meter.is_over(now) {
            return Err(SealError::Expired);
        }
        let sequence = self.write_head(packet, ivs)?;
        self.write_trailer(packet, length, next_header);
        let high = self.esn.then(|| high_half(sequence));
        self.transform.seal(packet, high);
        self.meter.count(now, length);
        Ok(sealed_length)
    }

    /// The store has confirmed b; on a backup, its record says so.
    pub fn confirm_block(&mut self, block: u32) {
        self.sequence.confirm_block(block);
    }

    /// Notes, on a backup, how far an owner got beyond its confirmed range.
    pub fn learn_high_water(&mut self, sequence: u64) {
        self.sequence.skip_to(sequence);
    }

    /// The numbers go on `jump` higher (RFC 6311). One that leaves no number is the end of the SA.
    pub fn jump(&mut self, jump: u64) {
        let used = self.sequence.next().saturating_sub(1);
        self.sequence.skip_to(used.saturating_add(jump));
    }

    /// The b to be written to the record, when the confirmed range runs low. Asked again after a
    /// second if it was not confirmed; sealing goes on meanwhile.
    pub fn block_low(&mut self, now: Timestamp) -> Option<u32> {
        if self.entered.is_none() || self.exhausted { None } else { self.sequence.block_low(now) }
    }

    /// The highest sequence number used, when it is beyond what the store has confirmed.
    #[must_use]
    pub fn high_water(&self) -> Option<u64> {
        self.entered.and_then(|_| self.sequence.high_water())
    }

    /// The sequence number of the next packet.
    #[must_use]
    pub fn next_sequence(&self) -> u64 {
        self.sequence.next()
    }

    /// How many more takeovers the SA can live through.
    #[must_use]
    pub fn takeovers_left(&self) -> u32 {
        self.sequence.takeovers_left()
    }

    /// Its use so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.meter.usage()
    }

    /// A limit that was reached since the last call: of the lifetime, of the sequence numbers, or
    /// of the room for takeovers.
    pub fn expiry(&mut self, now: Timestamp) -> Option<Expiry> {
        let room = if self.exhausted {
            Some(Expiry::Hard)
        } else if self.sequence.takeovers_left() < self.takeover_reserve {
            Some(Expiry::Soft)
        } else {
            None
        };
        self.meter.expiry(now, room)
    }

    /// A new term, which nobody has used: epochs only rise.
    fn begin(&mut self, epoch: Epoch, random: &mut dyn Random) -> Result<Term, EnterError> {
        if epoch < self.born || self.entered.is_some_and(|entered| epoch <= entered) {
            return Err(EnterError::Stale);
        }
        self.entered = Some(epoch);
        self.meter.begin();
        self.ivs = None;
        let Some(term) = epoch.term(self.born) else {
            self.exhausted = true;
            return Err(EnterError::Exhausted);
        };
        self.ivs = Some(IvCounter::new(term, random));
        Ok(term)
    }

    /// Without sequence numbers there are no IVs either: nothing can be sealed.
    fn settle(&mut self, entered: Result<(), EnterError>) -> Result<(), EnterError> {
        self.exhausted = entered.is_err();
        if self.exhausted {
            self.ivs = None;
        }
        entered
    }

    /// SPI, sequence number and IV.
    fn write_head(&mut self, packet: &mut [u8], ivs: &mut IvGenerator) -> Result<u64, SealError> {
        let counter = self.ivs.as_mut().ok_or(if self.exhausted {
            SealError::Exhausted
        } else {
            SealError::NotEntered
        })?;
        let Some(sequence) = self.sequence.take() else {
            self.exhausted = true;
            return Err(SealError::Exhausted);
        };
        let header = Header { spi: self.spi, sequence: low_half(sequence) };
        packet[..HEADER_LENGTH].copy_from_slice(&header.emit());
        let iv = &mut packet[HEADER_LENGTH..];
        match self.transform {
            Transform::Aead(_) => {
                let Some(next) = counter.next_iv() else {
                    self.exhausted = true;
                    return Err(SealError::Exhausted);
                };
                iv[..next.len()].copy_from_slice(&next);
            }
            Transform::CbcHmac { .. } => {
                let next = ivs.next_iv();
                iv[..next.len()].copy_from_slice(&next);
            }
        }
        Ok(sequence)
    }

    /// Padding 1, 2, 3, …, its length, and the next header (RFC 4303 sections 2.4 to 2.6).
    fn write_trailer(&self, packet: &mut [u8], length: usize, next_header: u8) {
        let start = self.payload_offset() + length;
        let end = packet.len() - self.transform.icv_length();
        let pad_length = end - start - TRAILER_LENGTH;
        for (place, value) in packet[start..start + pad_length].iter_mut().zip(1u8..) {
            *place = value;
        }
        packet[end - 2] = u8::try_from(pad_length).unwrap_or(u8::MAX);
        packet[end - 1] = next_header;
    }
}
