//! LoRA adapters: whether the rest of the scenario is one that can serve them.

use super::pool::PoolConfig;
use super::raw::RawScenario;
use crate::base::SettingError;
use crate::engine::lora::{Lora, LoraSettings};
use crate::engine::routing::AnyRouter;
use crate::hardware::Parallelism;
use crate::hardware::model::ModelSpec;

/// Checks `engine.lora` and what goes with it. Paths are those of the scenario.
pub(super) fn check(
    raw: &RawScenario,
    model: &ModelSpec,
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
    if !model.is_uniform() {
        let expected = "a model whose layers are all alike, with attention of heads";
        return Err(SettingError::new("engine.lora", model.name.to_string(), expected)
            .help("adapters of layers of different kinds are not modelled"));
    }
    lora.check(model).map_err(|error| error.within("engine.lora"))
}

/// Bytes of the slots of adapters on each GPU.
pub(super) fn slot_bytes(raw: &RawScenario, model: &ModelSpec, parallel: Parallelism) -> u64 {
    raw.engine.lora.as_ref().map_or(0, |lora| lora.slot_bytes(model, parallel))
}

/// Complains about sides of a disaggregated cluster that do not serve the same adapters: a request
/// keeps its own. Slots, and how fast they are filled, may differ.
pub(super) fn same_adapters(
    prefill: Option<&LoraSettings>,
    decode: Option<&LoraSettings>,
) -> Result<(), SettingError> {
    let (first, second) = match (prefill, decode) {
        (None, None) => return Ok(()),
        (Some(first), Some(second)) => (first, second),
        (first, _) => {
            let found = if first.is_some() { "none" } else { "given" };
            let expected = "adapters on both sides or on neither";
            return Err(SettingError::new("engine.lora", found, expected)
                .help("give it in the scenario's `engine`, which applies to both sides"));
        }
    };
    let served = |lora: &LoraSettings| {
        let LoraSettings { adapters, rank, target_modules, popularity, base_share, .. } = lora;
        format!(
            "adapters: {adapters}, rank: {rank}, target_modules: {target_modules:?}, \
             popularity: {popularity:?}, base_share: {base_share}"
        )
    };
    match served(first) == served(second) {
        true => Ok(()),
        false => {
            let expected = format!("({}), as on the prefill side", served(first));
            Err(SettingError::new("engine.lora", format!("({})", served(second)), expected)
                .help("a side may only have its own slots, rates and kernels"))
        }
    }
}

impl PoolConfig {
    /// The adapters of a run, if there are any. On a part of a GPU their products have that part.
    pub fn adapters(&self) -> Option<Lora> {
        let lora = self.lora.as_ref()?;
        let run = lora.run(&self.model, self.parallel, self.device);
        let Some(share) = &self.gpu_share else { return Some(run) };
        Some(Lora { cost: run.cost.on_part(share.parts()), ..run })
    }
}
