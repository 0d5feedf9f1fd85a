//! The records of IKE SAs, version 1: what is written once, what changes, and the half-open ones
//! that are mirrored to the backups but not stored.
//!
//! These are forms of storage, apart from the engine's live types. Child SAs have records of their
//! own; which IKE SA a Child SA belongs to stands in the mutable record of the IKE SA alone, so
//! that a rekeyed IKE SA inherits any number of them with one write (RFC 7296 section 2.18).

use super::eap::EapProgress;
use super::v1::{AddressCheck, Extensions, Mobility, Synchronisation, Synchronise};
use crate::id::{Epoch, EspSpi, IkeSaId, Vip};
use crate::ike::{
    AdditionalGroups, Encryption, Group, Identity, IkeSpis, Integrity, Prf, SecurityAssociation,
    TrafficSelector,
};
use crate::secret::SecretBytes;
use crate::time::Timestamp;
use core::net::{IpAddr, SocketAddr};
use serde::{Deserialize, Serialize};

/// The algorithms of an IKE SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IkeAlgorithms {
    /// Of the Encrypted payload.
    pub encryption: Encryption,
    /// [`Integrity::None`] with an AEAD.
    pub integrity: Integrity,
    /// Of all key derivation.
    pub prf: Prf,
    /// The group of the key exchange that made the keys.
    pub group: Group,
    /// The methods of the additional key exchanges that made them too (RFC 9370).
    pub additional: AdditionalGroups,
}

/// The keys of an IKE SA (RFC 7296 section 2.14).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IkeKeys {
    /// SK_d
    pub d: SecretBytes,
    /// SK_ai, empty with an AEAD
    pub ai: SecretBytes,
    /// SK_ar, empty with an AEAD
    pub ar: SecretBytes,
    /// SK_ei, with its salt for an AEAD
    pub ei: SecretBytes,
    /// SK_er, with its salt for an AEAD
    pub er: SecretBytes,
    /// SK_pi
    pub pi: SecretBytes,
    /// SK_pr
    pub pr: SecretBytes,
}

/// What is written once for an established IKE SA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IkeConstant {
    /// Our SPI, the name of the SA.
    pub id: IkeSaId,
    /// The first IKE SA of the chain of rekeys that led to this one; `id` itself for the first.
    /// Child SAs are known to the data path under it, so that it need not hear of IKE rekeys.
    pub family: IkeSaId,
    /// Whose SA it is.
    pub vip: Vip,
    /// Both SPIs.
    pub spis: IkeSpis,
    /// We are the original initiator of this SA (RFC 7296 section 2.2).
    pub initiator: bool,
    /// Name of the configured connection.
    pub connection: String,
    /// Who we are to the peer.
    pub local_identity: Identity,
    /// Who the peer has proven to be.
    pub remote_identity: Identity,
    /// What was negotiated.
    pub algorithms: IkeAlgorithms,
    /// The keys.
    pub keys: IkeKeys,
    /// The epoch in which our contribution to the keys was drawn.
    pub born: Epoch,
    /// When it was established.
    pub created: Timestamp,
    /// When the peer was authenticated: older than `created` after rekeys.
    pub authenticated: Timestamp,
    /// When a rekey is due.
    pub rekey_at: Timestamp,
    /// When it must be gone.
    pub expires_at: Timestamp,
    /// Addresses of our pools that the peer has.
    pub assigned: Vec<IpAddr>,
    /// Addresses that the peer has assigned to us.
    pub obtained: Vec<IpAddr>,
    /// What was agreed on beyond RFC 7296.
    pub extensions: Extensions,
    /// What else the peer has told us to use.
    pub told: Told,
}

/// What a responder tells an initiator besides its addresses (RFC 7296 section 3.15, RFC 8598).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Name servers inside.
    pub name_servers: Vec<IpAddr>,
    /// Domains that they are for; none: all.
    pub domains: Vec<String>,
    /// What is reached through the peer, as address and length of the prefix.
    pub subnets: Vec<(IpAddr, u8)>,
    /// The peer's software, in its own words.
    pub version: Option<String>,
}

/// Where the messages of an IKE SA come from and go to, and what NAT detection found (RFC 7296
/// section 2.23).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IkeAddresses {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's address and port as we see it.
    pub remote: SocketAddr,
    /// We are behind a NAT.
    pub local_nat: bool,
    /// The peer is behind a NAT, or says so to have its ESP encapsulated.
    pub remote_nat: bool,
    /// We have said that we are behind a NAT, to have ESP encapsulated.
    pub pretended_nat: bool,
}

/// The answer to the peer's last request, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredResponse {
    /// Message ID.
    pub id: u32,
    /// The whole message, or its fragments.
    pub datagrams: Vec<Vec<u8>>,
}

