//! Key files: the store key, the identity of a node, pre-shared keys. Each is a short text that
//! says what it is, so that one cannot be taken for another; only its owner may read it.

mod file;
pub mod pem;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::io;
use std::path::{Path, PathBuf};
use vipsec_crypto::Random;
use vipsec_crypto::identity::{Identity, PublicKey};
use vipsec_crypto::seal::{KEY_LENGTH, StoreKey};
use vipsec_wire::secret::SecretBytes;
use zeroize::Zeroizing;

/// Why a key file cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be opened, read or written.
    #[error("{}: cannot be used", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is a file of that name already.
    #[error("{}: exists already and is not overwritten; remove it first if it is not needed", .0.display())]
    Exists(PathBuf),
    /// Others than the owner may read it.
    #[error("{}: mode {mode:04o} lets others than its owner in; mend it with `chmod 600 {}`", path.display(), path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is no file.
    #[error("{}: is no regular file", .0.display())]
    NotAFile(PathBuf),
    /// It does not hold what is looked for.
    #[error("{}: is no {wanted}; `vipsec keygen {command} FILE` makes one", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
        /// The command that makes it.
        command: &'static str,
    },
    /// A pre-shared key that cannot be one.
    #[error("{}: {why}", path.display())]
    Psk {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// The first word of a key file, its meaning, and the command that makes one.
struct Kind {
    word: &'static str,
    name: &'static str,
    command: &'static str,
}

const STORE: Kind = Kind { word: "vipsec-store-key-1", name: "store key", command: "store" };
const NODE: Kind = Kind { word: "vipsec-node-key-1", name: "node key", command: "node" };

/// Makes a store key file.
///
/// # Errors
/// [`KeyFileError`], also when the file exists.
pub fn generate_store(path: &Path, random: &mut dyn Random) -> Result<(), KeyFileError> {
    let mut key = Zeroizing::new([0; KEY_LENGTH]);
    random.fill(key.as_mut());
    write(path, &STORE, key.as_ref())
}

/// Makes a node key file and returns its public half.
///
/// # Errors
/// [`KeyFileError`], also when the file exists.
pub fn generate_node(path: &Path, random: &mut dyn Random) -> Result<PublicKey, KeyFileError> {
    let mut seed = Zeroizing::new([0; 32]);
    random.fill(seed.as_mut());
    let identity = Identity::from_seed(&seed).map_err(|_| foreign(path, &NODE))?;
    write(path, &NODE, seed.as_ref())?;
    Ok(identity.public_key())
}

/// Reads a store key.
///
/// # Errors
/// [`KeyFileError`]
pub fn read_store(path: &Path) -> Result<StoreKey, KeyFileError> {
    StoreKey::new(read(path, &STORE)?.as_slice()).map_err(|_| foreign(path, &STORE))
}

/// Reads a node's identity.
///
/// # Errors
/// [`KeyFileError`]
pub fn read_node(path: &Path) -> Result<Identity, KeyFileError> {
    Identity::from_seed(&*read(path, &NODE)?).map_err(|_| foreign(path, &NODE))
}

/// Reads a pre-shared key: the whole text without the line end.
///
/// # Errors
/// [`KeyFileError`]
pub fn read_psk(path: &Path) -> Result<SecretBytes, KeyFileError> {
    let text = file::read_private(path)?;
    psk_from_text(text.trim_end_matches(['\r', '\n']))
        .map_err(|why| KeyFileError::Psk { path: path.to_owned(), why })
}

/// Reads a text that only its owner may read, such as a password.
///
/// # Errors
/// [`KeyFileError`]
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    file::read_private(path)
}

/// Reads a file that is no secret, such as a certificate.
///
/// # Errors
/// [`KeyFileError::Io`]
pub fn read_public(path: &Path) -> Result<Vec<u8>, KeyFileError> {
    std::fs::read(path).map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
}

/// Writes a secret into a new file that only its owner may read.
///
/// # Errors
/// [`KeyFileError`]; a file that is there is left as it is.
pub fn write_secret(path: &Path, secret: &str) -> Result<(), KeyFileError> {
    file::write_new(path, secret)
}

/// A pre-shared key as written: the text itself, or `0x…` in hexadecimal, or `0s…` in base64.
///
/// # Errors
/// What is wrong and what is allowed; never the key.
//= RFC 7296 section 2.15 #1: text of any length
//= RFC 7296 section 2.15 #2: as it is
//= RFC 7296 section 2.15 #3: or hexadecimal behind 0x
pub fn psk_from_text(text: &str) -> Result<SecretBytes, String> {
    let bytes = if let Some(hex) = text.strip_prefix("0x") {
        from_hex(hex)
            .ok_or("the key after 0x is not hexadecimal; allowed are pairs of 0-9 and a-f")?
    } else if let Some(base64) = text.strip_prefix("0s") {
        BASE64
            .decode(base64)
            .map_err(|_| "the key after 0s is not base64; allowed is base64 with padding")?
    } else {
        text.as_bytes().to_vec()
    };
    if bytes.is_empty() {
        return Err("the pre-shared key is empty; allowed is any other".to_owned());
    }
    Ok(SecretBytes::new(bytes))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect()
}

/// The text of a public key, as configurations have it.
#[must_use]
pub fn public_to_text(key: &PublicKey) -> String {
    BASE64.encode(key.0)
}

