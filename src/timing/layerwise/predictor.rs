//! From a batch to its time: the layers' operators one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::attention::{Attention, Lengths};
use super::operators::{Experts, Link, Operators};
use super::settings::{LayerwiseSettings, LinkSettings, StragglerSetting};
use crate::base::{Nanos, SettingError};
use crate::profile::Profile;
use crate::profile::format::Curve as Measured;
use crate::profile::layerwise::Straggler;
use crate::profile::layerwise::{LayerwiseRank, LayerwiseTables};
use crate::timing::measured::curve::Curve;
use crate::timing::{BatchShape, Predictor, StagePosition, StageTime, TimingContext, TimingNote};

/// Times from a layerwise profile.
///
/// ```text
/// step  = overhead + embedding[N'] + L layer + final_norm[N'] + lm_head[S] + sampler[S]
/// layer = operators[N'] + attention + 2 all_reduce[N'] (under tensor parallelism)
/// ```
///
/// with N' the batch's tokens, padded to a captured graph, S its requests and L layers / PP; the
/// embedding counts on the first stage, what follows the layers on the last. Attention of a mixed
/// batch is one kernel: its chunks are taken as one with their sum of tokens, on the context with
/// which that chunk has as many (query, key) pairs as they have together; its decoding requests
/// enter by their mean context, corrected towards the longest as `skew` measured it.
pub(super) struct LayerwisePredictor {
    operators: Arc<Operators>,
    attention: Arc<Attention>,
    layers_per_stage: f64,
    /// All-reduces per layer.
    all_reduces: f64,
    graph_tokens: u32,
    overhead_us: f64,
    note: TimingNote,
    /// Warnings that hold from the start.
    mismatches: Vec<String>,
    tokens_beyond: AtomicBool,
    requests_beyond: AtomicBool,
    attention_beyond: AtomicBool,
}

impl LayerwisePredictor {
    /// `profile` has the model's layers; `network` is there where it is needed.
    pub(super) fn new(
        settings: &LayerwiseSettings,
        context: &TimingContext,
        profile: &Profile,
        network: Option<&Profile>,
    ) -> Result<LayerwisePredictor, SettingError> {
        let (tables, rank) = rank(context, profile)?;
        let tensor = context.parallel.tensor;
        let all_reduce = match (tensor, settings.all_reduce) {
            (1, _) => None,
            (_, Some(link)) => Some(closed_form(link, context)),
            (_, None) => Some(measured_all_reduce(network, context)?),
        };
        let send_recv = match (context.parallel.pipeline, settings.send_recv) {
            (1, _) => None,
            (_, Some(link)) => Some(closed_form(link, context)),
            (_, None) => Some(measured_send_recv(network, context)?),
        };
        let straggler = match settings.straggler {
            StragglerSetting::Profile => tables.straggler,
            StragglerSetting::Off => None,
            StragglerSetting::Bound { from_heads, us, us_per_token } => {
                Some(Straggler { from_heads, us, us_per_token })
            }
        };
        let kv_heads = context.model.kv_heads.div_ceil(tensor);
        Ok(LayerwisePredictor {
            operators: Arc::new(Operators::new(
                rank,
                experts(tables, tensor),
                all_reduce,
                send_recv,
            )),
            attention: Arc::new(Attention::new(rank, straggler, kv_heads)),
            layers_per_stage: f64::from(context.model.layers_per_stage(context.parallel)),
            all_reduces: if tensor > 1 { 2.0 } else { 0.0 },
            graph_tokens: settings.graph_tokens,
            overhead_us: settings.overhead_ms.unwrap_or(context.step_overhead_ms) * 1e3,
            note: note(settings, profile, network, context),
            mismatches: mismatches(context, tables),
            tokens_beyond: AtomicBool::new(false),
            requests_beyond: AtomicBool::new(false),
            attention_beyond: AtomicBool::new(false),
        })
    }

    /// `tokens`, padded to the next captured graph.
    fn padded(&self, tokens: u32) -> u32 {
        let size = match tokens {
            0..=2 => tokens,
            3..=4 => 4,
            5..=256 => tokens.next_multiple_of(8),
            _ => tokens.next_multiple_of(16),
        };
        if size <= self.graph_tokens { size } else { tokens }
    }
}

