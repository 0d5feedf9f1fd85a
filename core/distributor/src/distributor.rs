//! One VIP's services, connection table and target health at one worker: where a packet goes.
//!
//! The caller gives the flow of a packet and what it means ([`Segment`]); it gets the index of a
//! node, in the order of the list of members with which the distributor was made. What to do with a
//! packet of an unknown connection (wait, assign, drop) is the caller's decision.

use crate::select::Selector;
use crate::service::{Service, Timeouts};
use crate::state::{Direction, Segment, State};
use crate::table::{Entry, Full, News, Origin, Said, Table};
use core::net::{IpAddr, SocketAddr};
use vipsec_wire::cluster::{ConnectionState, ConnectionUpdate, Flow, Protocol};
use vipsec_wire::id::NodeName;
use vipsec_wire::time::Timestamp;

/// Where a packet from a peer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Its connection belongs to the node of this index.
    Known(u16),
    /// Nobody is known to have the connection. `opens`: the packet may begin one.
    Unknown {
        /// Whether [`Distributor::assign`] may be asked.
        opens: bool,
    },
}

/// What becomes of a packet that a target sends to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It goes out.
    Pass,
    /// The connection belongs to another target.
    WrongTarget,
    /// A reset of a connection that nobody knows.
    Unknown,
    /// There is no room for a new connection.
    Full,
}

/// Why a new connection gets no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// All targets are unhealthy or of weight 0.
    #[error("the service has no usable target")]
    NoTarget,
    /// There is no room.
    #[error(transparent)]
    Full(#[from] Full),
}

#[derive(Debug, Clone)]
struct Live {
    service: Service,
    selector: Selector,
}

/// See the module's text.
#[derive(Debug, Clone)]
pub struct Distributor {
    members: Vec<NodeName>,
    own: u16,
    addresses: Vec<IpAddr>,
    services: Vec<Live>,
    table: Table,
}

impl Distributor {
    /// A distributor without services. `members`: all nodes, of which `own` is this one;
    /// `capacity`: most connections.
    #[must_use]
    pub fn new(members: Vec<NodeName>, own: u16, capacity: usize, seed: u64) -> Distributor {
        Distributor {
            members,
            own,
            addresses: Vec::new(),
            services: Vec::new(),
            table: Table::new(capacity, Timeouts::default(), seed),
        }
    }

    /// Sets addresses, services and time-outs. Connections stay; health begins as healthy for
    /// targets that were not there before.
    pub fn configure(&mut self, addresses: Vec<IpAddr>, services: &[Service], timeouts: Timeouts) {
        let before = core::mem::take(&mut self.services);
        self.addresses = addresses;
        self.table.set_timeouts(timeouts);
        for service in services {
            let old = before.iter().find(|live| live.service.name == service.name);
            let mut selector = Selector::new(service.method);
            for target in &service.targets {
                let Some(node) = self.index_of(&target.node) else {
                    continue;
                };
                selector.add(node, target.node.as_str(), target.weight);
                let was = old.is_none_or(|live| live.selector.is_healthy(node));
                selector.set_usable(node, was);
            }
            self.services.push(Live { service: service.clone(), selector });
        }
    }

    /// Index of a member.
    #[must_use]
    pub fn index_of(&self, node: &NodeName) -> Option<u16> {
        let index = self.members.iter().position(|member| member == node)?;
        u16::try_from(index).ok()
    }

    /// Index of this node.
    #[must_use]
    pub fn own(&self) -> u16 {
        self.own
    }

