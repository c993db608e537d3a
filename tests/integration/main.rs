//! One binary for all integration tests.

mod policies;
mod scenarios;
