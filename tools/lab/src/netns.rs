//! Network namespaces, and the cables and bridges between them.
//!
//! All links are born inside namespaces, so that deleting the namespaces deletes every link and
//! nothing of the lab ever shows up among the machine's own interfaces.

use std::process::Command;

use anyhow::Result;

use crate::command;

/// A network namespace of a running lab; [`Lab`](crate::run::Lab) makes and deletes them.
#[derive(Debug, Clone)]
pub struct Namespace {
    name: String,
    role: String,
}

impl Namespace {
    /// Makes the namespace and brings its loopback up.
    ///
    /// # Errors
    /// When `ip` refuses, for instance for want of privileges.
    pub(crate) fn create(prefix: &str, role: &str) -> Result<Self> {
        let namespace = Self { name: format!("{prefix}-{role}"), role: role.to_owned() };
        command::run(&format!("ip netns add {}", namespace.name))?;
        namespace.ip("link set lo up")?;
        // Addresses must be usable at once, and nothing may come up that nobody asked for.
        namespace.sysctl("net.ipv6.conf.all.accept_dad", "0")?;
        namespace.sysctl("net.ipv6.conf.default.accept_dad", "0")?;
        namespace.sysctl("net.ipv6.conf.default.accept_ra", "0")?;
        Ok(namespace)
    }

    /// The name by which `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it stands for in the lab: `client`, `a`, `s`.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// A command that runs `program` inside and dies with the thread that spawned it.
    ///
    /// The death signal comes from `setpriv`, which replaces itself by the program: setting it in
    /// this process would need an unsafe hook between fork and exec.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.lasting_command("setpriv");
        command.args(["--pdeathsig", "KILL", program]);
        command
    }

    /// A command that runs `program` inside and outlives this process.
    #[must_use]
    pub fn lasting_command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs a program inside to its end and returns its standard output.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let mut command = self.command(words.next().unwrap_or_default());
        command::output_of(command.args(words))
    }

    /// Runs `ip` on this namespace, without entering it.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        command::run(&format!("ip -n {} {arguments}", self.name))
    }

    /// Sets a kernel parameter of the namespace.
    ///
    /// # Errors
    /// When the parameter does not exist.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        self.run(&format!("sysctl -qw {key}={value}")).map(|_| ())
    }

    /// Gives an address to an interface.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn address(&self, interface: &str, address: &str) -> Result<()> {
        self.ip(&format!("address add {address} dev {interface}")).map(|_| ())
    }

    /// Adds a bridge and brings it up.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn bridge(&self, bridge: &str) -> Result<()> {
        self.ip(&format!("link add {bridge} type bridge stp_state 0 forward_delay 0"))?;
        self.ip(&format!("link set {bridge} up")).map(|_| ())
    }

    /// The hardware address of an interface.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn hardware_address(&self, interface: &str) -> Result<[u8; 6]> {
        let shown = self.ip(&format!("-o link show dev {interface}"))?;
        let text = shown.split_whitespace().skip_while(|w| *w != "link/ether").nth(1);
        let bytes: Vec<u8> = text
            .unwrap_or_default()
            .split(':')
            .filter_map(|part| u8::from_str_radix(part, 16).ok())
            .collect();
        bytes.try_into().map_err(|_| anyhow::anyhow!("{interface} has no hardware address"))
    }

    /// The identifiers of all processes inside.
    ///
    /// # Errors
    /// When the namespace is gone.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let listed = command::run(&format!("ip netns pids {}", self.name))?;
        Ok(listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
    }
}

/// Lays a cable from `interface` in `namespace` to a port of `bridge` in `switch`.
///
/// Segmentation offloads for UDP are switched off on both ends: veth would otherwise pass
/// super-packets that no wire carries, and a capture would show one packet where there are forty.
///
/// # Errors
/// When `ip` or `ethtool` fails.
pub fn plug(
    namespace: &Namespace,
    interface: &str,
    switch: &Namespace,
    bridge: &str,
) -> Result<()> {
    let port = format!("{}-{interface}", namespace.role());
    cable(namespace, interface, switch, &port)?;
    switch.ip(&format!("link set {port} master {bridge}"))?;
    for (end, name) in [(namespace, interface), (switch, port.as_str())] {
        end.run(&format!("ethtool -K {name} tx-udp-segmentation off"))?;
    }
    Ok(())
}

/// Lays a cable between two namespaces and brings both ends up.
///
/// # Errors
/// When `ip` fails.
pub fn cable(left: &Namespace, left_end: &str, right: &Namespace, right_end: &str) -> Result<()> {
    left.ip(&format!(
        "link add {left_end} type veth peer name {right_end} netns {}",
        right.name()
    ))?;
    left.ip(&format!("link set {left_end} up"))?;
    right.ip(&format!("link set {right_end} up")).map(|_| ())
}