impl Predictor for LayerwisePredictor {
    fn stage_time(&self, batch: &BatchShape, stage: StagePosition) -> StageTime {
        if batch.tokens == 0 {
            return StageTime::default();
        }
        let (operators, beyond) = self.operators.at(self.padded(batch.tokens));
        remember(&self.tokens_beyond, beyond);
        let lengths = lengths(batch);
        let (attention, outside) = self.attention.us(&lengths, self.padded(lengths.decodes));
        remember(&self.attention_beyond, outside);
        let if_so = |happened: bool, us: f64| if happened { us } else { 0.0 };
        let mut extrapolated = self.layers_per_stage
            * (if_so(beyond, operators.layer)
                + if_so(outside, attention.prefill + attention.decode));
        let transferred = if_so(!beyond, self.layers_per_stage * operators.spread_experts);
        let all_reduce = self.all_reduces * operators.all_reduce;
        let layer = operators.layer + attention.prefill + attention.decode + all_reduce;
        let mut us = self.layers_per_stage * layer;
        let mut communication = self.layers_per_stage * all_reduce;
        if stage.index == 0 {
            us += self.overhead_us + operators.embedding;
        }
        if stage.index + 1 < stage.count {
            us += operators.send_recv;
            communication += operators.send_recv;
        } else {
            let requests = batch.sampled();
            let (sampling, outside) = self.operators.sampling(requests);
            remember(&self.requests_beyond, outside);
            us += operators.final_norm + sampling;
            extrapolated += if_so(outside, sampling);
        }
        let nanos = |us: f64| Nanos::from_millis_f64(us * 1e-3);
        StageTime {
            total: nanos(us),
            attention_prefill: nanos(attention.prefill * self.layers_per_stage),
            attention_decode: nanos(attention.decode * self.layers_per_stage),
            communication: nanos(communication),
            transferred: nanos(transferred),
            extrapolated: nanos(extrapolated),
            ..StageTime::default()
        }
    }

    fn note(&self) -> TimingNote {
        self.note.clone()
    }

    fn warnings(&self) -> Vec<String> {
        let [chunk, requests, chunk_context, context] = self.attention.limits();
        let extrapolated = [
            (
                &self.tokens_beyond,
                format!(
                    "layers with more than the {} tokens that were measured: extrapolated linearly",
                    self.operators.token_limit()
                ),
            ),
            (
                &self.requests_beyond,
                format!(
                    "LM head and sampling of more than the {} requests that were measured: \
                     extrapolated linearly",
                    self.operators.request_limit()
                ),
            ),
            (
                &self.attention_beyond,
                format!(
                    "attention beyond what was measured (chunks of {chunk} tokens on a context of \
                     {chunk_context}, {requests} decoding requests with contexts of {context}): \
                     extrapolated linearly"
                ),
            ),
        ];
        let extrapolated =
            extrapolated.into_iter().filter(|(flag, _)| flag.load(Ordering::Relaxed));
        self.mismatches.iter().cloned().chain(extrapolated.map(|(_, text)| text)).collect()
    }

    fn afresh(&self) -> Option<Arc<dyn Predictor>> {
        Some(Arc::new(LayerwisePredictor {
            operators: self.operators.clone(),
            attention: self.attention.clone(),
            note: self.note.clone(),
            mismatches: self.mismatches.clone(),
            tokens_beyond: AtomicBool::new(false),
            requests_beyond: AtomicBool::new(false),
            attention_beyond: AtomicBool::new(false),
            ..*self
        }))
    }
}

/// Sets `flag` if `happened`, without writing to memory that others read if it is set already.
fn remember(flag: &AtomicBool, happened: bool) {
    if happened && !flag.load(Ordering::Relaxed) {
        flag.store(true, Ordering::Relaxed);
    }
}

/// The batch as attention sees it: a chunk of one token is a decoding request to it. Drafts
/// lengthen the context that is read, once for all tokens of a request.
fn lengths(batch: &BatchShape) -> Lengths {
    let mut decodes = batch.decodes;
    // The token being fed counts in a batch's contexts, but is not in the cache yet.
    let mut sum =
        (batch.decode_context + u64::from(batch.drafts)).saturating_sub(u64::from(decodes));
    let mut longest = batch.decode_context_max.saturating_sub(1);
    let mut shortest = batch.decode_context_min.saturating_sub(1);
    let (mut chunk, mut pairs) = (0.0, 0.0);
    for part in &batch.prefills {
        if part.tokens == 1 {
            shortest = if decodes == 0 { part.context } else { shortest.min(part.context) };
            longest = longest.max(part.context);
            sum += u64::from(part.context);
            decodes += 1;
            continue;
        }
        let tokens = f64::from(part.tokens);
        chunk += tokens;
        pairs += tokens * (f64::from(part.context) + tokens / 2.0);
    }
    let chunk_context =
        if chunk > 0.0 { ((pairs - chunk * chunk / 2.0) / chunk).max(0.0) } else { 0.0 };
    let mean = if decodes > 0 { (sum / u64::from(decodes)) as f64 } else { 0.0 };
    Lengths {
        chunk,
        chunk_context,
        decodes,
        mean,
        longest: f64::from(longest),
        shortest: f64::from(shortest),
    }
}

/// The tables of the scenario's tensor-parallel degree.
fn rank<'a>(
    context: &TimingContext,
    profile: &'a Profile,
) -> Result<(&'a LayerwiseTables, &'a LayerwiseRank), SettingError> {
    let wanted = context.parallel.tensor;
    let tables = profile.layerwise.as_ref();
    let ranks = tables.map_or(&[][..], |tables| &tables.ranks);
    let rank = ranks.iter().find(|rank| rank.tensor_parallel == wanted);
    tables.zip(rank).ok_or_else(|| {
        let degrees: Vec<_> = ranks.iter().map(|rank| rank.tensor_parallel.to_string()).collect();
        let found = format!("one measured at tensor_parallel {}", degrees.join(", "));
        SettingError::new("profile", found, format!("one measured at tensor_parallel {wanted}"))
            .help(profile.about())
    })
}

