//! The two UDP sockets of IKE: port 500, and 4500 with the marker that tells IKE from ESP
//! (RFC 3948, section 2.2).

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;

const PORTS: [u16; 2] = [500, 4500];
const MARKER: [u8; 4] = [0; 4];
/// Room for what comes in while other messages are worked on, bytes.
const BUFFER: usize = 4 << 20;

pub(crate) struct Sockets {
    sockets: [UdpSocket; 2],
    buffer: Vec<u8>,
}

/// A message as it came.
pub(crate) struct Received {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) message: Vec<u8>,
}

impl Sockets {
    pub(crate) fn open(local: IpAddr) -> Result<Self> {
        let open = |port: u16| -> Result<UdpSocket> {
            let address = SocketAddr::new(local, port);
            let socket =
                UdpSocket::bind(address).with_context(|| format!("cannot bind {address}"))?;
            socket.set_nonblocking(true)?;
            SockRef::from(&socket).set_recv_buffer_size(BUFFER)?;
            Ok(socket)
        };
        Ok(Self { sockets: [open(PORTS[0])?, open(PORTS[1])?], buffer: vec![0; 1 << 16] })
    }

    /// Sends a message from the port that it is to leave from.
    pub(crate) fn send(&self, local: SocketAddr, remote: SocketAddr, message: &[u8]) -> Result<()> {
        let sent = if local.port() == PORTS[1] {
            self.sockets[1].send_to(&[&MARKER, message].concat(), remote)
        } else {
            self.sockets[0].send_to(message, remote)
        };
        sent.map(|_| ()).with_context(|| format!("cannot send to {remote}"))
    }

    /// Everything that has arrived, after waiting for it for at most so long.
    pub(crate) fn receive(&mut self, wait: Duration) -> Result<Vec<Received>> {
        let mut polled = self.sockets.each_ref().map(|s| PollFd::new(s.as_fd(), PollFlags::POLLIN));
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        poll(&mut polled, timeout).context("cannot wait for messages")?;
        let mut received = Vec::new();
        for (socket, port) in self.sockets.iter().zip(PORTS) {
            let local = socket.local_addr()?;
            loop {
                let (length, remote) = match socket.recv_from(&mut self.buffer) {
                    Ok(got) => got,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // An ICMP error of an earlier message; its repetition is on its way.
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                    Err(error) => return Err(error).context("cannot receive"),
                };
                let datagram = &self.buffer[..length];
                let message =
                    if port == PORTS[1] { datagram.strip_prefix(&MARKER) } else { Some(datagram) };
                let message = message.map(<[u8]>::to_vec);
                received.extend(message.map(|message| Received { local, remote, message }));
            }
        }
        Ok(received)
    }
}
