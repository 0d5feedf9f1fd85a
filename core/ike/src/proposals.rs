//! Proposals: what we offer, what we choose from an offer, and whether an answer keeps to what was
//! offered (RFC 7296 sections 2.7 and 3.3).
//!
//! As responder our own order of preference decides. Algorithms that are not implemented cannot be
//! chosen whatever the configuration says, since there is no key length for them.

mod additional;

pub(crate) use additional::{has_none, methods};

use additional::{allows_additional, choose_additional, offer_additional, supported};
use vipsec_wire::ike::{
    ADDITIONAL_MAX, AdditionalGroups, Encryption, Esn, Group, Integrity, Prf, Proposal, Protocol,
    SecurityAssociation, Transform,
};
use vipsec_wire::record::v1::IkeAlgorithms;

const AEADS: [Encryption; 3] = [
    Encryption::AesGcm16 { bits: 256 },
    Encryption::AesGcm16 { bits: 128 },
    Encryption::ChaCha20Poly1305,
];
const CBCS: [Encryption; 2] = [Encryption::AesCbc { bits: 256 }, Encryption::AesCbc { bits: 128 }];
const MACS: [Integrity; 2] = [Integrity::HmacSha2_256_128, Integrity::HmacSha2_512_256];

/// One proposal for IKE SAs: of each kind the alternatives, in order of preference. The integrity
/// algorithms are used with AES-CBC only, and AEADs are offered in a proposal of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
//= RFC 7296 section 3.3.4 #1: what an operator allows
pub struct IkeProposal {
    /// At least one.
    pub encryption: Vec<Encryption>,
    /// At least one if there is AES-CBC.
    pub integrity: Vec<Integrity>,
    /// At least one.
    pub prf: Vec<Prf>,
    /// At least one.
    pub groups: Vec<Group>,
    /// Additional key exchanges (RFC 9370), at most seven: of each the alternatives, in order of
    /// preference, with [`Group::None`] where it may be left out.
    pub additional: Vec<Vec<Group>>,
}

impl IkeProposal {
    /// What is offered and accepted when nothing is configured: what RFC 8247 says that one must or
    /// should have, and ML-KEM-768 beside a classical key exchange before that.
    #[must_use]
    pub fn usual() -> Vec<IkeProposal> {
        let with = |encryption: &[Encryption], integrity: &[Integrity]| IkeProposal {
            encryption: encryption.to_vec(),
            integrity: integrity.to_vec(),
            additional: Vec::new(),
            prf: vec![Prf::HmacSha2_256, Prf::HmacSha2_384, Prf::HmacSha2_512],
            groups: vec![
                Group::X25519,
                Group::EcpP256,
                Group::EcpP384,
                Group::Modp3072,
                Group::Modp2048,
            ],
        };
        let plain = with(&AEADS, &[]);
        let hybrid = IkeProposal { additional: vec![vec![Group::MlKem768]], ..plain.clone() };
        vec![hybrid, plain, with(&CBCS, &MACS)]
    }

    /// Whether these algorithms are among the alternatives.
    pub(crate) fn allows(&self, chosen: &IkeAlgorithms) -> bool {
        let integrity_fits =
            chosen.encryption.is_aead() || self.integrity.contains(&chosen.integrity);
        self.encryption.contains(&chosen.encryption)
            && integrity_fits
            && self.prf.contains(&chosen.prf)
            && self.groups.contains(&chosen.group)
            && allows_additional(&self.additional, &chosen.additional)
    }

    //= RFC 7296 section 3.3 #5: a combined cipher stands among the ciphers
    //= RFC 7296 section 3.3 #6: in a proposal without integrity algorithm
    //= RFC 7296 section 3.3 #8: each key length is a transform of its own
    fn offer(&self, aead: bool) -> Option<Vec<Transform>> {
        let encryption = self.encryption.iter().filter(|e| e.is_aead() == aead);
        let mut transforms: Vec<_> = encryption.map(|e| Transform::Encryption(*e)).collect();
        if transforms.is_empty() {
            return None;
        }
        if !aead {
            transforms.extend(self.integrity.iter().map(|i| Transform::Integrity(*i)));
        }
        transforms.extend(self.prf.iter().map(|p| Transform::Prf(*p)));
        transforms.extend(self.groups.iter().map(|g| Transform::Group(*g)));
        transforms.extend(offer_additional(&self.additional));
        Some(transforms)
    }

