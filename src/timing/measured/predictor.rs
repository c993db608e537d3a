//! Vidur's composition: from a batch to its time on a stage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::attention::{DecodeAttention, PrefillAttention};
use super::curve::Curve;
use super::settings::MeasuredSettings;
use super::tokens::TokenCosts;
use crate::base::{Nanos, SettingError};
use crate::profile::format::{NetworkTables, RankTables, Transferred};
use crate::profile::{Profile, format};
use crate::timing::{
    BatchShape, Predictor, RunPricing, StagePosition, StageTime, TimingContext, TimingNote,
};

/// Times from a profile, composed as Vidur does.
///
/// Per transformer block, with T8 the batch's tokens rounded up to a multiple of 8:
///
/// ```text
/// operators[T8] + kv_cache_save[T] + decode + prefill + 2 (all_reduce[T8] + launch + skew TP^1.25)
/// decode  = attention[n, G(floor(mean context))]          x (1 + f if n > 1 and GQA)
/// prefill = attention[sum G(context), round(sqrt(sum chunk^2))] x (1 + f if several and GQA)
/// ```
///
/// where `G` rounds up to the granularity of contexts. A stage has layers / PP blocks, and all but
/// the last send their result on.
pub(super) struct MeasuredPredictor {
    tokens: Arc<TokenCosts>,
    decode: Arc<DecodeAttention>,
    prefill: Arc<PrefillAttention>,
    kv_cache_save: Option<Arc<Curve>>,
    /// Factor of decode attention if there are several requests.
    decode_batching: f64,
    /// Factor of prefill attention if there are several chunks.
    prefill_batching: f64,
    /// What of attention was computed from other layouts, or from prompts without context.
    computed: Transferred,
    /// Launch and skew of one collective, in microseconds; only counted under tensor parallelism.
    collective_overhead: f64,
    tensor_parallel: bool,
    kv_granularity: u32,
    blocks_per_stage: f64,
    note: TimingNote,
    /// Warnings that hold from the start.
    mismatches: Vec<String>,
    seen: Seen,
}

/// Nothing was computed.
const NOTHING: Transferred = Transferred { decode: false, prefixes: false };

/// What has been extrapolated so far. Only ever set, so that threads need no order among them.
#[derive(Debug, Default)]
struct Seen {
    operators: AtomicBool,
    decode: AtomicBool,
    prefill: AtomicBool,
    all_reduce: AtomicBool,
    send_recv: AtomicBool,
}

/// Sets `flag` if `happened`, without writing to memory that others read if it is set already.
fn remember(flag: &AtomicBool, happened: bool) {
    if happened && !flag.load(Ordering::Relaxed) {
        flag.store(true, Ordering::Relaxed);
    }
}

impl MeasuredPredictor {
    /// Builds all tables. `profile` has the model's shape; `network` is there if the replica has
    /// several GPUs.
    pub(super) fn new(
        settings: &MeasuredSettings,
        context: &TimingContext,
        profile: &Profile,
        network: Option<&(NetworkTables, Arc<Profile>)>,
    ) -> Result<MeasuredPredictor, SettingError> {
        let rank = rank(context, profile)?;
        let tables = network.map(|(tables, _)| tables);
        let all_reduce = tables.map(|tables| all_reduce(context, tables)).transpose()?.flatten();
        let send_recv = tables.map(|tables| send_recv(context, tables)).transpose()?.flatten();
        // Only where query heads share KV heads does Vidur add this.
        let batching = |fraction: f64| if context.model.is_gqa() { 1.0 + fraction } else { 1.0 };
        let save = rank.attention.kv_cache_save.as_ref();
        let skew = settings.nccl_cpu_skew_overhead_per_device_ms
            * libm::pow(f64::from(context.parallel.tensor), 1.25);
        Ok(MeasuredPredictor {
            tokens: Arc::new(TokenCosts::new(
                rank,
                context.model.post_attn_norm,
                all_reduce,
                send_recv,
            )),
            decode: Arc::new(DecodeAttention::new(&rank.attention.decode)),
            prefill: Arc::new(PrefillAttention::new(&rank.attention.prefill)),
            kv_cache_save: save.map(|curve| Arc::new(scaled(curve, 1.0))),
            decode_batching: batching(settings.attention_decode_batching_overhead_fraction),
            prefill_batching: batching(settings.attention_prefill_batching_overhead_fraction),
            computed: rank.attention.transferred.unwrap_or(NOTHING),
            collective_overhead: (settings.nccl_cpu_launch_overhead_ms + skew) * 1e3,
            tensor_parallel: context.parallel.tensor > 1,
            kv_granularity: settings.kv_granularity,
            blocks_per_stage: f64::from(context.model.layers_per_stage(context.parallel)),
            note: note(context, profile, network.map(|(_, source)| &**source)),
            mismatches: mismatches(context, profile, rank),
            seen: Seen::default(),
        })
    }

