//! Settings that a scenario leaves out, what they stand for, and why.

use super::PoolConfig;

/// A setting that the scenario leaves out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DefaultSetting {
    /// Where it would be written: `engine.max_model_len`.
    pub path: &'static str,
    /// What it stands for.
    pub value: String,
    /// Where that comes from.
    pub source: String,
}

impl PoolConfig {
    /// The engine's settings that the scenario leaves out.
    pub(crate) fn defaults(&self) -> Vec<DefaultSetting> {
        let mut all = Vec::new();
        let mut add = |path, value: String, source: String| {
            all.push(DefaultSetting { path, value, source });
        };
        let engine = &self.engine_settings;
        if engine.max_model_len.is_none() {
            let source = format!("the limit of {}", self.model.name);
            add("engine.max_model_len", self.limits.max_model_len.to_string(), source);
        }
        if engine.num_gpu_blocks.is_none() {
            let source = "the memory plan".to_owned();
            add("engine.num_gpu_blocks", self.limits.num_blocks.to_string(), source);
        }
        if engine.enable_prefix_caching.is_none() {
            let source = format!("the default of {}", self.policy.title());
            add("engine.enable_prefix_caching", self.prefix_caching.to_string(), source);
        }
        if let Some(chosen) = &self.timing_chosen {
            add("timing", chosen.clone(), "the best that the program has here".to_owned());
        }
        all
    }
}
