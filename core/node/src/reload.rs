//! What reaches the IKE engines from outside at run time: another configuration, addresses of names,
//! packets that wait for an SA.

use crate::config::VipConfig;
use crate::node::Node;
use core::net::IpAddr;
use vipsec_path::Command;
use vipsec_wire::id::Vip;
use vipsec_wire::time::Timestamp;

impl Node {
    /// Goes on with other connections, pools and protected prefixes of VIPs that it has. Everything
    /// else of a VIP must be as it was, services above all; a VIP that is left out stays as it is.
    /// SAs of what has not changed are not touched.
    pub fn handle_config(&mut self, now: Timestamp, vips: Vec<VipConfig>) {
        for config in vips {
            let random = self.random.as_mut();
            let Some(state) = self.vips.get_mut(&config.vip) else { continue };
            state.config = config.clone();
            if let (Some(candidate), Some(ike)) = (state.candidate.as_mut(), config.ike) {
                candidate.engine.reconfigure(now, ike, random);
            }
            self.command(Command::ConfigureVip(Box::new(config.path)));
        }
        self.settle(now);
    }

    /// The addresses of a name that [`crate::Output::Resolve`] asked for; none when it has none or
    /// that could not be found out.
    pub fn handle_resolved(&mut self, now: Timestamp, name: &str, addresses: &[IpAddr]) {
        for candidate in self.vips.values_mut().filter_map(|state| state.candidate.as_mut()) {
            candidate.engine.handle_resolved(now, name, addresses);
        }
        self.settle(now);
    }

    /// A packet waits for a Child SA that is not there.
    pub(crate) fn acquire(&mut self, now: Timestamp, vip: Vip, connection: &str, child: &str) {
        let random = self.random.as_mut();
        let state = self.vips.get_mut(&vip).and_then(|state| state.candidate.as_mut());
        if let Some(candidate) = state.filter(|candidate| candidate.freezing.is_none()) {
            candidate.engine.handle_acquire(now, connection, child, random);
        }
    }
}
