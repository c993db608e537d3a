//! The `quantization_config` of a HuggingFace `config.json`.

use serde_json::Value;

use super::{Groups, KvCache, Weights};

/// What is said where no other message fits.
const EXPECTED: &str = "weights of 4 or 8 bits, fp8 or mxfp4";

/// How weights and KV cache are stored, by GPTQ, AWQ, FP8, compressed-tensors, MXFP4, or whatever
/// else names the bits of a weight.
///
/// # Errors
/// What was expected instead.
pub(super) fn read(config: &Value) -> Result<(Weights, KvCache), String> {
    let method = config.get("quant_method").and_then(Value::as_str);
    let weights = match method {
        Some("compressed-tensors") => return compressed_tensors(config),
        Some("fp8" | "fbgemm_fp8") => Weights::Fp8,
        Some("mxfp4") => Weights::Mxfp4,
        _ => {
            let bits = first(config, &["bits", "weight_bits", "w_bit"]).and_then(Value::as_u64);
            let zero_points = match first(config, &["zero_point"]).and_then(Value::as_bool) {
                Some(zero_point) => zero_point,
                // GPTQ says the opposite. Symmetric weights carry no zero points that a kernel reads.
                None => config.get("sym").and_then(Value::as_bool) == Some(false),
            };
            integers(bits, groups(config, zero_points)?)?
        }
    };
    Ok((weights, KvCache::Fp16))
}

/// `config_groups` of which one is used, as llm-compressor writes them.
fn compressed_tensors(config: &Value) -> Result<(Weights, KvCache), String> {
    let groups_of = config.get("config_groups").and_then(Value::as_object);
    let Some(group) = groups_of.and_then(|groups| groups.values().next()) else {
        return Err("`config_groups` with a group".to_owned());
    };
    let scheme = group.get("weights").ok_or("`weights` in its group")?;
    let bits = scheme.get("num_bits").and_then(Value::as_u64);
    let float = is_float(scheme);
    let activations = group.get("input_activations").is_some_and(|inputs| !inputs.is_null());
    let weights = match (bits, float, activations) {
        (Some(8), true, _) => Weights::Fp8,
        (_, true, _) => return Err(EXPECTED.to_owned()),
        (_, false, true) => {
            return Err("activations of 16 bits: products of integers are not modelled".to_owned());
        }
        (bits, false, false) => {
            let symmetric = scheme.get("symmetric").and_then(Value::as_bool) != Some(false);
            integers(bits, groups(scheme, !symmetric)?)?
        }
    };
    let kv_cache = match config.get("kv_cache_scheme").filter(|scheme| !scheme.is_null()) {
        None => KvCache::Fp16,
        Some(scheme) => match (scheme.get("num_bits").and_then(Value::as_u64), is_float(scheme)) {
            (Some(8), true) => KvCache::Fp8,
            (Some(8), false) => KvCache::Int8,
            _ => return Err("a KV cache of 8 bits".to_owned()),
        },
    };
    Ok((weights, kv_cache))
}

fn integers(bits: Option<u64>, groups: Groups) -> Result<Weights, String> {
    match bits {
        Some(4) => Ok(Weights::Int4(groups)),
        Some(8) => Ok(Weights::Int8(groups)),
        Some(16) => Ok(Weights::Half),
        _ => Err(EXPECTED.to_owned()),
    }
}

/// The groups of integer weights; -1 stands for whole channels.
fn groups(config: &Value, zero_points: bool) -> Result<Groups, String> {
    let size = match first(config, &["group_size", "q_group_size"]) {
        None => Some(Groups::DEFAULT_SIZE),
        Some(value) if value.as_i64() == Some(-1) => None,
        Some(value) => {
            let size = value.as_u64().and_then(|size| u32::try_from(size).ok());
            let size = size.filter(|size| *size > 0);
            Some(size.ok_or("a `group_size` of 1 or more, or -1 for whole channels")?)
        }
    };
    // compressed-tensors names no size for whole channels.
    let channels = config.get("strategy").and_then(Value::as_str) == Some("channel");
    Ok(Groups { size: size.filter(|_| !channels), zero_points })
}

fn is_float(scheme: &Value) -> bool {
    scheme.get("type").and_then(Value::as_str) == Some("float")
}

/// The first of `keys` that is there and not null.
fn first<'a>(config: &'a Value, keys: &[&str]) -> Option<&'a Value> {
    keys.iter().find_map(|key| config.get(key).filter(|value| !value.is_null()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<(Weights, KvCache), String> {
        read(&serde_json::from_str(json).unwrap())
    }

    fn int4(size: Option<u32>, zero_points: bool) -> Weights {
        Weights::Int4(Groups { size, zero_points })
    }

    #[test]
    fn the_usual_methods_are_read() {
        for (json, expected) in [
            // TheBloke/Llama-2-70B-GPTQ, TheBloke/Llama-2-70B-AWQ.
            (
                r#"{"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": true}"#,
                int4(Some(128), false),
            ),
            (
                r#"{"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": true}"#,
                int4(Some(128), true),
            ),
            (r#"{"bits": 4, "group_size": -1}"#, int4(None, false)),
            (
                r#"{"quant_method": "gptq", "bits": 8, "group_size": 64, "sym": false}"#,
                Weights::Int8(Groups { size: Some(64), zero_points: true }),
            ),
            (r#"{"quant_method": "fp8", "weight_block_size": [128, 128]}"#, Weights::Fp8),
            (r#"{"quant_method": "mxfp4"}"#, Weights::Mxfp4),
        ] {
            assert_eq!(of(json), Ok((expected, KvCache::Fp16)), "{json}");
        }
    }

    #[test]
    fn compressed_tensors_are_read() {
        let config = |weights: &str, inputs: &str, kv: &str| {
            of(&format!(
                r#"{{"quant_method": "compressed-tensors", "kv_cache_scheme": {kv}, "config_groups":
                {{"group_0": {{"weights": {weights}, "input_activations": {inputs}}}}}}}"#
            ))
        };
        let fp8 = r#"{"num_bits": 8, "type": "float", "strategy": "tensor"}"#;
        assert_eq!(config(fp8, fp8, fp8), Ok((Weights::Fp8, KvCache::Fp8)));
        let grouped = r#"{"num_bits": 4, "type": "int", "group_size": 128, "symmetric": true}"#;
        assert_eq!(config(grouped, "null", "null"), Ok((int4(Some(128), false), KvCache::Fp16)));
        let channel = r#"{"num_bits": 8, "type": "int", "strategy": "channel"}"#;
        let whole = Groups { size: None, zero_points: false };
        assert_eq!(config(channel, "null", "null"), Ok((Weights::Int8(whole), KvCache::Fp16)));
        assert!(config(channel, channel, "null").unwrap_err().contains("16 bits"));
    }

    #[test]
    fn what_is_not_modelled_is_refused() {
        for json in [
            r#"{"quant_method": "gptq", "bits": 3}"#,
            r#"{"quant_method": "bitsandbytes", "load_in_4bit": true}"#,
            r#"{"bits": 4, "group_size": 0}"#,
            r#"{"bits": 1e300}"#,
            r#"{"quant_method": "compressed-tensors"}"#,
            "3",
        ] {
            assert!(of(json).is_err(), "{json}");
        }
    }
}
