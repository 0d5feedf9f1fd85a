//! What happened: kept for a while, and given to everybody who follows, a JSON object a line.

use hyper::body::{Body, Bytes, Frame};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use vipsec_wire::time::Timestamp;

/// Events that are kept.
const KEPT: usize = 1000;
/// Lines that may wait for one follower; one that does not take them is cut off.
const WAITING: usize = 1024;
/// Followers at once.
const FOLLOWERS: usize = 64;

/// The events of this process.
#[derive(Debug, Default)]
pub struct EventLog {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    past: VecDeque<Bytes>,
    followers: Vec<mpsc::Sender<Bytes>>,
    count: u64,
}

impl EventLog {
    /// Notes an event of a kind that programs know, with a text for people and what it is about.
    /// Returns how many followers were cut off because they do not take their lines.
    pub fn note(
        &self,
        now: Timestamp,
        kind: &str,
        text: &str,
        fields: BTreeMap<&'static str, String>,
    ) -> usize {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.count += 1;
        let mut event: Value =
            json!({ "number": inner.count, "time_us": now.0, "event": kind, "text": text });
        if let Value::Object(members) = &mut event {
            members.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())));
        }
        let line = Bytes::from(format!("{event}\n"));
        let mut slow = 0;
        inner.followers.retain(|follower| match follower.try_send(line.clone()) {
            Ok(()) => true,
            Err(refused) => {
                slow += usize::from(matches!(refused, mpsc::error::TrySendError::Full(_)));
                false
            }
        });
        if inner.past.len() == KEPT {
            inner.past.pop_front();
        }
        inner.past.push_back(line);
        slow
    }

    /// The last `past` events, and all that will come; `None` when too many follow already.
    #[must_use]
    pub fn follow(&self, past: usize) -> Option<EventStream> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.followers.retain(|follower| !follower.is_closed());
        if inner.followers.len() >= FOLLOWERS {
            return None;
        }
        let (sender, lines) = mpsc::channel(WAITING);
        let skipped = inner.past.len().saturating_sub(past);
        let past = inner.past.iter().skip(skipped).cloned().collect();
        inner.followers.push(sender);
        Some(EventStream { past, lines })
    }
}

/// A body that goes on for as long as the process does.
#[derive(Debug)]
pub struct EventStream {
    past: VecDeque<Bytes>,
    lines: mpsc::Receiver<Bytes>,
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(line) = self.past.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(line))));
        }
        self.lines.poll_recv(cx).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
