//! Why packets, or notes about them, were dropped, and how often. Every drop of a worker has one of
//! these reasons.

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// Why a packet was dropped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason {
            $($(#[doc = $doc])* $name,)*
        }

        impl DropReason {
            /// All reasons, in the order of their declaration.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)*];

            /// A name for metrics: lower case with underscores.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(DropReason::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    /// Too short, or a length field that does not fit.
    Malformed = "malformed",
    /// For an address that is no VIP of this node.
    UnknownVip = "unknown_vip",
    /// No inbound SA has this SPI.
    UnknownSpi = "unknown_spi",
    /// The integrity check failed.
    Unauthentic = "unauthentic",
    /// Received before, or too old for the window.
    Replayed = "replayed",
    /// Not accepted until the SA has been rekeyed (strict replay protection after a takeover).
    StrictReplay = "strict_replay",
    /// An inbound packet outside the selectors of the SA that it came through.
    Selector = "selector",
    /// An ESP payload that is neither IP nor, in transport mode, for the VIP.
    NextHeader = "next_header",
    /// The outer header says congestion experienced, the inner one does not know of it (RFC 6040).
    Congestion = "congestion",
    /// An outbound packet that no SA covers: fail closed.
    NoSa = "no_sa",
    /// The SA is past its hard lifetime.
    Expired = "expired",
    /// No sequence number or term is left.
    Exhausted = "exhausted",
    /// Larger than the path allows, and must not be fragmented.
    TooBig = "too_big",
    /// This node does not own the VIP.
    NotOwner = "not_owner",
    /// The queue of packets kept during a transfer is full.
    FreezeFull = "freeze_full",
    /// Kept for an owner that did not come.
    FreezeExpired = "freeze_expired",
    /// The queue of packets of unknown connections is full.
    WaitingFull = "waiting_full",
    /// A connection that nobody knows, and the packet does not open one.
    UnknownConnection = "unknown_connection",
    /// A fragment whose first part was not seen.
    UnknownFragment = "unknown_fragment",
    /// No healthy target for a new connection.
    NoTarget = "no_target",
    /// A target's packet of a connection that belongs to another target.
    WrongTarget = "wrong_target",
    /// The connection table is full.
    TableFull = "table_full",
    /// No keys for frames to that node.
    NoFabric = "no_fabric",
    /// A frame with an unknown SPI.
    FabricSpi = "fabric_spi",
    /// A frame whose integrity check failed.
    FabricUnauthentic = "fabric_unauthentic",
    /// A frame that was received before.
    FabricReplayed = "fabric_replayed",
    /// A frame that is none, though authentic.
    FabricMalformed = "fabric_malformed",
    /// A frame of an owner that has been followed by another.
    LowerEpoch = "lower_epoch",
    /// A late packet that has been forwarded before.
    Hops = "hops",
    /// No room to note what the kernel says of a path's MTU: packets that are too big stay lost.
    MtusFull = "mtus_full",
    /// The node does not fetch reports quickly enough.
    ReportsFull = "reports_full",
}

/// Number of dropped packets for each [`DropReason`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropCounts {
    counts: [u64; DropReason::ALL.len()],
}

impl Default for DropCounts {
    fn default() -> DropCounts {
        DropCounts { counts: [0; DropReason::ALL.len()] }
    }
}

impl DropCounts {
    /// How many were dropped for this reason.
    #[must_use]
    pub fn get(&self, reason: DropReason) -> u64 {
        self.counts[reason as usize]
    }

    /// Reasons that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .iter()
            .map(|&reason| (reason, self.get(reason)))
            .filter(|&(_, count)| count > 0)
    }

    /// Adds another worker's counts.
    pub fn add(&mut self, other: &DropCounts) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
    }

    pub(crate) fn count(&mut self, reason: DropReason) {
        self.counts[reason as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own_and_counts_alone() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
        let mut counts = DropCounts::default();
        counts.count(DropReason::NoSa);
        counts.count(DropReason::NoSa);
        let mut sum = DropCounts::default();
        sum.add(&counts);
        assert_eq!(sum.iter().collect::<Vec<_>>(), vec![(DropReason::NoSa, 2)]);
    }
}