/// The experts, spread over the GPUs that share each layer. They are measured on one GPU.
fn experts(tables: &LayerwiseTables, gpus: u32) -> Option<Experts> {
    let shape = tables.shape;
    let moe = tables.ranks.iter().find_map(|rank| rank.moe.as_ref())?;
    Some(Experts::new(moe, shape.experts, shape.experts_per_token, gpus))
}

/// What one token adds to a message between GPUs: its row of the residual stream.
fn bytes_per_token(context: &TimingContext) -> f64 {
    f64::from(context.model.hidden) * context.model.dtype_bytes
}

fn closed_form(link: LinkSettings, context: &TimingContext) -> Link {
    // 10^9 bytes/s are 10^3 bytes/us.
    let us = |tokens: f64| link.latency_us + tokens * bytes_per_token(context) / (link.gbps * 1e3);
    Curve::new(vec![0.0, 1.0, 65536.0], [0.0, 1.0, 65536.0].map(us).to_vec())
}

fn by_tokens(curve: &Measured, context: &TimingContext) -> Link {
    let unit = bytes_per_token(context);
    Curve::new(curve.x.iter().map(|x| f64::from(*x) / unit).collect(), curve.us.clone())
}

fn measured_all_reduce(
    network: Option<&Profile>,
    context: &TimingContext,
) -> Result<Link, SettingError> {
    let workers = context.parallel.tensor;
    let tables = network.and_then(|network| network.network.as_ref());
    let table = tables.and_then(|t| t.all_reduce.iter().find(|table| table.workers == workers));
    table.map(|table| by_tokens(&table.bytes, context)).ok_or_else(|| {
        let expected = format!("a network with all-reduce of {workers} GPUs, or `all_reduce`");
        let found = tables.map_or("missing".to_owned(), |tables| format!("`{}`", tables.name));
        SettingError::new("network", found, expected)
    })
}

fn measured_send_recv(
    network: Option<&Profile>,
    context: &TimingContext,
) -> Result<Link, SettingError> {
    let tables = network.and_then(|network| network.network.as_ref());
    let table = tables.and_then(|tables| {
        let within_node = context.parallel.gpus() <= tables.gpus_per_node;
        tables.send_recv.iter().find(|table| table.within_node == within_node)
    });
    table.map(|table| by_tokens(&table.bytes, context)).ok_or_else(|| {
        let found = tables.map_or("missing".to_owned(), |tables| format!("`{}`", tables.name));
        SettingError::new("network", found, "a network with send/receive, or `send_recv`")
    })
}

fn note(
    settings: &LayerwiseSettings,
    profile: &Profile,
    network: Option<&Profile>,
    context: &TimingContext,
) -> TimingNote {
    let mut parts: Vec<String> = profile
        .provenance
        .iter()
        .filter(|p| {
            p.covers != "longest sequence" || settings.straggler == StragglerSetting::Profile
        })
        .chain(network.into_iter().flat_map(|n| n.provenance.iter()))
        .map(|p| format!("{} {} ({})", p.device, p.covers, p.source))
        .collect();
    let given = [
        (settings.all_reduce.filter(|_| context.parallel.tensor > 1), "all-reduce"),
        (settings.send_recv.filter(|_| context.parallel.pipeline > 1), "send/receive"),
    ];
    for (link, name) in given {
        if let Some(link) = link {
            parts.push(format!(
                "{name} as set ({} us + bytes / {} GB/s)",
                link.latency_us, link.gbps
            ));
        }
    }
    TimingNote {
        rests_on: format!("{}, composition Layerwise", parts.join(" + ")),
        not_modelled: format!(
            "CPU beyond overhead_ms ({} ms per step), tokenizer and HTTP beyond api_overhead_ms",
            settings.overhead_ms.unwrap_or(context.step_overhead_ms)
        ),
        checked_against: profile.checked_for(context.model, context.parallel),
        physical: true,
        estimate: false,
    }
}

/// Where the profile does not quite fit the scenario.
fn mismatches(context: &TimingContext, tables: &LayerwiseTables) -> Vec<String> {
    let mut found = Vec::new();
    let served = &context.model.name;
    if tables.model != *served {
        found.push(format!(
            "layers were measured with {}, which has the shape of {served}",
            tables.model
        ));
    }
    if tables.block_size != context.block_size {
        found.push(format!(
            "attention was measured with KV blocks of {} tokens and is used for blocks of {}",
            tables.block_size, context.block_size
        ));
    }
    if tables.shape.experts > 0 && context.parallel.tensor > 1 {
        found.push(
            "experts were measured on one GPU: their times on several are those of each GPU's share"
                .to_owned(),
        );
    }
    found
}