/// A public key from its text.
///
/// # Errors
/// What is wrong and what is allowed.
pub fn public_from_text(text: &str) -> Result<PublicKey, String> {
    let bytes = BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(PublicKey).ok_or_else(|| {
        format!("{text:?} is no public key; allowed is what `vipsec keygen public FILE` prints")
    })
}

fn write(path: &Path, kind: &Kind, key: &[u8]) -> Result<(), KeyFileError> {
    let encoded = Zeroizing::new(BASE64.encode(key));
    file::write_new(path, &Zeroizing::new(format!("{} {}\n", kind.word, *encoded)))
}

fn read(path: &Path, kind: &Kind) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let text = file::read_private(path)?;
    let mut words = text.split_ascii_whitespace();
    let (word, encoded) = (words.next(), words.next());
    if word != Some(kind.word) || words.next().is_some() {
        return Err(foreign(path, kind));
    }
    let key = encoded.and_then(|encoded| BASE64.decode(encoded).ok()).map(Zeroizing::new);
    let key = key.and_then(|key| <[u8; 32]>::try_from(key.as_slice()).ok());
    key.map(Zeroizing::new).ok_or_else(|| foreign(path, kind))
}

fn foreign(path: &Path, kind: &Kind) -> KeyFileError {
    KeyFileError::Foreign { path: path.to_owned(), wanted: kind.name, command: kind.command }
}

/// Reads a file of users: a line each with name and password, a blank between them. Empty lines and
/// those that begin with `#` say nothing.
///
/// # Errors
/// [`KeyFileError`]; never with a password.
pub fn read_users(path: &Path) -> Result<Vec<(String, SecretBytes)>, KeyFileError> {
    let text = file::read_private(path)?;
    let lines = text.lines().map(str::trim).enumerate();
    let said = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut users: Vec<(String, SecretBytes)> = Vec::new();
    for (number, line) in said {
        let wrong = |why: &str| KeyFileError::Psk {
            path: path.to_owned(),
            why: format!("line {}: {why}; allowed is a name, a blank and a password", number + 1),
        };
        let (name, password) =
            line.split_once(char::is_whitespace).ok_or_else(|| wrong("no password"))?;
        if users.iter().any(|(known, _)| known == name) {
            return Err(wrong("the name is there already"));
        }
        users.push((name.to_owned(), SecretBytes::from(password.trim_start().as_bytes())));
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::OsRandom;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_made_and_read_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, node) = (dir.path().join("store.key"), dir.path().join("node.key"));
        generate_store(&store, &mut OsRandom::default()).expect("made");
        let public = generate_node(&node, &mut OsRandom::default()).expect("made");
        assert_eq!(read_node(&node).expect("read").public_key(), public);
        assert_eq!(public_from_text(&public_to_text(&public)), Ok(public));
        read_store(&store).expect("read");
        for file in [&store, &node] {
            let mode = std::fs::metadata(file).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn users_have_a_line_each() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("users");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("written");
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&path, mode).expect("narrowed");
            read_users(&path)
        };
        let users = read("# who\n\nalice  with blanks in it\n bob\tx \n").expect("read");
        let user =
            |name: &str, password: &str| (name.to_owned(), SecretBytes::from(password.as_bytes()));
        assert_eq!(users, [user("alice", "with blanks in it"), user("bob", "x")]);
        for (text, line) in [("alice\n", "line 1"), ("a b\n\na c\n", "line 3")] {
            let why = read(text).expect_err("a mistake").to_string();
            assert!(why.contains(line) && !why.contains(" c"), "{why}");
        }
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, open).expect("widened");
        assert!(matches!(read_users(&path), Err(KeyFileError::Open { .. })));
    }

    #[test]
    fn one_is_not_taken_for_the_other_and_none_is_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("store.key");
        generate_store(&file, &mut OsRandom::default()).expect("made");
        let before = std::fs::read(&file).expect("there");
        let why = read_node(&file).expect_err("a store key").to_string();
        assert!(why.contains("is no node key") && why.contains("keygen node"), "{why}");
        let again = generate_store(&file, &mut OsRandom::default()).expect_err("exists");
        assert!(matches!(again, KeyFileError::Exists(_)));
        assert_eq!(std::fs::read(&file).expect("there"), before);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("node.key");
        generate_node(&file, &mut OsRandom::default()).expect("made");
        for mode in [0o640, 0o604, 0o660] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&file, permissions).expect("set");
            let why = read_node(&file).expect_err("open").to_string();
            assert!(why.contains(&format!("{mode:04o}")) && why.contains("chmod 600"), "{why}");
        }
    }

    //= RFC 7296 section 2.15 #2: nothing is added
    //= RFC 7296 section 2.15 #3: hexadecimal
    #[test]
    fn pre_shared_keys_in_their_forms() {
        let read = |text: &str| psk_from_text(text).map(|key| key.expose().to_vec());
        assert_eq!(read("topsecret"), Ok(b"topsecret".to_vec()));
        assert_eq!(read("0x00ff"), Ok(vec![0, 255]));
        assert_eq!(read("0sAAEC"), Ok(vec![0, 1, 2]));
        for text in ["", "0x", "0xabc", "0x+1", "0s*"] {
            let why = read(text).expect_err("no key");
            assert!(why.contains("allowed") && !why.contains("abc"), "{why}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let why = read_store(Path::new("/nonexistent/key")).expect_err("missing").to_string();
        assert!(why.starts_with("/nonexistent/key: "), "{why}");
    }
}
