//! Choosing and checking proposals.

use super::*;

fn gcm(bits: u16) -> Encryption {
    Encryption::AesGcm16 { bits }
}

fn esp(encryption: &[Encryption], groups: &[Group], esn: &[Esn]) -> EspProposal {
    EspProposal {
        encryption: encryption.to_vec(),
        integrity: vec![Integrity::HmacSha2_256_128],
        groups: groups.to_vec(),
        additional: Vec::new(),
        esn: esn.to_vec(),
    }
}

/// What is usual, without additional key exchanges.
fn plain() -> Vec<IkeProposal> {
    let mut usual = IkeProposal::usual();
    usual.retain(|proposal| proposal.additional.is_empty());
    usual
}

const SENT_NONE: KeyExchangeUse = KeyExchangeUse::Allowed { sent: Group::None };

//= RFC 7296 section 2.7 #1: one suite
//= RFC 7296 section 2.7 #2: of the protocol that was offered
//= RFC 7296 section 3.3 #1: in order of preference
//= RFC 7296 section 3.3.1 #2: under the number that was offered
//= RFC 7296 section 3.3.4 #2: held against the configuration
#[test]
fn our_order_decides() {
    let ours = plain();
    let mut theirs = plain();
    theirs.reverse();
    theirs[1].encryption.reverse();
    let choice = choose_ike(&ours, &offer_ike(&theirs, &[]), 0, Group::X25519, false).unwrap();
    assert_eq!(choice.algorithms.encryption, gcm(256));
    assert_eq!(choice.number, 2);
}

#[test]
fn the_group_of_the_peers_public_value_is_preferred() {
    let ours = plain();
    let offer = offer_ike(&ours, &[]);
    for group in [Group::Modp2048, Group::EcpP256, Group::X25519] {
        assert_eq!(choose_ike(&ours, &offer, 0, group, false).unwrap().algorithms.group, group);
    }
    let other = choose_ike(&ours, &offer, 0, Group::Other(21), false).unwrap();
    assert_eq!(other.algorithms.group, Group::X25519);
}

//= RFC 7296 section 3.14 #2: not even if the configuration says so
//= RFC 7296 section 5 #2: so encryption cannot be none
#[test]
fn what_is_not_implemented_is_never_chosen() {
    let unknown =
        esp(&[Encryption::Other(28, Some(256)), Encryption::Other(14, Some(256))], &[], &[Esn::No]);
    let offer = offer_esp(core::slice::from_ref(&unknown), [0, 0, 1, 0], SENT_NONE, Group::None);
    assert!(choose_esp(&[unknown], &offer, SENT_NONE).is_none());
}

//= RFC 7296 section 3.3.6 #6: the proposal is, others are not
#[test]
fn a_proposal_with_an_unknown_kind_of_transform_is_passed_over() {
    let ours = plain();
    let mut offer = offer_ike(&ours, &[]);
    offer.proposals[0].transforms.push(Transform::Unknown { kind: 13, id: 36 });
    let choice = choose_ike(&ours, &offer, 0, Group::X25519, false).unwrap();
    assert_eq!(choice.number, 2);
    offer.proposals[0].transforms.pop();
    offer.proposals[0].transforms.push(Transform::Unknown { kind: 4, id: 36 });
    assert_eq!(choose_ike(&ours, &offer, 0, Group::X25519, false).unwrap().number, 1);
}

//= RFC 7296 section 3.3.6 #9: no key exchange where none is chosen
#[test]
fn forward_secrecy_as_configured_or_as_the_peer_wants() {
    let strict = esp(&[gcm(256)], &[Group::X25519], &[Esn::No]);
    let free = esp(&[gcm(256)], &[], &[Esn::No]);
    let offer = |p: &EspProposal, fallback| {
        offer_esp(core::slice::from_ref(p), [0, 0, 1, 0], SENT_NONE, fallback)
    };
    let chosen = |ours: &EspProposal, offer: &SecurityAssociation, sent| {
        let allowed = KeyExchangeUse::Allowed { sent };
        choose_esp(core::slice::from_ref(ours), offer, allowed).map(|c| c.algorithms.group)
    };
    let wants = offer(&strict, Group::None);
    assert_eq!(chosen(&free, &wants, Group::X25519), Some(Group::X25519));
    assert_eq!(chosen(&strict, &wants, Group::X25519), Some(Group::X25519));
    let either = offer(&free, Group::X25519);
    assert_eq!(either.proposals.len(), 2);
    assert_eq!(chosen(&strict, &either, Group::X25519), Some(Group::X25519));
    assert_eq!(chosen(&free, &either, Group::X25519), Some(Group::X25519));
    let mut without = either.clone();
    without.proposals.remove(0);
    assert_eq!(chosen(&free, &without, Group::None), Some(Group::None));
    assert_eq!(chosen(&strict, &without, Group::None), None);
    let first = choose_esp(core::slice::from_ref(&strict), &wants, KeyExchangeUse::Never);
    assert_eq!(first.unwrap().algorithms.group, Group::None);
}

