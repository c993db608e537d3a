//! `Measured(composition: Full)`: operators from a device's tables.

use std::sync::Arc;

use super::attention::{Attention, Kind};
use super::basis::TimeBasis;
use super::collective::{AllReduce, Transfer};
use super::estimate::Sheet;
use super::experts::ExpertsCost;
use super::gemm::{Gemm, Gemms};
use super::predictor::{ComposedPredictor, Seen};
use super::speed::{Experts, Heads, Speed};
use super::weight_only::{Product, WeightOnly};
use super::{Efficiencies, OperatorSource, Pass, unmeasured};
use crate::base::SettingError;
use crate::hardware::model::Weights;
use crate::profile::Profile;
use crate::profile::format::NetworkTables;
use crate::profile::operators::{AttentionTable, Dtype, OperatorTables};
use crate::timing::{Predictor, TimingContext, TimingNote};

use super::pass::{PerBatch, PerCount};

/// What a composed pass is told beside the tables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FullSettings {
    /// Milliseconds per step and stage in which the GPU waits for the CPU: scheduling, preparing
    /// inputs, launching kernels and reading tokens, as far as the engine does not overlap them.
    pub overhead_ms: f64,
    /// Share of the way from a batch of equal contexts to one of longest contexts that a decode
    /// batch with unequal contexts is slower. LLMServingSim's profiler measured 0.054 to 0.075 on
    /// an RTX PRO 6000.
    pub decode_skew: f64,
}

impl FullSettings {
    /// Default of [`FullSettings::decode_skew`].
    pub const DECODE_SKEW: f64 = 0.06;

    /// Finite, and at least 0.
    pub(in crate::timing) fn check(&self) -> Result<(), SettingError> {
        for (name, value) in [("overhead_ms", self.overhead_ms), ("decode_skew", self.decode_skew)]
        {
            if !value.is_finite() || value < 0.0 {
                return Err(SettingError::new(name, value, "a number, 0 or more"));
            }
        }
        Ok(())
    }
}

/// Operators from a device's tables.
pub(super) struct MeasuredOperators<'a> {
    tables: &'a OperatorTables,
    network: Option<&'a NetworkTables>,
    speed: Speed,
    gemms: Vec<(Dtype, Gemms)>,
    /// Which tables are used, one entry per operator.
    used: Vec<String>,
    warnings: Vec<String>,
}

