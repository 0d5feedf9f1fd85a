//! The sockets of one worker: per VIP port 500, port 4500 and protocol 50, and one for frames
//! between nodes.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use vipsec_path::Route;

use crate::config::Config;
use crate::error::DataPlaneError;
use crate::sys::{Fragmentation, esp_socket, udp_socket};

/// Port of IKE without encapsulation (RFC 7296 section 2).
pub(super) const PORT_IKE: u16 = 500;
/// Port of IKE and ESP in UDP (RFC 3948).
pub(super) const PORT_ENCAPSULATED: u16 = 4500;

/// What arrives at a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Port 500 or 4500 of a VIP.
    Udp(SocketAddr),
    /// Protocol 50 of a VIP.
    Esp(IpAddr),
    /// Frames of other nodes.
    Fabric(SocketAddr),
}

/// One socket.
pub(super) struct Socket {
    pub(super) kind: Kind,
    pub(super) fd: OwnedFd,
}

impl Socket {
    /// Lets the kernel fragment what `send` sends on a socket that otherwise never does.
    pub(super) fn fragmenting<R>(&self, send: impl FnOnce() -> R) -> R {
        let _ = Fragmentation::Allowed.apply(&self.fd, self.is_v4());
        let sent = send();
        let _ = Fragmentation::Never.apply(&self.fd, self.is_v4());
        sent
    }

    /// Whether the address is of IPv4.
    fn is_v4(&self) -> bool {
        match self.kind {
            Kind::Udp(local) | Kind::Fabric(local) => local.is_ipv4(),
            Kind::Esp(local) => local.is_ipv4(),
        }
    }
}

/// All of them.
pub(crate) struct Sockets(Vec<Socket>);

impl Sockets {
    /// Opens the sockets of worker `worker`. The VIPs stand on `lo` already.
    pub(crate) fn open(config: &Config, worker: u16) -> Result<Sockets, DataPlaneError> {
        let mut all = Vec::new();
        let mut udp = |local: SocketAddr, fragmentation, kind| {
            let fd = udp_socket(local, config.mark, fragmentation)
                .map_err(|e| DataPlaneError::io(format!("open UDP socket {local}"), e))?;
            all.push(Socket { kind, fd });
            Ok::<(), DataPlaneError>(())
        };
        //= RFC 7296 section 2.23 #1: IKE goes from these ports
        //= RFC 7296 section 2.23 #7: and listens on both
        //= RFC 7296 section 2.11 #1: to whatever port of the peer
        for vip in &config.vips {
            let ike = SocketAddr::new(vip.vip.0, PORT_IKE);
            udp(ike, Fragmentation::Allowed, Kind::Udp(ike))?;
            let encapsulated = SocketAddr::new(vip.vip.0, PORT_ENCAPSULATED);
            udp(encapsulated, Fragmentation::Never, Kind::Udp(encapsulated))?;
        }
        if let Some(fabric) = config.fabric {
            udp(fabric, Fragmentation::Allowed, Kind::Fabric(fabric))?;
        }
        for vip in &config.vips {
            let local = vip.vip.0;
            let fd = esp_socket(local, config.mark, worker, config.workers)
                .map_err(|e| DataPlaneError::io(format!("open raw ESP socket {local}"), e))?;
            all.push(Socket { kind: Kind::Esp(local), fd });
        }
        Ok(Sockets(all))
    }

    pub(super) fn get(&self, index: usize) -> Option<&Socket> {
        self.0.get(index)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.0.iter()
    }

    /// The socket that a route leaves by, with the destination and the traffic class.
    pub(super) fn of(&self, route: &Route) -> Option<(usize, SocketAddr, u8)> {
        let find = |wanted: Kind| self.0.iter().position(|s| s.kind == wanted);
        match *route {
            Route::Udp { local, remote, tos, .. } => {
                find(Kind::Udp(local)).map(|i| (i, remote, tos))
            }
            Route::Esp { local, remote, tos, .. } => {
                find(Kind::Esp(local)).map(|i| (i, SocketAddr::new(remote, 0), tos))
            }
            Route::Fabric { remote } => {
                let fabric = |s: &Socket| matches!(s.kind, Kind::Fabric(_));
                self.0.iter().position(fabric).map(|i| (i, remote, 0))
            }
        }
    }
}
