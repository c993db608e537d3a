//! One binary for all integration tests.

mod policies;
mod prefix_caching;
