//! Frames on the control connection: a length of four octets, network order, then the content.

use crate::ParseError;
use zeroize::{Zeroize, Zeroizing};

/// Longest content of a frame in octets: 4 MiB.
pub const FRAME_BYTES_MAX: usize = 4 << 20;

/// Most room that a decoder keeps between frames, in octets.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Octets of the length.
const LENGTH: usize = 4;

/// Puts a content into a frame.
///
/// # Errors
/// `Length` when the content is empty or longer than [`FRAME_BYTES_MAX`].
pub fn frame(content: &[u8]) -> Result<Zeroizing<Vec<u8>>, ParseError> {
    let length = checked_length(content.len())?;
    let mut out = Zeroizing::new(Vec::with_capacity(LENGTH + content.len()));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(content);
    Ok(out)
}

fn checked_length(length: usize) -> Result<u32, ParseError> {
    match u32::try_from(length) {
        Ok(short) if (1..=FRAME_BYTES_MAX).contains(&length) => Ok(short),
        _ => Err(ParseError::Length("frame")),
    }
}

/// Finds the frames in a stream, however it is cut. First [`FrameDecoder::handle_bytes`], then
/// [`FrameDecoder::poll_frame`] until it has none.
///
/// It never holds more than one incomplete frame besides what one call has brought, and makes room
/// for a frame only as its bytes come.
#[derive(Default)]
pub struct FrameDecoder {
    bytes: Vec<u8>,
    /// Octets at the front of `bytes` that were given out already.
    done: usize,
}

impl FrameDecoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> FrameDecoder {
        FrameDecoder::default()
    }

    /// Takes what the stream has brought.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        let left = self.bytes.len() - self.done;
        if self.bytes.capacity() - self.bytes.len() >= bytes.len() {
            self.bytes.extend_from_slice(bytes);
            return;
        }
        // Moved by hand, so that the old memory can be wiped.
        let room = (left + bytes.len()).next_power_of_two();
        let mut moved = Vec::with_capacity(room);
        moved.extend_from_slice(&self.bytes[self.done..]);
        moved.extend_from_slice(bytes);
        self.bytes.zeroize();
        self.bytes = moved;
        self.done = 0;
    }

    /// The content of the next frame that is complete.
    ///
    /// # Errors
    /// `Length` when a frame is empty or too long. The stream cannot be read on then: close it.
    pub fn poll_frame(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, ParseError> {
        let rest = &self.bytes[self.done..];
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        checked_length(length)?;
        let Some(content) = rest.get(..length) else {
            return Ok(None);
        };
        let content = Zeroizing::new(content.to_vec());
        self.done += LENGTH + length;
        if self.done == self.bytes.len() {
            self.forget();
        }
        Ok(Some(content))
    }
}

impl FrameDecoder {
    /// Wipes what was read, and gives back the room that a long frame has taken.
    fn forget(&mut self) {
        self.bytes.as_mut_slice().zeroize();
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.done = 0;
    }
}

impl Drop for FrameDecoder {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl core::fmt::Debug for FrameDecoder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "FrameDecoder({} bytes waiting)", self.bytes.len() - self.done)
    }
}
