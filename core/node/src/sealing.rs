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

#[cfg(test)]
mod tests {
    use super::*;
    use vipsec_cluster::store::Revision;
    use vipsec_wire::id::NodeName;
    use vipsec_wire::record::v1::EpochRecord;

    struct Sevens;

    impl Random for Sevens {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(7);
        }
    }

    /// What stands in the store, to the last octet. The bytes of the records themselves are held in
    /// the wire crate.
    #[test]
    fn a_value_of_the_store_stays_readable() {
        let store_key = StoreKey::new(&[1; 32]).unwrap();
        let key = Key::new("vip/192.0.2.1/epoch").unwrap();
        let owner = NodeName::try_from("a".to_owned()).unwrap();
        let record = EpochRecord { epoch: Epoch(7), owner, incarnation: 300 };
        let operation = put(&store_key, key.clone(), Epoch(7), &record, &mut Sevens);
        let Operation::Put { value, .. } = operation else { panic!("{operation:?}") };
        let hex: String = value.iter().map(|octet| format!("{octet:02x}")).collect();
        let golden = "010000000000000007070707070707070707070707a082fe253fd03696d055823d08751be8ad1217df49ff67";
        assert_eq!(
            hex, golden,
            "the sealed form has changed: what a released version has written can not be opened any \
             more. A new form needs a new version of `Sealed`, beside which the old one stays readable"
        );
        let entry = Entry { key, value, revision: Revision(1) };
        assert_eq!(open(&store_key, &entry), Ok((Epoch(7), record)));
    }
}
