//! One binary for all integration tests.

mod accuracy;
mod all_techniques;
mod bad_input;
mod bad_scenarios;
mod cli;
mod compare;
mod determinism;
mod disaggregated_scenarios;
mod disaggregation;
mod docs;
mod golden;
mod hugging_face;
mod import;
mod many_runs;
mod policies;
mod pools;
mod prefix_caching;
mod quantization;
mod quirks;
mod records;
mod reference;
mod refusals;
mod room;
mod scenarios;
mod several_models;
mod speculative;
