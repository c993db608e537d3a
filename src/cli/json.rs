//! `--json`: what a scenario amounts to, for programs. Keys keep their order, and
//! `schema_version` grows when one changes its meaning.

use serde_json::{Map, Value, json};

use crate::base::Diagnostic;
use crate::hardware::kv_layout::KvLayout;
use crate::scenario::{PoolConfig, Scenario};

/// Version of the keys below.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// A scenario: the first pool of its first variant, and with several of them each under
/// `configurations`.
pub(super) fn scenario(scenario: &Scenario) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("schema_version".to_owned(), json!(SCHEMA_VERSION));
    out.insert("scenario".to_owned(), json!(scenario.name));
    out.insert("hash".to_owned(), json!(scenario.hash()));
    out.insert("fits".to_owned(), json!(scenario.misfits.is_empty()));
    out.insert("warnings".to_owned(), scenario.warnings.iter().map(warning).collect());
    let mut each = Vec::new();
    for one in &scenario.configurations {
        let named = one.cluster.named_pools();
        match named.is_empty() {
            true => each.push((one.name.as_str(), "", one.cluster.first())),
            false => {
                each.extend(named.iter().map(|(pool, config)| (one.name.as_str(), *pool, *config)))
            }
        }
    }
    if let Some((_, _, first)) = each.first() {
        out.extend(pool(first));
    }
    if each.len() > 1 {
        let all = each.into_iter().map(|(variant, name, config)| {
            let mut one = Map::new();
            one.insert("variant".to_owned(), json!(variant));
            one.insert("pool".to_owned(), json!(name));
            one.extend(pool(config));
            Value::Object(one)
        });
        out.insert("configurations".to_owned(), all.collect());
    }
    out
}

/// A scenario that does not fit in memory.
pub(super) fn misfit(error: &Diagnostic) -> Value {
    json!({
        "schema_version": SCHEMA_VERSION,
        "fits": false,
        "error": error.title,
        "notes": error.notes,
        "help": error.help,
    })
}

/// A warning, and where in its file.
fn warning(warning: &Diagnostic) -> Value {
    json!(warning.title)
}

/// What a pool of replicas runs.
fn pool(c: &PoolConfig) -> Map<String, Value> {
    let mut out = Map::new();
    let mut add = |key: &str, value: Value| out.insert(key.to_owned(), value);
    add("what", json!(c.what()));
    add("defaults", defaults(c).into());
    add("model", model(c));
    add("device", json!(c.device.name));
    add(
        "weights",
        json!({
            "checkpoint_bytes": c.model.checkpoint_bytes(),
            "bytes_per_gpu": c.model.weight_bytes(c.parallel),
            "stored_as": c.model.weights.label(),
        }),
    );
    add("kv", kv(c));
    add("state", json!({ "bytes_per_sequence": c.model.state_bytes_per_sequence() }));
    let note = c.timing_note();
    add(
        "timing",
        json!({
            "rests_on": note.rests_on,
            "estimate": note.estimate,
            "not_modelled": note.not_modelled,
            "checked_against": note.checked_against,
        }),
    );
    out
}

fn model(c: &PoolConfig) -> Value {
    let kinds = c.model.layer_kinds().into_iter().map(|(kind, count)| (kind, json!(count)));
    json!({
        "name": c.model.name,
        "family": c.model.family,
        "parameters": c.model.params(),
        "active_parameters": c.model.active_params(),
        "layers": Value::Object(kinds.collect()),
        "max_position": c.model.max_position,
        "not_modelled": c.model.unmodelled,
    })
}

/// The cache: elements over all heads, bytes per token over all GPUs (once where GPUs keep copies),
/// in layers that keep every token.
fn kv(c: &PoolConfig) -> Value {
    let full = c.model.kv_elements_full();
    let layout = KvLayout::of(&c.model, c.parallel, c.limits.block_size);
    let groups = layout.groups.iter().map(|group| {
        json!({
            "kind": group.kind.name(),
            "layers": group.layers,
            "block_size": group.block_size,
            "page_bytes": group.page_bytes,
            "window": group.window,
        })
    });
    let blocks = c.memory.as_ref().map_or(c.limits.num_blocks, |plan| plan.pool_blocks);
    let tokens = u64::from(c.limits.num_blocks) * u64::from(c.limits.block_size);
    json!({
        "stored_as": c.model.kv_cache.label(),
        "elements_per_token_full": full,
        "elements_per_token_sliding": c.model.kv_elements_sliding(),
        "bytes_per_token": (full as f64 * c.model.kv_cache.bytes()).ceil() as u64,
        "indexer_bytes_per_token": c.model.indexer_bytes_per_token(),
        "num_gpu_blocks": blocks,
        "tokens": tokens,
        "groups": groups.collect::<Vec<_>>(),
    })
}

/// Settings that the scenario leaves out, and what they stand for.
fn defaults(c: &PoolConfig) -> Vec<Value> {
    let mut all = Vec::new();
    for default in c.defaults() {
        all.push(json!({
            "path": default.path,
            "value": default.value,
            "source": default.source,
        }));
    }
    all
}
