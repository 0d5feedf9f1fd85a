//! What sealing and opening cost on top of the AEAD: nanoseconds per packet of the library's AEAD on
//! the same bytes, of our seal and of our open, measured in turns so that all see the same machine.
//! Prints one JSON document; `cargo bench -p vipsec-esp --bench seal`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/fixture/mod.rs"]
#[allow(dead_code, reason = "each program uses its part")]
mod fixture;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, LessSafeKey, Nonce, UnboundKey};
use fixture::{BORN, NOW, Seeded, child_sa, ivs};
use std::hint::black_box;
use std::time::Instant;
use vipsec_crypto::aead::AeadAlgorithm;
use vipsec_esp::{Cipher, Inbound, IvGenerator, Outbound, Replay};

const SIZES: [usize; 3] = [64, 576, 1400];
const BATCH: usize = 64;
const ROUNDS: usize = 2_000;
const BUFFER: usize = 2_048;

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
    fn new(algorithm: AeadAlgorithm, raw: &'static Algorithm) -> Bench {
        let sa = child_sa(Cipher::Aead(algorithm), true);
        let (mut outbound, mut inbound) = (Outbound::new(&sa).unwrap(), Inbound::new(&sa).unwrap());
        outbound.enter(BORN, 0, 0, &mut Seeded(1)).unwrap();
        inbound.enter(BORN, Replay::Bounded).unwrap();
        let key = &sa.outbound.encryption.expose()[..raw.key_len()];
        Bench {
            outbound,
            inbound,
            ivs: ivs(),
            raw: LessSafeKey::new(UnboundKey::new(raw, key).unwrap()),
            ours: vec![[0x5a; BUFFER]; BATCH],
            theirs: vec![[0x5a; BUFFER]; BATCH],
            nonce: 0,
        }
    }

    fn nonce(sequence: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&sequence.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// The library's seal and open over the bytes that ESP encrypts, with ESP's 12 bytes of
    /// additional data (ESN).
    fn raw_round(&mut self, body: usize) -> (f64, f64) {
        let (start, first) = (Instant::now(), self.nonce);
        for packet in &mut self.theirs {
            let (head, rest) = packet.split_at_mut(16);
            let (text, tag) = rest.split_at_mut(body);
            let aad = Aad::from(&head[..12]);
            let sealed = self.raw.seal_in_place_separate_tag(Bench::nonce(self.nonce), aad, text);
            tag[..16].copy_from_slice(sealed.unwrap().as_ref());
            self.nonce += 1;
        }
        let sealed = start.elapsed();
        let start = Instant::now();
        for (packet, sequence) in self.theirs.iter_mut().zip(first..) {
            let (head, rest) = packet.split_at_mut(16);
            let (text, tag) = rest.split_at_mut(body);
            let (nonce, aad) = (Bench::nonce(sequence), Aad::from(&head[..12]));
            let opened = self.raw.open_in_place_separate_tag(nonce, aad, &tag[..16], text);
            black_box(opened.unwrap());
        }
        (per_packet(sealed), per_packet(start.elapsed()))
    }

    fn our_round(&mut self, size: usize) -> (f64, f64) {
        let start = Instant::now();
        for packet in &mut self.ours {
            let sealed = self.outbound.seal(NOW, 4, packet, size, &mut self.ivs);
            black_box(sealed.unwrap());
        }
        let (sealed, length) = (start.elapsed(), self.outbound.sealed_length(size));
        let start = Instant::now();
        for packet in &mut self.ours {
            black_box(self.inbound.open(NOW, &mut packet[..length]).unwrap());
        }
        (per_packet(sealed), per_packet(start.elapsed()))
    }

    /// Medians of raw seal, raw open, our seal, our open.
    fn medians(&mut self, size: usize) -> [f64; 4] {
        let body = self.outbound.sealed_length(size) - 32;
        let mut samples = [const { Vec::new() }; 4];
        for _ in 0..ROUNDS {
            let (raw, ours) = (self.raw_round(body), self.our_round(size));
            for (samples, sample) in samples.iter_mut().zip([raw.0, raw.1, ours.0, ours.1]) {
                samples.push(sample);
            }
        }
        samples.map(|mut samples: Vec<f64>| {
            samples.sort_by(f64::total_cmp);
            samples[samples.len() / 2]
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few digits are what is wanted")]
fn per_packet(elapsed: std::time::Duration) -> f64 {
    elapsed.as_nanos() as f64 / BATCH as f64
}

fn main() {
    let ciphers = [
        ("aes128gcm16", AeadAlgorithm::Aes128Gcm16, &AES_128_GCM),
        ("aes256gcm16", AeadAlgorithm::Aes256Gcm16, &AES_256_GCM),
    ];
    let mut rows = Vec::new();
    for (name, algorithm, raw) in ciphers {
        for size in SIZES {
            let [raw_seal, raw_open, seal, open] = Bench::new(algorithm, raw).medians(size);
            rows.push(format!(
                "  {{\"cipher\": \"{name}\", \"bytes\": {size}, \
                 \"seal_ratio\": {:.2}, \"open_ratio\": {:.2}, \
                 \"raw_seal_ns\": {raw_seal:.1}, \"seal_ns\": {seal:.1}, \
                 \"raw_open_ns\": {raw_open:.1}, \"open_ns\": {open:.1}}}",
                seal / raw_seal,
                open / raw_open,
            ));
        }
    }
    println!("[\n{}\n]", rows.join(",\n"));
}
