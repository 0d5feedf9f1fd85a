//! The load itself: always so many set-ups under way, and what they took.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::Arguments;
use crate::initiator::{Initiator, Progress};
use crate::sockets::Sockets;

/// How often repetitions are looked for.
const TICK: Duration = Duration::from_millis(20);
/// Failures of which the reason is told.
const TOLD: usize = 5;

/// What came out of it.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// SAs that were set up.
    established: u64,
    /// Initiations that came to nothing, and the first reasons.
    failed: u64,
    reasons: Vec<String>,
    /// Requests that were sent again.
    retransmits: u64,
    /// From the first request to the last response.
    elapsed_s: f64,
    /// From the first request of an SA to its last response.
    median_ms: f64,
    /// See [`Self::median_ms`]: of a thousand SAs all but one were faster.
    p999_ms: f64,
    /// The slowest.
    longest_ms: f64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Figures> {
    ensure!(arguments.window > 0 && arguments.count > 0, "no load without initiators");
    let mut sockets = Sockets::open(arguments.local)?;
    let mut under_way: HashMap<[u8; 8], Initiator> = HashMap::new();
    let mut numbers = arguments.first..arguments.first.saturating_add(arguments.count);
    let mut figures = Figures::default();
    let mut took_ms = Vec::new();
    let began = Instant::now();
    let mut ticked = began;
    loop {
        while under_way.len() < arguments.window
            && let Some(number) = numbers.next()
        {
            let (spi, mut initiator) = Initiator::start(arguments, number)?;
            initiator.settle(&sockets)?;
            under_way.insert(spi, initiator);
        }
        if under_way.is_empty() {
            break;
        }
        let mut stepped = Vec::new();
        for received in sockets.receive(TICK)? {
            // All messages of an IKE SA begin with the initiator's SPI (RFC 7296, section 3.1).
            let spi = received.message.get(..8).and_then(|spi| spi.try_into().ok());
            let Some((spi, initiator)) =
                spi.and_then(|spi: [u8; 8]| Some((spi, under_way.get_mut(&spi)?)))
            else {
                continue;
            };
            initiator.receive(&received);
            stepped.push(spi);
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            under_way.values_mut().for_each(Initiator::tick);
            stepped = under_way.keys().copied().collect();
        }
        for spi in stepped {
            let Some(initiator) = under_way.get_mut(&spi) else { continue };
            match initiator.settle(&sockets)? {
                Progress::UnderWay => continue,
                Progress::Established => took_ms.push(initiator.age().as_secs_f64() * 1e3),
                Progress::Failed(reason) => figures.fail(reason),
            }
            figures.retransmits += initiator.retransmits;
            under_way.remove(&spi);
        }
    }
    figures.elapsed_s = began.elapsed().as_secs_f64();
    figures.summarise(took_ms);
    Ok(figures)
}

impl Figures {
    fn fail(&mut self, reason: String) {
        self.failed += 1;
        if self.reasons.len() < TOLD {
            self.reasons.push(reason);
        }
    }

    fn summarise(&mut self, mut took_ms: Vec<f64>) {
        took_ms.sort_by(f64::total_cmp);
        self.established = took_ms.len() as u64;
        let at =
            |permille: usize| took_ms.get((took_ms.len() * permille).div_ceil(1000).max(1) - 1);
        self.median_ms = at(500).copied().unwrap_or_default();
        self.p999_ms = at(999).copied().unwrap_or_default();
        self.longest_ms = took_ms.last().copied().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let mut figures = Figures::default();
        figures.summarise((1..=2000).rev().map(f64::from).collect());
        assert_eq!(figures.established, 2000);
        assert_eq!(
            (figures.median_ms, figures.p999_ms, figures.longest_ms),
            (1000.0, 1998.0, 2000.0)
        );
    }

    #[test]
    fn no_times_give_no_percentiles() {
        let mut figures = Figures::default();
        figures.summarise(Vec::new());
        assert_eq!((figures.established, figures.p999_ms), (0, 0.0));
    }
}