    /// Whether the address belongs to the VIP, so that its TCP and UDP packets are distributed.
    #[must_use]
    pub fn is_ours(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// Nodes that are targets of any service, without this one.
    #[must_use]
    pub fn other_targets(&self) -> Vec<u16> {
        let services = self.services.iter();
        let mut nodes: Vec<u16> = services.flat_map(|live| live.selector.nodes()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|&node| node != self.own);
        nodes
    }

    /// Where a packet from a peer goes. A known connection is touched by it.
    pub fn place(&mut self, now: Timestamp, flow: &Flow, segment: Segment) -> Placement {
        let opens = segment.opens();
        let over = opens && self.table.peek(flow).is_some_and(|entry| entry.state.is_over());
        if over {
            return self.begin_anew(now, flow, segment);
        }
        match self.table.touch(now, flow, segment, Direction::Inbound) {
            Some(entry) => Placement::Known(entry.node),
            None => Placement::Unknown { opens },
        }
    }

    /// Who has the connection, without touching it.
    #[must_use]
    pub fn holder(&self, flow: &Flow) -> Option<u16> {
        self.table.peek(flow).map(|entry| entry.node)
    }

    /// Gives a new connection to a target: of its service, or this node when the address and port
    /// are no service.
    ///
    /// # Errors
    /// When there is no usable target, or no room.
    pub fn assign(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        segment: Segment,
    ) -> Result<u16, AssignError> {
        let node = match self.service_of(flow) {
            Some(live) => live.selector.pick(flow.peer.ip()).ok_or(AssignError::NoTarget)?,
            None => self.own,
        };
        let state = State::begin(segment, Direction::Inbound);
        self.table.insert(now, flow, node, state, false)?;
        Ok(node)
    }

    /// A packet from a peer that this node, as a target, got from the owner.
    pub fn receive(&mut self, now: Timestamp, flow: &Flow, segment: Segment) -> Result<(), Full> {
        self.follow(now, flow, segment, Direction::Inbound)
    }

    /// A packet to a peer that this node, as a target, sends to the owner.
    pub fn send(&mut self, now: Timestamp, flow: &Flow, segment: Segment) -> Result<(), Full> {
        self.follow(now, flow, segment, Direction::Outbound)
    }

    /// At the owner: a packet to a peer whose sender is not known, because a former owner forwarded
    /// it. It enters nothing.
    pub fn late_answer(&mut self, now: Timestamp, flow: &Flow, segment: Segment) -> Answer {
        match self.table.touch(now, flow, segment, Direction::Outbound) {
            None if segment.resets() => Answer::Unknown,
            _ => Answer::Pass,
        }
    }

    /// At the owner: a packet to a peer that comes from the node `from`. It enters a connection
    /// that is unknown: its target knows better.
    pub fn answer(&mut self, now: Timestamp, flow: &Flow, segment: Segment, from: u16) -> Answer {
        match self.table.peek(flow) {
            Some(entry) if entry.node == from => {
                let fresh = segment.opens() && entry.state.is_over();
                if !fresh {
                    self.table.touch(now, flow, segment, Direction::Outbound);
                    return Answer::Pass;
                }
            }
            // Only a new connection takes the place of another target's that is over: a late
            // answer must not draw the last segments of that one away.
            Some(entry) if !(segment.opens() && entry.state.is_over()) => {
                return Answer::WrongTarget;
            }
            Some(_) => {}
            None if segment.resets() => return Answer::Unknown,
            None => {}
        }
        let state = State::begin(segment, Direction::Outbound);
        let opened = segment.opens() && !self.is_service(flow);
        match self.table.insert(now, flow, from, state, opened) {
            Ok(()) => Answer::Pass,
            Err(Full) => Answer::Full,
        }
    }

    /// Sets whether a target may get new connections of a service, or of all.
    pub fn set_usable(&mut self, service: Option<&str>, node: u16, usable: bool) {
        for live in &mut self.services {
            if service.is_none_or(|name| live.service.name == name) {
                live.selector.set_usable(node, usable);
            }
        }
    }

    /// Forgets all connections of a node.
    pub fn forget_node(&mut self, node: u16) {
        self.table.remove_node(node);
    }

    /// A change of owner. `owner`: whether this node is the owner now, and collects news for the
    /// backups.
    pub fn begin_generation(&mut self, owner: bool) {
        self.table.begin_generation(owner);
    }

    /// Takes in what the node `from` says of a connection; ignored when it names no member.
    ///
    /// # Errors
    /// [`Full`] when there is no room.
    pub fn import(
        &mut self,
        now: Timestamp,
        from: &NodeName,
        update: &ConnectionUpdate,
    ) -> Result<(), Full> {
        let Some(node) = self.index_of(&update.node) else {
            return Ok(());
        };
        let flow = update.flow;
        let state = State::from_public(update.state, flow.protocol);
        let Some(state) = state else {
            let same = self.table.peek(&flow).is_some_and(|entry| entry.node == node);
            if same && update.state == ConnectionState::Gone {
                self.table.remove(&flow);
            }
            return Ok(());
        };
        let said = Said {
            flow,
            node,
            state,
            opened_by_target: update.opened_by_target,
            age_s: update.age_s,
            idle_s: update.idle_s,
        };
        let origin = if *from == update.node { Origin::Holder } else { Origin::Mirror };
        self.table.import(now, &said, origin)
    }

    /// Takes at most `limit` news for the backups.
    pub fn take_news(&mut self, now: Timestamp, limit: usize) -> Vec<ConnectionUpdate> {
        let mut updates = Vec::new();
        let members = &self.members;
        self.table.take_news(limit, |news| {
            updates.push(match news {
                News::Changed(entry) => update(members, entry, now),
                News::Gone(flow, node) => ConnectionUpdate {
                    flow,
                    node: members[usize::from(node)].clone(),
                    state: ConnectionState::Gone,
                    opened_by_target: false,
                    age_s: 0,
                    idle_s: 0,
                },
            });
        });
        updates
    }

    /// Connections as they stand; `own_only`: those that this node holds itself.
    pub fn connections(
        &self,
        now: Timestamp,
        own_only: bool,
    ) -> impl Iterator<Item = ConnectionUpdate> + '_ {
        self.table
            .iter()
            .filter(move |entry| !own_only || entry.node == self.own)
            .map(move |entry| update(&self.members, entry, now))
    }

