//! The data plane in real namespaces. Needs root, `ip` and `nft`; without root the tests fail and
//! say so.
//!
//! ```text
//! hx 10.20.1.2 ── 10.20.1.1 x 10.9.0.1 ────── 10.9.0.2 y 10.20.2.1 ── 10.20.2.2 hy
//!                 inner 10.20.1.254            inner 10.20.2.254
//!                 VIP 192.0.2.1                VIP 192.0.2.2
//! ```
//! The same with IPv6, `fd09::`, `fd20:1::`, `fd20:2::` and VIPs `2001:db8::1`, `2001:db8::2`.

mod answering;
mod fence;
mod lab;
mod tunnel;
