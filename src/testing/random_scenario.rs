//! Small random scenarios that reach the corners: tight memory, ties in time, pipelines.

use std::sync::Arc;

use crate::base::{Nanos, RandomStream};
use crate::engine::policy::{AnyPolicy, EngineLimits};
use crate::engine::routing::{
    AnyRouter, LeastOutstanding, PowerOfTwo, PrefixAffinity, Random, RoundRobin, VidurLor,
};
use crate::engine::{PoolSpec, SimSpec, Traffic};
use crate::records::BatchRecords;
use crate::timing::{BatchShape, Predictor, StagePosition, StageTime, TimingNote};
use crate::workload::{Content, NewRequest, RequestSource, TokenSpan};

/// A scenario drawn from a seed.
#[derive(Clone, Debug)]
pub struct RandomScenario {
    /// Number of replicas.
    pub replicas: u32,
    /// Limits of each replica's engine.
    pub limits: EngineLimits,
    /// The requests, in order of arrival.
    pub requests: Vec<NewRequest>,
    /// For each request, whether it arrives so long after the one before it ended, and not at the
    /// time that it has.
    pub follows: Vec<Option<Nanos>>,
    /// Closed loop with so many requests under way.
    pub concurrency: Option<u32>,
    /// Whether prefix caching is on.
    pub prefix_caching: bool,
    /// What the iterations cost.
    pub time: LinearTime,
    pub(super) seed: u64,
}

/// Execution time linear in tokens and context.
#[derive(Clone, Copy, Debug)]
pub struct LinearTime {
    /// Nanoseconds of any batch.
    pub base: u64,
    /// Nanoseconds per token.
    pub per_token: u64,
    /// Nanoseconds per (token, token of its context).
    pub per_context: u64,
    /// Nanoseconds per token by which the longest context of a decoding request exceeds the
    /// shortest.
    pub per_spread: u64,
    /// Parts below a nanosecond that each batch costs beside: 0 or more, below 1.
    pub rest: f64,
}

impl LinearTime {
    fn spread(&self, batch: &BatchShape) -> u64 {
        let range = u64::from(batch.decode_context_max - batch.decode_context_min);
        // Bits of the sum of squares too, so that a wrong one shows.
        range + batch.decode_context_squares % 7
    }
}

impl Predictor for LinearTime {
    fn stage_time(&self, batch: &BatchShape, stage: StagePosition) -> StageTime {
        let nanos = self.base
            + (self.per_token * u64::from(batch.tokens)
                + self.per_context * batch.context_products()
                + self.per_spread * self.spread(batch))
                / u64::from(stage.count);
        StageTime { total: Nanos(nanos), rest_ns: self.rest, ..StageTime::default() }
    }

    fn note(&self) -> TimingNote {
        TimingNote::default()
    }
}

/// Requests by id, of which some follow the one before.
struct List {
    requests: Vec<NewRequest>,
    follows: Vec<Option<Nanos>>,
    next: usize,
}

impl RequestSource for List {
    fn next_request(&mut self) -> Option<NewRequest> {
        while self.follows.get(self.next)?.is_some() {
            self.next += 1;
        }
        self.next += 1;
        Some(self.requests[self.next - 1].clone())
    }

    fn ended(&mut self, id: u64, _: bool, now: Nanos) -> Option<NewRequest> {
        let next = id as usize + 1;
        let think = (*self.follows.get(next)?)?;
        Some(NewRequest { arrived_at: now + think, ..self.requests[next].clone() })
    }
}

/// Affinity with little patience and a short memory.
fn affinity() -> PrefixAffinity {
    let mut router = PrefixAffinity::default();
    (router.balance_abs_threshold, router.max_blocks) = (2, 40);
    router
}

/// A prompt that begins as those of other requests do, and an answer that later prompts repeat.
fn content(kind: u64, tokens: u64) -> Option<Arc<Content>> {
    (kind > 0).then(|| {
        let prompt = Box::new([TokenSpan { id: kind, tokens: tokens as u32 }]);
        Arc::new(Content { prompt, answer: Some(kind) })
    })
}