/// Our request that has no answer yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRequest {
    /// Message ID.
    pub id: u32,
    /// The whole message, or its fragments: what a new owner retransmits.
    pub datagrams: Vec<Vec<u8>>,
    /// What the response is needed for.
    pub continuation: Continuation,
}

impl StoredRequest {
    /// The SPI that it offers for a Child SA.
    #[must_use]
    pub fn offered(&self) -> Option<EspSpi> {
        match &self.continuation {
            Continuation::CreateChild(create) => Some(create.offer.spi),
            _ => None,
        }
    }
}

/// How an exchange of ours goes on when its response arrives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Continuation {
    /// A check whether the peer lives.
    Liveness,
    /// UPDATE_SA_ADDRESSES (RFC 4555 section 3.5).
    UpdateAddresses(Box<AddressCheck>),
    /// A return routability check (RFC 4555 section 3.7).
    Routability(Box<AddressCheck>),
    /// IKEV2_MESSAGE_ID_SYNC (RFC 6311 section 5.1).
    Synchronise(Synchronise),
    /// The delete of the IKE SA.
    DeleteIke,
    /// The delete of Child SAs, by the SPIs at which we receive.
    DeleteChildren(Vec<EspSpi>),
    /// A new or rekeyed Child SA.
    CreateChild(Box<CreateChild>),
    /// A rekey of the IKE SA.
    RekeyIke(Box<RekeyIke>),
}

/// Our private half of a key exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateValue {
    /// The group.
    pub group: Group,
    /// The private value.
    pub value: SecretBytes,
}

/// What we offered for a Child SA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildOffer {
    /// Name of the configured child.
    pub child: String,
    /// The SPI at which we want to receive.
    pub spi: EspSpi,
    /// The proposals as they were sent.
    pub proposals: SecurityAssociation,
    /// Our traffic selectors as they were sent.
    pub local: Vec<TrafficSelector>,
    /// The peer's traffic selectors as they were sent.
    pub remote: Vec<TrafficSelector>,
    /// USE_TRANSPORT_MODE was sent.
    pub transport: bool,
}

/// A CREATE_CHILD_SA of ours for a Child SA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateChild {
    /// What we offered.
    pub offer: ChildOffer,
    /// The Child SA to be replaced, by the SPI at which we receive.
    pub rekeys: Option<EspSpi>,
    /// Our nonce.
    pub nonce: Vec<u8>,
    /// Our half of the key exchange, with PFS.
    pub private: Option<PrivateValue>,
    /// The epoch in which nonce and private value were drawn.
    pub born: Epoch,
    /// The peer has rekeyed the same Child SA meanwhile.
    pub collision: Option<ChildCollision>,
    /// The peer has answered; additional key exchanges are under way, of which `private` is our
    /// half.
    pub followup: Option<Box<Followup>>,
}

/// What the peer's side of a simultaneous rekey of a Child SA has made (RFC 7296 section 2.8.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildCollision {
    /// The Child SA that the peer's request created, by the SPI at which we receive.
    pub spi: EspSpi,
    /// The lower of the two nonces of the peer's exchange.
    pub lower_nonce: Vec<u8>,
}

/// A CREATE_CHILD_SA of ours for the IKE SA itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RekeyIke {
    /// Our SPI of the new SA.
    pub id: IkeSaId,
    /// The proposals as they were sent.
    pub proposals: SecurityAssociation,
    /// Our nonce.
    pub nonce: Vec<u8>,
    /// Our half of the key exchange.
    pub private: PrivateValue,
    /// The epoch in which nonce and private value were drawn.
    pub born: Epoch,
    /// The peer has rekeyed the IKE SA meanwhile.
    pub collision: Option<IkeCollision>,
    /// The peer has answered; additional key exchanges are under way, of which `private` is our
    /// half.
    pub followup: Option<Box<Followup>>,
}

/// A CREATE_CHILD_SA whose additional key exchanges are under way (RFC 9370 section 2.2.4). What it
/// makes comes into being with the last of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followup {
    /// What the next IKE_FOLLOWUP_KE request has to name, chosen by the responder.
    pub link: Vec<u8>,
    /// The methods of the exchanges to come, that of the next one first.
    pub remaining: Vec<Group>,
    /// Shared secrets so far, that of the CREATE_CHILD_SA itself first.
    pub secrets: Vec<SecretBytes>,
    /// Ni
    pub initiator_nonce: Vec<u8>,
    /// Nr
    pub responder_nonce: Vec<u8>,
    /// The epoch in which our nonce was drawn.
    pub born: Epoch,
    /// What it will make.
    pub product: Product,
}

