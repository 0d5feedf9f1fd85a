//! Rise and fall: whether a target counts as healthy, judged from its last probes.

use crate::service::HealthCheck;

/// The health of one target of one service. A target starts healthy, so that a new owner
/// distributes before its first probes return; one failed probe of `fall` in a row is not enough to
/// change that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    rise: u16,
    fall: u16,
    healthy: bool,
    /// Probes in a row that contradict `healthy`.
    contrary: u16,
}

impl Health {
    /// A healthy target.
    #[must_use]
    pub fn new(check: &HealthCheck) -> Health {
        Health { rise: check.rise.max(1), fall: check.fall.max(1), healthy: true, contrary: 0 }
    }

    /// Whether new connections may go there.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// Takes in the result of a probe; `Some` when the health changes by it.
    pub fn handle_probe(&mut self, success: bool) -> Option<bool> {
        if success == self.healthy {
            self.contrary = 0;
            return None;
        }
        self.contrary += 1;
        let needed = if success { self.rise } else { self.fall };
        if self.contrary < needed {
            return None;
        }
        self.contrary = 0;
        self.healthy = success;
        Some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_changes_after_enough_probes_in_a_row() {
        let check = HealthCheck { interval_ms: 1000, rise: 2, fall: 3, port: 80 };
        let mut health = Health::new(&check);
        assert!(health.is_healthy());
        let probes = [false, false, true, false, false, false, true, false, true, true];
        let changes: Vec<_> = probes.iter().map(|&p| health.handle_probe(p)).collect();
        let mut expected = vec![None; 10];
        expected[5] = Some(false);
        expected[9] = Some(true);
        assert_eq!(changes, expected);
    }
}
