//! Whole recorded runs of real engines against the simulation, with the shipped profiles.
//!
//! The runs are those of `../shared/data/truth`; the limits are what a published simulator reaches
//! on the same runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use super::case::{PREFIX_BLOCK, PREFIXES};
use super::{Case, ErrorTable, Simulated};
use crate::base::{Nanos, Source};
use crate::engine::Simulation;
use crate::recorded::shared;
use crate::records::{BatchRecord, RequestRecord, RunSink};
use crate::registry::Registry;
use crate::run;
use crate::scenario::Scenario;
use crate::workload::{Content, NewRequest, RequestSource, TokenSpan};

#[derive(Deserialize)]
struct Prefix {
    request_id: u64,
    hash_ids: Vec<u64>,
}

/// Requests that have the content of `prefixes`.
struct WithPrefixes {
    source: Box<dyn RequestSource>,
    prefixes: BTreeMap<u64, Arc<Content>>,
}

impl RequestSource for WithPrefixes {
    fn next_request(&mut self) -> Option<NewRequest> {
        let request = self.source.next_request()?;
        Some(NewRequest { content: self.prefixes.get(&request.id).cloned(), ..request })
    }

    fn failure(&self) -> Option<&str> {
        self.source.failure()
    }
}

fn prefixes(case: &Case) -> BTreeMap<u64, Arc<Content>> {
    if !case.prefixes {
        return BTreeMap::new();
    }
    let text = std::fs::read_to_string(case.folder.join(PREFIXES)).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Prefix>(line).unwrap());
    lines
        .map(|line| {
            let spans = line.hash_ids.into_iter().map(|id| TokenSpan { id, tokens: PREFIX_BLOCK });
            (line.request_id, Arc::new(Content { prompt: spans.collect(), answer: None }))
        })
        .collect()
}

/// Keeps each request's times.
#[derive(Default)]
struct Times(BTreeMap<u64, Simulated>);

impl RunSink for Times {
    fn request(&mut self, r: &RequestRecord) {
        let ms = |from: Nanos, to: Nanos| to.since(from).as_secs_f64() * 1e3;
        let ttft = r.first_token_at.map(|first| ms(r.arrived_at, first));
        let e2e = r.completed_at.map(|last| ms(r.arrived_at, last));
        let tokens = f64::from(r.output_tokens.saturating_sub(1));
        let tpot = e2e.zip(ttft).map(|(e2e, ttft)| (e2e - ttft) / tokens).filter(|t| t.is_finite());
        self.0.insert(r.id, Simulated { ttft, tpot, e2e });
    }
    fn batch(&mut self, _: &BatchRecord) {}
}

/// Simulates a recorded case and compares all but the first `skip` requests; `None` where it is not
/// at hand.
fn simulate(name: &str, skip: usize) -> Option<ErrorTable> {
    let folder = shared(&format!("data/truth/{name}"))?;
    let case = Case::read(&folder).unwrap();
    let text = Case { prefixes: false, ..case.clone() }.scenario_text();
    let source = Source::new("case", text);
    let registry = Registry::built_in();
    let scenario =
        Scenario::from_source(&source, case.name.clone(), &folder, &[], &registry).ok().unwrap();
    let configuration = &scenario.configurations[0];
    let pool = configuration.cluster.first();
    let source = WithPrefixes { source: pool.workload.source(0), prefixes: prefixes(&case) };
    let mut spec = run::spec(configuration, &pool.workload, 0);
    spec.pools[0].traffic.source = Box::new(source);
    let mut times = Times::default();
    Simulation::new(spec).unwrap().run(&mut times).unwrap();
    let table = ErrorTable::new(&case.measured, &times.0, skip);
    println!("{name}\n{table}");
    Some(table)
}

/// |error| of a statistic in percent.
fn error(table: &ErrorTable, metric: &str, statistic: &str) -> f64 {
    let row = table.rows.iter().find(|row| row.metric == metric).unwrap();
    let (_, measured, ours) = row.statistics.iter().find(|s| s.0 == statistic).unwrap();
    100.0 * (ours / measured - 1.0).abs()
}

#[test]
fn llama_3_1_8b_on_an_rtx_pro_6000() {
    let Some(table) = simulate("rtxpro6000-llama-3.1-8b", 0) else { return };
    for (metric, statistic, limit) in
        [("E2E", "mean", 1.8), ("TPOT", "mean", 1.1), ("TTFT", "mean", 3.7), ("TTFT", "P50", 8.0)]
    {
        let error = error(&table, metric, statistic);
        assert!(error <= limit, "{metric} {statistic} is off by {error:.2} %");
    }
    assert!(100.0 * table.rows[2].mape <= 1.9, "{table}");
    assert_eq!(table.missing, 0);
}

#[test]
fn qwen3_32b_on_two_rtx_pro_6000() {
    let Some(table) = simulate("rtxpro6000-qwen3-32b-tp2", 0) else { return };
    for (metric, limit) in [("E2E", 1.0), ("TPOT", 1.0), ("TTFT", 1.3)] {
        let error = error(&table, metric, "mean");
        assert!(error <= limit, "mean {metric} is off by {error:.2} %");
    }
    assert_eq!(table.missing, 0);
}

/// With the H100's operators, and what every run over HTTP and under synchronous scheduling is
/// charged: nothing is set for this case. Its first request holds the engine's warm-up.
#[test]
fn llama_2_7b_on_an_h100() {
    let Some(table) = simulate("h100-llama-2-7b", 1) else { return };
    for (metric, limit) in [("E2E", 5.0), ("TPOT", 5.0), ("TTFT", 15.0)] {
        let error = error(&table, metric, "mean");
        assert!(error <= limit, "mean {metric} is off by {error:.2} %");
    }
    assert_eq!(table.missing, 0);
}
