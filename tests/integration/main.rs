//! One binary for all integration tests.

mod bad_input;
mod cli;
mod determinism;
mod docs;
mod golden;
mod import;
mod policies;
mod pools;
mod prefix_caching;
mod quirks;
mod room;
mod scenarios;
