//! Super-packets: what the kernel hands over as one is cut into the packets that go through the
//! tunnel, and what came through it is put together again.
//!
//! Everything here works on bytes alone and does no I/O.

mod flow;
mod merge;
mod segment;
mod virtio;

pub(crate) use merge::{Merger, Place, Write};
pub(crate) use segment::Segments;