impl RandomScenario {
    /// The scenario of `seed`.
    pub fn new(seed: u64) -> RandomScenario {
        let mut random = RandomStream::new(seed, "random scenario");
        let mut between = |low: u64, high: u64| low + random.below(high - low + 1);
        let block_size = [1, 2, 4, 16][between(0, 3) as usize];
        let max_model_len = between(8, 160) as u32;
        let longest = max_model_len.div_ceil(block_size);
        // From one longest request to many of them.
        let num_blocks = longest + between(0, u64::from(longest) * 5) as u32;
        let time = LinearTime {
            base: between(1, 20) * 1_000,
            per_token: between(0, 3) * 100,
            per_context: between(0, 2) * 10,
            per_spread: between(0, 2) * 10,
            // Times that no nanosecond holds exactly: thirds and halves add up over many batches.
            rest: [0.0, 1.0 / 3.0, 0.5][between(0, 2) as usize],
        };
        // Arrivals on the lattice of iteration ends collide with them.
        let lattice = if between(0, 1) == 0 { time.base } else { 1 };
        let gap = time.base * between(0, 60);
        let mut at = 0;
        let requests: Vec<NewRequest> = (0..between(1, 60))
            .map(|id| {
                if between(0, 3) > 0 {
                    at += between(0, gap) / lattice * lattice;
                }
                // One request in thirty is too long to be served.
                let total = match between(0, 29) {
                    0 => max_model_len + between(1, 5) as u32,
                    _ => between(2, u64::from(max_model_len)) as u32,
                };
                let output_tokens = between(1, u64::from(total) - 1) as u32;
                NewRequest {
                    id,
                    arrived_at: Nanos(at),
                    prompt_tokens: total - output_tokens,
                    output_tokens,
                    priority: between(0, 2) as i32,
                    class: 0,
                    adapter: None,
                    content: content(between(0, 2), between(1, u64::from(total))),
                }
            })
            .collect();
        let mut scenario = RandomScenario {
            replicas: between(1, 3) as u32,
            limits: EngineLimits {
                max_model_len,
                block_size,
                num_blocks,
                stages: [1, 1, 2, 3][between(0, 3) as usize],
                vidur_lengths: false,
            },
            follows: vec![None; requests.len()],
            requests,
            concurrency: (between(0, 4) == 0).then(|| between(1, 12) as u32),
            prefix_caching: between(0, 1) == 0,
            time,
            seed,
        };
        // Conversations; not in a closed loop, where two requests may arrive at the same time in
        // different steps.
        if scenario.concurrency.is_none() && between(0, 2) == 0 {
            for follows in &mut scenario.follows[1..] {
                let think = (between(0, gap) / lattice * lattice).max(1);
                *follows = (between(0, 3) > 0).then_some(Nanos(think));
            }
        }
        scenario
    }

    /// The scenario of `seed` with more of what is rare in [`RandomScenario::new`]: hardly more
    /// memory than one request needs, iterations that all take as long while requests arrive at
    /// their very ends, prompts of several shared spans.
    pub fn harder(seed: u64) -> RandomScenario {
        let mut scenario = RandomScenario::new(seed);
        let mut random = RandomStream::new(seed, "harder scenario");
        let limits = &mut scenario.limits;
        if random.below(2) == 0 {
            let longest = limits.blocks_for(limits.max_model_len);
            limits.num_blocks = longest + 1 + random.below(u64::from(longest) / 2 + 1) as u32;
        }
        if random.below(3) == 0 {
            let base = scenario.time.base;
            scenario.time =
                LinearTime { base, per_token: 0, per_context: 0, per_spread: 0, rest: 0.0 };
            for request in &mut scenario.requests {
                request.arrived_at.0 -= request.arrived_at.0 % base;
            }
        }
        if random.below(2) == 0 {
            for request in &mut scenario.requests {
                let spans = (0..random.below(4)).map(|_| TokenSpan {
                    id: 100 + random.below(3),
                    tokens: 1 + random.below(u64::from(request.prompt_tokens)) as u32,
                });
                let prompt = spans.collect();
                // Some repeat in their prompt what was an answer before.
                let answer = (random.below(2) == 0).then(|| 100 + random.below(6));
                request.content = Some(Arc::new(Content { prompt, answer }));
            }
        }
        scenario
    }

    /// The simulation of this scenario under `policy`.
    pub fn spec(&self, policy: Box<dyn AnyPolicy>) -> SimSpec {
        let router: Box<dyn AnyRouter> = match self.seed % 6 {
            0 => Box::new(RoundRobin::default()),
            1 => Box::new(Random::default()),
            2 => Box::new(LeastOutstanding::default()),
            3 => Box::new(PowerOfTwo::default()),
            4 => Box::new(affinity()),
            _ => Box::new(VidurLor::default()),
        };
        let source = Box::new(List {
            requests: self.requests.clone(),
            follows: self.follows.clone(),
            next: 0,
        });
        let traffic = Traffic {
            concurrency: self.concurrency,
            // Arrivals that the engine sees later, in one scenario in three.
            api_overhead: Nanos(if self.seed.is_multiple_of(3) { self.time.base } else { 0 }),
            ..Traffic::of(source)
        };
        let pool = PoolSpec {
            replicas: self.replicas,
            prefix_caching: self.prefix_caching,
            ..PoolSpec::new(self.limits, policy, router, Arc::new(self.time), traffic)
        };
        SimSpec { batch_records: BatchRecords::Each, ..SimSpec::of_one(pool, self.seed) }
    }
}