    /// Microseconds of attention over prompts, in one block, and whether beyond the measurements.
    fn prefill_us(&self, batch: &BatchShape) -> (f64, bool) {
        let (mut context, mut squares) = (0_u64, 0_u64);
        for part in &batch.prefills {
            context += self.round_context(u64::from(part.context));
            squares += u64::from(part.tokens) * u64::from(part.tokens);
        }
        let chunk = (squares as f64).sqrt().round_ties_even();
        let (us, outside) = self.prefill.us(chunk, context as f64);
        remember(&self.seen.prefill, outside);
        (if batch.prefills.len() > 1 { us * self.prefill_batching } else { us }, outside)
    }

    /// Microseconds of attention of decoding requests, in one block, and whether beyond the
    /// measurements. Drafts are verified by the same kernel, which reads the KV cache once for all
    /// tokens of a request; where as many pairs of query and key take longer in a prompt, as long
    /// as that.
    fn decode_us(&self, batch: &BatchShape) -> (f64, bool) {
        let context = batch.decode_context + u64::from(batch.drafts);
        let context = self.round_context(context / u64::from(batch.decodes));
        let (mut us, outside) = self.decode.us(f64::from(batch.decodes), context as f64);
        if batch.drafts > 0 {
            let pairs = (batch.decode_context + batch.draft_context) as f64;
            let (prompt, _) = self.prefill.us(context as f64, 0.0);
            us = us.max(prompt * 2.0 * pairs / (context as f64 * context as f64));
        }
        remember(&self.seen.decode, outside);
        (if batch.decodes > 1 { us * self.decode_batching } else { us }, outside)
    }

    fn round_context(&self, context: u64) -> u64 {
        context.next_multiple_of(u64::from(self.kv_granularity))
    }
}

