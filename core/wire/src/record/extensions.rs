//! What an IKE SA has beyond RFC 7296, as records hold it: what both sides have agreed on in
//! IKE_AUTH, and where a peer that moves (RFC 4555) stands.

use super::v1::IkeAddresses;
use crate::secret::SecretBytes;
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// Which side MOBIKE's rules mean. The initiator is who has begun the first IKE SA of a chain of
/// rekeys, whoever has begun the rekeys (RFC 4555 section 1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MobikeRole {
    /// We decide between which addresses packets go.
    Initiator,
    /// The peer decides.
    Responder,
}

/// What both sides have agreed on in IKE_AUTH; rekeyed IKE SAs inherit it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extensions {
    /// Long messages may travel in fragments (RFC 7383).
    pub fragmentation: bool,
    /// MOBIKE (RFC 4555), and which role is ours.
    pub mobike: Option<MobikeRole>,
    /// The peer answers IKEV2_MESSAGE_ID_SYNC (RFC 6311).
    pub message_id_sync: bool,
    /// The peer answers IPSEC_REPLAY_COUNTER_SYNC (RFC 6311).
    pub replay_counter_sync: bool,
    /// The peer follows a REDIRECT (RFC 5685); never one of ours if it did not begin.
    pub redirect: bool,
    /// With what the peer would prove that it has lost this IKE SA (RFC 6290), 16 to 128 octets.
    /// Not inherited: it belongs to the SPIs.
    pub crash_token: Option<SecretBytes>,
}

/// Where a peer is that may move (RFC 4555).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mobility {
    /// The peer's further addresses, as it has named them last (section 3.6).
    pub additional: Vec<IpAddr>,
    /// Where ESP goes until the addresses of the IKE SA are confirmed: by the return routability
    /// check as responder (section 3.7), by the answer to UPDATE_SA_ADDRESSES as initiator.
    pub esp: Option<IkeAddresses>,
    /// As initiator: the responder has to be told of the addresses.
    pub update: bool,
    /// As initiator: how the responder saw us last, as the NAT_DETECTION_DESTINATION_IP of its
    /// answer says (section 3.8). Belongs to the SPIs.
    pub seen_as: Vec<u8>,
}

/// A request of ours that tells the responder of other addresses (RFC 4555 section 3.5), or asks
/// the initiator whether it is where it says (section 3.7).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressCheck {
    /// The COOKIE2 that has to come back.
    pub cookie: Vec<u8>,
    /// The addresses that this is about.
    pub addresses: IkeAddresses,
}

/// Where the synchronisation of message IDs (RFC 6311) stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synchronisation {
    /// The ID of our next request when we last synchronised: the peer takes no second one for it.
    pub sent: Option<u32>,
    /// The last request of the peer's cluster.
    pub seen: Option<Synchronised>,
}

/// A synchronisation that the peer's cluster has asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synchronised {
    /// SHA-256 of the request.
    pub request: [u8; 32],
    /// The ID of the cluster's next request, as it says: only a higher one is taken again.
    pub send: u32,
    /// By how much our sequence numbers had to jump.
    pub jump: u64,
    /// The answer, byte for byte.
    pub response: Vec<u8>,
}

/// A synchronisation that we have asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synchronise {
    /// Comes back in the answer.
    pub nonce: [u8; 4],
    /// By how much the peer's outbound sequence numbers are to jump; 0: not at all.
    pub jump: u32,
}
