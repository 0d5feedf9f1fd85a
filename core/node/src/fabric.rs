//! Keys for frames between two nodes: every pair of sending worker and direction has its own, from
//! the secrets that the TLS exporter gave for this one connection (RFC 8446 section 7.5).

use core::net::SocketAddr;
use vipsec_crypto::prf::PrfAlgorithm;
use vipsec_path::{FabricKey, FabricKeys};
use vipsec_wire::id::{EspSpi, NodeName};
use vipsec_wire::secret::SecretBytes;

/// Bytes of an exported secret.
pub const SECRET_LENGTH: usize = 32;
/// Most workers of a node that are believed.
const WORKERS_MAX: u16 = 64;
/// SPI, then AES-128 key and salt.
const MATERIAL: usize = 4 + 16 + 4;
/// The lowest SPI that is not reserved (RFC 4303 section 2.1).
const SPI_MIN: u32 = 256;

/// The two secrets of a connection, by what this node does with them.
#[derive(Debug, Clone)]
pub struct FabricSecrets {
    /// Of what this node sends.
    pub outbound: SecretBytes,
    /// Of what it receives.
    pub inbound: SecretBytes,
    /// Workers of the other node.
    pub peer_workers: u16,
}

impl FabricSecrets {
    /// The keys for each of this node's workers.
    pub(crate) fn derive(
        &self,
        node: &NodeName,
        remote: SocketAddr,
        workers: u16,
    ) -> Vec<FabricKeys> {
        let peers = 0..self.peer_workers.clamp(1, WORKERS_MAX);
        let inbound: Vec<FabricKey> = peers.filter_map(|w| key(&self.inbound, w)).collect();
        let keys = |worker| {
            let outbound = key(&self.outbound, worker)?;
            Some(FabricKeys { node: node.clone(), remote, outbound, inbound: inbound.clone() })
        };
        (0..workers).filter_map(keys).collect()
    }
}

fn key(secret: &SecretBytes, worker: u16) -> Option<FabricKey> {
    let seed = worker.to_be_bytes();
    let parts: [&[u8]; 2] = [b"vipsec fabric", &seed];
    let material = PrfAlgorithm::HmacSha2_256.prf_plus(secret.expose(), &parts, MATERIAL).ok()?;
    let (spi, key) = material.expose().split_first_chunk::<4>()?;
    let spi = EspSpi(u32::from_be_bytes(*spi).max(SPI_MIN));
    Some(FabricKey { spi, key: SecretBytes::from(key) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_derive_the_same_keys_and_no_two_are_alike() {
        let (one, two) = (SecretBytes::new(vec![1; 32]), SecretBytes::new(vec![2; 32]));
        let here = FabricSecrets { outbound: one.clone(), inbound: two.clone(), peer_workers: 3 };
        let there = FabricSecrets { outbound: two, inbound: one, peer_workers: 2 };
        let name = |n: &str| NodeName::try_from(n.to_owned()).unwrap();
        let address: SocketAddr = "10.0.0.1:7401".parse().unwrap();
        let here = here.derive(&name("b"), address, 2);
        let there = there.derive(&name("a"), address, 3);
        let mut spis: Vec<u32> = Vec::new();
        for (worker, keys) in here.iter().enumerate() {
            assert_eq!(keys.outbound.spi, there[0].inbound[worker].spi);
            assert_eq!(keys.outbound.key, there[0].inbound[worker].key);
            spis.push(keys.outbound.spi.0);
        }
        for (worker, keys) in there.iter().enumerate() {
            assert_eq!(keys.outbound.key, here[1].inbound[worker].key);
            spis.push(keys.outbound.spi.0);
        }
        spis.sort_unstable();
        spis.dedup();
        assert_eq!(spis.len(), 5);
    }
}
