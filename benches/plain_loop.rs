//! How far the simulation is from the limit: `VllmV0` on one replica with a formula for time, in
//! plain structs, with fast-forward. It knows no other policy, no preemption, no metrics and no
//! output, and it must come to the same schedule.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use vidur_ecs::base::Nanos;
use vidur_ecs::engine::policy::{EngineLimits, VllmV0};
use vidur_ecs::workload::{NewRequest, RequestSource};

/// What must be equal to the simulation's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Iterations.
    pub batches: u64,
    /// Sum of the nanoseconds at which requests were complete.
    pub completions: u128,
}

/// `(base + per_token * tokens + per_context * products)` seconds.
pub struct Formula {
    pub base: f64,
    pub per_token: f64,
    pub per_context: f64,
}

/// The clock, with what rounding left of a nanosecond.
#[derive(Clone, Copy, Default)]
struct Clock {
    tick: u64,
    rest: f64,
}

impl Clock {
    fn after(self, formula: &Formula, tokens: u64, products: u64) -> Clock {
        let seconds = formula.base
            + (formula.per_token * tokens as f64 + formula.per_context * products as f64);
        let (span, left) = Nanos::from_secs_f64_with_rest(seconds);
        let rest = self.rest + left;
        let whole = if rest.abs() < 0.5 { 0.0 } else { rest.round() };
        let tick = (self.tick + span.0).saturating_add_signed(whole as i64);
        Clock { tick: tick.max(self.tick), rest: rest - whole }
    }
}

/// The requests that decode.
struct Group {
    size: u64,
    context: u64,
    iteration: u64,
    /// In which iteration each is complete, and its tokens then.
    completions: BinaryHeap<Reverse<(u64, u32)>>,
    /// By the iteration in which they need a block, modulo the block size.
    bins: Vec<u32>,
}

/// Runs all requests of `source`.
///
/// # Panics
/// If blocks run out: there is no preemption here.
pub fn run(
    source: &mut dyn RequestSource,
    limits: &EngineLimits,
    policy: &VllmV0,
    formula: &Formula,
) -> Outcome {
    let size = u64::from(limits.block_size);
    let watermark = (policy.watermark * f64::from(limits.num_blocks)) as u32;
    let mut outcome = Outcome::default();
    let mut free = limits.num_blocks;
    let mut waiting: VecDeque<NewRequest> = VecDeque::new();
    let mut next = source.next_request();
    let mut now = Clock::default();
    let mut group = Group {
        size: 0,
        context: 0,
        iteration: 0,
        completions: BinaryHeap::new(),
        bins: vec![0; size as usize],
    };
    loop {
        if group.size == 0 && waiting.is_empty() {
            let Some(request) = &next else { return outcome };
            if request.arrived_at.0 > now.tick {
                now = Clock { tick: request.arrived_at.0, rest: 0.0 };
            }
        }
        while let Some(request) = next.take_if(|request| request.arrived_at.0 <= now.tick) {
            waiting.push_back(request);
            next = source.next_request();
        }
        let (mut admitted, mut longest, mut tokens) = (Vec::new(), 0, 0_u64);
        while let Some(head) = waiting.front() {
            let prompt = head.prompt_tokens;
            let padded = (admitted.len() as u64 + 1) * u64::from(prompt.max(longest));
            if free < limits.blocks_for(prompt) + watermark
                || padded > u64::from(policy.max_num_batched_tokens)
                || group.size + admitted.len() as u64 >= u64::from(policy.max_num_seqs)
            {
                break;
            }
            free -= limits.blocks_for(prompt);
            longest = longest.max(prompt);
            tokens += u64::from(prompt);
            admitted.extend(waiting.pop_front());
        }
        if !admitted.is_empty() {
            now = now.after(formula, tokens, 0);
            outcome.batches += 1;
            for request in admitted {
                let (prompt, output) = (request.prompt_tokens, u64::from(request.output_tokens));
                if output == 1 {
                    free += limits.blocks_for(prompt);
                    outcome.completions += u128::from(now.tick);
                    continue;
                }
                let context = u64::from(prompt) + 1;
                let bin = group.iteration + size + 1 - context % size;
                group.bins[(bin % size) as usize] += 1;
                group.size += 1;
                group.context += context;
                let total = prompt + request.output_tokens;
                group.completions.push(Reverse((group.iteration + output - 1, total)));
            }
            continue;
        }
        // A run: until a request is complete or another one arrives.
        let Some(&Reverse((due, _))) = group.completions.peek() else { continue };
        let arrival = next.as_ref().map_or(u64::MAX, |request| request.arrived_at.0);
        loop {
            let need = group.bins[(group.iteration % size) as usize];
            assert!(need <= free, "no preemption here");
            free -= need;
            now = now.after(formula, group.size, group.context);
            outcome.batches += 1;
            group.iteration += 1;
            group.context += group.size;
            if group.iteration == due || now.tick >= arrival {
                break;
            }
        }
        while let Some(&Reverse((due, total))) = group.completions.peek()
            && due == group.iteration
        {
            group.completions.pop();
            free += limits.blocks_for(total - 1);
            let bin = group.iteration + size + 1 - u64::from(total) % size;
            group.bins[(bin % size) as usize] -= 1;
            group.size -= 1;
            group.context -= u64::from(total);
            outcome.completions += u128::from(now.tick);
        }
    }
}
