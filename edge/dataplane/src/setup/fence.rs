//! The fence: packet filter, rule and blackhole routes that keep what belongs in a tunnel from
//! leaving in clear. It stands before the first packet flows and stays when the process ends, by
//! whatever cause; only [`Fence::remove`] takes it away.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::netlink::Netlink;
use super::policy::Way;
use super::ruleset::{Ruleset, additions, counted, table_name};
use super::sysctl;
use crate::config::{Config, Prefix, PrefixSet};
use crate::error::DataPlaneError;

/// Most prefixes that a fence holds. They stay until it is removed, and peers that are protected at
/// the address from which they come may come from ever new ones.
const PREFIXES_MAX: usize = 65_536;

/// The fence of one data plane. Dropping it leaves it standing.
pub(crate) struct Fence {
    netlink: Netlink,
    config: Config,
    protected: PrefixSet,
    tun: Option<u32>,
}

impl Fence {
    /// Builds the fence for the configured prefixes and those that an earlier process left behind:
    /// a fence only ever grows until it is removed.
    pub(crate) async fn build(netlink: Netlink, config: &Config) -> Result<Fence, DataPlaneError> {
        let left = netlink.blackholes().await?;
        let configured: PrefixSet = config.protected.iter().copied().collect();
        for (prefix, ..) in left.iter().filter(|(prefix, ..)| !configured.covers(prefix)) {
            tracing::warn!(%prefix, "protected by an earlier run, stays so until stop --open");
        }
        let earlier = left.iter().map(|(prefix, ..)| *prefix);
        let protected: PrefixSet = configured.iter().copied().chain(earlier).collect();
        let fence = Fence { netlink, config: config.clone(), protected, tun: None };
        nft(&Ruleset::new(&fence.config, &fence.protected).script()).await?;
        for prefix in fence.protected.iter() {
            fence.netlink.add_route(prefix, Way::Blackhole, config.table).await?;
        }
        for v4 in families() {
            fence.netlink.ensure_rule(v4, config.mark, config.table).await?;
        }
        for (.., message) in left.into_iter().filter(|(_, table, _)| *table != config.table) {
            fence.netlink.delete_route(message).await?;
        }
        Ok(fence)
    }

    /// Leads all protected prefixes into the TUN with this interface index, which must be up.
    pub(crate) async fn open_gate(&mut self, tun: u32) -> Result<(), DataPlaneError> {
        self.tun = Some(tun);
        for prefix in self.protected.iter() {
            self.netlink.add_route(prefix, Way::Tunnel(tun), self.config.table).await?;
        }
        Ok(())
    }

    /// Adds prefixes; returns those that no other covered before. Filter and blackhole come before
    /// the way into the TUN.
    pub(crate) async fn protect(
        &mut self,
        prefixes: &[Prefix],
    ) -> Result<Vec<Prefix>, DataPlaneError> {
        let news = prefixes.iter().filter(|prefix| !self.protected.covers(prefix));
        let news: PrefixSet = news.copied().collect();
        let news: Vec<Prefix> = news.iter().copied().collect();
        if news.is_empty() {
            return Ok(news);
        }
        if let Some(all) = news.iter().find(|prefix| prefix.length() == 0) {
            return Err(DataPlaneError::Unfenced(format!("{all} is not among what is configured")));
        }
        if self.protected.len() + news.len() > PREFIXES_MAX {
            return Err(DataPlaneError::Unfenced(format!("it holds {PREFIXES_MAX} prefixes")));
        }
        let mut wider = self.protected.clone();
        let covered: Vec<Prefix> = news.iter().flat_map(|prefix| wider.insert(*prefix)).collect();
        if covered.is_empty() {
            nft(&additions(&self.config.instance, &news)).await?;
        } else {
            // A set takes no interval that overlaps one of its own.
            nft(&Ruleset::new(&self.config, &wider).script()).await?;
        }
        for prefix in &news {
            self.netlink.add_route(prefix, Way::Blackhole, self.config.table).await?;
            if let Some(tun) = self.tun {
                self.netlink.add_route(prefix, Way::Tunnel(tun), self.config.table).await?;
            }
        }
        self.protected = wider;
        Ok(news)
    }

    /// Packets that the rules of an instance have dropped, by reason; nothing where that cannot be
    /// read.
    pub(crate) async fn drops(instance: String) -> Vec<(&'static str, u64)> {
        let words = ["list", "counters", "table", "inet", &table_name(&instance)];
        let output = Command::new("nft").args(words).output().await;
        output.map_or_else(|_| Vec::new(), |o| counted(&String::from_utf8_lossy(&o.stdout)))
    }

    /// Takes the fence of an instance away, whether this or an earlier process built it.
    pub(crate) async fn remove(netlink: &Netlink, instance: &str) -> Result<(), DataPlaneError> {
        for v4 in families() {
            netlink.delete_rules(v4, None).await?;
        }
        for (.., message) in netlink.blackholes().await? {
            netlink.delete_route(message).await?;
        }
        let table = table_name(instance);
        nft(&format!("table inet {table} {{}}\ndelete table inet {table}\n")).await
    }
}

/// IPv4, and IPv6 where the kernel has it.
fn families() -> impl Iterator<Item = bool> {
    let v6 = sysctl::has_ipv6().then_some(false);
    std::iter::once(true).chain(v6)
}

/// Loads a script in one transaction.
async fn nft(script: &str) -> Result<(), DataPlaneError> {
    let failed = |e| DataPlaneError::io("run nft (Debian package nftables)", e);
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes()).await.map_err(failed)?;
    }
    let output = child.wait_with_output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(DataPlaneError::Fence(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