impl<'a> MeasuredOperators<'a> {
    pub(super) fn new(
        tables: &'a OperatorTables,
        network: Option<&'a NetworkTables>,
    ) -> MeasuredOperators<'a> {
        let speed = Speed::new(&tables.peak);
        let (gemms, used, warnings) = (Vec::new(), Vec::new(), Vec::new());
        MeasuredOperators { tables, network, speed, gemms, used, warnings }
    }

    /// Which tables are used.
    #[cfg(feature = "cli")]
    pub(super) fn used(&self) -> &[String] {
        &self.used
    }

    /// What was measured on other layouts or shapes.
    #[cfg(feature = "cli")]
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn note_use(&mut self, what: &str, source: &str) {
        let entry = format!("{what} {source}");
        if !self.used.contains(&entry) {
            self.used.push(entry);
        }
    }

    /// Whether the device multiplies 8-bit floats.
    fn fp8(&self) -> bool {
        self.tables.peak.fp8_tflops > 0.0
    }

    /// Products of two factors of `dtype`, from its table.
    fn native_gemm(&mut self, dtype: Dtype, n: u32, k: u32) -> Result<Gemm, String> {
        if !self.gemms.iter().any(|(known, _)| *known == dtype) {
            let table = self.tables.gemm.iter().find(|table| table.dtype == dtype);
            let table = table.ok_or_else(|| format!("it has no {} GEMM table", dtype.name()))?;
            self.gemms.push((dtype, Gemms::new(table, self.speed)?));
            let source = table.table.source.clone();
            self.note_use("GEMM", &source);
        }
        let gemms = self.gemms.iter().find(|(known, _)| *known == dtype);
        let (_, gemms) = gemms.ok_or("it has no GEMM table")?;
        Ok(gemms.gemm(n, k))
    }

    /// Experts of this type, from its tables.
    fn native_experts(&mut self, shape: Experts) -> Result<ExpertsCost, String> {
        let experts = ExpertsCost::new(&self.tables.experts, shape, self.speed)?;
        if !experts.is_measured() {
            self.warnings.push(format!(
                "experts of this shape ({} of {}, hidden {}, width {}) were not measured: \
                 transferred from the nearest that were",
                shape.top_k, shape.experts, shape.hidden, shape.width
            ));
        }
        let source = self.tables.experts.first().map_or("", |t| t.table.source.as_str());
        self.note_use("experts", source);
        Ok(experts)
    }

    /// Remembers that `weights` are unpacked by kernels that nobody measured.
    fn note_packed(&mut self, weights: Weights) {
        let packed = format!("{} weights unpacked", weights.label());
        let about = WeightOnly::ASSUMED.about();
        self.note_use(&packed, &format!("at {about} (ESTIMATE)"));
        self.warn(&format!(
            "products with {} weights were not measured: an estimate, at {about}",
            weights.label()
        ));
    }

    fn warn(&mut self, warning: &str) {
        if !self.warnings.iter().any(|known| known == warning) {
            self.warnings.push(warning.to_owned());
        }
    }

    /// Remembers that nobody measured `what` on this device.
    fn note_guess(&mut self, what: &str) {
        self.note_use(what, "by the data sheet (ESTIMATE)");
        self.warn(&format!(
            "{what} of this device was not measured: an estimate from the data sheet, counted as \
             extrapolated"
        ));
    }

    /// Attention with the cache of `heads`, in proportion to bytes and FLOPs of one of 16 bits.
    fn attention_from_half(&mut self, kind: Kind, heads: Heads) -> Result<PerBatch, String> {
        let half = Heads { kv_dtype: Dtype::Bf16, ..heads };
        let attention = self.attention(kind, half)?;
        self.warn(&format!(
            "attention with an {} KV cache was not measured: as with 16 bits, in proportion to \
             bytes and FLOPs",
            heads.kv_dtype.name()
        ));
        let (speed, launch) = (self.speed, kind.launch_us());
        Ok(Box::new(move |requests, tokens| {
            let cost = attention(requests, tokens);
            let least = |heads: &Heads| kind.bound(&speed, heads, requests, tokens);
            let work = (cost.us - launch).max(0.0) * least(&heads) / least(&half);
            cost.with(cost.us.min(launch) + work).at_best(TimeBasis::Transferred)
        }))
    }
}