    //= RFC 7296 section 2.7 #1: one suite
    //= RFC 7296 section 3.3.6 #3: with one transform of each type
    fn choose(&self, offered: &Offered, intermediate: bool) -> Option<IkeAlgorithms> {
        let (encryption, integrity) = choose_cipher(&self.encryption, &self.integrity, offered)?;
        Some(IkeAlgorithms {
            encryption,
            integrity,
            prf: first_common(&self.prf, &offered.prf)?,
            group: first_common(&self.groups, &offered.groups)?,
            additional: choose_additional(&self.additional, &offered.additional)
                .filter(|chosen| intermediate || has_none(chosen))?,
        })
    }
}

/// One proposal for Child SAs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EspProposal {
    /// At least one.
    pub encryption: Vec<Encryption>,
    /// At least one if there is AES-CBC.
    pub integrity: Vec<Integrity>,
    /// Groups for perfect forward secrecy; empty: as the peer wants it.
    pub groups: Vec<Group>,
    /// Additional key exchanges, as in an [`IkeProposal`]; without `groups` as the peer wants them.
    pub additional: Vec<Vec<Group>>,
    /// At least one.
    pub esn: Vec<Esn>,
}

impl EspProposal {
    /// What is offered and accepted when nothing is configured: what RFC 8221 says that one must or
    /// should have.
    #[must_use]
    pub fn usual() -> Vec<EspProposal> {
        let with = |encryption: &[Encryption], integrity: &[Integrity]| EspProposal {
            encryption: encryption.to_vec(),
            integrity: integrity.to_vec(),
            groups: Vec::new(),
            additional: Vec::new(),
            esn: vec![Esn::Yes, Esn::No],
        };
        vec![with(&AEADS, &[]), with(&CBCS, &MACS)]
    }

    fn offer(&self, aead: bool, groups: &[Group]) -> Option<Vec<Transform>> {
        let encryption = self.encryption.iter().filter(|e| e.is_aead() == aead);
        let mut transforms: Vec<_> = encryption.map(|e| Transform::Encryption(*e)).collect();
        if transforms.is_empty() {
            return None;
        }
        if !aead {
            transforms.extend(self.integrity.iter().map(|i| Transform::Integrity(*i)));
        }
        transforms.extend(groups.iter().map(|g| Transform::Group(*g)));
        if groups == self.groups {
            transforms.extend(offer_additional(&self.additional));
        }
        transforms.extend(self.esn.iter().map(|e| Transform::Esn(*e)));
        Some(transforms)
    }

    fn choose(&self, offered: &Offered, key_exchange: KeyExchangeUse) -> Option<EspAlgorithms> {
        let (encryption, integrity) = choose_cipher(&self.encryption, &self.integrity, offered)?;
        let esn = match offered.esn.is_empty() {
            true => self.esn.contains(&Esn::No).then_some(Esn::No)?,
            false => first_common(&self.esn, &offered.esn)?,
        };
        let (group, additional) = match key_exchange {
            KeyExchangeUse::Never => (Group::None, AdditionalGroups::default()),
            KeyExchangeUse::Allowed { sent } => {
                let group = self.choose_group(offered, sent)?;
                let ours = match self.groups.is_empty() {
                    true => offered.additional.iter().map(|theirs| supported(theirs)).collect(),
                    false => self.additional.clone(),
                };
                (group, choose_additional(&ours, &offered.additional)?)
            }
        };
        // Additional exchanges follow one that there is.
        let consistent = group != Group::None || has_none(&additional);
        consistent.then_some(EspAlgorithms { encryption, integrity, group, additional, esn })
    }

