//! What stands only while the process does: the VIPs on `lo` and the TUN's place in the network.
//! The TUN itself goes with the file descriptors of its queues.

use std::net::IpAddr;

use super::netlink::Netlink;
use super::sysctl;
use crate::config::{Config, InnerSide};
use crate::error::DataPlaneError;

/// Bytes of the largest super-packet from the kernel. One of 60,000 would fit a single UDP GSO send
/// when it is cut and sealed, but the kernel would then cut every larger one by itself that it has to
/// forward, at twice the price of the whole path.
const GSO_MAX_SIZE: u32 = 65_536;

/// The addresses on `lo`, to be taken off again.
pub(crate) struct Scaffold {
    netlink: Netlink,
    lo: u32,
}

impl Scaffold {
    /// Settles what the kernel must not answer, then puts the VIPs and service addresses on `lo`
    /// and takes those off that an earlier process left and nobody wants any more.
    pub(crate) async fn build(
        netlink: Netlink,
        config: &Config,
    ) -> Result<Scaffold, DataPlaneError> {
        sysctl::keep_kernel_silent()?;
        for interface in interfaces(config) {
            sysctl::loosen_reverse_path(interface)?;
        }
        if config.forwarding {
            sysctl::enable_forwarding()?;
        }
        let lo = netlink.link("lo").await?.index;
        netlink.up(lo).await?;
        let scaffold = Scaffold { netlink, lo };
        let wanted = config.own_addresses();
        scaffold.clear(&wanted).await?;
        for address in wanted {
            scaffold.netlink.add_address(lo, address).await?;
        }
        Ok(scaffold)
    }

    /// Brings the TUN up and returns its interface index.
    pub(crate) async fn raise_tun(&self, config: &Config) -> Result<u32, DataPlaneError> {
        let name = &config.tun.name;
        let index = self.netlink.link(name).await?.index;
        sysctl::quieten_tun(name)?;
        self.netlink.bring_up(index, config.tun.mtu, GSO_MAX_SIZE).await?;
        Ok(index)
    }

    /// Takes all addresses off again.
    pub(crate) async fn take_down(self) -> Result<(), DataPlaneError> {
        self.clear(&[]).await
    }

    /// Takes the addresses off that a process which is gone left behind.
    pub(crate) async fn sweep(netlink: Netlink) -> Result<(), DataPlaneError> {
        let lo = netlink.link("lo").await?.index;
        Scaffold { netlink, lo }.take_down().await
    }

    async fn clear(&self, keep: &[IpAddr]) -> Result<(), DataPlaneError> {
        for (address, message) in self.netlink.own_addresses(self.lo).await? {
            if !keep.contains(&address) {
                self.netlink.delete_address(address, message).await?;
            }
        }
        Ok(())
    }
}

/// The interfaces on which VIPs are answered for, towards peers and protected hosts.
fn interfaces(config: &Config) -> impl Iterator<Item = &str> {
    let inner = |i: &'_ Option<InnerSide>| i.is_some();
    let outside = config.vips.iter().filter_map(|v| v.interface.as_deref());
    let inside = config.vips.iter().filter(move |v| inner(&v.inner));
    outside.chain(inside.filter_map(|v| v.inner.as_ref().map(|i| i.interface.as_str())))
}