impl OperatorSource for MeasuredOperators<'_> {
    fn gemm(&mut self, weights: Weights, n: u32, k: u32) -> Result<PerCount, String> {
        let bytes = match Product::of(weights, self.fp8()) {
            Product::Native(dtype) if self.tables.gemm.iter().all(|t| t.dtype != dtype) => {
                let half = self.native_gemm(Dtype::Bf16, n, k)?;
                self.warn("fp8 products were not measured: as in bf16, in proportion to work");
                return Ok(unmeasured::fp8_gemm(half, self.speed, n, k));
            }
            Product::Native(dtype) => {
                let gemm = self.native_gemm(dtype, n, k)?;
                return Ok(Box::new(move |m| gemm.cost(m)));
            }
            Product::WeightOnly(bytes) => bytes,
        };
        let gemm = self.native_gemm(Dtype::Bf16, n, k)?;
        self.note_packed(weights);
        let (speed, launch) = (self.speed, Efficiencies::CALIBRATED.gemm.launch_us);
        let (n, k) = (f64::from(n), f64::from(k));
        Ok(Box::new(move |m| {
            let half = speed.gemm(Dtype::Bf16, m, n, k);
            let packed = speed.weight_only(bytes, m, n, k);
            WeightOnly::ASSUMED.transfer(gemm.cost(m), half, packed, launch)
        }))
    }

    fn attention(&mut self, kind: Kind, heads: Heads) -> Result<PerBatch, String> {
        let (name, tables) = match kind {
            Kind::Prefill => ("prefill attention", &self.tables.prefill),
            Kind::Decode => ("decode attention", &self.tables.decode),
        };
        let stored = |table: &AttentionTable| table.kv_dtype == heads.kv_dtype;
        if heads.kv_dtype != Dtype::Bf16 && !tables.iter().any(stored) {
            return self.attention_from_half(kind, heads);
        }
        let attention = Attention::new(kind, tables, heads, self.speed)?;
        let first = tables.first().map_or("", |table| table.table.source.as_str());
        if attention.source != first {
            self.warnings.push(format!(
                "{name} of {} query and {} KV heads rests on {}, since {first} has no such table",
                heads.q, heads.kv, attention.source
            ));
        }
        self.note_use(name, &attention.source);
        Ok(Box::new(move |requests, tokens| attention.cost(requests, tokens)))
    }

    fn experts(&mut self, weights: Weights, shape: Experts) -> Result<PerCount, String> {
        if self.tables.experts.is_empty() {
            self.note_guess("experts");
            return unmeasured::experts(&self.tables.peak, weights, shape);
        }
        let bytes = match Product::of(weights, self.fp8()) {
            Product::Native(dtype) => {
                let experts = self.native_experts(Experts { dtype, ..shape })?;
                return Ok(Box::new(move |tokens| experts.cost(tokens)));
            }
            Product::WeightOnly(bytes) => bytes,
        };
        let experts = self.native_experts(shape)?;
        self.note_packed(weights);
        let (speed, launch) = (self.speed, Efficiencies::CALIBRATED.experts.launch_us);
        Ok(Box::new(move |tokens| {
            let half = speed.experts(&shape, tokens);
            let packed = speed.experts_of(bytes, &shape, tokens);
            WeightOnly::ASSUMED.transfer(experts.cost(tokens), half, packed, launch)
        }))
    }

    fn all_reduce(&mut self, gpus: u32) -> Result<PerCount, String> {
        let all_reduce = match self.network {
            Some(network) => AllReduce::of_network(network, gpus).ok_or_else(|| {
                format!("network {} has no all-reduce of {gpus} GPUs", network.name)
            })?,
            None if self.tables.collectives.is_empty() => {
                self.note_guess("all-reduce");
                return unmeasured::all_reduce(&self.tables.peak, gpus);
            }
            None => AllReduce::new(self.tables, gpus)?,
        };
        self.note_use("all-reduce", &all_reduce.source);
        Ok(Box::new(move |bytes| all_reduce.cost(bytes)))
    }

    fn transfer(&mut self, gpus: u32) -> Result<Transfer, String> {
        let measured = self.network.and_then(|network| Transfer::of_network(network, gpus));
        Ok(measured.unwrap_or_else(|| Transfer::link(&self.tables.peak, gpus)))
    }

    fn sheet(&self) -> Sheet {
        Sheet { speed: self.speed, efficiencies: Efficiencies::CALIBRATED }
    }

    fn note_estimate(&mut self, operator: &str) {
        self.note_guess(operator);
    }

    fn memory(&self) -> f64 {
        self.speed.memory
    }

    fn most_rows(&self) -> f64 {
        self.gemms.iter().map(|(_, gemms)| gemms.most_rows()).fold(f64::INFINITY, f64::min)
    }
}

/// The predictor for the scenario in `context` from `profile`; `network` replaces the profile's
/// collectives.
///
/// # Errors
/// Names what the profile lacks.
pub(in crate::timing) fn build_full(
    settings: FullSettings,
    context: &TimingContext,
    profile: &Profile,
    network: Option<&NetworkTables>,
) -> Result<Arc<dyn Predictor>, SettingError> {
    settings.check()?;
    let lacking = |why: String| {
        SettingError::new("profile", profile.about(), "the operators of this model").help(why)
    };
    let tables = profile
        .operators
        .as_ref()
        .ok_or_else(|| lacking("it holds no operators of the device".to_owned()))?;
    let mut source = MeasuredOperators::new(tables, network);
    let pass = Pass::new(&mut source, context.model, context.parallel).map_err(lacking)?;
    let first = profile.provenance.first().and_then(|p| p.source.split(',').next());
    let measured_by = first.unwrap_or("unknown source");
    let note = TimingNote {
        rests_on: format!(
            "{} operators: {} ({measured_by}), composition Full",
            profile.device,
            source.used.join(", ")
        ),
        not_modelled: format!(
            "CPU and launch gaps beyond overhead_ms ({} ms per step), HTTP beyond \
             api_overhead_ms",
            settings.overhead_ms
        ),
        checked_against: profile.checked_for(context.model, context.parallel),
        physical: true,
        estimate: false,
    };
    Ok(Arc::new(ComposedPredictor {
        pass: Arc::new(pass),
        overhead_us: settings.overhead_ms * 1e3,
        decode_skew: settings.decode_skew,
        note,
        mismatches: source.warnings,
        seen: Seen::default(),
    }))
}
