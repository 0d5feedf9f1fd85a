//! MOBIKE (RFC 4555), both roles: a peer that moves, and a responder that is reached at another of
//! its addresses.
//!
//! Our own address is the VIP, which moves with the SAs and is the same wherever they are. It is the
//! only address that a peer ever learns from us: a node's own address would make the peer follow the
//! node instead of the VIP. So we name no additional addresses, and as initiator we update only what
//! the peer's other addresses or a NAT in front of the VIP make necessary.
//!
//! As responder, IKE goes to a new address as soon as that is stored, ESP when the peer has been seen
//! there, unless it is told to go at once. Both are written, so that a new owner goes on with either.

use crate::config::Connection;
use crate::context::Context;
use crate::exchange::contents::{Contents, notify};
use crate::exchange::{Fate, Request};
use crate::ledger::Transaction;
use crate::nat;
use crate::output::{CloseReason, Event};
use crate::sa::{Datagram, IkeSa};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use vipsec_wire::ike::{IkeSpis, Notify, NotifyType, Payload};
use vipsec_wire::record::v1::{AddressCheck, Continuation, IkeAddresses, MobikeRole};

/// Octets of our COOKIE2; a peer's may have 8 to 64 (section 4.2.5).
const COOKIE_LENGTH: usize = 16;
/// Additional addresses of a peer that are kept.
const ADDITIONAL: usize = 16;
/// Before a check or an update that has proven nothing is made again.
const AGAIN: Duration = Duration::from_secs(3);

/// MOBIKE_SUPPORTED, for our IKE_AUTH message (section 3.3). `asked`: the peer's request, when we
/// answer one.
pub(crate) fn offer(connection: &Connection, asked: Option<&Contents>) -> Option<Payload> {
    let wanted = asked.is_none_or(|asked| asked.has(NotifyType::MOBIKE_SUPPORTED));
    (connection.mobike && wanted).then(|| notify(NotifyType::MOBIKE_SUPPORTED))
}

/// Our role, if the peer's IKE_AUTH message says that it knows MOBIKE too.
pub(crate) fn agreed(
    connection: &Connection,
    contents: &Contents,
    role: MobikeRole,
) -> Option<MobikeRole> {
    (connection.mobike && contents.has(NotifyType::MOBIKE_SUPPORTED)).then_some(role)
}

/// NO_NATS_ALLOWED for a message from `local` to `remote`, where NATs are refused (section 3.9).
pub(crate) fn no_nats(
    connection: &Connection,
    local: SocketAddr,
    remote: SocketAddr,
) -> Option<Payload> {
    let data = connection.refuse_nat.then(|| both(local, remote))?;
    Some(Payload::Notify(Notify::new(NotifyType::NO_NATS_ALLOWED, data)))
}

/// Source and destination, as NO_NATS_ALLOWED has them (section 4.2.6).
fn both(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let ports = [source.port().to_be_bytes(), destination.port().to_be_bytes()].concat();
    [octets(source.ip()), octets(destination.ip()), ports].concat()
}

/// Whether a message says that there must be no NAT, and one has changed its addresses.
pub(crate) fn passed_nat(contents: &Contents, datagram: &Datagram) -> bool {
    let said = contents.notify(NotifyType::NO_NATS_ALLOWED);
    said.is_some_and(|said| said.data != both(datagram.remote, datagram.local))
}

/// The peer has named its further addresses, all of them (section 3.6), or none.
/// Says whether it has.
pub(crate) fn note_addresses(sa: &mut IkeSa, contents: &Contents) -> bool {
    let address = |notify: &Notify| match notify.kind {
        NotifyType::ADDITIONAL_IP4_ADDRESS => {
            <[u8; 4]>::try_from(notify.data.as_slice()).ok().map(IpAddr::from)
        }
        NotifyType::ADDITIONAL_IP6_ADDRESS => {
            <[u8; 16]>::try_from(notify.data.as_slice()).ok().map(IpAddr::from)
        }
        _ => None,
    };
    let usable = |address: &IpAddr| !address.is_unspecified() && !address.is_multicast();
    let named = contents.notifies.iter().filter_map(address).filter(usable);
    let named: Vec<IpAddr> = named.take(ADDITIONAL).collect();
    let said = !named.is_empty() || contents.has(NotifyType::NO_ADDITIONAL_ADDRESSES);
    if said {
        sa.mobility.additional = named;
    }
    said
}

/// As initiator: the responder no longer has the address at which we reach it, and says so from
/// another (section 3.6). It will be told that we go there.
fn leave(sa: &mut IkeSa, datagram: &Datagram, tx: &mut Transaction) {
    let here = sa.addresses.remote.ip();
    let gone = here != datagram.remote.ip() && !sa.mobility.additional.contains(&here);
    if gone && sa.about.extensions.mobike == Some(MobikeRole::Initiator) {
        go(sa, datagram, tx);
    }
}