impl Predictor for MeasuredPredictor {
    fn stage_time(&self, batch: &BatchShape, stage: StagePosition) -> StageTime {
        if batch.tokens == 0 {
            return StageTime::default();
        }
        let (cost, outside) = self.tokens.at(batch.tokens);
        remember(&self.seen.operators, outside.operators);
        let none = (0.0, false);
        let (prefill, prefill_outside) =
            if batch.prefills.is_empty() { none } else { self.prefill_us(batch) };
        let (decode, decode_outside) =
            if batch.decodes == 0 { none } else { self.decode_us(batch) };
        let save = self.kv_cache_save.as_ref().map_or(0.0, |c| c.at(f64::from(batch.tokens)));
        let collectives = if self.tensor_parallel {
            remember(&self.seen.all_reduce, outside.all_reduce);
            2.0 * (cost.all_reduce + self.collective_overhead)
        } else {
            0.0
        };
        let transfer = if stage.index + 1 < stage.count {
            remember(&self.seen.send_recv, outside.send_recv);
            cost.send_recv
        } else {
            0.0
        };
        let block = cost.operators + save + decode + prefill + collectives;
        let blocks = self.blocks_per_stage;
        let beyond = |us: f64, outside: bool| if outside { us } else { 0.0 };
        let extrapolated = beyond(cost.operators, outside.operators)
            + beyond(prefill, prefill_outside)
            + beyond(decode, decode_outside)
            + beyond(collectives, outside.all_reduce);
        let prefixed = batch.prefills.iter().any(|part| part.context > 0);
        let within = |us: f64, computed: bool, outside: bool| {
            if computed && !outside { us } else { 0.0 }
        };
        let transferred = within(decode, self.computed.decode, decode_outside)
            + within(prefill, self.computed.prefixes && prefixed, prefill_outside);
        let nanos = |us: f64| match us {
            0.0 => Nanos::ZERO,
            _ => Nanos::from_millis_f64(us * 1e-3),
        };
        let (total, rest_ns) = Nanos::from_secs_f64_with_rest((block * blocks + transfer) * 1e-6);
        StageTime {
            total,
            rest_ns,
            attention_prefill: nanos(prefill * blocks),
            attention_decode: nanos(decode * blocks),
            communication: nanos(collectives * blocks + transfer),
            transferred: nanos(transferred * blocks),
            extrapolated: nanos(extrapolated * blocks + beyond(transfer, outside.send_recv)),
        }
    }

    fn price_run(&self, run: &mut RunPricing<'_>) {
        let stage = run.stage();
        while let Some(batch) = run.next_batch() {
            let time = self.stage_time(batch, stage);
            // The time depends on the mean context alone, which is rounded up and then down.
            let mean = batch.decode_context / u64::from(batch.decodes.max(1));
            let same = self.round_context(mean) - mean + 1;
            run.take_for(time, same.try_into().unwrap_or(u32::MAX));
        }
    }

    fn note(&self) -> TimingNote {
        self.note.clone()
    }

    fn warnings(&self) -> Vec<String> {
        let seen = &self.seen;
        let (requests, context) = self.decode.limits();
        let (chunk, chunk_context) = self.prefill.limits();
        let extrapolated = [
            (
                &seen.operators,
                format!(
                    "GEMMs of more than the {} tokens that were measured: extrapolated linearly",
                    self.tokens.limit()
                ),
            ),
            (
                &seen.decode,
                format!(
                    "decode attention of more than the {requests} requests or {context} tokens of \
                     context that were measured: extrapolated linearly in bytes"
                ),
            ),
            (
                &seen.prefill,
                format!(
                    "prefill attention outside what was measured (chunks up to {chunk} tokens, \
                     contexts up to {chunk_context}, long chunks on short contexts only): \
                     extrapolated by chunk x (context + chunk / 2)"
                ),
            ),
            (
                &seen.all_reduce,
                "all-reduce of larger messages than were measured: extrapolated linearly"
                    .to_owned(),
            ),
            (
                &seen.send_recv,
                "send/receive of larger messages than were measured: extrapolated linearly"
                    .to_owned(),
            ),
        ];
        let extrapolated =
            extrapolated.into_iter().filter(|(flag, _)| flag.load(Ordering::Relaxed));
        self.mismatches.iter().cloned().chain(extrapolated.map(|(_, text)| text)).collect()
    }

    fn afresh(&self) -> Option<Arc<dyn Predictor>> {
        Some(Arc::new(MeasuredPredictor {
            tokens: self.tokens.clone(),
            decode: self.decode.clone(),
            prefill: self.prefill.clone(),
            kv_cache_save: self.kv_cache_save.clone(),
            note: self.note.clone(),
            mismatches: self.mismatches.clone(),
            seen: Seen::default(),
            ..*self
        }))
    }
}