    /// The group of the peer's KE payload if that will do, so that it need not try again.
    fn choose_group(&self, offered: &Offered, sent: Group) -> Option<Group> {
        let allowed = |group: Group| match self.groups.as_slice() {
            [] => is_supported_group(group),
            ours => ours.contains(&group),
        };
        if sent != Group::None && offered.groups.contains(&sent) && allowed(sent) {
            return Some(sent);
        }
        let optional = offered.groups.is_empty() || offered.groups.contains(&Group::None);
        match self.groups.as_slice() {
            [] if optional => Some(Group::None),
            [] => offered.groups.iter().copied().find(|group| is_supported_group(*group)),
            ours => first_common(ours, &offered.groups),
        }
    }
}

/// What was negotiated for a Child SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EspAlgorithms {
    /// Of the packets.
    pub encryption: Encryption,
    /// [`Integrity::None`] with an AEAD.
    pub integrity: Integrity,
    /// Of the key exchange of its own; [`Group::None`] without.
    pub group: Group,
    /// Of the additional key exchanges.
    pub additional: AdditionalGroups,
    /// Extended sequence numbers.
    pub esn: Esn,
}

/// Whether a Child SA may have a key exchange of its own: not in an IKE_AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyExchangeUse {
    Never,
    /// With the group of the peer's KE payload, [`Group::None`] without one.
    Allowed {
        sent: Group,
    },
}

/// The transforms of one proposal of a peer, by kind.
#[derive(Debug, Default)]
struct Offered {
    encryption: Vec<Encryption>,
    prf: Vec<Prf>,
    integrity: Vec<Integrity>,
    groups: Vec<Group>,
    esn: Vec<Esn>,
    additional: [Vec<Group>; ADDITIONAL_MAX],
}

impl Offered {
    /// The additional key exchanges of an answer.
    fn single_additional(&self) -> AdditionalGroups {
        self.additional.each_ref().map(|groups| groups.first().copied().unwrap_or_default())
    }

    /// `None` when the proposal needs a kind of transform that we do not know (RFC 7296 section
    /// 3.3.6).
    fn of(proposal: &Proposal) -> Option<Offered> {
        let mut offered = Offered::default();
        for transform in &proposal.transforms {
            match *transform {
                Transform::Encryption(value) => offered.encryption.push(value),
                Transform::Prf(value) => offered.prf.push(value),
                Transform::Integrity(value) => offered.integrity.push(value),
                Transform::Group(value) => offered.groups.push(value),
                Transform::Esn(value) => offered.esn.push(value),
                Transform::AdditionalGroup { place, group } => {
                    offered.additional.get_mut(usize::from(place))?.push(group);
                }
                //= RFC 7296 section 3.3.6 #8: an unknown attribute spoils its transform alone
                Transform::Unknown { kind: 1..=12, .. } => {}
                //= RFC 7296 section 3.3.6 #6: an unknown type spoils its proposal
                Transform::Unknown { .. } => return None,
            }
        }
        Some(offered)
    }
}

fn first_common<T: Copy + PartialEq>(ours: &[T], theirs: &[T]) -> Option<T> {
    ours.iter().find(|value| theirs.contains(value)).copied()
}

//= RFC 7296 section 5 #2: an IKE SA has encryption and integrity
//= RFC 7296 section 3.14 #2: of kinds for which the Encrypted payload is specified
fn choose_cipher(
    encryption: &[Encryption],
    integrity: &[Integrity],
    offered: &Offered,
) -> Option<(Encryption, Integrity)> {
    let without = offered.integrity.is_empty() || offered.integrity.contains(&Integrity::None);
    let common = encryption.iter().filter(|e| offered.encryption.contains(e));
    common.copied().filter(|e| is_supported_encryption(*e)).find_map(|e| match e.is_aead() {
        true => without.then_some((e, Integrity::None)),
        false => {
            let common = first_common(integrity, &offered.integrity)?;
            is_supported_integrity(common).then_some((e, common))
        }
    })
}

//= RFC 7296 section 3.3.5 #5: AES without key length is none that we know
fn is_supported_encryption(encryption: Encryption) -> bool {
    crate::keys::encryption_key_length(encryption).is_some()
}

fn is_supported_integrity(integrity: Integrity) -> bool {
    !matches!(integrity, Integrity::None | Integrity::Other(_))
}

/// Whether we can exchange keys in this group.
pub(crate) fn is_supported_group(group: Group) -> bool {
    crate::keys::crypto_group(group).is_some()
}

