//! What the members of a cluster and their peers tell each other after a failover (RFC 6311 sections
//! 7.3 and 7.4): message IDs, and how far sequence numbers are to jump.

use crate::ParseError;

/// The data of IKEV2_MESSAGE_ID_SYNC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageIdSync {
    /// Ties the response to its request.
    pub nonce: [u8; 4],
    /// EXPECTED_SEND_REQ_MESSAGE_ID: the ID of the sender's next request.
    pub send: u32,
    /// EXPECTED_RECV_REQ_MESSAGE_ID: the ID that the sender expects in the next request to it.
    pub receive: u32,
}

impl MessageIdSync {
    /// Reads the data of the notification.
    ///
    /// # Errors
    /// `Length` when it is not twelve octets long.
    pub fn parse(data: &[u8]) -> Result<MessageIdSync, ParseError> {
        let wrong = ParseError::Length("IKEV2_MESSAGE_ID_SYNC");
        let (nonce, rest) = data.split_first_chunk::<4>().ok_or(wrong)?;
        let (send, rest) = rest.split_first_chunk::<4>().ok_or(wrong)?;
        let receive = <[u8; 4]>::try_from(rest).map_err(|_| wrong)?;
        let (send, receive) = (u32::from_be_bytes(*send), u32::from_be_bytes(receive));
        Ok(MessageIdSync { nonce: *nonce, send, receive })
    }

    /// The data of the notification.
    #[must_use]
    pub fn emit(self) -> Vec<u8> {
        [self.nonce, self.send.to_be_bytes(), self.receive.to_be_bytes()].concat()
    }
}

/// Reads the data of IPSEC_REPLAY_COUNTER_SYNC: by how much the receiver's outbound sequence numbers
/// are to jump, in four octets, or eight where there are extended ones.
///
/// # Errors
/// `Length` for any other number of octets.
pub fn parse_counter_sync(data: &[u8]) -> Result<u64, ParseError> {
    if let Ok(short) = <[u8; 4]>::try_from(data) {
        return Ok(u64::from(u32::from_be_bytes(short)));
    }
    let long = <[u8; 8]>::try_from(data);
    long.map(u64::from_be_bytes).map_err(|_| ParseError::Length("IPSEC_REPLAY_COUNTER_SYNC"))
}

/// The data of IPSEC_REPLAY_COUNTER_SYNC.
#[must_use]
pub fn emit_counter_sync(jump: u32, extended: bool) -> Vec<u8> {
    if extended { u64::from(jump).to_be_bytes().to_vec() } else { jump.to_be_bytes().to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_both_ways() {
        let sync = MessageIdSync { nonce: *b"abcd", send: 7, receive: 0x0102_0304 };
        assert_eq!(sync.emit(), b"abcd\0\0\0\x07\x01\x02\x03\x04");
        assert_eq!(MessageIdSync::parse(&sync.emit()), Ok(sync));
        for length in [0, 4, 11, 13] {
            assert!(MessageIdSync::parse(&vec![0; length]).is_err());
        }
    }

    #[test]
    fn jumps_in_both_lengths() {
        for extended in [false, true] {
            let data = emit_counter_sync(1 << 22, extended);
            assert_eq!(data.len(), if extended { 8 } else { 4 });
            assert_eq!(parse_counter_sync(&data), Ok(1 << 22));
        }
        assert!(parse_counter_sync(&[0; 5]).is_err());
    }
}
