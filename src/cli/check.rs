//! `vidur-ecs check`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use serde_json::Value;

use super::failure::{self, Failure};
use super::json;
use crate::base::GIB;
use crate::base::diagnostic::DOES_NOT_FIT;
use crate::hardware::memory::DraftMemory;
use crate::metrics::Load;
use crate::output::text_table;
use crate::registry::Registry;
use crate::report::width;
use crate::scenario::{PoolConfig, Scenario};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Scenario files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Changes a setting in every variant
    #[arg(long = "set", value_name = "PATH=VALUE")]
    settings: Vec<String>,
    /// Prints nothing but errors
    #[arg(short, long)]
    quiet: bool,
    /// Prints sizes, memory and defaults as JSON: an object, or a list with several files
    #[arg(long, conflicts_with = "quiet")]
    json: bool,
}

impl CheckArgs {
    pub fn run(&self, registry: &Registry) -> Result<ExitCode, Failure> {
        if self.json {
            return self.print_json(registry);
        }
        let mut fits = true;
        for file in &self.files {
            let scenario = Scenario::load(file, &self.settings, registry)?;
            failure::misfits([], [&scenario]);
            if !self.quiet {
                failure::warn(&scenario.warnings);
            }
            if !self.quiet {
                failure::say(&describe(&scenario, width()));
            }
            fits &= scenario.misfits.is_empty();
        }
        Ok(ExitCode::from(if fits { 0 } else { DOES_NOT_FIT }))
    }
}

impl CheckArgs {
    /// The scenarios for programs, those that do not fit included.
    fn print_json(&self, registry: &Registry) -> Result<ExitCode, Failure> {
        let mut all = Vec::new();
        let mut fits = true;
        for file in &self.files {
            match Scenario::load(file, &self.settings, registry) {
                Ok(scenario) => {
                    fits &= scenario.misfits.is_empty();
                    all.push(Value::Object(json::scenario(&scenario)));
                }
                Err(error) if error.exit_code == DOES_NOT_FIT => {
                    fits = false;
                    all.push(json::misfit(&error));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let value = if all.len() == 1 { all.swap_remove(0) } else { Value::Array(all) };
        failure::say(&serde_json::to_string_pretty(&value).unwrap_or_default());
        Ok(ExitCode::from(if fits { 0 } else { DOES_NOT_FIT }))
    }
}

/// What a scenario amounts to, in so many columns, and its resolved text, as it is kept in a file.
fn describe(scenario: &Scenario, width: usize) -> String {
    let mut title = format!("{} is valid", scenario.name);
    if let Some(about) = &scenario.title {
        let _ = write!(title, ": {about}");
    }
    let mut text = text_table::broken([title], width).trim_start().to_owned();
    let _ = match scenario.seeds.end - scenario.seeds.start {
        1 => writeln!(text, "\nseed {}", scenario.seeds.start),
        n => writeln!(text, "\nseeds {} to {} ({n})", scenario.seeds.start, scenario.seeds.end - 1),
    };
    for configuration in &scenario.configurations {
        text.push('\n');
        if !configuration.name.is_empty() {
            let _ = writeln!(text, "variant {}", configuration.name);
        }
        let cluster = &configuration.cluster;
        let kind = if cluster.sides().is_some() { "-- side" } else { "-- model" };
        let named = cluster.named_pools();
        let single = [("", cluster.first())];
        let mut said = Vec::new();
        for (name, pool) in if named.is_empty() { &single[..] } else { &named } {
            if !name.is_empty() {
                let _ = writeln!(text, "{kind:<9}{name}");
            }
            let mut facts = derived(pool);
            // What holds for several pools is said with the first of them.
            facts.retain(|fact| !said.contains(fact));
            let lasting = |(key, _): &&(&str, String)| matches!(*key, "runs" | "timing");
            said.extend(facts.iter().filter(lasting).cloned());
            let mut table = text_table::plain();
            text_table::fit(&mut table, width - 1);
            for (key, value) in facts {
                table.add_row([key, &value]);
            }
            text_table::keep_whole(&mut table, 0);
            let _ = writeln!(text, "{}", text_table::render(&table));
        }
    }
    let _ = write!(text, "\n// resolved, hash {}\n{}", scenario.hash(), scenario.resolved_text());
    text
}

/// What follows from a configuration, line by line.
fn derived(c: &PoolConfig) -> Vec<(&'static str, String)> {
    let batch = c.policy.batch_limits(&c.limits);
    let sequence = c.limits.blocks_for(c.limits.max_model_len);
    let draft = c.speculative.as_ref().map_or(DraftMemory::default(), |s| s.memory);
    let per_token = c.model.kv_bytes_per_token(c.parallel) + draft.kv_bytes_per_token;
    let weights = match &c.memory {
        Some(plan) => format!(
            "{:.2} GiB per GPU + {:.2} activations, of {:.2} available",
            plan.weight_gib, plan.activation_gib, plan.available_gib
        ),
        None => {
            let bytes = c.model.weight_bytes(c.parallel) + draft.weight_bytes;
            format!("{:.2} GiB per GPU", bytes as f64 / GIB)
        }
    };
    let blocks = u64::from(c.limits.num_blocks);
    let origin = if c.memory.is_some() { "memory plan" } else { "as given" };
    let load = match c.load() {
        Load::Open { offered } => format!("{offered:.3} requests/s offered"),
        Load::AllAtOnce => "all at once".to_owned(),
        Load::ClosedLoop { concurrency } => format!("{concurrency} requests in flight"),
    };
    let requests = match c.workload.request_count() {
        Some(count) => format!("{count} requests"),
        None => "requests until the duration ends".to_owned(),
    };
    let model = match &c.model_config {
        Some(file) => format!("{} (from {file})", c.model.about()),
        None => c.model.about(),
    };
    let drafts = c.speculative.as_ref().map(|speculative| {
        let settings = &speculative.settings;
        let (name, k) = (settings.draft.name(), settings.k);
        let (weights, kv) = (draft.weight_bytes as f64 / GIB, draft.kv_bytes_per_token);
        ("drafts", format!("{name}, k = {k}: {weights:.2} GiB of weights and {kv} bytes per token and GPU, included above"))
    });
    let host = c.offload.map(|offload| {
        let (memory, settings) = (offload.memory, offload.settings);
        let (mode, reload) = (offload.preemption_mode(), memory.reload);
        ("host", format!(
            "{} KV blocks in {} GiB per GPU at {} GB/s; preemption by {mode:?}, prefixes reloaded: {reload:?}",
            memory.blocks, settings.host_gib, settings.pcie_gb_per_s
        ))
    });
    let facts = vec![
        ("runs", c.what()),
        ("model", model),
        ("weights", weights),
        (
            "KV",
            format!(
                "{blocks} blocks of {} ({origin}) = {} tokens per replica, {:.1} GiB per GPU",
                c.limits.block_size,
                blocks * u64::from(c.limits.block_size),
                (blocks * u64::from(c.limits.block_size) * per_token) as f64 / GIB
            ),
        ),
        (
            "",
            format!(
                "{per_token} bytes per token and GPU; {} sequences of {} tokens fit",
                blocks / u64::from(sequence.max(1)),
                c.limits.max_model_len
            ),
        ),
        (
            "batch",
            format!(
                "at most {} requests, {} tokens",
                batch.max_num_seqs, batch.max_num_batched_tokens
            ),
        ),
        ("load", format!("{requests}, {load}")),
        ("timing", c.timing_note().rests_on),
    ];
    facts.into_iter().chain(drafts).chain(host).collect()
}
