//! The classic capture file of libpcap: a header of 24 bytes, then records of 16 bytes and their
//! captured bytes, all numbers in the byte order of the writing machine.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};

const MAGIC_MICROSECONDS: u32 = 0xA1B2_C3D4;
const ETHERNET: u32 = 1;

/// A captured frame.
pub(super) struct Record {
    /// Wall-clock time, microseconds since 1970.
    pub(super) at_us: u64,
    /// Its first bytes.
    pub(super) bytes: Vec<u8>,
}

/// Opens a capture file; a last record that was cut off is left out.
pub(super) fn records(file: &Path) -> Result<impl Iterator<Item = Record>> {
    let opened = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut reader = BufReader::with_capacity(1 << 20, opened);
    let mut header = [0; 24];
    reader.read_exact(&mut header).context("a capture without header")?;
    if number(&header, 0) != MAGIC_MICROSECONDS || number(&header, 20) != ETHERNET {
        bail!("{} is no Ethernet capture in microseconds", file.display());
    }
    Ok(std::iter::from_fn(move || next(&mut reader)))
}

fn next(reader: &mut impl Read) -> Option<Record> {
    let mut header = [0; 16];
    reader.read_exact(&mut header).ok()?;
    let mut bytes = vec![0; usize::try_from(number(&header, 8)).ok()?];
    reader.read_exact(&mut bytes).ok()?;
    let at_us = u64::from(number(&header, 0)) * 1_000_000 + u64::from(number(&header, 4));
    Some(Record { at_us, bytes })
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