//= RFC 7296 section 3.3 #3: one more than the one before
//= RFC 7296 section 3.3 #4: from 1
fn number_proposals(
    protocol: Protocol,
    spi: &[u8],
    transforms: impl IntoIterator<Item = Vec<Transform>>,
) -> SecurityAssociation {
    let numbered = (1..=u8::MAX).zip(transforms).map(|(number, transforms)| Proposal {
        number,
        protocol,
        spi: spi.to_vec(),
        transforms,
    });
    SecurityAssociation { proposals: numbered.collect() }
}

/// The SA payload with which we ask for an IKE SA; `spi` is empty in an IKE_SA_INIT.
//= RFC 7296 section 3.3 #1: in the order of the configuration
pub(crate) fn offer_ike(proposals: &[IkeProposal], spi: &[u8]) -> SecurityAssociation {
    let both = proposals.iter().flat_map(|p| [p.offer(true), p.offer(false)]);
    number_proposals(Protocol::Ike, spi, both.flatten())
}

/// The SA payload with which we ask for a Child SA. Without configured groups, `fallback_group` is
/// offered beside no key exchange at all, so that the peer has its way.
pub(crate) fn offer_esp(
    proposals: &[EspProposal],
    spi: [u8; 4],
    key_exchange: KeyExchangeUse,
    fallback_group: Group,
) -> SecurityAssociation {
    let mut all = Vec::new();
    for proposal in proposals {
        let groups: Vec<&[Group]> = match (key_exchange, proposal.groups.as_slice()) {
            (KeyExchangeUse::Never, _) => vec![&[]],
            (KeyExchangeUse::Allowed { .. }, []) => {
                vec![core::slice::from_ref(&fallback_group), &[]]
            }
            (KeyExchangeUse::Allowed { .. }, groups) => vec![groups],
        };
        for groups in groups {
            all.extend([true, false].iter().filter_map(|aead| proposal.offer(*aead, groups)));
        }
    }
    number_proposals(Protocol::Esp, &spi, all)
}

/// The group of which an offer's KE payload should be: the first that is in it.
pub(crate) fn first_group(offer: &SecurityAssociation) -> Option<Group> {
    let transforms = offer.proposals.iter().flat_map(|p| &p.transforms);
    transforms.into_iter().find_map(|transform| match transform {
        Transform::Group(group) if *group != Group::None => Some(*group),
        _ => None,
    })
}

/// Whether there are additional key exchanges anywhere in our offer.
pub(crate) fn offers_additional(offer: &SecurityAssociation) -> bool {
    let mut transforms = offer.proposals.iter().flat_map(|p| &p.transforms);
    transforms.any(|transform| matches!(transform, Transform::AdditionalGroup { .. }))
}

/// Whether a group is anywhere in our offer.
pub(crate) fn offers_group(offer: &SecurityAssociation, group: Group) -> bool {
    let mut transforms = offer.proposals.iter().flat_map(|p| &p.transforms);
    transforms.any(|transform| *transform == Transform::Group(group))
}

/// A choice from a peer's offer: the algorithms, the peer's SPI, and the proposal to answer with.
#[derive(Debug, Clone)]
pub(crate) struct Choice<A> {
    pub(crate) algorithms: A,
    pub(crate) peer_spi: Vec<u8>,
    pub(crate) number: u8,
    /// The peer named "no integrity algorithm" explicitly, so the answer has to.
    explicit_no_integrity: bool,
    explicit_no_group: bool,
    explicit_no_additional: [bool; ADDITIONAL_MAX],
    /// Whether the peer has named ESN or its absence; otherwise the answer must not either.
    explicit_esn: bool,
}