/// The tables of the scenario's tensor-parallel degree.
fn rank<'a>(context: &TimingContext, profile: &'a Profile) -> Result<&'a RankTables, SettingError> {
    let wanted = context.parallel.tensor;
    let ranks = profile.model.as_ref().map_or(&[][..], |model| &model.ranks);
    ranks.iter().find(|rank| rank.tensor_parallel == wanted).ok_or_else(|| {
        let degrees: Vec<_> = ranks.iter().map(|rank| rank.tensor_parallel.to_string()).collect();
        let found = format!("one measured at tensor_parallel {}", degrees.join(", "));
        SettingError::new("profile", found, format!("one measured at tensor_parallel {wanted}"))
            .help(profile.about())
    })
}

/// The all-reduce among the GPUs of a stage, by tokens; none without tensor parallelism.
fn all_reduce(
    context: &TimingContext,
    network: &NetworkTables,
) -> Result<Option<Curve>, SettingError> {
    let workers = context.parallel.tensor;
    if workers == 1 {
        return Ok(None);
    }
    match network.all_reduce.iter().find(|table| table.workers == workers) {
        Some(table) => Ok(Some(scaled(&table.bytes, bytes_per_token(context)))),
        None => {
            let measured: Vec<_> =
                network.all_reduce.iter().map(|table| table.workers.to_string()).collect();
            let expected = format!("a network with all-reduce of {workers} GPUs of one node");
            Err(SettingError::new("network", format!("`{}`", network.name), expected)
                .help(format!("it was measured with {} GPUs", measured.join(", "))))
        }
    }
}

/// The transfer from one stage to the next, by tokens; none with a single stage.
fn send_recv(
    context: &TimingContext,
    network: &NetworkTables,
) -> Result<Option<Curve>, SettingError> {
    if context.parallel.pipeline == 1 {
        return Ok(None);
    }
    let within_node = context.parallel.gpus() <= network.gpus_per_node;
    match network.send_recv.iter().find(|table| table.within_node == within_node) {
        Some(table) => Ok(Some(scaled(&table.bytes, bytes_per_token(context)))),
        None => {
            let place = if within_node { "within a node" } else { "between nodes" };
            let expected = format!("a network with send/receive {place}");
            Err(SettingError::new("network", format!("`{}`", network.name), expected))
        }
    }
}

/// What one token adds to a message between GPUs: its row of the residual stream.
fn bytes_per_token(context: &TimingContext) -> f64 {
    f64::from(context.model.hidden) * context.model.dtype_bytes
}

/// A curve with its axis divided by `unit`.
fn scaled(curve: &format::Curve, unit: f64) -> Curve {
    Curve::new(curve.x.iter().map(|x| f64::from(*x) / unit).collect(), curve.us.clone())
}

fn note(context: &TimingContext, profile: &Profile, network: Option<&Profile>) -> TimingNote {
    let compute = profile.provenance.iter().filter(|p| p.covers != "network");
    let network =
        network.into_iter().flat_map(|n| n.provenance.iter().filter(|p| p.covers == "network"));
    let parts: Vec<String> = compute
        .chain(network)
        .map(|p| format!("{} {} ({})", p.device, p.covers, p.source))
        .collect();
    TimingNote {
        rests_on: format!("{}, composition Vidur", parts.join(" + ")),
        not_modelled: "embedding, LM head, sampling, CPU launch, HTTP".to_owned(),
        checked_against: profile.checked_for(context.model, context.parallel),
        physical: true,
        estimate: false,
    }
}

/// Where the profile does not quite fit the scenario.
fn mismatches(context: &TimingContext, profile: &Profile, rank: &RankTables) -> Vec<String> {
    let mut found = Vec::new();
    let served = &context.model.name;
    if let Some(model) = profile.model.as_ref().filter(|model| model.name != *served) {
        found.push(format!(
            "operators were measured with {}, whose blocks have the shape of {served}'s",
            model.name
        ));
    }
    let measured = rank.attention.block_size;
    if measured != context.block_size {
        found.push(format!(
            "attention was measured with KV blocks of {measured} tokens and is used for blocks of {}",
            context.block_size
        ));
    }
    found
}
