//! The netlink connection, with the few requests on links and addresses that the set-up needs.
//! Routes and rules are in `policy.rs`.

use std::io;
use std::net::IpAddr;

use futures_util::{Stream, StreamExt};
use netlink_packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use netlink_packet_route::link::LinkAttribute;
use rtnetlink::{Handle, LinkUnspec};

use super::ORIGIN;
use crate::error::DataPlaneError;

/// Packets that wait in front of each queue of the TUN, so that a worker may be away for some
/// milliseconds.
const QUEUE: u32 = 1024;

/// A connection to the kernel's routing tables, in the network namespace of the process.
#[derive(Clone)]
pub(crate) struct Netlink {
    pub(super) handle: Handle,
}

/// An interface as the data plane needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Interface index.
    pub(crate) index: u32,
    /// Hardware address, six bytes on Ethernet.
    pub(crate) hardware: Vec<u8>,
}

impl Netlink {
    /// Opens the connection; its I/O runs as a task of the present tokio runtime.
    pub(crate) fn open() -> Result<Netlink, DataPlaneError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|e| DataPlaneError::io("open netlink", e))?;
        tokio::spawn(connection);
        Ok(Netlink { handle })
    }

    /// Finds an interface by its name.
    pub(crate) async fn link(&self, name: &str) -> Result<Link, DataPlaneError> {
        let mut links = Box::pin(self.handle.link().get().match_name(name).execute());
        let message = match links.next().await {
            Some(Ok(message)) => message,
            _ => return Err(DataPlaneError::NoInterface(name.to_owned())),
        };
        let hardware = message.attributes.iter().find_map(|a| match a {
            LinkAttribute::Address(bytes) => Some(bytes.clone()),
            _ => None,
        });
        Ok(Link { index: message.header.index, hardware: hardware.unwrap_or_default() })
    }

    /// Sets MTU and the largest super-packet that the kernel may hand over, then brings the
    /// interface up.
    pub(crate) async fn bring_up(
        &self,
        index: u32,
        mtu: u16,
        gso_max_size: u32,
    ) -> Result<(), DataPlaneError> {
        let message = LinkUnspec::new_with_index(index)
            .mtu(u32::from(mtu))
            .txqueuelen(QUEUE)
            .append_extra_attribute(LinkAttribute::GsoMaxSize(gso_max_size))
            .up()
            .build();
        let set = self.handle.link().set(message).execute().await;
        set.map_err(|e| DataPlaneError::netlink("bring the TUN up", e))
    }

    /// Brings an interface up and changes nothing else.
    pub(crate) async fn up(&self, index: u32) -> Result<(), DataPlaneError> {
        let message = LinkUnspec::new_with_index(index).up().build();
        let set = self.handle.link().set(message).execute().await;
        set.map_err(|e| DataPlaneError::netlink("bring lo up", e))
    }

    /// Puts one address on an interface, as a host address without duplicate detection that is
    /// never chosen as a source by itself. No harm if it is there.
    pub(crate) async fn add_address(
        &self,
        index: u32,
        address: IpAddr,
    ) -> Result<(), DataPlaneError> {
        let length = if address.is_ipv4() { 32 } else { 128 };
        let mut request = self.handle.address().add(index, address, length).replace();
        let message = request.message_mut();
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(ORIGIN)));
        if address.is_ipv4() {
            message.header.scope = AddressScope::Host;
        } else {
            message.header.flags = AddressHeaderFlags::Nodad;
            let mut lifetime = CacheInfo::default();
            lifetime.ifa_valid = u32::MAX;
            message.attributes.push(AddressAttribute::CacheInfo(lifetime));
        }
        let added = request.execute().await;
        added.map_err(|e| DataPlaneError::netlink(format!("put {address} on lo"), e))
    }

    /// The addresses on an interface that an earlier or this process put there.
    pub(crate) async fn own_addresses(
        &self,
        index: u32,
    ) -> Result<Vec<(IpAddr, AddressMessage)>, DataPlaneError> {
        let ours = AddressAttribute::Protocol(AddressProtocol::Other(ORIGIN));
        let get = self.handle.address().get().set_link_index_filter(index).execute();
        let all = collect(get).await.map_err(|e| DataPlaneError::netlink("list addresses", e))?;
        let marked = all.into_iter().filter(|m| m.attributes.contains(&ours));
        Ok(marked.filter_map(|m| address_of(&m).map(|a| (a, m))).collect())
    }

    /// Takes an address away; no harm if it is gone already.
    pub(crate) async fn delete_address(
        &self,
        address: IpAddr,
        message: AddressMessage,
    ) -> Result<(), DataPlaneError> {
        match self.handle.address().del(message).execute().await {
            Err(e) if !is_gone(&e) => {
                Err(DataPlaneError::netlink(format!("take {address} off lo"), e))
            }
            _ => Ok(()),
        }
    }
}

/// The address that a message is about.
fn address_of(message: &AddressMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    })
}

/// All items of a dump.
pub(super) async fn collect<T>(
    stream: impl Stream<Item = Result<T, rtnetlink::Error>>,
) -> Result<Vec<T>, rtnetlink::Error> {
    let mut stream = Box::pin(stream);
    let mut all = Vec::new();
    while let Some(item) = stream.next().await {
        all.push(item?);
    }
    Ok(all)
}

/// The kernel's error number.
fn code(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => {
            io::Error::from_raw_os_error(-message.raw_code()).raw_os_error()
        }
        _ => None,
    }
}

/// Whether the kernel said that what should be deleted is not there.
pub(super) fn is_gone(error: &rtnetlink::Error) -> bool {
    matches!(code(error), Some(libc::ESRCH | libc::ENOENT | libc::EADDRNOTAVAIL | libc::ENODEV))
}

/// Whether the kernel said that what should be added is there.
pub(super) fn is_there(error: &rtnetlink::Error) -> bool {
    code(error) == Some(libc::EEXIST)
}
