//! Distribution: which target gets a connection, and which has it.
//!
//! A [`Distributor`] belongs to one VIP at one worker. It holds the services, the connection table
//! and the health of the targets as commands set it. [`health::Health`] is the rise-and-fall count
//! that the node keeps per target.
//!
//! What is not here: packets (the caller says what a packet means as a [`Segment`]), probes,
//! forwarding, any waiting. Time comes in by argument.

pub mod distributor;
pub mod flow_map;
pub mod health;
pub mod select;
pub mod service;
pub mod state;
pub mod table;
mod wheel;

pub use distributor::{Answer, AssignError, Distributor, Placement};
pub use health::Health;
pub use service::{HealthCheck, Method, Service, ServiceTarget, Timeouts};
pub use state::{Direction, Segment, State};
pub use table::{Full, Origin, Table};
