//! The estimate of a configuration's capacity.

use std::sync::Arc;

use super::about::load_of_all;
use super::spec::{source, spec};
use super::{RunError, simulate};
use crate::base::{Nanos, RandomStream};
use crate::engine::lora::LoraSettings;
use crate::engine::{SimSpec, Traffic};
use crate::metrics::{Capacity, Load, MeanTokens, Saturated};
use crate::scenario::{Cluster, Configuration, PoolConfig};
use crate::workload::{Content, NewRequest, RequestSource, TokenSpan, Workload};

/// Requests that are served for the estimate, at the least.
const REQUESTS: u64 = 2_000;
/// As many times the requests that run at once are served, so that most of them wait.
const WAVES: u64 = 6;
/// The most requests that are served, however many run at once and however long the longest take.
const MOST_REQUESTS: u64 = 40_000;
/// Requests over which mean lengths are taken, or all rows of a shorter trace.
const DRAWS: u64 = 50_000;

/// Whether the offered rate of a configuration is to be compared with its capacity.
pub(super) fn is_asked(configuration: &Configuration) -> bool {
    let cluster = &configuration.cluster;
    matches!(load_of_all(cluster), Load::Open { .. })
        && (cluster.has_several_models() || cluster.first().workload.request_count() != Some(1))
}

/// Why nobody can know the capacity without running the whole cluster under its own load.
fn unknowable(cluster: &Cluster) -> Option<&'static str> {
    let first = cluster.first();
    // Affinity decides which replica has what at hand, and the load decides on the affinity.
    let affine = |pool: &PoolConfig| {
        let name = pool.router.name();
        pool.replicas > 1
            && (name == "PrefixAffinity" && pool.prefix_caching || name == "LoraAffinity")
    };
    if cluster.has_several_models() {
        Some("it depends on the mix of the models")
    } else if first.workload.is_closed_loop() {
        Some("turns of conversations follow each other")
    } else if cluster.pools.iter().any(affine) {
        Some("it depends on what the router keeps together")
    } else {
        None
    }
}

/// The capacity of a configuration: what the smallest cluster of its kind serves (one replica, or
/// as many on either side as keep their ratio), times its size. Replicas work side by side, so this
/// scales.
pub(super) fn estimate(configuration: &Configuration, seed: u64) -> Result<Capacity, RunError> {
    let cluster = &configuration.cluster;
    if let Some(why) = unknowable(cluster) {
        return Ok(Capacity::Unknown(why));
    }
    let size = cluster.pools.iter().map(|pool| pool.replicas).fold(0, greatest_common_divisor);
    let mean = Backlog::new(cluster.first(), seed).mean_tokens();
    let mut requests = REQUESTS;
    loop {
        let mut sink = Saturated::default();
        let spec = saturated(configuration, seed, requests, size);
        let (totals, ..) = simulate(spec, &mut sink)
            .map_err(|error| RunError::Simulation { run: "capacity estimate".to_owned(), error })?;
        let wanted = (WAVES * totals.running_peak).max(sink.wanted()).min(MOST_REQUESTS);
        if wanted > requests {
            requests = wanted;
            continue;
        }
        let rate = sink.capacity(mean).map(|rate| rate * f64::from(size));
        return Ok(rate.map_or(Capacity::Unknown("the engine never ran steadily"), Capacity::About));
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The cluster made `size` times smaller, with so many requests at time 0.
fn saturated(configuration: &Configuration, seed: u64, requests: u64, size: u32) -> SimSpec {
    let mut spec = spec(configuration, &configuration.cluster.first().workload.saturated(), seed);
    for pool in &mut spec.pools {
        pool.replicas /= size;
        // What could be served is the question, not what is let in.
        pool.admission = None;
    }
    let mut backlog = Backlog::new(configuration.cluster.first(), seed);
    backlog.left = requests;
    // Of a trace, a replica behind the router sees only every so many-th request, and finds less of
    // it in its cache.
    backlog.every = if backlog.is_trace { size } else { 1 };
    if let Some(first) = spec.pools.first_mut() {
        first.traffic = Traffic::of(Box::new(backlog));
    }
    SimSpec { time_limit: None, ..spec }
}

/// The requests of a workload at time 0, and when they are over others like them.
struct Backlog {
    workload: Workload,
    lora: Option<LoraSettings>,
    seed: u64,
    source: Box<dyn RequestSource>,
    is_trace: bool,
    round: u64,
    next_id: u64,
    left: u64,
    every: u32,
}

impl Backlog {
    fn new(pool: &PoolConfig, seed: u64) -> Backlog {
        let workload = pool.workload.saturated();
        let lora = pool.lora.clone();
        Backlog {
            source: source(lora.as_ref(), &workload, seed),
            workload,
            lora,
            seed,
            is_trace: pool.workload_spec.trace.is_some(),
            round: 0,
            next_id: 0,
            left: u64::MAX,
            every: 1,
        }
    }

    /// Mean lengths; of a trace over its rows, once.
    fn mean_tokens(mut self) -> Option<MeanTokens> {
        let (mut count, mut prompt, mut output) = (0_u64, 0_u64, 0_u64);
        while count < DRAWS
            && let Some(request) = self.next_request()
            && (self.round == 0 || !self.is_trace)
        {
            count += 1;
            prompt += u64::from(request.prompt_tokens);
            output += u64::from(request.output_tokens);
        }
        let mean = |sum: u64| sum as f64 / count as f64;
        (count > 0).then(|| MeanTokens { prompt: mean(prompt), output: mean(output) })
    }

    /// The next request, of the next round if this one is over; `None` if a round has none.
    fn draw(&mut self) -> Option<NewRequest> {
        if let Some(request) = self.source.next_request() {
            return Some(request);
        }
        if self.source.failure().is_some() {
            return None;
        }
        self.round += 1;
        let seed = RandomStream::seed_of(self.seed, &format!("round {}", self.round));
        self.source = source(self.lora.as_ref(), &self.workload, seed);
        self.source.next_request()
    }
}

impl RequestSource for Backlog {
    fn next_request(&mut self) -> Option<NewRequest> {
        self.left = self.left.checked_sub(1)?;
        for _ in 1..self.every {
            self.draw()?;
        }
        let mut request = self.draw()?;
        request.id = self.next_id;
        self.next_id += 1;
        request.arrived_at = Nanos::ZERO;
        if self.is_trace && self.round > 0 {
            // What a trace says again is another text.
            request.content = request.content.map(|content| Arc::new(apart(&content, self.round)));
        }
        Some(request)
    }

    fn failure(&self) -> Option<&str> {
        self.source.failure()
    }
}

/// Content of the same structure with other identities.
fn apart(content: &Content, round: u64) -> Content {
    let other = |id: u64| id ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let span = |span: &TokenSpan| TokenSpan { id: other(span.id), tokens: span.tokens };
    Content { prompt: content.prompt.iter().map(span).collect(), answer: content.answer.map(other) }
}