#[test]
fn extended_sequence_numbers_when_both_can() {
    let both = esp(&[gcm(256)], &[], &[Esn::Yes, Esn::No]);
    let no = esp(&[gcm(256)], &[], &[Esn::No]);
    let yes = esp(&[gcm(256)], &[], &[Esn::Yes]);
    let chosen = |ours: &EspProposal, theirs: &EspProposal| {
        let theirs = core::slice::from_ref(theirs);
        let offer = offer_esp(theirs, [0, 0, 1, 0], KeyExchangeUse::Never, Group::None);
        let choice = choose_esp(core::slice::from_ref(ours), &offer, KeyExchangeUse::Never);
        choice.map(|choice| choice.algorithms.esn)
    };
    assert_eq!(chosen(&both, &both), Some(Esn::Yes));
    assert_eq!(chosen(&both, &no), Some(Esn::No));
    assert_eq!(chosen(&yes, &no), None);
}

//= RFC 7296 section 3.3.6 #1: one whole suite
//= RFC 7296 section 3.3.6 #2: of one proposal
//= RFC 7296 section 3.3.6 #3: one transform of each type
//= RFC 7296 section 3.3.6 #4: as it was offered
//= RFC 7296 section 3.3.6 #5: or it is refused
#[test]
fn an_answer_must_keep_to_the_offer() {
    let ours = plain();
    let offer = offer_ike(&ours, &[1; 8]);
    let choice = choose_ike(&ours, &offer, 8, Group::X25519, false).unwrap();
    let answer = choice.answer(&[2; 8]);
    let (algorithms, spi) = accept_ike(&offer, &answer).unwrap();
    assert_eq!((algorithms, spi), (choice.algorithms, vec![2; 8]));
    let mut weaker = answer.clone();
    weaker.proposals[0].transforms[0] = Transform::Encryption(gcm(192));
    assert!(accept_ike(&offer, &weaker).is_none());
    let mut twice = answer.clone();
    twice.proposals[0].transforms.push(Transform::Group(Group::EcpP256));
    assert!(accept_ike(&offer, &twice).is_none());
    let mut unasked = answer.clone();
    unasked.proposals[0].number = 9;
    assert!(accept_ike(&offer, &unasked).is_none());
    let mut two = answer.clone();
    two.proposals.push(answer.proposals[0].clone());
    assert!(accept_ike(&offer, &two).is_none());
    let mut less = answer;
    less.proposals[0].transforms.retain(|t| !matches!(t, Transform::Group(_)));
    assert!(accept_ike(&offer, &less).is_none());
}

#[test]
fn an_answer_leaves_out_nothing_that_was_demanded() {
    let (group, esn) = (Transform::Group(Group::X25519), Transform::Esn(Esn::Yes));
    let answer = |ours: &EspProposal, rest: &[Transform]| {
        let offer = offer_esp(core::slice::from_ref(ours), [0, 0, 1, 0], SENT_NONE, Group::None);
        let mut answer = offer.clone();
        answer.proposals.truncate(1);
        answer.proposals[0].transforms = [&[Transform::Encryption(gcm(256))], rest].concat();
        accept_esp(&offer, &answer).map(|(chosen, _)| chosen.esn)
    };
    let strict = esp(&[gcm(256)], &[Group::X25519], &[Esn::Yes]);
    assert_eq!(answer(&strict, &[group, esn]), Some(Esn::Yes));
    assert_eq!(answer(&strict, &[esn]), None);
    assert_eq!(answer(&strict, &[Transform::Group(Group::None), esn]), None);
    assert_eq!(answer(&strict, &[group]), None);
    let either = esp(&[gcm(256)], &[Group::X25519], &[Esn::Yes, Esn::No]);
    assert_eq!(answer(&either, &[group]), Some(Esn::No));
}

