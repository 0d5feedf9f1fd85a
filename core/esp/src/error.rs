//! Why a packet is not sealed or not opened. What the peer or the network did ([`EspError`]) is
//! apart from what we cannot do ([`SealError`], [`EnterError`]).

/// An ESP packet that is dropped. Each variant is a reason to count by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum EspError {
    /// Too short to be an ESP packet of this SA, or not a whole number of cipher blocks.
    #[error("ESP packet is truncated")]
    Truncated,
    /// Its sequence number was seen before.
    #[error("ESP packet is a replay")]
    Replayed,
    /// Its sequence number is 0 or below the replay window.
    #[error("ESP sequence number is outside of the replay window")]
    OutsideWindow,
    /// Its integrity check value is wrong.
    #[error("ESP packet is not authentic")]
    NotAuthentic,
    /// The authenticated peer padded against RFC 4303 section 2.4.
    #[error("ESP padding is malformed")]
    Padding,
    /// The SA was taken over in strict mode and accepts nothing until it has been rekeyed.
    #[error("SA accepts nothing until it is rekeyed")]
    AwaitingRekey,
    /// The hard lifetime of the SA is over.
    #[error("SA is expired")]
    Expired,
    /// The half has not entered an epoch: this node is not the owner.
    #[error("SA has not entered an epoch")]
    NotEntered,
}

/// A packet that we do not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum SealError {
    /// The buffer ends before the trailer and the integrity check value.
    #[error("no room in the buffer for the ESP trailer")]
    NoRoom,
    /// The half has not entered an epoch: this node has not been the owner.
    #[error("SA has not entered an epoch")]
    NotEntered,
    /// Sequence numbers or IVs are used up.
    #[error("sequence numbers of the SA are used up")]
    Exhausted,
    /// The hard lifetime of the SA is over.
    #[error("SA is expired")]
    Expired,
}

/// An epoch that a half cannot enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum EnterError {
    /// The epoch is older than one that the half is in already, or than the birth of its keys.
    #[error("epoch is in the past of the SA")]
    Stale,
    /// There have been so many epochs that no IV or sequence number is left for this one.
    #[error("the SA has no terms left")]
    Exhausted,
}
