//! AES-CBC without padding (RFC 3602): the protocols pad by their own rules.
//!
//! CBC wants IVs that an attacker cannot predict; [`IvGenerator`] makes them without a system call
//! per packet.

use crate::{KeyError, Random};
use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptingKey, DecryptionContext, EncryptingKey,
    EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use core::fmt;
use zeroize::Zeroizing;

/// Bytes of a block and of an IV.
pub const BLOCK_LENGTH: usize = 16;

/// One AES key (128, 192 or 256 bits) for both directions of CBC.
pub struct CbcKey {
    encrypting: EncryptingKey,
    decrypting: DecryptingKey,
}

impl CbcKey {
    /// Takes a key of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// [`KeyError::KeyLength`].
    pub fn new(key: &[u8]) -> Result<CbcKey, KeyError> {
        let wrong_length = KeyError::KeyLength { what: "AES-CBC", found: key.len(), wanted: 32 };
        let algorithm: &'static Algorithm = match key.len() {
            16 => &AES_128,
            24 => &AES_192,
            32 => &AES_256,
            _ => return Err(wrong_length),
        };
        let unbound = || UnboundCipherKey::new(algorithm, key);
        Ok(CbcKey {
            encrypting: unbound().and_then(EncryptingKey::cbc).map_err(|_| wrong_length)?,
            decrypting: unbound().and_then(DecryptingKey::cbc).map_err(|_| wrong_length)?,
        })
    }

    /// Encrypts whole blocks in place.
    ///
    /// # Errors
    /// [`KeyError::NotWholeBlocks`].
    pub fn encrypt_in_place(
        &self,
        iv: [u8; BLOCK_LENGTH],
        in_out: &mut [u8],
    ) -> Result<(), KeyError> {
        let length = whole_blocks(in_out)?;
        let context = EncryptionContext::Iv128(FixedLength::from(iv));
        let encrypted = self.encrypting.less_safe_encrypt(in_out, context);
        encrypted.map(|_| ()).map_err(|_| KeyError::NotWholeBlocks(length))
    }

    /// Decrypts whole blocks in place. Check the MAC first: CBC authenticates nothing.
    ///
    /// # Errors
    /// [`KeyError::NotWholeBlocks`].
    pub fn decrypt_in_place(
        &self,
        iv: [u8; BLOCK_LENGTH],
        in_out: &mut [u8],
    ) -> Result<(), KeyError> {
        let length = whole_blocks(in_out)?;
        let context = DecryptionContext::Iv128(FixedLength::from(iv));
        let decrypted = self.decrypting.decrypt(in_out, context);
        decrypted.map(|_| ()).map_err(|_| KeyError::NotWholeBlocks(length))
    }
}

fn whole_blocks(in_out: &[u8]) -> Result<usize, KeyError> {
    match in_out.len() % BLOCK_LENGTH {
        0 => Ok(in_out.len()),
        _ => Err(KeyError::NotWholeBlocks(in_out.len())),
    }
}

impl fmt::Debug for CbcKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CbcKey")
    }
}

/// Unpredictable IVs: the encryption of a counter under a secret key of its own (the first method
/// of NIST SP 800-38A, appendix C). Each worker has one, seeded at its start; the key is never
/// stored or handed over, so two owners share no stream.
#[derive(Debug)]
pub struct IvGenerator {
    key: CbcKey,
    counter: u128,
}

impl IvGenerator {
    /// Seeds a generator with a fresh key.
    ///
    /// # Errors
    /// None that can occur: the key has the right length. Kept so that nothing here panics.
    pub fn new(random: &mut dyn Random) -> Result<IvGenerator, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        random.fill(seed.as_mut());
        Ok(IvGenerator { key: CbcKey::new(seed.as_ref())?, counter: 0 })
    }

    /// The next IV.
    #[must_use]
    pub fn next_iv(&mut self) -> [u8; BLOCK_LENGTH] {
        self.counter = self.counter.wrapping_add(1);
        let mut block = self.counter.to_be_bytes();
        let encrypted = self.key.encrypt_in_place([0; BLOCK_LENGTH], &mut block);
        encrypted.expect("one block is a whole number of blocks");
        block
    }
}