/// What a CREATE_CHILD_SA with additional key exchanges will make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Product {
    /// A Child SA.
    Child {
        /// What was agreed on.
        agreed: ChildAgreed,
        /// The Child SA to be replaced, by the SPI at which we receive.
        rekeys: Option<EspSpi>,
    },
    /// An IKE SA in place of that in which it was negotiated.
    Ike {
        /// Our SPI.
        id: IkeSaId,
        /// The peer's SPI.
        peer: u64,
        /// What was agreed on.
        algorithms: IkeAlgorithms,
    },
}

/// What was agreed on for a Child SA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildAgreed {
    /// Name of the configured child.
    pub child: String,
    /// Of the packets.
    pub encryption: Encryption,
    /// [`Integrity::None`] with an AEAD.
    pub integrity: Integrity,
    /// Extended sequence numbers.
    pub esn: bool,
    /// The SPI at which we will receive.
    pub spi_in: EspSpi,
    /// The SPI at which the peer will receive.
    pub spi_out: EspSpi,
    /// Our traffic selectors.
    pub local: Vec<TrafficSelector>,
    /// The peer's traffic selectors.
    pub remote: Vec<TrafficSelector>,
    /// Transport mode.
    pub transport: bool,
}

/// What the peer's side of a simultaneous rekey of the IKE SA has made (RFC 7296 section 2.8.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IkeCollision {
    /// The IKE SA that the peer's request created.
    pub id: IkeSaId,
    /// The lower of the two nonces of the peer's exchange.
    pub lower_nonce: Vec<u8>,
}

/// Where an IKE SA stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IkePhase {
    /// In use.
    Established,
    /// The product of a simultaneous rekey that is not decided yet; it has no Child SAs.
    Undecided,
    /// Replaced by a rekey; it only waits to be deleted.
    Superseded {
        /// We have to send the delete; otherwise the peer has to.
        by_us: bool,
        /// When.
        since: Timestamp,
    },
}

/// Where a Child SA stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChildPhase {
    /// In use.
    Active,
    /// Replaced by a rekey; it only waits to be deleted.
    Superseded {
        /// We have to send the delete; otherwise the peer has to.
        by_us: bool,
        /// When.
        since: Timestamp,
    },
}

/// A Child SA of an IKE SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildLink {
    /// The SPI at which we receive, the name of the Child SA.
    pub spi: EspSpi,
    /// Where it stands.
    pub phase: ChildPhase,
    /// Its outbound half is in use (RFC 7296 section 2.8: the responder of a rekey may wait).
    pub outbound: bool,
}

/// What changes during the life of an IKE SA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IkeMutable {
    /// Where it stands.
    pub phase: IkePhase,
    /// The message ID of our next request.
    pub next_request: u32,
    /// The message ID that the peer's next request must have. Empty INFORMATIONAL requests are not
    /// stored, so the peer may be ahead of it.
    pub expected_request: u32,
    /// The window that the peer has granted us (RFC 7296 section 2.3), from 1.
    pub peer_window: u32,
    /// Our answer to the peer's last request that changed state.
    pub last_response: Option<StoredResponse>,
    /// Our request without answer.
    pub outstanding: Option<StoredRequest>,
    /// Addresses and NAT.
    pub addresses: IkeAddresses,
    /// What MOBIKE adds to them.
    pub mobility: Mobility,
    /// Where the synchronisation of message IDs stands.
    pub synchronisation: Synchronisation,
    /// The Child SAs.
    pub children: Vec<ChildLink>,
    /// A CREATE_CHILD_SA of the peer's whose additional key exchanges are under way.
    pub followup: Option<Box<Followup>>,
}

/// What the owner tells its backups of an IKE SA over the links, because it cannot wait for the
/// store or is not worth a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mirrored {
    /// A half-open IKE SA that the peer has begun.
    Responder(Box<HalfOpenResponder>),
    /// A half-open IKE SA that we have begun.
    Initiator(Box<HalfOpenInitiator>),
    /// An answer that is not stored yet.
    Answered {
        /// Our SPI.
        id: IkeSaId,
        /// The answer.
        response: StoredResponse,
    },
    /// The last answer of an IKE SA that is gone.
    Ended(Box<Ended>),
}

/// The last answer of an IKE SA that is gone, should it have got lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Our SPI.
    pub id: IkeSaId,
    /// The request as it came; of a fragmented one, the first fragment.
    pub request: Vec<u8>,
    /// The answer: the whole message, or its fragments.
    pub response: Vec<Vec<u8>>,
}

