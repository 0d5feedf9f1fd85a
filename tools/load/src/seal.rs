//! What sealing and opening cost on top of the AEAD: nanoseconds per packet of the library's AEAD on
//! the same bytes, of our seal and of our open, measured in turns so that all see the same machine.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, anyhow};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use serde::Serialize;
use vipsec_crypto::Random;
use vipsec_crypto::aead::AeadAlgorithm;
use vipsec_esp::{
    ChildSa, Cipher, Endpoints, HalfKeys, Inbound, IvGenerator, Lifetime, Mode, Outbound, Replay,
};
use vipsec_wire::id::{Epoch, EspSpi, IkeSaId, Vip};
use vipsec_wire::secret::SecretBytes;
use vipsec_wire::time::Timestamp;

use crate::initiator::OsRandom;

const NOW: Timestamp = Timestamp(0);
const BORN: Epoch = Epoch(1);

/// Octets of a packet before it is sealed.
const SIZES: [usize; 3] = [64, 576, 1400];
const BATCH: usize = 64;
const ROUNDS: usize = 2_000;
const BUFFER: usize = 2_048;

/// Both directions have the same SPI and keys, so that the inbound half is the outbound half's peer.
fn child_sa(algorithm: AeadAlgorithm, random: &mut dyn Random) -> ChildSa {
    let cipher = Cipher::Aead(algorithm);
    let mut key = vec![0; cipher.encryption_key_length()];
    random.fill(&mut key);
    let half = || HalfKeys {
        spi: EspSpi(0x1122_3344),
        encryption: SecretBytes::new(key.clone()),
        integrity: SecretBytes::new(Vec::new()),
    };
    let here = ([192, 0, 2, 10], 4500);
    ChildSa {
        vip: Vip(here.0.into()),
        ike: IkeSaId(1),
        connection: "load".to_owned(),
        child: "net".to_owned(),
        inbound: half(),
        outbound: half(),
        cipher,
        mode: Mode::Tunnel,
        esn: true,
        replay_window: 1024,
        local: Vec::new(),
        remote: Vec::new(),
        born: BORN,
        created: NOW,
        lifetime: Lifetime::default(),
        endpoints: Endpoints {
            local: here.into(),
            remote: ([198, 51, 100, 1], 4500).into(),
            encapsulated: true,
            local_nat: false,
        },
    }
}

/// The library says no more than that.
fn unspecified(_: aws_lc_rs::error::Unspecified) -> anyhow::Error {
    anyhow!("the library's AEAD has failed")
}

/// Our halves and the library's key, with a batch of packets for each.
struct Bench {
    outbound: Outbound,
    inbound: Inbound,
    ivs: IvGenerator,
    raw: LessSafeKey,
    ours: Vec<[u8; BUFFER]>,
    theirs: Vec<[u8; BUFFER]>,
    nonce: u64,
}

impl Bench {
    fn new(
        algorithm: AeadAlgorithm,
        raw: &'static Algorithm,
        random: &mut dyn Random,
    ) -> Result<Bench> {
        let sa = child_sa(algorithm, random);
        let (mut outbound, mut inbound) = (Outbound::new(&sa)?, Inbound::new(&sa)?);
        outbound.enter(BORN, 0, 0, random)?;
        inbound.enter(BORN, Replay::Bounded)?;
        let key = &sa.outbound.encryption.expose()[..raw.key_len()];
        Ok(Bench {
            outbound,
            inbound,
            ivs: IvGenerator::new(random)?,
            raw: LessSafeKey::new(UnboundKey::new(raw, key).map_err(unspecified)?),
            ours: vec![[0x5a; BUFFER]; BATCH],
            theirs: vec![[0x5a; BUFFER]; BATCH],
            nonce: 0,
        })
    }

