//! Checks of the services that run on this node: a target looks after its own applications and tells
//! the candidates, for only it can reach its own socket on an address that all of them hold.

use core::net::SocketAddr;
use core::time::Duration;
use vipsec_distributor::{Health, HealthCheck, Service};
use vipsec_wire::id::NodeName;
use vipsec_wire::time::Timestamp;

/// Longest time that one probe may take.
const PROBE_TIMEOUT_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Check {
    service: String,
    address: SocketAddr,
    settings: HealthCheck,
    health: Health,
    next: Timestamp,
    /// The probe that is under way.
    running: Option<u64>,
}

/// The checks of one VIP's services on this node.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<Check>);

/// A probe to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) address: SocketAddr,
    pub(crate) timeout: Duration,
}

impl Checks {
    /// The checks that fall to `node`, the first of each at once.
    pub(crate) fn new(node: &NodeName, services: &[Service]) -> Checks {
        let own = services.iter().filter(|s| s.targets.iter().any(|t| t.node == *node));
        let checks = own.filter_map(|service| {
            let settings = service.check?;
            Some(Check {
                service: service.name.clone(),
                address: SocketAddr::new(service.address, settings.port),
                settings,
                health: Health::new(&settings),
                next: Timestamp(0),
                running: None,
            })
        });
        Checks(checks.collect())
    }

    /// The next probe that is due; it will be known by `name`.
    pub(crate) fn poll_probe(&mut self, now: Timestamp, name: u64) -> Option<Probe> {
        let check = self.0.iter_mut().find(|c| c.running.is_none() && c.next <= now)?;
        let interval = Duration::from_millis(check.settings.interval_ms.max(10).into());
        check.running = Some(name);
        check.next = now + interval;
        Some(Probe { address: check.address, timeout: interval.min(PROBE_TIMEOUT_MAX) })
    }

    /// A probe has ended. `Some` when the health of a service has changed by it.
    pub(crate) fn handle_probe(&mut self, name: u64, success: bool) -> Option<(String, bool)> {
        let check = self.0.iter_mut().find(|c| c.running == Some(name))?;
        check.running = None;
        let healthy = check.health.handle_probe(success)?;
        Some((check.service.clone(), healthy))
    }

    /// What is known, for a new owner.
    pub(crate) fn states(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().map(|check| (check.service.as_str(), check.health.is_healthy()))
    }

    /// When the next probe is due.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.0.iter().filter(|check| check.running.is_none()).map(|check| check.next).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vipsec_distributor::{Method, ServiceTarget};
    use vipsec_wire::cluster::Protocol;

    fn node(name: &str) -> NodeName {
        NodeName::try_from(name.to_owned()).unwrap()
    }

    fn service(target: &str) -> Service {
        Service {
            name: "web".into(),
            address: "192.0.2.10".parse().unwrap(),
            protocol: Protocol::Tcp,
            first_port: 80,
            last_port: 80,
            method: Method::RoundRobin,
            targets: vec![ServiceTarget { node: node(target), weight: 1 }],
            check: Some(HealthCheck { interval_ms: 1000, rise: 1, fall: 2, port: 80 }),
        }
    }

    #[test]
    fn a_service_of_another_node_is_not_checked_here() {
        let mut checks = Checks::new(&node("a"), &[service("b")]);
        assert_eq!(checks.poll_timeout(), None);
        assert_eq!(checks.poll_probe(Timestamp(1), 1), None);
    }

    #[test]
    fn a_failing_application_is_said_once() {
        let mut checks = Checks::new(&node("b"), &[service("b")]);
        let mut now = Timestamp(5_000_000);
        for (name, expected) in [(1, None), (2, Some(("web".to_owned(), false))), (3, None)] {
            let probe = checks.poll_probe(now, name).unwrap();
            assert_eq!(probe.address, "192.0.2.10:80".parse().unwrap());
            assert_eq!(checks.poll_probe(now, 99), None, "one at a time");
            assert_eq!(checks.handle_probe(name, false), expected);
            now = checks.poll_timeout().unwrap();
        }
        assert_eq!(checks.states().collect::<Vec<_>>(), vec![("web", false)]);
    }
}
