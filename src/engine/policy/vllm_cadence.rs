//! In which steps vLLM V1 processes prompts (`prefill_schedule_interval`).

use super::PlanView;

/// Where a replica is in the cadence of prompts.
#[derive(Clone, Debug, Default)]
pub struct Cadence {
    /// Steps that have ended.
    ended: u64,
    /// Number, from 1, of the step that is being planned.
    number: u64,
    /// Number of the last step that processed a prompt; 0 before the first.
    last_prefill: u64,
    /// Whether requests could not be admitted when prompts were last let in. The hold is lifted
    /// then.
    pub(super) capacity_bound: bool,
}

impl Cadence {
    /// Begins a plan. Whether prompts are held back in it: the last step that processed some is
    /// less than `interval` steps ago, something decodes, and there was room for all that waited.
    pub(super) fn begin(&mut self, interval: u32, view: &PlanView<'_>) -> bool {
        self.ended += u64::from(view.committed());
        self.number = self.ended + 1;
        let recent = self.last_prefill > 0 && self.number < self.last_prefill + u64::from(interval);
        interval > 1 && recent && !self.capacity_bound && view.any_decodes()
    }

    /// Notes the chunks of prompts that go on in this step.
    pub(super) fn chunks(&mut self, interval: u32, view: &PlanView<'_>) {
        if interval > 1 && view.plans_prefill() {
            self.last_prefill = self.number;
        }
    }

    /// Notes that a request is admitted with so many tokens to compute.
    pub(super) fn admitted(&mut self, tokens: u32) {
        if tokens > 1 {
            self.last_prefill = self.number;
        }
    }
}