    fn nonce(sequence: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&sequence.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// The library's seal and open over the bytes that ESP encrypts, with ESP's 12 bytes of
    /// additional data (ESN).
    fn raw_round(&mut self, body: usize) -> Result<(f64, f64)> {
        let (start, first) = (Instant::now(), self.nonce);
        for packet in &mut self.theirs {
            let (head, rest) = packet.split_at_mut(16);
            let (text, tag) = rest.split_at_mut(body);
            let aad = Aad::from(&head[..12]);
            let sealed = self.raw.seal_in_place_separate_tag(Bench::nonce(self.nonce), aad, text);
            tag[..16].copy_from_slice(sealed.map_err(unspecified)?.as_ref());
            self.nonce += 1;
        }
        let sealed = start.elapsed();
        let start = Instant::now();
        for (packet, sequence) in self.theirs.iter_mut().zip(first..) {
            let (head, rest) = packet.split_at_mut(16);
            let (text, tag) = rest.split_at_mut(body);
            let (nonce, aad) = (Bench::nonce(sequence), Aad::from(&head[..12]));
            let opened = self.raw.open_in_place_separate_tag(nonce, aad, &tag[..16], text);
            black_box(opened.map_err(unspecified)?);
        }
        Ok((per_packet(sealed), per_packet(start.elapsed())))
    }

    fn our_round(&mut self, size: usize) -> Result<(f64, f64)> {
        let start = Instant::now();
        for packet in &mut self.ours {
            let sealed = self.outbound.seal(NOW, 4, packet, size, &mut self.ivs);
            black_box(sealed?);
        }
        let (sealed, length) = (start.elapsed(), self.outbound.sealed_length(size));
        let start = Instant::now();
        for packet in &mut self.ours {
            black_box(self.inbound.open(NOW, &mut packet[..length])?);
        }
        Ok((per_packet(sealed), per_packet(start.elapsed())))
    }

    /// Medians of raw seal, raw open, our seal, our open.
    fn medians(&mut self, size: usize) -> Result<[f64; 4]> {
        let body = self.outbound.sealed_length(size) - 32;
        let mut samples = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            let (raw, ours) = (self.raw_round(body)?, self.our_round(size)?);
            for (samples, sample) in samples.iter_mut().zip([raw.0, raw.1, ours.0, ours.1]) {
                samples.push(sample);
            }
        }
        Ok(samples.map(|mut samples: Vec<f64>| {
            samples.sort_by(f64::total_cmp);
            samples[samples.len() / 2]
        }))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few digits are what is wanted")]
fn per_packet(elapsed: std::time::Duration) -> f64 {
    elapsed.as_nanos() as f64 / BATCH as f64
}

/// One cipher at one packet size; nanoseconds per packet.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    cipher: &'static str,
    bytes: usize,
    seal_ratio: f64,
    open_ratio: f64,
    raw_seal_ns: f64,
    seal_ns: f64,
    raw_open_ns: f64,
    open_ns: f64,
}

/// Measures every cipher at every size.
pub(crate) fn measure() -> Result<Vec<Row>> {
    let ciphers = [
        ("aes128gcm16", AeadAlgorithm::Aes128Gcm16, &AES_128_GCM),
        ("aes256gcm16", AeadAlgorithm::Aes256Gcm16, &AES_256_GCM),
    ];
    let mut rows = Vec::new();
    for (cipher, algorithm, raw) in ciphers {
        for bytes in SIZES {
            let mut bench = Bench::new(algorithm, raw, &mut OsRandom::default())?;
            let [raw_seal_ns, raw_open_ns, seal_ns, open_ns] = bench.medians(bytes)?;
            let (seal_ratio, open_ratio) = (seal_ns / raw_seal_ns, open_ns / raw_open_ns);
            let row = Row {
                cipher,
                bytes,
                seal_ratio,
                open_ratio,
                raw_seal_ns,
                seal_ns,
                raw_open_ns,
                open_ns,
            };
            rows.push(row);
        }
    }
    Ok(rows)
}