/// The responder is reached where a message of its has come from.
fn go(sa: &mut IkeSa, datagram: &Datagram, tx: &mut Transaction) {
    sa.mobility.esp.get_or_insert(sa.addresses);
    sa.addresses.remote = datagram.remote;
    sa.mobility.update = true;
    tx.touch(sa.id());
}

fn cookie(contents: &Contents) -> Option<&Notify> {
    let cookie = contents.notify(NotifyType::COOKIE2);
    cookie.filter(|cookie| (8..=64).contains(&cookie.data.len()))
}

/// What an INFORMATIONAL request says of addresses, and the payloads of the answer.
pub(crate) fn respond(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    datagram: &Datagram,
    contents: &Contents,
    tx: &mut Transaction,
) -> Vec<Payload> {
    let Some(role) = sa.about.extensions.mobike else { return Vec::new() };
    if passed_nat(contents, datagram) {
        return vec![notify(NotifyType::UNEXPECTED_NAT_DETECTED)];
    }
    if note_addresses(sa, contents) {
        leave(sa, datagram, tx);
    }
    let wanted = contents.has(NotifyType::UPDATE_SA_ADDRESSES);
    if wanted
        && role == MobikeRole::Responder
        && sa.is_established()
        && let Err(error) = update(cx, sa, datagram, contents, tx)
    {
        return vec![notify(error)];
    }
    let mut payloads: Vec<Payload> = Vec::new();
    payloads.extend(cookie(contents).cloned().map(Payload::Notify));
    if nat::is_asked(&contents.notifies) {
        let (local, remote) = (datagram.local, datagram.remote);
        let force = sa.addresses.pretended_nat;
        payloads.extend(nat::notifies(sa.about.spis, local, remote, force));
    }
    payloads
}

/// The peer is where its message has come from (section 3.5).
fn update(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    datagram: &Datagram,
    contents: &Contents,
    tx: &mut Transaction,
) -> Result<(), NotifyType> {
    let refused = Err(NotifyType::UNACCEPTABLE_ADDRESSES);
    let Some(connection) = cx.connection(&sa.about.connection) else { return refused };
    let (local, remote) = (datagram.local, datagram.remote);
    if local.ip() != cx.config.vip.0 || !connection.remote.contains(remote.ip()) {
        return refused;
    }
    let addresses = observe(sa.about.spis, sa.addresses, datagram, contents);
    let (before, seen) = (sa.endpoints(), sa.mobility.esp.unwrap_or(sa.addresses));
    let from = sa.addresses.remote;
    sa.addresses = addresses;
    let known = seen.remote.ip() == remote.ip() || !connection.return_routability;
    sa.mobility.esp = (!known).then_some(seen);
    if sa.endpoints() != before {
        tx.redirect(sa.about.family, sa.endpoints());
    }
    if from != remote {
        tx.events.push(Event::Moved { id: sa.id(), from, to: remote });
    }
    Ok(())
}

/// The addresses of a message, and the NATs that it has passed.
fn observe(
    spis: IkeSpis,
    before: IkeAddresses,
    datagram: &Datagram,
    contents: &Contents,
) -> IkeAddresses {
    let (local, remote) = (datagram.local, datagram.remote);
    let found = nat::compare(&contents.notifies, spis, local, remote);
    let (local_nat, remote_nat) = match found.supported {
        true => (found.local, found.remote),
        false => (before.local_nat, before.remote_nat),
    };
    IkeAddresses { local, remote, local_nat, remote_nat, ..before }
}

fn draw_cookie(cx: &mut Context<'_>) -> Vec<u8> {
    let mut cookie = vec![0; COOKIE_LENGTH];
    cx.rng.fill(&mut cookie);
    cookie
}

fn ask(cx: &mut Context<'_>, sa: &IkeSa) -> (Payload, Box<AddressCheck>) {
    let cookie = draw_cookie(cx);
    let payload = Payload::Notify(Notify::new(NotifyType::COOKIE2, cookie.clone()));
    (payload, Box::new(AddressCheck { cookie, addresses: sa.addresses }))
}

/// As responder: the request that shows whether the peer is at its new address.
pub(crate) fn routability(cx: &mut Context<'_>, sa: &IkeSa) -> Request {
    let (payload, check) = ask(cx, sa);
    Request { payloads: vec![payload], continuation: Continuation::Routability(check) }
}

/// As initiator: the request that makes the responder send to and from other addresses.
pub(crate) fn update_request(cx: &mut Context<'_>, sa: &IkeSa) -> Request {
    let (cookie, check) = ask(cx, sa);
    let mut payloads = vec![notify(NotifyType::UPDATE_SA_ADDRESSES), cookie];
    let IkeAddresses { local, remote, .. } = sa.addresses;
    match cx.connection(&sa.about.connection).and_then(|c| no_nats(c, local, remote)) {
        Some(no_nats) => payloads.push(no_nats),
        None => payloads.extend(detection(sa)),
    }
    Request { payloads, continuation: Continuation::UpdateAddresses(check) }
}

fn detection(sa: &IkeSa) -> [Payload; 2] {
    let IkeAddresses { local, remote, pretended_nat, .. } = sa.addresses;
    nat::notifies(sa.about.spis, local, remote, pretended_nat)
}

