//! The TCP sockets of links: marked, so that they never enter a tunnel, and quick to tell a silent
//! end.

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// After this long without any answer the kernel gives a connection up.
const SILENCE: Duration = Duration::from_secs(2);

/// Accepts connections on `address`.
pub(super) fn listen(address: SocketAddr, mark: Option<u32>) -> io::Result<TcpListener> {
    let socket = new_socket(address, mark)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(64)?;
    TcpListener::from_std(socket.into())
}

/// Opens a connection from the address of `from` (any port) to `to`.
pub(super) async fn connect(
    from: SocketAddr,
    to: SocketAddr,
    mark: Option<u32>,
) -> io::Result<TcpStream> {
    let socket = new_socket(to, mark)?;
    if from.is_ipv4() == to.is_ipv4() {
        socket.bind(&SocketAddr::new(from.ip(), 0).into())?;
    }
    let stream = TcpSocket::from_std_stream(socket.into()).connect(to).await?;
    tune(&stream)?;
    Ok(stream)
}

/// Sets what every connection of a link needs.
pub(super) fn tune(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    let second = Duration::from_secs(1);
    let probes = TcpKeepalive::new().with_time(second).with_interval(second).with_retries(2);
    socket.set_tcp_keepalive(&probes)
}

fn new_socket(like: SocketAddr, mark: Option<u32>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(like), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    Ok(socket)
}
