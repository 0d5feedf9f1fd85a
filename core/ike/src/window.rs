//! Message IDs (RFC 7296 sections 2.2 and 2.3). Our window for the peer's requests is 1: one
//! request is answered before the next, and the answer is kept for its repetition. We have one
//! request of our own in flight, whatever window the peer grants.

use crate::exchange::contents::Contents;
use vipsec_wire::ike::NotifyType;
use vipsec_wire::record::v1::StoredResponse;

/// The message IDs of both directions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// ID of our next request.
    pub(crate) next_request: u32,
    /// ID that the peer's next request must have.
    pub(crate) expected_request: u32,
    /// The window that the peer has granted.
    pub(crate) peer_window: u32,
    /// The answer to the peer's last request.
    //= RFC 7296 section 2.1 #4: kept until the next request
    //= RFC 7296 section 2.3 #5: as many as our window of one
    pub(crate) last_response: Option<StoredResponse>,
}

/// The last ID that a request of ours may have; the next would be that of all that follow.
const LAST_REQUEST: u32 = u32::MAX - 1;
/// IDs that are left for the rekey of the IKE SA.
const RESERVE: u32 = 1 << 16;

/// What a request's message ID says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    /// To be handled.
    Fresh,
    /// To be answered with these bytes.
    Repetition(&'a StoredResponse),
    /// To be dropped.
    Outside,
}

impl Window {
    /// The window of a new IKE SA; the first IKE SA of a peer has used up the IDs of its initial
    /// exchanges.
    pub(crate) fn new(next_request: u32, expected_request: u32) -> Window {
        Window { next_request, expected_request, peer_window: 1, last_response: None }
    }

    /// Judges a request. `inherited`: this owner took the SA over, and its predecessor need not have
    /// stored the empty INFORMATIONAL requests that it answered; so the peer, which the message
    /// authenticates, may be ahead. Nothing that changes state can be replayed that way, since all
    /// of that is stored before it is answered.
    pub(crate) fn judge(&self, id: u32, inherited: bool) -> Verdict<'_> {
        match &self.last_response {
            // First, for after the last ID of all there is no next one to be expected.
            Some(response) if response.id == id => Verdict::Repetition(response),
            _ if id == self.expected_request => Verdict::Fresh,
            _ if inherited && id > self.expected_request => Verdict::Fresh,
            _ => Verdict::Outside,
        }
    }

    /// Few message IDs are left in either direction: they never start anew under the same keys (RFC
    /// 7296 section 2.2).
    pub(crate) fn is_worn(&self) -> bool {
        self.next_request.max(self.expected_request) >= LAST_REQUEST - RESERVE
    }

    /// There is no ID for another request of ours.
    pub(crate) fn is_used_up(&self) -> bool {
        self.next_request > LAST_REQUEST
    }

    /// SET_WINDOW_SIZE (RFC 7296 section 2.3): noted, though we never need more than 1.
    pub(crate) fn note_grant(&mut self, contents: &Contents) {
        //= RFC 7296 section 2.3 #1: four octets
        let notify = contents.notify(NotifyType::SET_WINDOW_SIZE);
        if let Some(Ok(size)) = notify.map(|notify| <[u8; 4]>::try_from(notify.data.as_slice())) {
            self.peer_window = u32::from_be_bytes(size).max(self.peer_window);
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self, id: u32, datagrams: Vec<Vec<u8>>) {
        self.expected_request = id.saturating_add(1);
        self.last_response = Some(StoredResponse { id, datagrams });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_after_the_other() {
        let mut window = Window::new(0, 2);
        assert_eq!(window.judge(2, false), Verdict::Fresh);
        assert_eq!(window.judge(3, false), Verdict::Outside);
        assert_eq!(window.judge(1, false), Verdict::Outside);
        window.answered(2, vec![vec![9]]);
        assert_eq!(window.judge(3, false), Verdict::Fresh);
        let repeated = StoredResponse { id: 2, datagrams: vec![vec![9]] };
        assert_eq!(window.judge(2, false), Verdict::Repetition(&repeated));
    }

    #[test]
    fn a_new_owner_lets_the_peer_be_ahead_but_never_behind() {
        let mut window = Window::new(0, 2);
        assert_eq!(window.judge(7, true), Verdict::Fresh);
        window.answered(7, vec![]);
        assert_eq!(window.judge(6, true), Verdict::Outside);
        assert_eq!(window.judge(20, true), Verdict::Fresh);
    }

    #[test]
    fn message_ids_end_and_never_start_anew() {
        let mut window = Window::new(LAST_REQUEST - RESERVE - 1, u32::MAX - 1);
        assert!(window.is_worn() && !window.is_used_up());
        assert!(!Window::new(7, LAST_REQUEST - RESERVE - 1).is_worn());
        window.answered(u32::MAX - 1, vec![vec![1]]);
        assert_eq!(window.judge(u32::MAX, false), Verdict::Fresh);
        window.answered(u32::MAX, vec![vec![2]]);
        let last = StoredResponse { id: u32::MAX, datagrams: vec![vec![2]] };
        assert_eq!(window.judge(u32::MAX, false), Verdict::Repetition(&last));
        assert_eq!(window.judge(0, true), Verdict::Outside);
        window.next_request = LAST_REQUEST + 1;
        assert!(window.is_used_up());
    }
}
