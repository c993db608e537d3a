//! A discrete-event simulator of LLM inference serving on `bevy_ecs`.
//!
//! It answers how a model, on given GPUs, under a scheduling policy, serves given traffic: time to
//! first token (TTFT), time per output token (TPOT), end-to-end latency, throughput, use of the KV
//! cache. No GPU is needed. Requests, batches, replicas, pipeline stages and KV blocks are
//! entities; ordered systems advance them, one step per distinct simulated time.
//!
//! Most people use the program `vidur-ecs` and never this crate. The crate is for those who add a
//! scheduling policy, a router or a model of execution time ([`registry`]), or who want to run
//! simulations from a program of their own.
//!
//! # A run from a scenario's text
//!
//! ```
//! use vidur_ecs::{registry::Registry, scenario::Scenario};
//!
//! let scenario = Scenario::load("examples/quickstart.ron".as_ref(), &[], &Registry::built_in())?;
//! for variant in scenario.run(0)?.variants {
//!     println!("{}: {:?} s to the first token", variant.name, variant.mean("ttft.mean"));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Reading checks everything: names, types, files, memory; an error points into the file. Results
//! are named figures ([`metrics::names`]), each for every seed.
//!
//! # A simulation under one's own eyes
//!
//! ```
//! use vidur_ecs::records::{BatchRecord, RequestRecord, RunSink};
//! use vidur_ecs::{registry::Registry, scenario::Scenario};
//!
//! /// Hears of every request that ends.
//! struct Last(Option<RequestRecord>);
//!
//! impl RunSink for Last {
//!     fn request(&mut self, record: &RequestRecord) {
//!         self.0 = Some(record.clone());
//!     }
//!     fn batch(&mut self, _: &BatchRecord) {}
//! }
//!
//! # let path = std::env::temp_dir().join(format!("vidur-ecs-guide-{}.ron", std::process::id()));
//! # std::fs::write(&path, r#"(
//! #     model: "Llama-2-7B",
//! #     device: "A100-SXM-80G",
//! #     engine: (policy: VllmV0(max_num_seqs: 64)),
//! #     workload: (
//! #         requests: 50,
//! #         arrivals: Poisson(qps: 2.0),
//! #         lengths: Fixed(prompt: 512, output: 32),
//! #     ),
//! #     timing: Measured(composition: Vidur),
//! # )"#)?;
//! let scenario = Scenario::load(&path, &[], &Registry::built_in())?;
//! let mut simulation = scenario.configurations[0].simulation(0)?;
//! let mut last = Last(None);
//! while let Some(step) = simulation.step(&mut last)? {
//!     // `simulation.world()` is the `bevy_ecs` world after the step at `step.time`.
//!     assert!(step.time >= vidur_ecs::base::Nanos::ZERO);
//! }
//! assert_eq!(last.0.expect("50 requests end").output_tokens, 32);
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`run::run`] runs every variant and seed of a scenario and writes the result folder;
//! [`cli::main_with`] is the whole program.
//!
//! # The way through the crate
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | the commands of the program |
//! | `import` | what reads others' files into ours |
//! | [`validate`], [`compare`] | simulated against measured runs; results side by side |
//! | `report` | what a terminal shows of a result |
//! | [`testing`] | checks for policies |
//! | [`run`], [`output`] | whole scenarios; one writer per result file |
//! | [`scenario`] | RON text to a checked [`scenario::Scenario`] |
//! | [`registry`], [`metrics`] | names that scenarios may use; records to figures |
//! | [`engine`] | the simulation: systems, policies, routers, admission control, state |
//! | [`workload`] | what arrives, and when |
//! | [`profile`], [`timing`] | measured kernel times; what a batch costs |
//! | [`records`] | what a run hands to its listeners |
//! | [`hardware`] | model shapes, GPUs, parallelism, memory plan |
//! | [`base`] | time, random streams, messages |
//!
//! Each module imports only those below it.
//!
//! `ARCHITECTURE.md` in the repository says why it is built like this.
#![warn(missing_docs)]

/// The entity-component system that the simulation runs on: a plug-in uses this one, and pins none
/// of its own.
pub use bevy_ecs;

pub mod base;
#[cfg(feature = "cli")]
pub mod cli;
#[doc(hidden)]
pub mod compare;
pub mod engine;
pub mod hardware;
#[cfg(feature = "cli")]
pub(crate) mod import;
pub mod metrics;
pub mod output;
#[doc(hidden)]
pub mod profile;
pub mod records;
pub mod registry;
#[cfg(feature = "cli")]
pub(crate) mod report;
pub mod run;
pub mod scenario;
pub mod testing;
pub mod timing;
#[doc(hidden)]
pub mod validate;
pub mod workload;

#[cfg(test)]
#[path = "../tests/integration/recorded.rs"]
mod recorded;

// The Rust code in the documents compiles, and what it asserts holds.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/plugins.md")]
    struct Plugins;
}
