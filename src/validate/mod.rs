//! Simulated runs against measured ones: how far off are we?
//!
//! A case is a folder:
//!
//! | file | what |
//! |---|---|
//! | `engine.json` | the engine's settings, see [`Engine`] |
//! | `workload.csv` | `request_id,arrived_at,num_prefill_tokens,num_decode_tokens`, seconds; further columns are ignored |
//! | `measured.csv` | `request_id,ttft_from_arrival_ms,tpot_ms,e2e_from_arrival_ms`; further columns are ignored |
//! | `prefix_blocks.jsonl` | optional: one line per request, `request_id` and `hash_ids`: an id for every 16 tokens of its prompt; equal ids are equal tokens after equal prefixes |
//!
//! Times count from the request's arrival at the client, not from when the engine takes note of it.
//! `from_vllm_bench` makes a case of the result of `vllm bench serve --save-detailed`.

mod case;
mod engine;
#[cfg(test)]
mod recorded_runs;
mod score;

pub use case::{Case, CaseError, Measured};
pub use engine::{Client, Engine, EngineKv, EngineModel, EngineParallel, Hardware, Scheduler};
pub use score::{ErrorTable, MetricScore, Simulated, Unusable, read_simulated};
