//! FasterTransformer: static (request-level) batching.

use bevy_ecs::prelude::*;
use serde::{Deserialize, Serialize};

use super::orca::{reservation_fits, whole_prompt_limits};
use super::{AdmissionTerms, BatchLimits, EngineLimits, PlanView, Policy, at_least_one};
use crate::base::SettingError;

/// A batch is filled once and runs until its last request is done; the next one starts then.
/// Every request reserves the longest possible length, and the batch's memory is given back as a
/// whole. With pipeline stages there is one such batch per slot.
#[derive(Component, Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FasterTransformer {
    /// Most requests in a batch.
    pub max_num_seqs: u32,
    #[serde(skip)]
    groups: u32,
}

impl Default for FasterTransformer {
    fn default() -> FasterTransformer {
        FasterTransformer { max_num_seqs: 128, groups: 0 }
    }
}

impl Policy for FasterTransformer {
    const NAME: &'static str = "FasterTransformer";
    const ABOUT: &'static str = "static batching: a batch runs until its last request is done";

    fn check(&self, limits: &EngineLimits) -> Result<(), SettingError> {
        at_least_one("max_num_seqs", self.max_num_seqs)?;
        reservation_fits(limits)
    }

    fn batch_limits(&self, limits: &EngineLimits) -> BatchLimits {
        whole_prompt_limits(self.max_num_seqs, limits)
    }

    fn plan(&mut self, view: &mut PlanView<'_>) {
        view.decode_first_group();
        if view.planned() > 0 {
            view.hold_until_change();
            return;
        }
        let blocks = view.limits().blocks_for_longest();
        while view.planned() < self.max_num_seqs as usize
            && let Some(head) = view.first_waiting()
        {
            let group = Some(self.groups);
            if !view.admit(0, AdmissionTerms { tokens: head.prompt_tokens(), blocks, group }) {
                break;
            }
        }
        if view.planned() > 0 {
            // Ids wrap long after the group of the same number is gone.
            self.groups = (self.groups + 1) % (u32::MAX - 1);
        }
    }
}
