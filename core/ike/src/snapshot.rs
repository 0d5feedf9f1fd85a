//! Between live SAs and their stored form, both ways. The stored form is versioned and stands in
//! `wire::record`; a later version is converted here and nowhere else.

use crate::error::Error;
use crate::keys::{crypto_aead, crypto_mac, encryption_key_length};
use crate::sa::{Description, IkeSa, Outstanding};
use crate::window::Window;
use vipsec_crypto::aead::AeadAlgorithm;
use vipsec_crypto::mac::MacAlgorithm;
use vipsec_esp::{ChildSa, Cipher, Endpoints, HalfKeys, Lifetime, Limits, Mode};
use vipsec_wire::id::Vip;
use vipsec_wire::ike::{Encryption, ExchangeType, Integrity};
use vipsec_wire::record::v1::{
    ChildConstant, ChildKeys, ChildLimit, Continuation, IkeConstant, IkeMutable, IkePhase,
    StoredRequest,
};

/// Everything that is stored of one IKE SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IkeSaSnapshot {
    /// Written once.
    pub constant: IkeConstant,
    /// Changes.
    pub mutable: IkeMutable,
    /// Its Child SAs.
    pub children: Vec<ChildConstant>,
}

/// The part that is written once.
pub(crate) fn constant(vip: Vip, about: &Description) -> IkeConstant {
    IkeConstant {
        id: about.id,
        family: about.family,
        vip,
        spis: about.spis,
        initiator: about.initiator,
        connection: about.connection.clone(),
        local_identity: about.local_identity.clone(),
        remote_identity: about.remote_identity.clone(),
        algorithms: about.algorithms,
        keys: about.keys.clone(),
        born: about.born,
        created: about.created,
        authenticated: about.authenticated,
        rekey_at: about.rekey_at,
        expires_at: about.expires_at,
        assigned: about.assigned.clone(),
        obtained: about.obtained.clone(),
        extensions: about.extensions.clone(),
        told: about.told.clone(),
    }
}

/// The description in a record.
pub(crate) fn description(record: IkeConstant) -> Description {
    Description {
        id: record.id,
        family: record.family,
        spis: record.spis,
        initiator: record.initiator,
        connection: record.connection,
        local_identity: record.local_identity,
        remote_identity: record.remote_identity,
        algorithms: record.algorithms,
        keys: record.keys,
        born: record.born,
        created: record.created,
        authenticated: record.authenticated,
        rekey_at: record.rekey_at,
        expires_at: record.expires_at,
        assigned: record.assigned,
        obtained: record.obtained,
        extensions: record.extensions,
        told: record.told,
    }
}

/// The part that changes.
pub(crate) fn mutable(sa: &IkeSa) -> IkeMutable {
    let outstanding = sa.outstanding.as_ref().map(|request| StoredRequest {
        id: request.id,
        datagrams: request.datagrams.clone(),
        continuation: request.continuation.clone(),
    });
    IkeMutable {
        phase: sa.phase,
        next_request: sa.window.next_request,
        expected_request: sa.window.expected_request,
        peer_window: sa.window.peer_window,
        last_response: sa.window.last_response.clone(),
        outstanding,
        addresses: sa.addresses,
        mobility: sa.mobility.clone(),
        synchronisation: sa.synchronisation.clone(),
        children: sa.children.clone(),
        followup: sa.followup.clone(),
    }
}

/// Makes a live SA be what a record says.
pub(crate) fn assume(sa: &mut IkeSa, record: IkeMutable) {
    sa.phase = record.phase;
    sa.window = Window {
        next_request: record.next_request,
        expected_request: record.expected_request,
        peer_window: record.peer_window,
        last_response: record.last_response,
    };
    sa.outstanding = record.outstanding.map(|request| Outstanding {
        id: request.id,
        exchange: exchange_of(&request.continuation),
        datagrams: request.datagrams,
        continuation: request.continuation,
        retransmission: None,
    });
    (sa.addresses, sa.mobility) = (record.addresses, record.mobility);
    sa.synchronisation = record.synchronisation;
    sa.children = record.children;
    sa.followup = record.followup;
}

/// What an SA is before its changing part is known: nothing that could be used.
pub(crate) const UNKNOWN_PHASE: IkePhase = IkePhase::Undecided;

/// The exchange that a request belongs to.
pub(crate) fn exchange_of(continuation: &Continuation) -> ExchangeType {
    match continuation {
        Continuation::CreateChild(create) if create.followup.is_some() => {
            ExchangeType::IkeFollowupKe
        }
        Continuation::RekeyIke(rekey) if rekey.followup.is_some() => ExchangeType::IkeFollowupKe,
        Continuation::CreateChild(_) | Continuation::RekeyIke(_) => ExchangeType::CreateChildSa,
        Continuation::Liveness
        | Continuation::UpdateAddresses(_)
        | Continuation::Routability(_)
        | Continuation::Synchronise(_)
        | Continuation::DeleteIke
        | Continuation::DeleteChildren(_) => ExchangeType::Informational,
    }
}

