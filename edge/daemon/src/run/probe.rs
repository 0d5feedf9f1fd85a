//! TCP connect checks of the applications on this host.

use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    /// Names it.
    pub(super) number: u64,
    /// Where to.
    pub(super) address: SocketAddr,
    /// When to give up.
    pub(super) patience: Duration,
    /// The mark of our own packets.
    pub(super) mark: Option<u32>,
}

impl Probe {
    /// Begins the attempt, which tells `results` whether somebody answered.
    pub(super) fn begin(self, results: mpsc::Sender<(u64, bool)>) {
        tokio::spawn(async move {
            let answered = matches!(timeout(self.patience, self.connect()).await, Ok(Ok(_)));
            let _ = results.send((self.number, answered)).await;
        });
    }

    async fn connect(self) -> io::Result<TcpStream> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(mark) = self.mark {
            SockRef::from(&socket).set_mark(mark)?;
        }
        socket.connect(self.address).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn an_open_port_answers_and_a_closed_one_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("bound");
        let (sender, mut results) = mpsc::channel(2);
        let probe = Probe { number: 1, address, patience: Duration::from_secs(1), mark: None };
        probe.begin(sender.clone());
        assert_eq!(results.recv().await, Some((1, true)));
        drop(listener);
        Probe { number: 2, ..probe }.begin(sender);
        assert_eq!(results.recv().await, Some((2, false)));
    }
}
