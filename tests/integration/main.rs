//! One binary for all integration tests.

mod bad_input;
mod cli;
mod determinism;
mod golden;
mod import;
mod policies;
mod room;
mod scenarios;
