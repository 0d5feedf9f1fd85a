//! TCP connect checks of the applications on this host.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Tries to connect to `address` and tells `results` whether somebody answered.
pub(super) fn begin(
    probe: u64,
    address: SocketAddr,
    patience: Duration,
    results: mpsc::Sender<(u64, bool)>,
) {
    tokio::spawn(async move {
        let answered = matches!(timeout(patience, TcpStream::connect(address)).await, Ok(Ok(_)));
        let _ = results.send((probe, answered)).await;
    });
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
        begin(1, address, Duration::from_secs(1), sender.clone());
        assert_eq!(results.recv().await, Some((1, true)));
        drop(listener);
        begin(2, address, Duration::from_secs(1), sender);
        assert_eq!(results.recv().await, Some((2, false)));
    }
}
