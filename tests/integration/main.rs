//! One binary for all integration tests.

mod bad_input;
mod cli;
mod compare;
mod determinism;
mod docs;
mod golden;
mod import;
mod many_runs;
mod policies;
mod prefix_caching;
mod quirks;
mod room;
mod scenarios;
