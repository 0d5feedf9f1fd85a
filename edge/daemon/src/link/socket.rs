//! The TCP sockets of links: marked, so that they never enter a tunnel, and quick to tell a silent
//! end.

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// After this long without any answer the kernel gives a connection up.
const SILENCE: Duration = Duration::from_secs(2);

/// Descriptors from here on are the connections'; below the usual limit of 1024, above all others.
const HIGH: i32 = 512;

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
    tune(stream)
}

/// Gives every connection of a link what it needs: its options, and a high descriptor.
///
/// When a process dies, the kernel closes its descriptors from the highest down, and closing a TUN
/// takes tens of milliseconds. The end of the connections is what tells the other nodes of the
/// death, so it must not wait for that.
pub(super) fn tune(stream: TcpStream) -> io::Result<TcpStream> {
    let stream = stream.into_std()?;
    let stream = match rustix::io::fcntl_dupfd_cloexec(&stream, HIGH) {
        Ok(high) => std::net::TcpStream::from(high),
        // Under a limit on descriptors that is lower still it stays where it is.
        Err(_) => stream,
    };
    let socket = SockRef::from(&stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    let second = Duration::from_secs(1);
    let probes = TcpKeepalive::new().with_time(second).with_interval(second).with_retries(2);
    socket.set_tcp_keepalive(&probes)?;
    TcpStream::from_std(stream)
}

fn new_socket(like: SocketAddr, mark: Option<u32>) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(like), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    Ok(socket)
}
