//! Whether the requests of a workload fit the engine's longest sequence.

use super::raw::RawScenario;
use super::resolve::Checker;
use crate::base::{Diagnostic, memory};
use crate::workload::Workload;

/// Bytes of a request that has arrived and not ended, at the least.
const REQUEST_BYTES: u64 = 256;

impl Checker<'_> {
    /// Refuses more requests at once than the memory of this machine holds: the run would end with
    /// the same message, only later.
    fn fits_in_memory(&self, workload: &Workload) -> Result<(), Box<Diagnostic>> {
        let at_once = workload.count_at_once();
        memory::check_room_for(at_once.saturating_mul(REQUEST_BYTES)).map_err(|error| {
            let found = format!("{at_once} at once, for which {error}");
            self.error("workload.requests", found, "fewer, or requests that arrive over time")
        })
    }

    /// Warns of requests that are too long, and refuses a workload of nothing else.
    pub(super) fn lengths_fit(
        &self,
        raw: &RawScenario,
        workload: &Workload,
        max_model_len: u32,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<(), Box<Diagnostic>> {
        self.fits_in_memory(workload)?;
        if workload.max_total_hint().is_some_and(|most| most <= max_model_len) {
            return Ok(());
        }
        let survey = workload.survey(raw.seed, max_model_len);
        workload.check_files().map_err(|error| self.settings("workload", &error))?;
        let path = if raw.workload.trace.is_some() { "workload.trace" } else { "workload.lengths" };
        let place = self.document.place(&self.span(path));
        let (over, all) = (survey.over_limit, survey.requests);
        if all == 0 {
            return Err(self.error(
                "workload",
                "without a single request",
                "at least one to arrive",
            ));
        }
        if over == 0 {
            return Ok(());
        }
        // Of very many generated requests only some are looked at.
        let some =
            workload.request_count().is_some_and(|count| !workload.is_replay() && all < count);
        let which = if some { "the first " } else { "" };
        let text = format!(
            "{over} of {which}{all} requests are longer than max_model_len {max_model_len} (the longest has {} tokens)",
            survey.longest_total
        );
        if over == all {
            return Err(Box::new(
                Diagnostic::error(text)
                    .at(place, "none of these can be served")
                    .help("raise engine.max_model_len, or shorten the requests (max_total)"),
            ));
        }
        warnings.push(
            Diagnostic::warning(text)
                .at(place, "these will be rejected")
                .help("`max_total` keeps lengths within a limit"),
        );
        Ok(())
    }
}
