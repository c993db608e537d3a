//! LoRA: which waiting requests may be admitted beside those that run.

use super::view::PlanView;
use super::waiting::WaitingRequest;

impl PlanView<'_> {
    /// Whether a waiting request may have to be passed over because of its LoRA adapter.
    pub fn limits_adapters(&self) -> bool {
        self.techniques.adapters.is_some()
    }

    /// The waiting request that is next, first come first served, and its index: the first whose
    /// LoRA adapter fits.
    pub fn next_in_line(&self) -> Option<(usize, WaitingRequest)> {
        match self.limits_adapters() {
            false => self.first_waiting().map(|head| (0, head)),
            true => self.waiting().enumerate().find(|(index, _)| self.adapter_fits(*index)),
        }
    }

    /// Whether the waiting request at `index` may be admitted as far as LoRA adapters go: it wants
    /// none, one that an admitted request has, or there are fewer than `max_loras` among them.
    /// (vLLM counts the adapters of the requests that it has scheduled in this step; where it gets
    /// to waiting requests, these are all that run.)
    pub fn adapter_fits(&self, index: usize) -> bool {
        self.replica.waiting.get(index).is_none_or(|sequence| self.techniques.allow(sequence))
    }
}
