//! Tests of this module's types: round trips, cuts, and bytes written by hand.

use super::*;
use crate::id::{Epoch, EspSpi, IkeSaId, Vip};

fn vip() -> Vip {
    Vip("192.0.2.10".parse().unwrap())
}

fn node(name: &str) -> NodeName {
    NodeName::try_from(name.to_owned()).unwrap()
}

fn flow(port: u16) -> Flow {
    let local = "192.0.2.10:80".parse().unwrap();
    Flow { protocol: Protocol::Tcp, local, peer: ([10, 77, 0, 9], port).into() }
}

/// One message of each kind.
pub(super) fn examples() -> Vec<Message> {
    let update = ConnectionUpdate {
        flow: flow(40_000),
        node: node("t1"),
        state: ConnectionState::Established,
        opened_by_target: false,
        age_s: 10,
        idle_s: 1,
    };
    let target = service::TargetState { service: "web".into(), node: node("t2"), healthy: false };
    let (vip, epoch) = (vip(), Epoch(3));
    vec![
        Message::Hello(Hello {
            name: node("a"),
            incarnation: 8,
            workers: 2,
            program: "0.1.0".into(),
        }),
        Message::Ownership(ownership::Message { vip, epoch, body: ownership::Body::Owning }),
        Message::Connections(Connections { vip, epoch, updates: vec![update], complete: true }),
        Message::Edges(Edges { vip, epoch, edges: vec![(EspSpi(300), 1 << 33)] }),
        Message::HighWater(vec![HighWater { vip, spi_in: EspSpi(300), sequence: 77 }]),
        Message::HalfOpen(HalfOpenMirror {
            vip,
            epoch,
            id: IkeSaId(5),
            state: Some(SecretBytes::new(vec![1, 2, 3])),
        }),
        Message::TargetHealth(TargetHealth { vip, epoch, targets: vec![target] }),
    ]
}

#[test]
fn every_message_survives_the_round_trip_and_no_part_of_it_is_read() {
    for message in examples() {
        let bytes = message.encode();
        let bytes = bytes.expose();
        assert_eq!(Message::decode(bytes), Ok(message));
        for end in 0..bytes.len() {
            assert!(Message::decode(&bytes[..end]).is_err(), "{bytes:?} cut at {end}");
        }
        let longer = [bytes, &[0]].concat();
        assert_eq!(Message::decode(&longer), Err(ParseError::Length("cluster message")));
        let newer = [&[2], &bytes[1..]].concat();
        let refused = ParseError::Version { what: "cluster message", version: 2 };
        assert_eq!(Message::decode(&newer), Err(refused));
    }
}

#[test]
fn a_list_longer_than_its_limit_is_refused() {
    let edges = vec![(EspSpi(300), 1); EDGES_MAX + 1];
    let message = Message::Edges(Edges { vip: vip(), epoch: Epoch(1), edges });
    let refused = Err(ParseError::Length("cluster message"));
    assert_eq!(Message::decode(message.encode().expose()), refused);
}

#[test]
fn frames_are_found_however_the_stream_is_cut() {
    let contents: Vec<Vec<u8>> = vec![vec![1], vec![2; 300], vec![3; 70_000], vec![4; 5]];
    let stream: Vec<u8> =
        contents.iter().flat_map(|content| frame(content).unwrap().to_vec()).collect();
    for step in [1, 2, 3, 7, 1000, stream.len()] {
        let mut decoder = FrameDecoder::new();
        let mut found = Vec::new();
        for piece in stream.chunks(step) {
            decoder.handle_bytes(piece);
            while let Some(content) = decoder.poll_frame().unwrap() {
                found.push(content.to_vec());
            }
        }
        assert_eq!(found, contents, "in steps of {step}");
    }
}

#[test]
fn a_frame_that_is_empty_or_too_long_ends_the_stream() {
    for length in [0, FRAME_BYTES_MAX + 1, u32::MAX as usize] {
        let mut decoder = FrameDecoder::new();
        decoder.handle_bytes(&u32::try_from(length).unwrap().to_be_bytes());
        assert_eq!(decoder.poll_frame(), Err(ParseError::Length("frame")));
    }
    assert!(frame(&[]).is_err());
    assert!(frame(&vec![0; FRAME_BYTES_MAX + 1]).is_err());
    assert!(frame(&vec![0; FRAME_BYTES_MAX]).is_ok());
}
