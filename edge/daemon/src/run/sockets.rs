//! The TCP connections that this host's kernel holds, read from its own tables (proc(5),
//! `/proc/self/net/tcp` and `tcp6`): applications outlive this process, and so do their connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use vipsec_node::Socket;

/// Most connections that are taken over.
const SOCKETS_MAX: usize = 1 << 20;

/// All sockets with an established connection, whole or half closed. What cannot be read is left
/// out: such a connection is known again with its next packet.
pub(super) fn established() -> Vec<Socket> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let texts = tables.iter().filter_map(|path| std::fs::read_to_string(path).ok());
    texts.flat_map(|text| parse(&text)).take(SOCKETS_MAX).collect()
}

fn parse(table: &str) -> Vec<Socket> {
    table.lines().skip(1).filter_map(line).collect()
}

fn line(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, peer) = (address(fields.next()?)?, address(fields.next()?)?);
    let closed_by_peer = match fields.next()? {
        // ESTABLISHED; FIN_WAIT1 and FIN_WAIT2 can still receive
        "01" | "04" | "05" => false,
        // CLOSE_WAIT
        "08" => true,
        _ => return None,
    };
    Some(Socket { local, peer, closed_by_peer })
}

/// An address as the kernel prints it: words of 32 bits in the order of the machine, in hex.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok();
    let bytes = |word: u32| word.to_ne_bytes();
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(bytes(word(0)?))),
        32 => {
            let mut all = [0; 16];
            for (index, part) in all.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&bytes(word(index * 8)?));
            }
            IpAddr::V6(Ipv6Addr::from(all)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_of_this_process_is_found_from_both_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (_server, peer) = listener.accept().unwrap();
        let sockets = established();
        let held = Socket { local: address, peer, closed_by_peer: false };
        assert!(sockets.contains(&held), "{held:?} is missing");
        let local = client.local_addr().unwrap();
        assert!(sockets.contains(&Socket { local, peer: address, closed_by_peer: false }));
    }

    #[test]
    fn an_ipv4_peer_of_an_ipv6_socket_is_an_ipv4_address() {
        let text = "0000000000000000FFFF00000A02000A:0050";
        if cfg!(target_endian = "little") {
            assert_eq!(address(text), Some("10.0.2.10:80".parse().unwrap()));
        }
    }

    #[test]
    fn listeners_and_nonsense_are_left_out() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:0016 00000000:0000 0A 0\n\
                     nonsense\n   1: 01:02 03 01\n";
        assert_eq!(parse(table), vec![]);
    }
}
