//! Records on their way into the store and out of it: encoded, then sealed under the store key for
//! the place where they stand and the epoch in which they were written.

use vipsec_cluster::store::{Entry, Key, Operation};
use vipsec_crypto::Random;
use vipsec_crypto::seal::StoreKey;
use vipsec_wire::ParseError;
use vipsec_wire::id::Epoch;
use vipsec_wire::record::{self, Record, Sealed};

/// A record that cannot be used. The store keeps it as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Its outer form.
    #[error("it is no sealed record")]
    Form(#[source] ParseError),
    /// It was sealed with another key, for another place or in another epoch, or was changed.
    #[error("it does not open with this store key at this place")]
    Seal,
    /// What is inside.
    #[error("its content cannot be read")]
    Content(#[source] ParseError),
    /// It names something else than the key under which it stands.
    #[error("it belongs to another place")]
    Place,
}

/// Seals a record for its place.
pub(crate) fn put<T: Record>(
    store_key: &StoreKey,
    key: Key,
    epoch: Epoch,
    record: &T,
    random: &mut dyn Random,
) -> Operation {
    let plain = record::encode(record);
    let aad = Sealed::associated_data(key.as_str(), epoch);
    let body = store_key.seal(&aad, plain.expose(), random);
    let value = Sealed { epoch, body }.emit();
    Operation::Put { key, value }
}

/// Opens the record of an entry, and says in which epoch it was written.
pub(crate) fn open<T: Record>(
    store_key: &StoreKey,
    entry: &Entry,
) -> Result<(Epoch, T), RecordError> {
    let sealed = Sealed::parse(&entry.value).map_err(RecordError::Form)?;
    let aad = Sealed::associated_data(entry.key.as_str(), sealed.epoch);
    let plain = store_key.open(&aad, &sealed.body).map_err(|_| RecordError::Seal)?;
    let record = record::decode(plain.expose()).map_err(RecordError::Content)?;
    Ok((sealed.epoch, record))
}
