//! A discrete-event simulator of LLM inference serving on `bevy_ecs`.
#![warn(missing_docs)]

pub mod batch;
pub mod cli;
pub mod cluster;
pub mod kv;
pub mod metrics;
pub mod model;
pub mod output;
pub mod profile;
pub mod registry;
pub mod request;
pub mod routing;
pub mod run;
pub mod scenario;
pub mod scheduling;
pub mod sim;
pub mod testing;
pub mod timing;
pub mod validate;
pub mod workload;