#[test]
fn an_answer_names_no_kind_of_transform_that_was_not_offered() {
    let ours = esp(&[gcm(256)], &[], &[Esn::No]);
    let mut offer = offer_esp(core::slice::from_ref(&ours), [0, 0, 1, 0], SENT_NONE, Group::None);
    let with = choose_esp(core::slice::from_ref(&ours), &offer, SENT_NONE).unwrap();
    assert!(with.answer(&[0, 0, 2, 0]).proposals[0].transforms.contains(&Transform::Esn(Esn::No)));
    for proposal in &mut offer.proposals {
        proposal.transforms.retain(|transform| !matches!(transform, Transform::Esn(_)));
    }
    let without = choose_esp(&[ours], &offer, SENT_NONE).unwrap().answer(&[0, 0, 2, 0]);
    assert!(!without.proposals[0].transforms.contains(&Transform::Esn(Esn::No)));
}

fn with_additional(additional: &[&[Group]]) -> Vec<IkeProposal> {
    let mut ours = plain();
    ours.truncate(1);
    ours[0].additional = additional.iter().map(|groups| groups.to_vec()).collect();
    ours
}

fn additional_choice(ours: &[&[Group]], theirs: &[&[Group]]) -> Option<Vec<Group>> {
    let offer = offer_ike(&with_additional(theirs), &[]);
    let choice = choose_ike(&with_additional(ours), &offer, 0, Group::X25519, true)?;
    let answer = choice.answer(&[]);
    let (accepted, _) = accept_ike(&offer, &answer).expect("our own answers are acceptable");
    assert_eq!(accepted, choice.algorithms);
    Some(methods(&choice.algorithms.additional).collect())
}

const KEM: Group = Group::MlKem768;
const SMALL: Group = Group::MlKem512;

#[test]
fn additional_key_exchanges_are_chosen_place_by_place() {
    let both: &[&[Group]] = &[&[KEM, SMALL], &[SMALL]];
    assert_eq!(additional_choice(both, both), Some(vec![KEM, SMALL]));
    assert_eq!(additional_choice(&[&[KEM]], &[&[SMALL, KEM]]), Some(vec![KEM]));
    assert_eq!(additional_choice(&[], &[]), Some(vec![]));
    // RFC 9370 section 2.2.2: no method twice.
    assert_eq!(additional_choice(&[&[KEM], &[KEM]], &[&[KEM], &[KEM]]), None);
    let twice: &[&[Group]] = &[&[KEM], &[KEM, Group::None]];
    assert_eq!(additional_choice(twice, twice), Some(vec![KEM]));
}

#[test]
fn only_an_optional_additional_key_exchange_may_be_left_out() {
    assert_eq!(additional_choice(&[&[KEM]], &[]), None);
    assert_eq!(additional_choice(&[], &[&[KEM]]), None);
    assert_eq!(additional_choice(&[&[SMALL]], &[&[KEM]]), None);
    assert_eq!(additional_choice(&[&[KEM, Group::None]], &[]), Some(vec![]));
    assert_eq!(additional_choice(&[], &[&[KEM, Group::None]]), Some(vec![]));
}

#[test]
fn additional_key_exchanges_need_intermediate_exchanges() {
    let offer = offer_ike(&with_additional(&[&[KEM]]), &[]);
    assert!(choose_ike(&with_additional(&[&[KEM]]), &offer, 0, Group::X25519, false).is_none());
    let optional = offer_ike(&with_additional(&[&[Group::None, KEM]]), &[]);
    let ours = with_additional(&[&[Group::None]]);
    assert!(choose_ike(&ours, &optional, 0, Group::X25519, false).is_some());
}

#[test]
fn an_answer_that_leaves_a_wanted_additional_key_exchange_out_is_refused() {
    let offer = offer_ike(&with_additional(&[&[KEM]]), &[]);
    let choice = choose_ike(&with_additional(&[&[KEM]]), &offer, 0, Group::X25519, true);
    let mut answer = choice.unwrap().answer(&[]);
    let kind = |transform: &Transform| matches!(transform, Transform::AdditionalGroup { .. });
    answer.proposals[0].transforms.retain(|transform| !kind(transform));
    assert!(accept_ike(&offer, &answer).is_none());
    answer.proposals[0].transforms.push(Transform::AdditionalGroup { place: 0, group: SMALL });
    assert!(accept_ike(&offer, &answer).is_none(), "not what was offered");
}
