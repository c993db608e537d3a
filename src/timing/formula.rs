//! Execution time by a closed form: for tests, and for comparisons that no measurement disturbs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    BatchShape, Predictor, RunPricing, StagePosition, StageTime, TimingContext, TimingNote,
    TimingSettings,
};
use crate::base::{Nanos, SettingError};
use crate::profile::NOT_CHECKED;

/// `Formula(base: 0.005, per_token: 2.5e-5, per_context: 1e-8)`: the time of a stage in seconds is
///
/// ```text
/// base + (per_token * T + per_context * S) / P
/// ```
///
/// with `T` the batch's tokens, `S` the sum over its requests of (context x tokens), see
/// [`BatchShape::context_products`], and `P` the number of pipeline stages. Computed in `f64` in
/// exactly this order, so that it equals other programs' to the bit, then rounded to
/// a nanosecond (see [`StageTime::rest_ns`]).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FormulaSettings {
    /// Seconds per iteration and stage.
    #[serde(default)]
    pub base: f64,
    /// Seconds per token of the batch.
    #[serde(default)]
    pub per_token: f64,
    /// Seconds per (token, token of its context).
    #[serde(default)]
    pub per_context: f64,
}

impl TimingSettings for FormulaSettings {
    const NAME: &'static str = "Formula";
    const ABOUT: &'static str = "closed form: base + (per_token * T + per_context * S) / stages";

    fn build(&self, _: &TimingContext) -> Result<Arc<dyn Predictor>, SettingError> {
        let parts =
            [("base", self.base), ("per_token", self.per_token), ("per_context", self.per_context)];
        for (name, value) in parts {
            if !(0.0..=1e6).contains(&value) {
                return Err(SettingError::new(name, value, "seconds, 0 to 1e6"));
            }
        }
        if parts.iter().all(|(_, value)| *value == 0.0) {
            return Err(SettingError::new("", "all zero", "at least one part above 0")
                .help("a simulation in which nothing takes time never advances"));
        }
        Ok(Arc::new(*self))
    }
}

impl FormulaSettings {
    /// The time for `T` tokens and a sum `S` of products.
    #[inline(always)] // of each iteration
    fn time(&self, tokens: u32, products: f64, stage: StagePosition) -> (Nanos, f64) {
        let (tokens, stages) = (f64::from(tokens), f64::from(stage.count));
        let seconds = self.base + (self.per_token * tokens + self.per_context * products) / stages;
        Nanos::from_secs_f64_with_rest(seconds)
    }
}

impl Predictor for FormulaSettings {
    fn stage_time(&self, batch: &BatchShape, stage: StagePosition) -> StageTime {
        let (total, rest_ns) = self.time(batch.tokens, batch.context_products() as f64, stage);
        StageTime { total, rest_ns, ..StageTime::default() }
    }

    fn price_run(&self, run: &mut RunPricing<'_>) {
        let stage = run.stage();
        let Some(batch) = run.next_batch() else { return };
        let (tokens, more) = (batch.tokens, f64::from(batch.decodes));
        // A float counts exactly up to 2^53.
        let mut products = batch.context_products() as f64;
        run.take_each(|| {
            let time = self.time(tokens, products, stage);
            products += more;
            time
        });
    }

    fn note(&self) -> TimingNote {
        TimingNote {
            rests_on: format!(
                "the formula {} + ({} T + {} S) / P seconds",
                self.base, self.per_token, self.per_context
            ),
            not_modelled: "any real device".to_owned(),
            checked_against: NOT_CHECKED.to_owned(),
            physical: false,
            estimate: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::hardware::model::find;
    use crate::hardware::{Parallelism, find_device};
    use crate::timing::{PrefillPart, SharedTables};

    fn build(base: f64, per_token: f64, per_context: f64) -> Result<(), SettingError> {
        let context = TimingContext {
            model: find("Llama-2-7B").unwrap(),
            device: find_device("a100").unwrap(),
            parallel: Parallelism::default(),
            block_size: 16,
            network: None,
            step_overhead_ms: 0.0,
            base_dir: Path::new("."),
            tables: &SharedTables::default(),
        };
        FormulaSettings { base, per_token, per_context }.build(&context).map(drop)
    }

    #[test]
    fn parts_are_added_and_divided_by_the_stages() {
        let formula = FormulaSettings { base: 0.005, per_token: 2.5e-5, per_context: 1e-8 };
        let batch = BatchShape::of(&[PrefillPart { tokens: 100, context: 50 }], &[300, 400]);
        let time = |count| formula.stage_time(&batch, StagePosition { index: 0, count }).total;
        assert_eq!(time(1), Nanos(5_000_000 + 2_550_000 + 57_000));
        assert_eq!(time(2), Nanos(5_000_000 + (2_550_000 + 57_000) / 2));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(build(0.005, 0.0, 0.0).is_ok());
        assert_eq!(build(-1.0, 0.0, 0.0).unwrap_err().path, "base");
        assert_eq!(build(0.1, f64::NAN, 0.0).unwrap_err().path, "per_token");
        assert_eq!(build(0.1, 0.0, f64::INFINITY).unwrap_err().path, "per_context");
        assert_eq!(build(0.0, 0.0, 0.0).unwrap_err().path, "");
    }
}
