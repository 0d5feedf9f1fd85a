//! A transaction of the contract as one of etcd's, whose steps have no order: a key may be touched
//! once, and no put may stand in a range that is deleted. Within etcd's default limits: 128
//! operations on each level of nested transactions together, 1.5 MiB.

use super::messages::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, Request, RequestOp, TxnRequest,
};
use prost::Message as _;
use std::collections::BTreeMap;
use vipsec_cluster::store::{Condition, Key, Operation, Revision, StoreError, Transaction};

/// Operations on one level. Two levels of 64 are 128 together, which is etcd's `--max-txn-ops`.
const OPERATIONS: usize = 64;
/// etcd's `--max-request-bytes`, less what the frame around it takes.
const BYTES_MAX: usize = (3 << 19) - 1024;
/// `MOD` of etcd's comparisons.
const MOD: i32 = 2;

/// Where the keys stand in etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Ends with `/`.
    prefix: String,
}

impl Place {
    pub(super) fn new(prefix: &str) -> Place {
        Place { prefix: format!("{}/", prefix.trim_end_matches('/')) }
    }

    /// Says what this is, and is written anew by every transaction: its revision is that of the last.
    pub(super) fn head(&self) -> Vec<u8> {
        format!("{}head", self.prefix).into_bytes()
    }

    /// Written to see whether writing works.
    pub(super) fn trial(&self) -> Vec<u8> {
        format!("{}trial", self.prefix).into_bytes()
    }

    pub(super) fn record(&self, key: &str) -> Vec<u8> {
        format!("{}record/{key}", self.prefix).into_bytes()
    }

    /// The range of the records that begin so.
    pub(super) fn records(&self, prefix: &str) -> (Vec<u8>, Vec<u8>) {
        let begin = self.record(prefix);
        let end = beyond(&begin);
        (begin, end)
    }

    /// The range of everything.
    pub(super) fn all(&self) -> (Vec<u8>, Vec<u8>) {
        let begin = self.prefix.clone().into_bytes();
        let end = beyond(&begin);
        (begin, end)
    }

    /// The key of a record; `None` for anything else.
    pub(super) fn key(&self, name: &[u8]) -> Option<Key> {
        let name = core::str::from_utf8(name).ok()?;
        Key::new(name.strip_prefix(&self.prefix)?.strip_prefix("record/")?)
    }
}

/// The first name after all that begin with `prefix`, in the order of their bytes.
fn beyond(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// A revision as etcd counts; one that it never had for what cannot be.
fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0).ok().filter(|&number| number > 0).unwrap_or(-1)
}

/// What etcd is asked for.
///
/// # Errors
/// [`StoreError::TooLarge`]
pub(super) fn request(
    place: &Place,
    head: &[u8],
    transaction: &Transaction,
) -> Result<TxnRequest, StoreError> {
    transaction.check()?;
    let compare = transaction.conditions.iter().map(|condition| {
        let Condition::RevisionIs { key, revision } = condition;
        let mod_revision = Some(revision.map_or(0, number));
        Compare { target: MOD, key: place.record(key.as_str()), mod_revision }
    });
    let look = transaction.conditions.iter().map(|condition| {
        let key = place.record(condition.key().as_str());
        Request::Range(RangeRequest { key, keys_only: true, ..RangeRequest::default() }).into()
    });
    let (compare, failure) = (compare.collect(), look.collect());
    let mut steps = steps(place, &transaction.operations);
    let key = place.head();
    steps.push(
        match steps.is_empty() {
            true => {
                Request::Range(RangeRequest { key, keys_only: true, ..RangeRequest::default() })
            }
            false => Request::Put(PutRequest { key, value: head.to_vec() }),
        }
        .into(),
    );
    if steps.len() > OPERATIONS * OPERATIONS {
        return Err(StoreError::TooLarge(format!("a transaction of {} steps", steps.len())));
    }
    let request = TxnRequest { compare, success: nested(steps), failure };
    let bytes = request.encoded_len();
    if bytes > BYTES_MAX {
        return Err(StoreError::TooLarge(format!("a transaction of {bytes} bytes for etcd")));
    }
    Ok(request)
}

