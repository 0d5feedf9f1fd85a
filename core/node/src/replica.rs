//! What the store holds of one VIP, as this candidate has followed it: which records there are, up
//! to which revision, and their highest epochs.

use crate::sealing::{self, RecordError};
use core::net::IpAddr;
use std::collections::BTreeMap;
use vipsec_cluster::store::{Change, Entry, Key, Revision};
use vipsec_cluster::{EpochRead, RecordMaxima};
use vipsec_crypto::seal::StoreKey;
use vipsec_wire::id::{Epoch, EspSpi, IkeSaId, Vip};
use vipsec_wire::record::v1;

/// What a key of a VIP names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Epoch,
    Ike(IkeSaId),
    IkeState(IkeSaId),
    Child(EspSpi),
    ChildState(EspSpi),
    Edges,
    Lease(IpAddr),
}

/// Reads a key below the prefix of a VIP.
pub(crate) fn place(vip: Vip, key: &Key) -> Option<Place> {
    let prefix = Key::vip_prefix(vip);
    let rest = key.as_str().strip_prefix(prefix.as_str())?;
    let parts: Vec<&str> = rest.split('/').collect();
    let ike = |text: &str| u64::from_str_radix(text, 16).ok().map(IkeSaId);
    let esp = |text: &str| u32::from_str_radix(text, 16).ok().map(EspSpi);
    match parts.as_slice() {
        ["epoch"] => Some(Place::Epoch),
        ["edges"] => Some(Place::Edges),
        ["ike", id] => ike(id).map(Place::Ike),
        ["ike", id, "state"] => ike(id).map(Place::IkeState),
        ["child", spi] => esp(spi).map(Place::Child),
        ["lease", address] => address.parse().ok().map(Place::Lease),
        ["child", spi, "state"] => esp(spi).map(Place::ChildState),
        _ => None,
    }
}

/// A record that was opened.
#[derive(Debug, Clone)]
pub(crate) enum Opened {
    Ike(Box<v1::IkeConstant>),
    IkeState(IkeSaId, Box<v1::IkeMutable>),
    Child(Box<v1::ChildConstant>),
    ChildState(EspSpi, v1::ChildMutable),
    Edges(v1::Edges),
    Lease(Box<v1::Lease>),
}

/// One step of following the store.
#[derive(Debug)]
pub(crate) enum Step {
    /// The epoch record.
    Epoch(EpochRead),
    /// A record was put.
    Put(Opened),
    /// A record is gone.
    Gone(Place),
    /// A record cannot be used.
    Bad(Key, RecordError),
    /// The epoch record, of revision `at`, cannot be used; `read` has none in its place.
    BadEpoch { error: RecordError, at: Revision, read: EpochRead },
}

/// What is known of the records of one VIP.
#[derive(Debug)]
pub(crate) struct Replica {
    vip: Vip,
    /// Every record but the epoch record, with the epoch in which it was written.
    records: BTreeMap<Key, Epoch>,
    written: Epoch,
    born: Epoch,
    /// Followed up to here; `None` before the first load, and while a new one is wanted.
    pub(crate) followed: Option<Revision>,
}

impl Replica {
    pub(crate) fn new(vip: Vip) -> Replica {
        Replica { vip, records: BTreeMap::new(), written: Epoch(0), born: Epoch(0), followed: None }
    }

    /// What the cluster must know before a claim; `None` before the first load.
    pub(crate) fn maxima(&self) -> Option<RecordMaxima> {
        Some(RecordMaxima {
            followed: self.followed?,
            records: self.records.len() as u64,
            written: self.written,
            born: self.born,
        })
    }

    /// Everything anew, as of `revision`: constants first, so that an SA's parts are there before
    /// what rests on them.
    pub(crate) fn load(
        &mut self,
        store_key: &StoreKey,
        entries: &[Entry],
        revision: Revision,
        fresh: bool,
    ) -> Vec<Step> {
        *self = Replica::new(self.vip);
        self.followed = Some(revision);
        let mut steps: Vec<(u8, Step)> = Vec::new();
        let mut epoch = EpochRead { record: None, as_of: revision, fresh };
        let mut unreadable = None;
        for entry in entries {
            match self.put(store_key, entry) {
                Some(Step::Epoch(read)) => epoch.record = read.record,
                Some(Step::BadEpoch { error, at, .. }) => unreadable = Some((error, at)),
                Some(step) => steps.push((order(&step), step)),
                None => {}
            }
        }
        steps.sort_by_key(|(order, _)| *order);
        let mut all = vec![match unreadable {
            Some((error, at)) => Step::BadEpoch { error, at, read: epoch },
            None => Step::Epoch(epoch),
        }];
        all.extend(steps.into_iter().map(|(_, step)| step));
        all
    }

