//! tmp
mod config;
mod error;
mod setup;
mod sys;
