//! The store's backends, and the thread that drives one.
//!
//! [`Sqlite`] keeps the contract of `vipsec_cluster::store` in one file that several processes of
//! a host share; [`Etcd`] keeps it for several hosts. [`Store`] gives a backend a thread of its own: requests go in without waiting,
//! replies and changes come out of one channel, and whatever is queued is committed together.
//!
//! Nothing here knows what a value means: they are sealed before they come here.

mod engine;
mod etcd;
mod handle;
mod sqlite;
mod worker;

pub use engine::{Engine, Open};
pub use etcd::{Etcd, EtcdConfig, EtcdLogin, EtcdTls};
pub use handle::{Busy, Pace, Reply, RequestId, Store};
pub use sqlite::{Sqlite, SqliteConfig};