    /// One change that the watch has brought; nothing when the load had it already.
    pub(crate) fn change(&mut self, store_key: &StoreKey, change: &Change) -> Option<Step> {
        if self.followed.is_none_or(|followed| change.revision() <= followed) {
            return None;
        }
        match change {
            Change::Put(entry) => self.put(store_key, entry),
            Change::Deleted { key, revision } => {
                self.records.remove(key);
                let place = place(self.vip, key)?;
                if place == Place::Epoch {
                    let read = EpochRead { record: None, as_of: *revision, fresh: false };
                    return Some(Step::Epoch(read));
                }
                Some(Step::Gone(place))
            }
        }
    }

    /// The watch has brought everything up to here.
    pub(crate) fn reached(&mut self, revision: Revision) {
        if let Some(followed) = &mut self.followed {
            *followed = (*followed).max(revision);
        }
    }

    fn put(&mut self, store_key: &StoreKey, entry: &Entry) -> Option<Step> {
        let place = place(self.vip, &entry.key)?;
        match self.open(store_key, entry, place) {
            Ok(step) => Some(step),
            Err(error) if place == Place::Epoch => {
                let at = entry.revision;
                let read = EpochRead { record: None, as_of: at, fresh: false };
                Some(Step::BadEpoch { error, at, read })
            }
            Err(error) => {
                // It counts as a record, for a store full of them must not pass for an empty one.
                self.records.insert(entry.key.clone(), Epoch(0));
                Some(Step::Bad(entry.key.clone(), error))
            }
        }
    }

    fn open(
        &mut self,
        store_key: &StoreKey,
        entry: &Entry,
        place: Place,
    ) -> Result<Step, RecordError> {
        if place == Place::Epoch {
            let (_, record) = sealing::open::<v1::EpochRecord>(store_key, entry)?;
            let record = vipsec_cluster::EpochRecord {
                epoch: record.epoch,
                owner: record.owner,
                incarnation: record.incarnation,
            };
            let record = Some((record, entry.revision));
            return Ok(Step::Epoch(EpochRead { record, as_of: entry.revision, fresh: false }));
        }
        let (written, opened) = open_at(store_key, entry, place)?;
        self.records.insert(entry.key.clone(), written);
        self.written = self.written.max(written);
        let born = match &opened {
            Opened::Ike(constant) => constant.born,
            Opened::Child(constant) => constant.born,
            _ => Epoch(0),
        };
        self.born = self.born.max(born);
        Ok(Step::Put(opened))
    }
}

fn order(step: &Step) -> u8 {
    match step {
        Step::Put(Opened::Ike(_)) => 0,
        Step::Put(Opened::Child(_)) => 1,
        Step::Put(Opened::ChildState(..)) => 2,
        Step::Put(Opened::IkeState(..)) => 3,
        _ => 4,
    }
}

fn open_at(
    store_key: &StoreKey,
    entry: &Entry,
    place: Place,
) -> Result<(Epoch, Opened), RecordError> {
    match place {
        Place::Ike(id) => {
            let (epoch, record) = sealing::open::<v1::IkeConstant>(store_key, entry)?;
            let here = record.id == id;
            here.then_some((epoch, Opened::Ike(Box::new(record)))).ok_or(RecordError::Place)
        }
        Place::IkeState(id) => {
            let (epoch, record) = sealing::open(store_key, entry)?;
            Ok((epoch, Opened::IkeState(id, Box::new(record))))
        }
        Place::Child(spi) => {
            let (epoch, record) = sealing::open::<v1::ChildConstant>(store_key, entry)?;
            let here = record.inbound.spi == spi;
            here.then_some((epoch, Opened::Child(Box::new(record)))).ok_or(RecordError::Place)
        }
        Place::ChildState(spi) => {
            let (epoch, record) = sealing::open(store_key, entry)?;
            Ok((epoch, Opened::ChildState(spi, record)))
        }
        Place::Lease(address) => {
            let (epoch, record) = sealing::open::<v1::Lease>(store_key, entry)?;
            let here = record.address == address;
            here.then_some((epoch, Opened::Lease(Box::new(record)))).ok_or(RecordError::Place)
        }
        Place::Edges | Place::Epoch => {
            let (epoch, record) = sealing::open(store_key, entry)?;
            Ok((epoch, Opened::Edges(record)))
        }
    }
}