/// One level where that is enough, two otherwise.
fn nested(steps: Vec<RequestOp>) -> Vec<RequestOp> {
    if steps.len() <= OPERATIONS {
        return steps;
    }
    let chunks = steps.chunks(OPERATIONS);
    let txn = |success: &[RequestOp]| {
        Request::Txn(TxnRequest { success: success.to_vec(), ..TxnRequest::default() }).into()
    };
    chunks.map(txn).collect()
}

/// What the steps come to when they are done one after the other.
fn steps(place: &Place, operations: &[Operation]) -> Vec<RequestOp> {
    let mut puts: BTreeMap<Vec<u8>, &[u8]> = BTreeMap::new();
    let mut deleted: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for operation in operations {
        match operation {
            Operation::Put { key, value } => {
                puts.insert(place.record(key.as_str()), value);
            }
            Operation::Delete { key } => {
                let begin = place.record(key.as_str());
                puts.remove(&begin);
                deleted.push((begin.clone(), next(&begin)));
            }
            Operation::DeletePrefix { prefix } => {
                let (begin, end) = place.records(prefix);
                puts.retain(|key, _| *key < begin || *key >= end);
                deleted.push((begin, end));
            }
        }
    }
    deleted.sort();
    deleted.dedup();
    let mut out = Vec::new();
    for (mut begin, end) in deleted {
        for key in puts.range(begin.clone()..end.clone()).map(|(key, _)| key) {
            push_range(&mut out, begin, key.clone());
            begin = next(key);
        }
        push_range(&mut out, begin, end);
    }
    let put = |(key, value): (Vec<u8>, &[u8])| {
        Request::Put(PutRequest { key, value: value.to_vec() }).into()
    };
    out.extend(puts.into_iter().map(put));
    out
}

/// The name right after a name.
fn next(name: &[u8]) -> Vec<u8> {
    [name, &[0]].concat()
}

fn push_range(out: &mut Vec<RequestOp>, key: Vec<u8>, range_end: Vec<u8>) {
    if key < range_end {
        out.push(Request::DeleteRange(DeleteRangeRequest { key, range_end }).into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(name: &str) -> Operation {
        Operation::Put { key: Key::new(name).expect("a good key"), value: vec![1] }
    }

    fn shown(operations: &[Operation]) -> Vec<String> {
        let text = |name: Vec<u8>| String::from_utf8(name).expect("text").replace('\0', "+");
        let one = |step: RequestOp| match step.request.expect("a step") {
            Request::Put(put) => format!("put {}", text(put.key)),
            Request::DeleteRange(range) => {
                format!("delete {}..{}", text(range.key), text(range.range_end))
            }
            other => panic!("{other:?}"),
        };
        steps(&Place::new("p"), operations).into_iter().map(one).collect()
    }

    #[test]
    fn a_put_within_a_deleted_range_divides_it() {
        let doomed = Operation::DeletePrefix { prefix: "v/".to_owned() };
        assert_eq!(
            shown(&[put("v/0"), doomed, put("v/a"), put("w"), put("v/b")]),
            [
                "delete p/record/v/..p/record/v/a",
                "delete p/record/v/a+..p/record/v/b",
                "delete p/record/v/b+..p/record/v0",
                "put p/record/v/a",
                "put p/record/v/b",
                "put p/record/w",
            ]
        );
    }

    #[test]
    fn the_last_step_on_a_key_counts() {
        let delete = || Operation::Delete { key: Key::new("k").expect("a good key") };
        assert_eq!(shown(&[put("k"), put("k"), delete()]), ["delete p/record/k..p/record/k+"]);
        assert_eq!(shown(&[delete(), put("k")]), ["put p/record/k"]);
    }

    #[test]
    fn many_steps_are_nested_within_the_limits() {
        let operations: Vec<_> = (0..3000).map(|number| put(&format!("k/{number}"))).collect();
        let transaction = Transaction { conditions: Vec::new(), operations };
        let request = request(&Place::new("p"), b"head", &transaction).expect("it fits");
        assert_eq!(request.success.len(), 47);
        let mut steps = 0;
        for nested in request.success {
            let Some(Request::Txn(nested)) = nested.request else { panic!("nested") };
            assert!(nested.success.len() <= OPERATIONS);
            steps += nested.success.len();
        }
        assert_eq!(steps, 3001, "the head is among them");
    }
}
