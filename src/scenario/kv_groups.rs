//! KV cache groups: what the layers of a model keep of a request, if not all keep every token.
//!
//! `engine: (kv_cache_groups: [Full(block_size: 16), SlidingWindow(block_size: 16, window: 128)])`.

use super::raw::RawEngine;
use crate::base::SettingError;
use crate::engine::policy::{AnyPolicy, EngineLimits};
use crate::engine::state::kv::{GroupRules, KvCacheGroup};

/// The groups of the engine's settings, with the policy's rules; `None` if there are none.
///
/// # Errors
/// A group has no tokens, or its blocks are not whole ones of `block_size`; or the longest request
/// would not fit.
pub(super) fn build(
    raw: &RawEngine,
    limits: &EngineLimits,
    policy: &dyn AnyPolicy,
) -> Result<Option<GroupRules>, SettingError> {
    let Some(groups) = &raw.kv_cache_groups else { return Ok(None) };
    if raw.num_gpu_blocks.is_none() {
        return Err(SettingError::new(
            "engine.num_gpu_blocks",
            "nothing",
            "the number of KV blocks",
        )
        .help("beside kv_cache_groups it is not planned: vLLM logs it, as `# GPU blocks`"));
    }
    if groups.is_empty() {
        return Err(SettingError::new("engine.kv_cache_groups", "no groups", "at least one")
            .help("leave it out if every layer keeps every token"));
    }
    for (index, group) in groups.iter().enumerate() {
        let path = |name: &str| format!("engine.kv_cache_groups[{index}].{name}");
        let (size, unit) = (group.block_size(), limits.block_size);
        if size == 0 || !size.is_multiple_of(unit) {
            let expected = format!("a multiple of block_size, {unit}");
            return Err(SettingError::new(path("block_size"), size, expected));
        }
        match *group {
            KvCacheGroup::SlidingWindow { window: 0, .. } => {
                return Err(SettingError::new(path("window"), 0, "at least 1"));
            }
            KvCacheGroup::ChunkedLocal { chunk, block_size }
                if chunk == 0 || !chunk.is_multiple_of(block_size) =>
            {
                let expected = format!("a multiple of its block_size, {block_size}");
                return Err(SettingError::new(path("chunk"), chunk, expected));
            }
            _ => {}
        }
    }
    let rules = policy.group_rules(groups, limits);
    if let Some(rules) = &rules
        && !rules.retention.is_multiple_of(rules.alignment())
    {
        let interval = rules.retention;
        let path = "engine.policy.prefix_cache_retention_interval";
        let expected = format!("a multiple of {}, whole blocks of all groups", rules.alignment());
        return Err(SettingError::new(path, interval, expected));
    }
    Ok(rules)
}