//= RFC 7296 section 2.7 #3: one proposal or none
//= RFC 7296 section 3.3.6 #2: likewise
//= RFC 7296 section 3.3.1 #3: with an SPI as long as the exchange demands, none in IKE_SA_INIT
fn choose_from<A>(
    offer: &SecurityAssociation,
    protocol: Protocol,
    spi_length: usize,
    mut choose: impl FnMut(&Offered) -> Option<A>,
) -> Option<Choice<A>> {
    let candidates = offer.proposals.iter();
    let mut candidates = candidates.filter(|p| p.protocol == protocol && p.spi.len() == spi_length);
    candidates.find_map(|proposal| {
        let offered = Offered::of(proposal)?;
        Some(Choice {
            algorithms: choose(&offered)?,
            peer_spi: proposal.spi.clone(),
            number: proposal.number,
            explicit_no_integrity: offered.integrity.contains(&Integrity::None),
            explicit_no_group: offered.groups.contains(&Group::None),
            explicit_no_additional: offered.additional.map(|groups| groups.contains(&Group::None)),
            explicit_esn: !offered.esn.is_empty(),
        })
    })
}

/// Chooses from a peer's offer of an IKE SA. `wanted_group`, the group of its KE payload, is
/// preferred among equals by being tried first. `intermediate`: there may be additional key exchanges.
//= RFC 7296 section 3.3.4 #2: held against the configuration
//= RFC 7296 section 3.3.4 #3: and refused where that does not allow it
//= RFC 7296 section 3.3.6 #1: a whole suite or none
pub(crate) fn choose_ike(
    ours: &[IkeProposal],
    offer: &SecurityAssociation,
    spi_length: usize,
    wanted_group: Group,
    intermediate: bool,
) -> Option<Choice<IkeAlgorithms>> {
    let with_group = ours.iter().filter(|p| p.groups.contains(&wanted_group)).find_map(|p| {
        let narrowed = IkeProposal { groups: vec![wanted_group], ..p.clone() };
        choose_from(offer, Protocol::Ike, spi_length, |offered| {
            narrowed.choose(offered, intermediate)
        })
    });
    with_group.or_else(|| {
        ours.iter().find_map(|p| {
            choose_from(offer, Protocol::Ike, spi_length, |offered| p.choose(offered, intermediate))
        })
    })
}

/// Chooses from a peer's offer of a Child SA.
pub(crate) fn choose_esp(
    ours: &[EspProposal],
    offer: &SecurityAssociation,
    key_exchange: KeyExchangeUse,
) -> Option<Choice<EspAlgorithms>> {
    ours.iter().find_map(|p| {
        choose_from(offer, Protocol::Esp, 4, |offered| p.choose(offered, key_exchange))
    })
}

impl Choice<IkeAlgorithms> {
    /// The SA payload that answers the offer.
    pub(crate) fn answer(&self, spi: &[u8]) -> SecurityAssociation {
        let chosen = &self.algorithms;
        let mut transforms = vec![
            Transform::Encryption(chosen.encryption),
            Transform::Prf(chosen.prf),
            Transform::Group(chosen.group),
        ];
        if chosen.integrity != Integrity::None || self.explicit_no_integrity {
            transforms.push(Transform::Integrity(chosen.integrity));
        }
        transforms.extend(self.answer_additional(&chosen.additional));
        self.proposal(Protocol::Ike, spi, transforms)
    }
}

impl Choice<EspAlgorithms> {
    /// The SA payload that answers the offer.
    pub(crate) fn answer(&self, spi: &[u8]) -> SecurityAssociation {
        let chosen = &self.algorithms;
        let mut transforms = vec![Transform::Encryption(chosen.encryption)];
        if chosen.integrity != Integrity::None || self.explicit_no_integrity {
            transforms.push(Transform::Integrity(chosen.integrity));
        }
        if chosen.group != Group::None || self.explicit_no_group {
            transforms.push(Transform::Group(chosen.group));
        }
        transforms.extend(self.answer_additional(&chosen.additional));
        if self.explicit_esn {
            transforms.push(Transform::Esn(chosen.esn));
        }
        self.proposal(Protocol::Esp, spi, transforms)
    }
}

impl<A> Choice<A> {
    fn answer_additional(&self, chosen: &AdditionalGroups) -> impl Iterator<Item = Transform> {
        let places = (0..).zip(chosen.iter().zip(self.explicit_no_additional));
        let named = places.filter(|(_, (group, explicit))| **group != Group::None || *explicit);
        named.map(|(place, (group, _))| Transform::AdditionalGroup { place, group: *group })
    }

