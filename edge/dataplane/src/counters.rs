//! What the data plane itself has dropped or could not do, beside what the workers' paths count.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Live counters, shared by all threads.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[doc = $doc])* pub(crate) $name: Counter,)*
        }

        /// The counters at one moment, since the start of the process.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct CounterValues {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Counters {
            pub(crate) fn values(&self) -> CounterValues {
                CounterValues { $($name: self.$name.get(),)* }
            }
        }

        impl CounterValues {
            /// Names, for metrics, with their values.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Datagrams that a socket did not take: its buffer stayed full, or the kernel refused them.
    send_dropped,
    /// Outgoing packets for an address that no socket is bound to.
    send_no_socket,
    /// Packets that the TUN did not take.
    tun_dropped,
    /// Reads from the TUN that could not be understood.
    tun_malformed,
    /// Packets to another worker whose ring was full.
    ring_dropped,
    /// Reports of lossy kinds that the daemon did not fetch in time.
    reports_dropped,
    /// System calls that failed for a reason that is no packet's fault.
    io_errors,
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Counts one.
    pub(crate) fn one(&self) {
        self.many(1);
    }

    /// Counts several.
    pub(crate) fn many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_under_their_names() {
        let counters = Counters::default();
        counters.tun_dropped.one();
        counters.tun_dropped.many(2);
        let values = counters.values();
        assert_eq!(values.tun_dropped, 3);
        assert!(values.iter().any(|pair| pair == ("tun_dropped", 3)));
        assert_eq!(values.iter().map(|(_, count)| count).sum::<u64>(), 3);
    }
}
