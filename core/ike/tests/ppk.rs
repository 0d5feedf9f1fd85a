//! Post-quantum pre-shared keys (RFC 8784) between two engines: every row of its tables, and that
//! the key is in what it is to protect.

mod world;

use core::time::Duration;
use vipsec_ike::{CloseReason, Config, Event, Ppk};
use vipsec_wire::ike::{Message, NotifyType, Payload};
use vipsec_wire::secret::SecretBytes;
use world::{Side, World, config, hybrid};

fn ppk(id: &str, key: u8, required: bool) -> Option<Ppk> {
    Some(Ppk { id: id.into(), key: SecretBytes::new(vec![key; 32]), required })
}

fn with(config: Config, ppk: Option<Ppk>) -> Config {
    let mut config = config;
    config.connections[0].ppk = ppk;
    config
}

fn connect(left: Option<Ppk>, right: Option<Ppk>) -> World {
    let mut world = World::with(with(config(Side::Left), left), with(config(Side::Right), right));
    world.initiate(Side::Left, "net");
    world.pass(Duration::from_secs(20));
    world
}

/// Whether both IKE_SA_INIT messages speak of PPKs.
fn spoken_of(world: &World) -> bool {
    world.sent.iter().take(2).all(|packet| {
        let message = Message::parse(&packet.message).expect("engines emit messages");
        let said = |payload: &Payload| {
            matches!(payload, Payload::Notify(notify) if notify.kind == NotifyType::USE_PPK)
        };
        message.payloads.iter().any(said)
    })
}

#[test]
fn with_the_same_key_it_is_used_whoever_requires_it() {
    for (left, right) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut world = connect(ppk("one", 1, left), ppk("one", 1, right));
        world.check_agreement(1, 1);
        assert!(spoken_of(&world));
        world.rekey_child(Side::Right);
        world.run();
        world.rekey_ike(Side::Left);
        world.run();
        world.check_agreement(1, 1);
    }
}

/// A key that is optional with both, but not the same: the responder would take the AUTH without it,
/// but it has found the name. It must not fall back to less.
#[test]
fn another_key_of_the_same_name_is_refused() {
    let mut world = connect(ppk("one", 1, false), ppk("one", 2, false));
    world.check_agreement(0, 0);
    refused(&world);
}

#[test]
fn what_is_optional_is_done_without_where_it_is_not_known() {
    for (left, right) in [
        (ppk("one", 1, false), None),
        (None, ppk("one", 1, false)),
        (ppk("one", 1, false), ppk("another", 2, false)),
    ] {
        let mut world = connect(left, right);
        world.check_agreement(1, 1);
        world.rekey_ike(Side::Right);
        world.run();
        world.check_agreement(1, 1);
    }
}

fn refused(world: &World) {
    let failed = |event: &Event| {
        matches!(event, Event::Failed { reason: CloseReason::AuthenticationFailed, .. })
    };
    assert!(world.left.has_event(failed) || world.right.has_event(failed));
}

#[test]
fn what_is_required_is_never_done_without() {
    for (left, right) in [
        (None, ppk("one", 1, true)),
        (ppk("another", 2, false), ppk("one", 1, true)),
        (ppk("one", 1, true), ppk("another", 2, false)),
    ] {
        let mut world = connect(left, right);
        world.check_agreement(0, 0);
        refused(&world);
    }
    // The peer does not know PPKs at all: no IKE_AUTH is sent.
    let mut world = connect(ppk("one", 1, true), None);
    world.check_agreement(0, 0);
    assert!(world.right.events.is_empty(), "{:?}", world.right.events);
}

#[test]
fn it_goes_on_top_of_additional_key_exchanges() {
    let left = with(hybrid(Side::Left), ppk("one", 1, true));
    let right = with(hybrid(Side::Right), ppk("one", 1, true));
    let mut world = World::with(left, right);
    world.initiate(Side::Left, "net");
    world.run();
    world.check_agreement(1, 1);
}