    fn proposal(
        &self,
        protocol: Protocol,
        spi: &[u8],
        transforms: Vec<Transform>,
    ) -> SecurityAssociation {
        //= RFC 7296 section 2.7 #2: of the protocol that was offered
        //= RFC 7296 section 3.3.1 #2: under its number
        //= RFC 7296 section 3.3.6 #4: with its attributes
        let proposal = Proposal { number: self.number, protocol, spi: spi.to_vec(), transforms };
        SecurityAssociation { proposals: vec![proposal] }
    }
}

/// Whether an answer has a transform of each kind that was offered without the choice of none (of
/// which the number is 0 in every kind).
fn is_complete(asked: &Proposal, chosen: &Proposal) -> bool {
    (1..=12).all(|kind| {
        let ids = |proposal: &Proposal| -> Vec<u16> {
            let numbers = proposal.transforms.iter().map(|transform| transform.number());
            numbers.filter(|(of, ..)| *of == kind).map(|(_, id, _)| id).collect()
        };
        let asked = ids(asked);
        asked.is_empty() || asked.contains(&0) || ids(chosen).iter().any(|id| *id != 0)
    })
}

/// Checks a peer's answer against our offer: one proposal, of a number that we sent, each transform
/// of which we offered in it, one of each kind that we offered.
//= RFC 7296 section 3.3.6 #5: an answer that is none is refused
fn check_answer<'a>(
    offer: &SecurityAssociation,
    answer: &'a SecurityAssociation,
) -> Option<(&'a Proposal, Offered)> {
    let [chosen] = answer.proposals.as_slice() else {
        return None;
    };
    let of_number = |p: &&Proposal| p.number == chosen.number && p.protocol == chosen.protocol;
    let asked = offer.proposals.iter().find(of_number)?;
    let known = |transform: &Transform| {
        let nothing = [Transform::Integrity(Integrity::None), Transform::Group(Group::None)];
        asked.transforms.contains(transform) || nothing.contains(transform)
    };
    let offered = Offered::of(chosen)?;
    let single = offered.encryption.len() == 1
        && offered.integrity.len() <= 1
        && offered.prf.len() <= 1
        && offered.groups.len() <= 1
        && offered.esn.len() <= 1
        && offered.additional.iter().all(|groups| groups.len() <= 1);
    let fits = single && is_complete(asked, chosen) && chosen.transforms.iter().all(known);
    fits.then_some((chosen, offered))
}

/// What the peer chose from our offer of an IKE SA, and its SPI; `None` if that is not a choice.
pub(crate) fn accept_ike(
    offer: &SecurityAssociation,
    answer: &SecurityAssociation,
) -> Option<(IkeAlgorithms, Vec<u8>)> {
    let (chosen, offered) = check_answer(offer, answer)?;
    let encryption = *offered.encryption.first()?;
    let integrity = offered.integrity.first().copied().unwrap_or(Integrity::None);
    let algorithms = IkeAlgorithms {
        encryption,
        integrity,
        prf: *offered.prf.first()?,
        group: *offered.groups.first()?,
        additional: offered.single_additional(),
    };
    fits(encryption, integrity).then(|| (algorithms, chosen.spi.clone()))
}

/// What the peer chose from our offer of a Child SA, and its SPI; `None` if that is not a choice.
pub(crate) fn accept_esp(
    offer: &SecurityAssociation,
    answer: &SecurityAssociation,
) -> Option<(EspAlgorithms, Vec<u8>)> {
    let (chosen, offered) = check_answer(offer, answer)?;
    let encryption = *offered.encryption.first()?;
    let integrity = offered.integrity.first().copied().unwrap_or(Integrity::None);
    let algorithms = EspAlgorithms {
        encryption,
        integrity,
        group: offered.groups.first().copied().unwrap_or(Group::None),
        additional: offered.single_additional(),
        esn: offered.esn.first().copied().unwrap_or(Esn::No),
    };
    let usable = fits(encryption, integrity) && chosen.spi.len() == 4;
    usable.then(|| (algorithms, chosen.spi.clone()))
}

fn fits(encryption: Encryption, integrity: Integrity) -> bool {
    encryption.is_aead() == (integrity == Integrity::None)
}

#[cfg(test)]
mod tests;
