//! Faults that are put in on purpose, each to try one checker. They stand in the simulator's own
//! wiring; the code under test is as it is.

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Now and then an ESP packet leaves twice, the second time with other content under the same
    /// IV.
    RepeatIv,
    /// After a takeover, an owner's packets carry sequence numbers of long ago.
    GoBack,
    /// The store confirms what it has not written.
    ForgetfulStore,
    /// The cluster's IKE messages look as if they were not encrypted.
    BareAnswers,
    /// Workers are never told that another node is the owner.
    DeafWorkers,
    /// Packets are given to the kernel twice.
    DeliverTwice,
    /// Packets of connections go to another target now and then.
    WrongTarget,
    /// Packets that reach a frozen process are lost.
    LoseWhenFrozen,
    /// A new owner writes something more before it begins.
    WriteAtTakeover,
    /// Now and then an inner packet leaves as it is.
    InClear,
    /// In the calm at the end nothing of the cluster's reaches the peers.
    Mute,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Sabotage; 11] = [
        Sabotage::RepeatIv,
        Sabotage::GoBack,
        Sabotage::ForgetfulStore,
        Sabotage::BareAnswers,
        Sabotage::DeafWorkers,
        Sabotage::DeliverTwice,
        Sabotage::WrongTarget,
        Sabotage::LoseWhenFrozen,
        Sabotage::WriteAtTakeover,
        Sabotage::InClear,
        Sabotage::Mute,
    ];
}
