//! One binary for all integration tests.

mod docs;
mod policies;
mod scenarios;
mod quirks;
