//! The execution times of a scenario: those that it names, or the best that there are.

use std::sync::Arc;

use super::document::Document;
use super::plugins;
use crate::base::{Diagnostic, SettingError};
use crate::registry::Registry;
use crate::timing::{AnyTiming, Predictor, TimingContext};

/// What is tried where a scenario names no timing, the best first: the model's own layers, the
/// device's operators, an estimate from its data sheet.
const BEST_FIRST: [(&str, &str); 3] =
    [("Layerwise", ""), ("Measured", "(composition: Full)"), ("Roofline", "")];

/// The execution times of a configuration.
pub(super) struct Times {
    /// The settings.
    pub timing: Box<dyn AnyTiming>,
    /// The predictor.
    pub predictor: Arc<dyn Predictor>,
    /// As a scenario would have named it, if this one names none.
    pub chosen: Option<String>,
}

/// Reads `timing`, or finds the best for this model and device.
pub(super) fn read(
    document: &Document,
    registry: &Registry,
    context: &TimingContext,
) -> Result<Times, Box<Diagnostic>> {
    let wrong = |error: SettingError| Box::new(plugins::setting_error(document, "timing", &error));
    if document.node("timing").is_some() {
        let timing = plugins::read(document, "timing", registry.timings(), None)?;
        let predictor = context.tables.predictor(timing.as_ref(), context).map_err(wrong)?;
        return Ok(Times { timing, predictor, chosen: None });
    }
    let mut last = None;
    for (name, settings) in BEST_FIRST {
        let Some(entry) = registry.timings().iter().find(|entry| entry.name == name) else {
            continue;
        };
        let Ok(timing) = (entry.parse)(settings) else { continue };
        match context.tables.predictor(timing.as_ref(), context) {
            Ok(predictor) => {
                let chosen =
                    Some(format!("{name}{}", if settings.is_empty() { "()" } else { settings }));
                return Ok(Times { timing, predictor, chosen });
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(wrong(error)),
        None => Err(Box::new(Diagnostic::error("field `timing` is missing, and none is built in"))),
    }
}
