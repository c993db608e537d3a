//! The scheduling policies.

mod light_llm;
mod reserving;
mod sarathi;
mod vllm_v0;
mod vllm_v1;

use vidur_ecs::engine::policy::{
    FasterTransformer, LightLlm, Orca, Sarathi, VllmV0, VllmV1, VllmVersion,
};

use super::planner::Planner;

/// A policy by its settings.
#[derive(Clone, Debug)]
pub enum Policy {
    VllmV0(VllmV0),
    VllmV1(VllmV1),
    Sarathi(Sarathi),
    Orca(Orca),
    FasterTransformer(FasterTransformer),
    LightLlm(LightLlm),
}

impl Policy {
    pub fn plan(&self, planner: &mut Planner<'_>) {
        match self {
            Policy::VllmV0(policy) => vllm_v0::plan(policy, planner),
            Policy::VllmV1(policy) => vllm_v1::plan(policy, planner),
            Policy::Sarathi(policy) => sarathi::plan(policy, planner),
            Policy::Orca(policy) => reserving::plan_orca(policy, planner),
            Policy::FasterTransformer(policy) => {
                reserving::plan_static(policy.max_num_seqs, planner);
            }
            Policy::LightLlm(policy) => light_llm::plan(policy, planner),
        }
    }

    /// Whether each batch is planned when the one before it starts.
    pub fn is_asynchronous(&self) -> bool {
        matches!(self, Policy::VllmV1(policy) if policy.async_scheduling)
    }

    /// Whether a replica whose requests were all preempted waits for its next event.
    pub fn idles(&self) -> bool {
        matches!(self, Policy::VllmV0(policy) if policy.vidur_idle)
    }

    /// Whether freed blocks without a name are reused first.
    pub fn reuses_unnamed_first(&self) -> bool {
        matches!(self, Policy::VllmV1(policy) if policy.version >= VllmVersion::minor(23))
    }

    /// vLLM's null block.
    pub fn reserved_blocks(&self) -> u32 {
        u32::from(matches!(self, Policy::VllmV1(_)))
    }
}
