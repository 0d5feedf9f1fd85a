//! Whole clusters in virtual time: real `Node`s with real `Path` workers, faulty networks, stores
//! and processes, strict peers, and checkers that watch all of it.
//!
//! One seed decides everything, so that a run can be repeated. The code under test is the same as
//! in the real program; what the shell around it does (sockets, threads, timers, kernels) is
//! modelled here, with a chance of dying between any two steps.
//!
//! Deliberately absent: real time, I/O, threads; and any knowledge of the plan in the checkers.

pub mod addresses;
pub mod app;
mod blueprint;
mod checkers;
mod digest;
mod event;
pub mod generate;
pub mod host;
mod links;
pub mod network;
pub mod observation;
pub mod plan;
mod process;
pub mod random;
pub mod sabotage;
pub mod store;
mod tap;
pub mod trace;
pub mod world;

pub use checkers::Violation;
pub use plan::Plan;
pub use trace::Keep;
pub use world::{Outcome, World};

/// Runs a plan.
#[must_use]
pub fn run(plan: Plan, keep: Keep) -> Outcome {
    World::new(plan, keep).run()
}
