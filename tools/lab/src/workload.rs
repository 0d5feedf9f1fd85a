//! Everything that runs through the tunnel in the demo at once: one flow of each kind that a user
//! could have open while the VIP moves.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Result;

use crate::flow::{FlowRecord, Window};
use crate::probe::Prober;
use crate::run::Lab;
use crate::strongswan::StrongSwan;
use crate::topology::{Site, bracketed, is_ipv6};

/// The nodes that answer HTTP on the VIP.
pub const WEB_TARGETS: [&str; 3] = ["b", "t1", "t2"];

/// The servers on targets, host and client, and the flows to them.
#[derive(Debug)]
pub struct Workload {
    servers: Vec<(String, Prober)>,
    flows: Vec<(Prober, usize)>,
}

/// The records of a [`Workload`] that has ended.
#[derive(Debug, Clone)]
pub struct Records {
    /// As seen by those who opened the flows.
    pub flows: Vec<FlowRecord>,
    /// As seen by the answering side, with its name.
    pub servers: Vec<(String, FlowRecord)>,
}

impl Workload {
    /// Starts servers and flows, and waits until every flow has had an answer.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub fn start(lab: &Lab, site: &Site, client: &StrongSwan) -> Result<Self> {
        let mut workload = Self { servers: Vec::new(), flows: Vec::new() };
        let [vip, service] = [site.plan.vip, site.plan.service].map(bracketed);
        let (to_host, host) = (site.plan.host, bracketed(site.plan.host));
        let client_address = bracketed(&client.virtual_address(is_ipv6(to_host))?);
        for target in WEB_TARGETS {
            let services = format!(
                "--listen http={vip}:80 --listen stream={vip}:5001 --listen datagram={vip}:5002 \
                 --listen http={service}:8080"
            );
            workload.serve(lab, site, target, &services)?;
        }
        workload.serve(lab, site, "s", &format!("--listen echo={host}:7000"))?;
        workload.serve(lab, site, "client", &format!("--listen echo={client_address}:7000"))?;
        let nodes = WEB_TARGETS.join(",");
        let flows = [
            ("client", "transfer", format!("stream --to {vip}:5001"), 1),
            ("client", "http", format!("http --to {vip}:80 --nodes {nodes}"), WEB_TARGETS.len()),
            ("client", "inner", format!("http --to {service}:8080 --nodes t1,t2"), 2),
            ("client", "client-s", format!("echo --to {host}:7000"), 1),
            ("s", "s-client", format!("echo --to {client_address}:7000"), 1),
            ("client", "udp", format!("datagram --to {vip}:5002"), 1),
            ("client", "ping", format!("ping --to {to_host}"), 1),
        ];
        for (role, name, line, count) in &flows {
            let prober = Prober::start(lab, site.namespace(role)?, name, line)?;
            workload.flows.push((prober, *count));
        }
        for (prober, count) in &mut workload.flows {
            prober.wait_until_flowing(*count)?;
        }
        Ok(workload)
    }

    fn serve(&mut self, lab: &Lab, site: &Site, role: &str, services: &str) -> Result<()> {
        let line = format!("serve --node {role} {services}");
        let server = Prober::start(lab, site.namespace(role)?, &format!("serve-{role}"), &line)?;
        self.servers.push((role.to_owned(), server));
        Ok(())
    }

    /// Where the flows tell what happens to them.
    #[must_use]
    pub fn logs(&self) -> Vec<PathBuf> {
        self.flows.iter().map(|(prober, _)| prober.log_path()).collect()
    }

    /// Ends the flows, then the servers, and collects all records.
    ///
    /// # Errors
    /// When a prober failed.
    pub fn finish(self) -> Result<Records> {
        let mut records = Records { flows: Vec::new(), servers: Vec::new() };
        for (prober, _) in self.flows {
            records.flows.extend(prober.finish()?);
        }
        for (role, server) in self.servers {
            let served = server.finish()?;
            records.servers.extend(served.into_iter().map(|record| (role.clone(), record)));
        }
        Ok(records)
    }
}

impl Records {
    /// A flow by its name.
    #[must_use]
    pub fn flow(&self, name: &str) -> Option<&FlowRecord> {
        self.flows.iter().find(|record| record.name == name)
    }

    /// Of the UDP datagrams sent in the window, how many never reached a server. What else was
    /// lost got lost on its way back.
    #[must_use]
    pub fn lost_on_the_way_out(&self, window: Window) -> usize {
        let servers = self.servers.iter().filter(|(_, record)| record.name == "datagram");
        let reached: HashMap<u64, u64> = servers
            .flat_map(|(_, record)| &record.packets)
            .map(|packet| (packet.sequence, packet.sent_us))
            .collect();
        let Some(flow) = self.flow("udp") else { return 0 };
        let sent = flow.packets.iter().filter(|packet| window.contains(packet.sent_us));
        sent.filter(|packet| !reached.contains_key(&packet.sequence)).count()
    }

    /// Datagrams that came to the servers more than once in the window.
    #[must_use]
    pub fn duplicated_on_the_way_out(&self, window: Window) -> usize {
        let servers = self.servers.iter().filter(|(_, record)| record.name == "datagram");
        servers.map(|(_, record)| record.duplicated(window)).sum()
    }

    /// Flows that were silent during the last `silence_us` of their record.
    #[must_use]
    pub fn stalled(&self, silence_us: u64) -> Vec<&str> {
        let stalled = |record: &&FlowRecord| {
            let last = record.gaps.last();
            record.arrived == 0
                || last.is_some_and(|gap| {
                    gap.to_us == record.ended_us && gap.to_us - gap.from_us >= silence_us
                })
        };
        self.flows.iter().filter(stalled).map(|record| record.name.as_str()).collect()
    }

    /// Contents that arrived other than they were sent, at both ends.
    #[must_use]
    pub fn corrupt(&self) -> u64 {
        let servers = self.servers.iter().map(|(_, record)| record.corrupt);
        self.flows.iter().map(|record| record.corrupt).chain(servers).sum()
    }
}
