//! EAP in the midst of an IKE_AUTH, as the mirror of a half-open IKE SA holds it.

use super::v1::IkeKeys;
use crate::secret::SecretBytes;
use serde::{Deserialize, Serialize};

/// How far the EAP (RFC 7296 section 2.16) of a half-open IKE SA is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EapProgress {
    /// IKE_AUTH exchanges that are done.
    pub rounds: u32,
    /// The keys of the IKE SA.
    pub keys: IkeKeys,
    /// The connection that the peer has chosen.
    pub connection: String,
    /// Type of the first payload in the first IKE_AUTH request.
    pub first: u8,
    /// The payloads of that request.
    pub asked: Vec<u8>,
    /// What the peer is to send next.
    pub step: EapStep,
    /// The last request; of a fragmented one, the first fragment.
    pub request: Vec<u8>,
    /// Its answer: the whole message, or its fragments.
    pub response: Vec<Vec<u8>>,
}

/// What a peer is to send next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EapStep {
    /// Its identity.
    Identity {
        /// Of the request.
        identifier: u8,
    },
    /// Its answer to a challenge of EAP-MSCHAPv2.
    Challenge {
        /// Of the request.
        identifier: u8,
        /// The challenge.
        challenge: [u8; 16],
    },
    /// That it believes that we know its password.
    Success {
        /// Of the request.
        identifier: u8,
        /// Who it is.
        user: String,
        /// The session key.
        msk: SecretBytes,
    },
    /// Its AUTH payload.
    Done {
        /// Who it is.
        user: String,
        /// The session key.
        msk: SecretBytes,
    },
}
