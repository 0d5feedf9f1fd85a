//! Fail closed for what is agreed on at run time: before a worker hears of an SA, what lies behind its
//! peer is in the fence, on the owner as on the backups. What the configuration names is there from
//! the start; this is for peers that are protected at the address from which they come.

use super::daemon::Daemon;
use crate::config::address;
use vipsec_dataplane::Prefix;
use vipsec_node::Output;
use vipsec_path::{Command, Report};

impl Daemon {
    /// Extends the fence by what the SAs among `outputs` protect. An SA for which that fails is not
    /// installed: its packets would go out in clear one day.
    pub(super) async fn fence(&mut self, outputs: &mut Vec<Output>) {
        let wanted: Vec<Prefix> = outputs.iter().flat_map(protected).collect();
        if wanted.is_empty() || self.protect(&wanted).await {
            return;
        }
        let mut kept = Vec::with_capacity(outputs.len());
        for output in outputs.drain(..) {
            let prefixes = protected(&output);
            if prefixes.is_empty() || self.protect(&prefixes).await {
                kept.push(output);
            } else if let Output::Worker { command, .. } = output
                && let Command::Install(sa, _) = *command
            {
                let refused = Report::NotInstalled { vip: sa.vip, spi_in: sa.inbound.spi };
                self.node.handle_report(self.clock.now(), 0, refused);
            }
        }
        *outputs = kept;
    }

    async fn protect(&mut self, prefixes: &[Prefix]) -> bool {
        match self.plane.protect(prefixes).await {
            Ok(news) => {
                if let Err(error) = self.state.note_protected(&news) {
                    tracing::error!(%error, "a restart of this machine opens the fence for a moment");
                }
                true
            }
            Err(error) => {
                tracing::error!(error = crate::explain(&error), "an SA is not fenced");
                false
            }
        }
    }
}

/// What lies behind the peer, if this installs an SA.
fn protected(output: &Output) -> Vec<Prefix> {
    let Output::Worker { command, .. } = output else { return Vec::new() };
    let Command::Install(sa, _) = command.as_ref() else { return Vec::new() };
    let ranges = sa.remote.iter().map(|selector| (selector.first_address, selector.last_address));
    let covers = ranges.flat_map(|(first, last)| address::Prefix::cover(first, last));
    covers.filter_map(|prefix| Prefix::new(prefix.address(), prefix.length())).collect()
}
