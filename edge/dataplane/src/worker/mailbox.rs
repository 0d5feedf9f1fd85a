//! How others reach a worker: instructions of the control plane, and packets that another worker
//! received. Both queues are bounded.

use std::io;

use crossbeam_queue::ArrayQueue;
use std::net::SocketAddr;
use std::sync::Arc;
use vipsec_path::{Command, HandOver};

use crate::sys::Signal;

/// Instructions that wait.
const INSTRUCTIONS: usize = 4096;
/// Packets that wait.
const PACKETS: usize = 4096;

/// What the control plane wants of a worker.
pub(crate) enum Instruction {
    /// For the path.
    Command(Box<Command>),
    /// An IKE message, to be sent by the last worker that takes it.
    Ike(Arc<IkeMessage>),
    /// The end.
    Stop,
}

/// An IKE message to be sent.
pub(crate) struct IkeMessage {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) message: Vec<u8>,
}

impl IkeMessage {
    /// One for each worker. None is left behind when the last has been given away: a worker may have
    /// come to it before its sender goes on.
    pub(crate) fn copies(self, workers: usize) -> impl Iterator<Item = Arc<IkeMessage>> {
        std::iter::repeat_n(Arc::new(self), workers)
    }

    /// A worker has come to it: the message, if all others have before.
    pub(super) fn taken(self: Arc<IkeMessage>) -> Option<IkeMessage> {
        Arc::into_inner(self)
    }
}

/// One worker's mailbox.
pub(crate) struct Mailbox {
    instructions: ArrayQueue<Instruction>,
    packets: ArrayQueue<(HandOver, Vec<u8>)>,
    /// Buffers to be used again.
    spare: ArrayQueue<Vec<u8>>,
    pub(super) signal: Signal,
}

impl Mailbox {
    /// An empty mailbox.
    pub(crate) fn new() -> io::Result<Mailbox> {
        Ok(Mailbox {
            instructions: ArrayQueue::new(INSTRUCTIONS),
            packets: ArrayQueue::new(PACKETS),
            spare: ArrayQueue::new(PACKETS),
            signal: Signal::new()?,
        })
    }

    /// Puts an instruction in and wakes the worker; gives it back when there is no room.
    pub(crate) fn instruct(&self, instruction: Instruction) -> Result<(), Instruction> {
        let pushed = self.instructions.push(instruction);
        self.signal.raise();
        pushed
    }

    pub(super) fn next_instruction(&self) -> Option<Instruction> {
        self.instructions.pop()
    }

    /// Puts a packet in, without waking the worker. Says no when there is no room.
    pub(super) fn hand_over(&self, kind: HandOver, packet: &[u8]) -> bool {
        if self.packets.is_full() {
            return false;
        }
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(packet);
        self.packets.push((kind, buffer)).is_ok()
    }

    pub(super) fn next_packet(&self) -> Option<(HandOver, Vec<u8>)> {
        self.packets.pop()
    }

    pub(super) fn recycle(&self, buffer: Vec<u8>) {
        let _ = self.spare.push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_says_no_and_buffers_come_back() {
        let mailbox = Mailbox::new().expect("eventfd");
        let kind = HandOver::Fabric { remote: "192.0.2.1:7401".parse().expect("address") };
        for _ in 0..PACKETS {
            assert!(mailbox.hand_over(kind, b"packet"));
        }
        assert!(!mailbox.hand_over(kind, b"packet"));
        let (_, buffer) = mailbox.next_packet().expect("one waits");
        assert_eq!(buffer, b"packet");
        mailbox.recycle(buffer);
        assert!(mailbox.hand_over(kind, b"p"));
        assert!(mailbox.spare.is_empty());
    }

    #[test]
    fn an_ike_message_leaves_when_the_last_worker_has_come_to_it() {
        let mailboxes = [(); 2].map(|()| Mailbox::new().expect("eventfd"));
        let address = "192.0.2.1:500".parse().expect("address");
        let message = IkeMessage { local: address, remote: address, message: b"hello".to_vec() };
        let mut copies = message.copies(mailboxes.len());
        let mut taken = Vec::new();
        // Each comes to it at once, while the sender is not through yet.
        for (mailbox, copy) in mailboxes.iter().zip(copies.by_ref()) {
            assert!(mailbox.instruct(Instruction::Ike(copy)).is_ok());
            taken.push(match mailbox.next_instruction() {
                Some(Instruction::Ike(message)) => message.taken().map(|ike| ike.message),
                _ => None,
            });
        }
        assert_eq!(taken, [None, Some(b"hello".to_vec())]);
        assert!(copies.next().is_none());
    }

    #[test]
    fn a_full_queue_gives_the_instruction_back() {
        let mailbox = Mailbox::new().expect("eventfd");
        for _ in 0..INSTRUCTIONS {
            assert!(mailbox.instruct(Instruction::Stop).is_ok());
        }
        assert!(mailbox.instruct(Instruction::Stop).is_err());
        assert!(mailbox.next_instruction().is_some());
        assert!(mailbox.instruct(Instruction::Stop).is_ok());
    }
}