fn child_keys(keys: &HalfKeys) -> ChildKeys {
    ChildKeys {
        spi: keys.spi,
        encryption: keys.encryption.clone(),
        integrity: keys.integrity.clone(),
    }
}

fn half_keys(keys: ChildKeys) -> HalfKeys {
    HalfKeys { spi: keys.spi, encryption: keys.encryption, integrity: keys.integrity }
}

fn limit(limits: Limits) -> ChildLimit {
    ChildLimit { bytes: limits.bytes, packets: limits.packets, seconds: limits.seconds }
}

fn limits(limit: ChildLimit) -> Limits {
    Limits { bytes: limit.bytes, packets: limit.packets, seconds: limit.seconds }
}

/// The record of a Child SA.
#[must_use]
pub fn child_constant(sa: &ChildSa) -> ChildConstant {
    let (encryption, integrity) = match sa.cipher {
        Cipher::Aead(algorithm) => (wire_aead(algorithm), Integrity::None),
        Cipher::CbcHmac { bits, mac } => (Encryption::AesCbc { bits }, wire_integrity(mac)),
    };
    ChildConstant {
        vip: sa.vip,
        family: sa.ike,
        connection: sa.connection.clone(),
        child: sa.child.clone(),
        inbound: child_keys(&sa.inbound),
        outbound: child_keys(&sa.outbound),
        encryption,
        integrity,
        transport: sa.mode == Mode::Transport,
        esn: sa.esn,
        replay_window: sa.replay_window,
        local: sa.local.clone(),
        remote: sa.remote.clone(),
        born: sa.born,
        created: sa.created,
        soft: limit(sa.lifetime.soft),
        hard: limit(sa.lifetime.hard),
        takeover_reserve: sa.lifetime.takeover_reserve,
        local_endpoint: sa.endpoints.local,
        remote_endpoint: sa.endpoints.remote,
        encapsulated: sa.endpoints.encapsulated,
    }
}

/// The Child SA in a record.
///
/// # Errors
/// [`Error::Record`] for algorithms that this program does not have or keys that do not fit them.
pub fn child_sa(record: ChildConstant) -> Result<ChildSa, Error> {
    let cipher = cipher(record.encryption, record.integrity)
        .ok_or(Error::Record("algorithms of the Child SA"))?;
    let fits = |keys: &ChildKeys| {
        keys.encryption.expose().len() == cipher.encryption_key_length()
            && keys.integrity.expose().len() == cipher.integrity_key_length()
    };
    if !fits(&record.inbound) || !fits(&record.outbound) {
        return Err(Error::Record("keys of the Child SA"));
    }
    Ok(ChildSa {
        vip: record.vip,
        ike: record.family,
        connection: record.connection,
        child: record.child,
        inbound: half_keys(record.inbound),
        outbound: half_keys(record.outbound),
        cipher,
        mode: if record.transport { Mode::Transport } else { Mode::Tunnel },
        esn: record.esn,
        replay_window: record.replay_window,
        local: record.local,
        remote: record.remote,
        born: record.born,
        created: record.created,
        lifetime: Lifetime {
            soft: limits(record.soft),
            hard: limits(record.hard),
            takeover_reserve: record.takeover_reserve,
        },
        endpoints: Endpoints {
            local: record.local_endpoint,
            remote: record.remote_endpoint,
            encapsulated: record.encapsulated,
            // The record of the IKE SA says it, from which views take the endpoints.
            local_nat: false,
        },
    })
}

/// The data path's name of negotiated algorithms.
pub(crate) fn cipher(encryption: Encryption, integrity: Integrity) -> Option<Cipher> {
    encryption_key_length(encryption)?;
    match (encryption, crypto_aead(encryption), crypto_mac(integrity)) {
        (_, Some(aead), None) => Some(Cipher::Aead(aead)),
        (Encryption::AesCbc { bits }, None, Some(mac)) => Some(Cipher::CbcHmac { bits, mac }),
        _ => None,
    }
}

fn wire_aead(algorithm: AeadAlgorithm) -> Encryption {
    match algorithm {
        AeadAlgorithm::Aes128Gcm16 => Encryption::AesGcm16 { bits: 128 },
        AeadAlgorithm::Aes256Gcm16 => Encryption::AesGcm16 { bits: 256 },
        AeadAlgorithm::ChaCha20Poly1305 => Encryption::ChaCha20Poly1305,
    }
}

fn wire_integrity(mac: MacAlgorithm) -> Integrity {
    match mac {
        MacAlgorithm::HmacSha2_256_128 => Integrity::HmacSha2_256_128,
        MacAlgorithm::HmacSha2_384_192 => Integrity::HmacSha2_384_192,
        MacAlgorithm::HmacSha2_512_256 => Integrity::HmacSha2_512_256,
    }
}
