//! LoRA adapters: whether the rest of the scenario is one that can serve them.

use super::kv_offload::PreemptionMode;
use super::raw::RawScenario;
use super::resolve::Configuration;
use super::setting_error::SettingError;
use crate::cluster::Parallelism;
use crate::lora::Lora;
use crate::model::ModelSpec;
use crate::registry::{AnyPolicy, AnyRouter};

/// Checks `engine.lora` and what goes with it. Paths are those of the scenario.
pub(super) fn check(
    raw: &RawScenario,
    model: &ModelSpec,
    policy: &dyn AnyPolicy,
    router: &dyn AnyRouter,
) -> Result<(), SettingError> {
    let Some(lora) = &raw.engine.lora else {
        if router.needs_adapters() {
            let found = format!("{}, which looks at LoRA adapters", router.name());
            let expected = "another router: the engine has no `lora`";
            return Err(SettingError::new("cluster.router", found, expected));
        }
        return Ok(());
    };
    lora.check(model).map_err(|error| error.within("engine.lora"))?;
    if !policy.serves_adapters() {
        let found = format!("{} beside `lora`", policy.name());
        let help = "other policies do not pass over requests whose adapter is one too many";
        return Err(SettingError::new("engine.policy", found, "VllmV1").help(help));
    }
    if raw.engine.speculative.is_some() {
        let expected = "no speculation beside `lora`: adapters of drafts are not modelled";
        return Err(SettingError::new("engine.speculative", "given", expected));
    }
    if raw.engine.preemption_mode == PreemptionMode::Swap {
        let expected = "Recompute with `lora`: whether the adapter of a swapped request is still \
                        loaded when it comes back is not modelled";
        return Err(SettingError::new("engine.preemption_mode", "Swap", expected));
    }
    if raw.cluster.pipeline_parallel > 1 {
        let stages = raw.cluster.pipeline_parallel;
        let help = "loading adapters stage by stage is not modelled: use tensor_parallel";
        return Err(
            SettingError::new("cluster.pipeline_parallel", stages, "1 with `lora`").help(help)
        );
    }
    if raw.engine.vidur_lengths {
        let expected = "false with `lora`, which Vidur does not have";
        return Err(SettingError::new("engine.vidur_lengths", true, expected));
    }
    Ok(())
}

/// Bytes of the slots of adapters on each GPU.
pub(super) fn slot_bytes(raw: &RawScenario, model: &ModelSpec, parallel: Parallelism) -> u64 {
    raw.engine.lora.as_ref().map_or(0, |lora| lora.slot_bytes(model, parallel))
}

impl Configuration {
    /// The adapters of a run, if there are any.
    pub fn adapters(&self) -> Option<Lora> {
        let lora = self.lora.as_ref()?;
        Some(lora.run(&self.model, self.parallel, self.device))
    }
}
