//! Addresses of host names, as this host resolves them.

use std::net::IpAddr;
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer: the name, and its addresses; none when it has none or nobody knows.
pub(super) type Resolved = (String, Vec<IpAddr>);

/// Begins to look a name up, and tells `results` in the end.
pub(super) fn begin(name: String, results: mpsc::Sender<Resolved>) {
    tokio::spawn(async move {
        let addresses = match timeout(PATIENCE, lookup_host((name.as_str(), 0))).await {
            Ok(Ok(found)) => found.map(|address| address.ip().to_canonical()).collect(),
            Ok(Err(error)) => {
                tracing::warn!(%name, %error, "the name cannot be resolved");
                Vec::new()
            }
            Err(_) => {
                tracing::warn!(%name, "the name is not resolved within 10 s");
                Vec::new()
            }
        };
        let _ = results.send((name, addresses)).await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_of_this_host_has_its_address_and_nonsense_has_none() {
        let (sender, mut results) = mpsc::channel(2);
        begin("localhost".to_owned(), sender.clone());
        let (name, addresses) = results.recv().await.expect("an answer");
        assert!(name == "localhost" && addresses.iter().all(IpAddr::is_loopback));
        assert!(!addresses.is_empty());
        begin("no such name".to_owned(), sender);
        assert_eq!(results.recv().await, Some(("no such name".to_owned(), Vec::new())));
    }
}
