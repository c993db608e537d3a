//! A discrete-event simulator of LLM inference serving on `bevy_ecs`.
//!
//! It answers how a model, on given GPUs, under a scheduling policy, serves given traffic: time to
//! first token (TTFT), time per output token (TPOT), end-to-end latency, throughput, use of the KV
//! cache. No GPU is needed. Requests, batches, replicas, pipeline stages and KV blocks are entities;
//! ordered systems advance them, one step per distinct simulated time.
//!
//! Most people use the program `vidur-ecs` and never this crate. The crate is for those who add a
//! scheduling policy, a router or a model of execution time ([`registry`]), or who want to run
//! simulations from a program of their own.
//!
//! # A run from a scenario's text
//!
//! ```
//! use vidur_ecs::records::BatchRecords;
//! use vidur_ecs::metrics::{RunContext, StatsSink};
//! use vidur_ecs::registry::Registry;
//! use vidur_ecs::scenario::Scenario;
//! use vidur_ecs::base::Nanos;
//! use vidur_ecs::engine::{PoolSpec, SimSpec, Simulation, Traffic};
//!
//! let folder = std::env::temp_dir();
//! let path = folder.join("vidur-ecs-guide.ron");
//! std::fs::write(&path, r#"(
//!     model: "Llama-2-7B",
//!     device: "A100-SXM-80G",
//!     engine: (policy: VllmV0(max_num_seqs: 64)),
//!     workload: (
//!         requests: 50,
//!         arrivals: Poisson(qps: 2.0),
//!         lengths: Fixed(prompt: 512, output: 32),
//!     ),
//!     timing: Measured(composition: Vidur),
//! )"#)?;
//!
//! // Reading checks everything: names, types, files, memory. An error points into the file.
//! let scenario = Scenario::load(&path, &[], &Registry::built_in()).map_err(|e| e.render(false))?;
//! let pool_config = scenario.configurations[0].cluster.first();
//! let seed = scenario.seeds.start;
//!
//! // A run hands its records to a sink as they happen; this one makes statistics of them.
//! let mut statistics = StatsSink::new(None);
//! let window = pool_config.workload.window(seed);
//! let traffic = Traffic {
//!     concurrency: pool_config.workload.concurrency(),
//!     until: pool_config.workload.arrivals_end(),
//!     window: Box::new(move |index, time| window.contains(index, time)),
//!     ..Traffic::of(pool_config.workload.source(seed))
//! };
//! let (policy, router) = (pool_config.policy.boxed(), pool_config.router.boxed());
//! let predictor = pool_config.predictor.clone();
//! let pool = PoolSpec {
//!     replicas: pool_config.replicas,
//!     prefix_caching: pool_config.prefix_caching,
//!     ..PoolSpec::new(pool_config.limits, policy, router, predictor, traffic)
//! };
//! let mut simulation = Simulation::new(SimSpec::of_one(pool, seed))?;
//! let totals = simulation.run(&mut statistics)?;
//! assert_eq!(totals.finished, 50);
//!
//! let context = RunContext { seed, block_size: 16, stages: 1, flops: pool_config.flops() };
//! let summary = statistics.finish(&totals, &context);
//! let ttft = summary.get("ttft.mean").expect("requests finished");
//! // 512 tokens of a 7B model at 312 TFLOP/s take 22 ms at least.
//! assert!(ttft > 0.022 && ttft < 0.2, "{ttft} s");
//! # std::fs::remove_file(&path)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`run::run`] does this for every variant and seed of a scenario and writes the result folder;
//! [`cli::main_with`] is the whole program.
//!
//! # The way through the crate
//!
//! | module | what |
//! |---|---|
//! | [`cli`] | the commands of the program |
//! | [`import`] | what reads others' files into ours |
//! | [`validate`], [`compare`] | simulated against measured runs; results side by side |
//! | [`report`] | what a terminal shows of a result |
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

/// The entity-component system that the simulation runs on: a plug-in uses this one, and pins none of its
/// own.
pub use bevy_ecs;

pub mod base;
#[cfg(feature = "cli")]
pub mod cli;
pub mod compare;
pub mod engine;
pub mod hardware;
pub mod import;
pub mod metrics;
pub mod output;
pub mod profile;
pub mod records;
pub mod registry;
pub mod report;
pub mod run;
pub mod scenario;
pub mod testing;
pub mod timing;
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
