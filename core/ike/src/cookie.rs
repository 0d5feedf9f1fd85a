//! Cookies against floods of IKE_SA_INIT from forged addresses (RFC 7296 section 2.6). No state is
//! kept per peer: a cookie is a MAC over what the peer will send again, under a secret that
//! changes. It also says how hard a puzzle went with it (RFC 8019, in `puzzle`).

use core::net::SocketAddr;
use core::time::Duration;
use vipsec_crypto::prf::PrfAlgorithm;
use vipsec_crypto::{Random, digest};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

/// How long a secret is used for new cookies; it is accepted for as long again.
const ROTATION: Duration = Duration::from_secs(60);

/// The secrets, the newest first, with their version numbers.
#[derive(Debug, Default)]
pub(crate) struct CookieJar {
    current: Option<Secret>,
    previous: Option<Secret>,
}

#[derive(Debug)]
struct Secret {
    version: u8,
    since: Timestamp,
    key: SecretBytes,
}

/// What identifies the attempt that a cookie is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) spi_initiator: u64,
    pub(crate) nonce: &'a [u8],
    pub(crate) remote: SocketAddr,
}

impl Secret {
    fn cookie(&self, attempt: Attempt<'_>, puzzle_bits: u8) -> Vec<u8> {
        let spi = attempt.spi_initiator.to_be_bytes();
        let (address, port) = match attempt.remote {
            SocketAddr::V4(v4) => (v4.ip().octets().to_vec(), v4.port().to_be_bytes()),
            SocketAddr::V6(v6) => (v6.ip().octets().to_vec(), v6.port().to_be_bytes()),
        };
        let parts: [&[u8]; 5] = [attempt.nonce, &spi, &address, &port, &[puzzle_bits]];
        let tag = PrfAlgorithm::HmacSha2_256.prf(self.key.expose(), &parts);
        //= RFC 7296 section 2.6 #2: 34 octets
        [&[self.version, puzzle_bits], tag.expose()].concat()
    }
}

impl CookieJar {
    /// The cookie that is wanted for an attempt; `puzzle_bits`: how hard a puzzle goes with it, 0 if
    /// none does.
    pub(crate) fn make(
        &mut self,
        now: Timestamp,
        attempt: Attempt<'_>,
        puzzle_bits: u8,
        rng: &mut dyn Random,
    ) -> Vec<u8> {
        self.rotate(now, rng);
        self.current.as_ref().map_or_else(Vec::new, |secret| secret.cookie(attempt, puzzle_bits))
    }

    /// How hard a puzzle went with a cookie, if that is one of ours for this attempt and not too old.
    pub(crate) fn check(&self, now: Timestamp, attempt: Attempt<'_>, cookie: &[u8]) -> Option<u8> {
        let puzzle_bits = *cookie.get(1)?;
        let mut secrets = self.current.iter().chain(&self.previous);
        let known = secrets.any(|secret| {
            now.since(secret.since) < 2 * ROTATION
                && digest::constant_time_eq(&secret.cookie(attempt, puzzle_bits), cookie)
        });
        known.then_some(puzzle_bits)
    }

    fn rotate(&mut self, now: Timestamp, rng: &mut dyn Random) {
        let fresh = |secret: &Secret| now.since(secret.since) < ROTATION;
        if self.current.as_ref().is_some_and(fresh) {
            return;
        }
        let version = self.current.as_ref().map_or(0, |secret| secret.version.wrapping_add(1));
        let mut key = vec![0; 32];
        rng.fill(&mut key);
        let key = SecretBytes::new(key);
        self.previous = self.current.replace(Secret { version, since: now, key });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u8);

    impl Random for Counting {
        fn fill(&mut self, out: &mut [u8]) {
            self.0 += 1;
            out.fill(self.0);
        }
    }

    fn attempt(nonce: &[u8]) -> Attempt<'_> {
        let remote = "192.0.2.1:500".parse().unwrap();
        Attempt { spi_initiator: 7, nonce, remote }
    }

    #[test]
    fn a_cookie_is_good_for_its_attempt_alone() {
        let (mut jar, mut rng) = (CookieJar::default(), Counting(0));
        let cookie = jar.make(Timestamp(0), attempt(b"nonce"), 17, &mut rng);
        assert_eq!(jar.check(Timestamp(1), attempt(b"nonce"), &cookie), Some(17));
        assert_eq!(jar.check(Timestamp(1), attempt(b"other"), &cookie), None);
        let mut easier = cookie.clone();
        easier[1] = 1;
        assert_eq!(jar.check(Timestamp(1), attempt(b"nonce"), &easier), None);
        let elsewhere = Attempt { remote: "192.0.2.2:500".parse().unwrap(), ..attempt(b"nonce") };
        assert_eq!(jar.check(Timestamp(1), elsewhere, &cookie), None);
        assert_eq!(jar.check(Timestamp(1), attempt(b"nonce"), b""), None);
    }

    #[test]
    fn secrets_rotate_and_expire() {
        let (mut jar, mut rng) = (CookieJar::default(), Counting(0));
        let start = Timestamp(1_000_000);
        let old = jar.make(start, attempt(b"nonce"), 0, &mut rng);
        let later = start + ROTATION;
        let new = jar.make(later, attempt(b"nonce"), 0, &mut rng);
        assert_ne!(old, new);
        assert_eq!(jar.check(later, attempt(b"nonce"), &old), Some(0));
        assert_eq!(jar.check(later, attempt(b"nonce"), &new), Some(0));
        let much_later = start + 2 * ROTATION;
        assert_eq!(jar.check(much_later, attempt(b"nonce"), &old), None);
        assert_eq!(jar.check(much_later, attempt(b"nonce"), &new), Some(0));
    }
}