    /// Takes connections out, without a word to the backups; gives what they were. Looks at every
    /// entry: for rare events only.
    pub fn take_out(
        &mut self,
        now: Timestamp,
        mut which: impl FnMut(&Flow) -> bool,
    ) -> Vec<ConnectionUpdate> {
        let members = &self.members;
        let taken = self.table.take_out(|entry| which(&entry.flow()));
        taken.iter().map(|entry| update(members, entry, now)).collect()
    }

    /// The table, to see how full it is and when it wants [`Table::expire`].
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// See [`Table::expire`].
    pub fn expire(&mut self, now: Timestamp, budget: usize) -> bool {
        self.table.expire(now, budget)
    }

    fn follow(
        &mut self,
        now: Timestamp,
        flow: &Flow,
        segment: Segment,
        direction: Direction,
    ) -> Result<(), Full> {
        let own = self.own;
        let known = self.table.peek(flow);
        let goes_on = known
            .is_some_and(|entry| entry.node == own && !(segment.opens() && entry.state.is_over()));
        if goes_on {
            self.table.touch(now, flow, segment, direction);
            return Ok(());
        }
        if segment.resets() {
            return Ok(());
        }
        let opened = direction == Direction::Outbound && segment.opens() && !self.is_service(flow);
        let state = State::begin(segment, direction);
        self.table.insert(now, flow, own, state, opened)
    }

    /// A SYN for a connection that is over: to the same target if that takes new ones, so that late
    /// packets of the old one do not hit another.
    fn begin_anew(&mut self, now: Timestamp, flow: &Flow, segment: Segment) -> Placement {
        let node = self.holder(flow).unwrap_or(self.own);
        let usable = match self.service_of(flow) {
            Some(live) => live.selector.is_usable(node),
            None => node == self.own,
        };
        if !usable {
            self.table.remove(flow);
            return Placement::Unknown { opens: true };
        }
        let state = State::begin(segment, Direction::Inbound);
        match self.table.insert(now, flow, node, state, false) {
            Ok(()) => Placement::Known(node),
            Err(Full) => Placement::Unknown { opens: true },
        }
    }

    fn service_of(&mut self, flow: &Flow) -> Option<&mut Live> {
        self.services.iter_mut().find(|live| covers(&live.service, flow.protocol, flow.local))
    }

    /// Whether the connection's own end is a service.
    #[must_use]
    pub fn is_service(&self, flow: &Flow) -> bool {
        let mut services = self.services.iter();
        services.any(|live| covers(&live.service, flow.protocol, flow.local))
    }
}

fn covers(service: &Service, protocol: Protocol, local: SocketAddr) -> bool {
    service.protocol == protocol
        && service.address == local.ip()
        && (service.first_port..=service.last_port).contains(&local.port())
}

fn update(members: &[NodeName], entry: &Entry, now: Timestamp) -> ConnectionUpdate {
    ConnectionUpdate {
        flow: entry.flow(),
        node: members[usize::from(entry.node)].clone(),
        state: entry.state.public(),
        opened_by_target: entry.opened_by_target,
        age_s: entry.age_s(now),
        idle_s: entry.idle_s(now),
    }
}