/// A half-open IKE SA whose IKE_SA_INIT we have answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfOpenResponder {
    /// Our SPI.
    pub id: IkeSaId,
    /// Both SPIs.
    pub spis: IkeSpis,
    /// When the request came.
    pub created: Timestamp,
    /// The epoch in which our nonce and private value were drawn.
    pub born: Epoch,
    /// Addresses and NAT.
    pub addresses: IkeAddresses,
    /// What was chosen.
    pub algorithms: IkeAlgorithms,
    /// Our half of the key exchange.
    pub private: PrivateValue,
    /// The peer's half.
    pub peer_public: Vec<u8>,
    /// Ni
    pub initiator_nonce: Vec<u8>,
    /// Nr
    pub responder_nonce: Vec<u8>,
    /// The IKE_SA_INIT request, which the peer's AUTH covers.
    pub request: Vec<u8>,
    /// The IKE_SA_INIT response, which our AUTH covers.
    pub response: Vec<u8>,
    /// Both sides speak RFC 7383.
    pub fragmentation: bool,
    /// The additional key exchanges, once the first of them is done.
    pub intermediate: Option<Box<Intermediate>>,
    /// EAP, once it has begun.
    pub eap: Option<Box<EapProgress>>,
}

/// How far the IKE_INTERMEDIATE exchanges (RFC 9242) of a half-open IKE SA are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intermediate {
    /// Exchanges that are done.
    pub count: u32,
    /// The keys after the last of them.
    pub keys: IkeKeys,
    /// What the AUTH payloads have to cover of them.
    pub proof: IntermediateProof,
    /// The last request; of a fragmented one, the first fragment.
    pub request: Vec<u8>,
    /// Its answer: the whole message, or its fragments.
    pub response: Vec<Vec<u8>>,
}

/// What the AUTH payloads have to cover of the IKE_INTERMEDIATE exchanges so far (RFC 9242 section
/// 3.3.2); empty before the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntermediateProof {
    /// IntAuth_iN
    pub initiator: Vec<u8>,
    /// IntAuth_rN
    pub responder: Vec<u8>,
}

/// A half-open IKE SA that we initiate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfOpenInitiator {
    /// Our SPI.
    pub id: IkeSaId,
    /// When the first request was made.
    pub created: Timestamp,
    /// The epoch in which our nonce and private value were drawn.
    pub born: Epoch,
    /// Name of the configured connection.
    pub connection: String,
    /// Names of the configured children: of that which comes with the IKE_AUTH, and of those that
    /// follow it.
    pub children: Vec<String>,
    /// Addresses and NAT, as far as known.
    pub addresses: IkeAddresses,
    /// Our half of the key exchange.
    pub private: PrivateValue,
    /// Ni
    pub nonce: Vec<u8>,
    /// The IKE_SA_INIT request as sent last.
    pub request: Vec<u8>,
    /// The cookie that the responder wants to see.
    pub cookie: Vec<u8>,
    /// The keys that solve the puzzle which came with it (RFC 8019).
    pub solution: Vec<u8>,
    /// How often the request has been changed (cookie, other group).
    pub restarts: u8,
    /// Set once the IKE_SA_INIT response has come.
    pub auth: Option<HalfOpenAuth>,
}

/// What the IKE_SA_INIT has led to, and the IKE_INTERMEDIATE or IKE_AUTH that we have sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HalfOpenAuth {
    /// Both SPIs.
    pub spis: IkeSpis,
    /// What the responder chose.
    pub algorithms: IkeAlgorithms,
    /// The keys that protect the request.
    pub keys: IkeKeys,
    /// Nr
    pub responder_nonce: Vec<u8>,
    /// The IKE_SA_INIT response, which the peer's AUTH covers.
    pub response: Vec<u8>,
    /// IKE_INTERMEDIATE exchanges that are done.
    pub intermediates: u32,
    /// What the AUTH payloads have to cover of them, our request included.
    pub proof: IntermediateProof,
    /// Both sides speak RFC 7383.
    pub fragmentation: bool,
    /// The request as sent: the whole message, or its fragments.
    pub datagrams: Vec<Vec<u8>>,
    /// What it is.
    pub step: HalfOpenStep,
}

impl HalfOpenAuth {
    /// What we offered for the first Child SA, once we have.
    #[must_use]
    pub fn offer(&self) -> Option<&ChildOffer> {
        match &self.step {
            HalfOpenStep::Intermediate(_) => None,
            HalfOpenStep::Auth(offer) => Some(offer),
        }
    }
}

/// The request after the IKE_SA_INIT that waits for its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HalfOpenStep {
    /// An IKE_INTERMEDIATE with our half of an additional key exchange.
    Intermediate(PrivateValue),
    /// The IKE_AUTH, with what we offered for the first Child SA.
    Auth(ChildOffer),
}
