//! Additional key exchanges in proposals (RFC 9370 section 2.2.2).

use super::is_supported_group;
use vipsec_wire::ike::{ADDITIONAL_MAX, AdditionalGroups, Group, Transform};

/// The transforms that offer additional key exchanges.
pub(super) fn offer_additional(ours: &[Vec<Group>]) -> impl Iterator<Item = Transform> {
    (0..).zip(ours).take(ADDITIONAL_MAX).flat_map(|(place, groups)| {
        groups.iter().map(move |group| Transform::AdditionalGroup { place, group: *group })
    })
}

/// Whether there are no additional key exchanges.
pub(crate) fn has_none(additional: &AdditionalGroups) -> bool {
    additional.iter().all(|group| *group == Group::None)
}

/// The methods of the additional key exchanges, in their order.
pub(crate) fn methods(additional: &AdditionalGroups) -> impl Iterator<Item = Group> {
    additional.iter().copied().filter(|group| *group != Group::None)
}

/// Those of a peer's alternatives that we have.
pub(super) fn supported(theirs: &[Group]) -> Vec<Group> {
    let ours = |group: &Group| *group == Group::None || is_supported_group(*group);
    theirs.iter().copied().filter(ours).collect()
}

/// Whether the methods of an SA are among our alternatives.
pub(super) fn allows_additional(ours: &[Vec<Group>], chosen: &AdditionalGroups) -> bool {
    chosen.iter().enumerate().all(|(place, group)| match ours.get(place).map(Vec::as_slice) {
        None | Some([]) => *group == Group::None,
        Some(ours) => ours.contains(group),
    })
}

/// Of each additional key exchange our first method that the peer offers too and that is not used
/// already (RFC 9370 section 2.2.2). One that only one side has must be one that may be left out.
pub(super) fn choose_additional(
    ours: &[Vec<Group>],
    theirs: &[Vec<Group>; ADDITIONAL_MAX],
) -> Option<AdditionalGroups> {
    let mut chosen = AdditionalGroups::default();
    for (place, theirs) in theirs.iter().enumerate() {
        let or_none = |groups: &[Group]| match groups {
            [] => vec![Group::None],
            groups => groups.to_vec(),
        };
        let ours = or_none(ours.get(place).map_or(&[], Vec::as_slice));
        let theirs = or_none(theirs);
        let unused = |group: &&Group| **group == Group::None || !chosen.contains(group);
        chosen[place] = *ours.iter().filter(|g| theirs.contains(g)).find(unused)?;
    }
    Some(chosen)
}