/// What a liveness check holds: as initiator behind a NAT, how the responder sees us (section 3.8).
pub(crate) fn look_around(sa: &IkeSa) -> Vec<Payload> {
    let initiator = sa.about.extensions.mobike == Some(MobikeRole::Initiator);
    match initiator && sa.addresses.local_nat {
        true => detection(sa).to_vec(),
        false => Vec::new(),
    }
}

/// The answer to a liveness check. A mapping that has changed, or is not known yet, has to be told.
pub(crate) fn looked_around(sa: &mut IkeSa, contents: &Contents, tx: &mut Transaction) {
    let seen = contents.notify(NotifyType::NAT_DETECTION_DESTINATION_IP);
    let initiator = sa.about.extensions.mobike == Some(MobikeRole::Initiator);
    if let Some(seen) = seen.filter(|seen| initiator && seen.data != sa.mobility.seen_as) {
        sa.mobility.seen_as.clone_from(&seen.data);
        sa.mobility.update = true;
        tx.touch(sa.id());
    }
}

/// The peer has answered a return routability check. It proves something only of the address that
/// it was about; if the peer has moved on meanwhile, that is asked anew.
pub(crate) fn proven(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    check: &AddressCheck,
    datagram: &Datagram,
    contents: &Contents,
    tx: &mut Transaction,
) -> Fate {
    if cookie(contents).is_none_or(|cookie| cookie.data != check.cookie) {
        return Fate::Close(CloseReason::ProtocolViolation("COOKIE2"));
    }
    let here = check.addresses.remote == datagram.remote;
    if here && sa.addresses == check.addresses {
        sa.mobility.esp = None;
        tx.redirect(sa.about.family, sa.endpoints());
    } else if !here {
        sa.live.not_before = cx.now + AGAIN;
    }
    Fate::Keep
}

/// The responder has answered an update of ours.
pub(crate) fn updated(
    cx: &mut Context<'_>,
    sa: &mut IkeSa,
    check: &AddressCheck,
    datagram: &Datagram,
    contents: &Contents,
    tx: &mut Transaction,
) -> Fate {
    if sa.addresses != check.addresses {
        return Fate::Keep;
    }
    let refused = contents.has(NotifyType::UNACCEPTABLE_ADDRESSES)
        || contents.has(NotifyType::UNEXPECTED_NAT_DETECTED);
    if refused || contents.error().is_some() {
        // What has worked before may work again; if not, the next request finds another way.
        sa.addresses = sa.mobility.esp.take().unwrap_or(sa.addresses);
        sa.mobility.update = false;
        sa.live.not_before = cx.now + AGAIN;
        return Fate::Keep;
    }
    if cookie(contents).is_none_or(|cookie| cookie.data != check.cookie) {
        return Fate::Close(CloseReason::ProtocolViolation("COOKIE2"));
    }
    let before = sa.mobility.esp.unwrap_or(sa.addresses).remote;
    sa.addresses = observe(sa.about.spis, sa.addresses, datagram, contents);
    if let Some(seen) = contents.notify(NotifyType::NAT_DETECTION_DESTINATION_IP) {
        sa.mobility.seen_as.clone_from(&seen.data);
    }
    (sa.mobility.esp, sa.mobility.update) = (None, false);
    tx.redirect(sa.about.family, sa.endpoints());
    if before != sa.addresses.remote {
        let (id, to) = (sa.id(), sa.addresses.remote);
        tx.events.push(Event::Moved { id, from: before, to });
    }
    Fate::Keep
}

/// As initiator: where the `repeated`-th repetition of a request goes. While nothing comes from where
/// the responder was last, its other addresses are tried in turn.
pub(crate) fn another_way(sa: &IkeSa, repeated: u32) -> SocketAddr {
    let here = sa.addresses.remote;
    let family = |address: &&IpAddr| address.is_ipv4() == here.is_ipv4();
    let other: Vec<&IpAddr> = sa.mobility.additional.iter().filter(family).collect();
    if sa.about.extensions.mobike != Some(MobikeRole::Initiator) || other.is_empty() {
        return here;
    }
    let turn = usize::try_from(repeated.saturating_sub(2)).unwrap_or(0) % (other.len() + 1);
    match turn.checked_sub(1).and_then(|place| other.get(place)) {
        Some(address) => SocketAddr::new(**address, here.port()),
        None => here,
    }
}

/// As initiator: the responder has answered from another of its addresses, so that is the way now.
pub(crate) fn found_way(sa: &mut IkeSa, datagram: &Datagram, tx: &mut Transaction) {
    let (here, there) = (sa.addresses.remote.ip(), datagram.remote.ip());
    let named = sa.mobility.additional.contains(&there);
    if sa.about.extensions.mobike != Some(MobikeRole::Initiator) || here == there || !named {
        return;
    }
    sa.mobility.additional.retain(|address| *address != there);
    sa.mobility.additional.push(here);
    go(sa, datagram, tx);
}
