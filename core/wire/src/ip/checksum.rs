//! The Internet checksum (RFC 1071), its pseudo-headers, and its incremental update (RFC 1624).

use core::net::IpAddr;

/// A one's complement sum in progress. It is kept in the machine's own byte order, which the sum
/// does not mind (RFC 1071 section 2), as the sum of 32-bit words, which the compiler turns into
/// vector instructions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// An empty sum.
    #[must_use]
    pub fn new() -> Sum {
        Sum(0)
    }

    /// The pseudo-header of a transport protocol over IPv4 or IPv6; `length` is that of the
    /// transport's header and content in octets. Both addresses are of one family.
    #[must_use]
    pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Sum {
        let mut sum = Sum::new();
        for address in [source, destination] {
            match address {
                IpAddr::V4(address) => sum.add(&address.octets()),
                IpAddr::V6(address) => sum.add(&address.octets()),
            }
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        sum.add(&length.to_be_bytes());
        sum.add(&[0, protocol]);
        sum
    }

    /// Adds octets. Of several pieces only the last may be of odd length.
    pub fn add(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut sum = self.0;
        for word in words {
            sum += u64::from(u32::from_ne_bytes(*word));
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        sum += u64::from(u32::from_ne_bytes(last));
        // Folded once, so that any number of pieces stays far from overflow.
        self.0 = (sum >> 32) + (sum & 0xffff_ffff);
    }

    /// The checksum: the complement of the sum.
    #[must_use]
    pub fn finish(self) -> u16 {
        !self.fold()
    }

    /// Whether what was added, its checksum field included, is in order.
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.fold() == u16::MAX
    }

    /// The 16-bit sum in network order. Not zero unless nothing but zeros was added.
    fn fold(self) -> u16 {
        let [a, b, c, d] = [self.0, self.0 >> 16, self.0 >> 32, self.0 >> 48]
            .map(|part| u32::try_from(part & 0xffff).unwrap_or(0));
        let mut sum = a + b + c + d;
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        u16::try_from(sum).unwrap_or(u16::MAX).to_be()
    }
}

/// The checksum of some octets.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let mut sum = Sum::new();
    sum.add(bytes);
    sum.finish()
}

/// The checksum after one 16-bit word under it has changed from `old` to `new` (RFC 1624, equation
/// 3).
#[must_use]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    !u16::try_from(sum).unwrap_or(u16::MAX)
}
