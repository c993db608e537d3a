//! The models known by name. Figures: the public HuggingFace configs of the named repositories.

use std::borrow::Cow;

use super::{KvCache, ModelSpec, Moe, Weights};

/// A model known by name. The first alias is its HuggingFace name.
struct BuiltIn {
    spec: ModelSpec,
    aliases: &'static [&'static str],
}

/// What differs between Llama-like models; the rest is the same for all.
const fn llama(
    name: &'static str,
    [layers, hidden, q_heads, kv_heads, intermediate]: [u32; 5],
    vocab: u32,
    max_position: u32,
) -> ModelSpec {
    ModelSpec {
        name: Cow::Borrowed(name),
        layers,
        hidden,
        q_heads,
        kv_heads,
        head_dim: hidden / q_heads,
        intermediate,
        gated_mlp: true,
        vocab,
        tie_word_embeddings: false,
        max_position,
        post_attn_norm: true,
        qk_norm: false,
        qkv_bias: false,
        experts: None,
        dtype_bytes: 2.0,
        weights: Weights::Half,
        kv_cache: KvCache::Fp16,
    }
}

/// Qwen2's blocks: Llama's with a bias on QKV.
const fn qwen2(name: &'static str, shape: [u32; 5]) -> ModelSpec {
    let mut spec = llama(name, shape, 152_064, 32768);
    spec.qkv_bias = true;
    spec
}

/// Qwen3's blocks: Llama's with heads of 128, whatever the hidden width, and a norm on each.
const fn qwen3(name: &'static str, shape: [u32; 5]) -> ModelSpec {
    let mut spec = llama(name, shape, 151_936, 40960);
    spec.head_dim = 128;
    spec.qk_norm = true;
    spec
}

/// The same blocks with experts in place of the MLP.
const fn with_experts(mut spec: ModelSpec, experts: Moe) -> ModelSpec {
    spec.experts = Some(experts);
    spec
}

static BUILT_IN: &[BuiltIn] = &[
    BuiltIn {
        spec: llama("Llama-2-7B", [32, 4096, 32, 32, 11008], 32000, 4096),
        aliases: &["meta-llama/Llama-2-7b-hf", "meta-llama/Llama-2-7b-chat-hf"],
    },
    BuiltIn {
        spec: llama("Llama-2-13B", [40, 5120, 40, 40, 13824], 32000, 4096),
        aliases: &["meta-llama/Llama-2-13b-hf", "meta-llama/Llama-2-13b-chat-hf"],
    },
    BuiltIn {
        spec: llama("Llama-2-70B", [80, 8192, 64, 8, 28672], 32000, 4096),
        aliases: &["meta-llama/Llama-2-70b-hf", "meta-llama/Llama-2-70b-chat-hf"],
    },
    BuiltIn {
        spec: llama("Llama-3-8B", [32, 4096, 32, 8, 14336], 128256, 8192),
        aliases: &["meta-llama/Meta-Llama-3-8B", "meta-llama/Meta-Llama-3-8B-Instruct"],
    },
    BuiltIn {
        spec: llama("Llama-3-70B", [80, 8192, 64, 8, 28672], 128256, 8192),
        aliases: &["meta-llama/Meta-Llama-3-70B", "meta-llama/Meta-Llama-3-70B-Instruct"],
    },
    BuiltIn {
        spec: llama("CodeLlama-34B", [48, 8192, 64, 8, 22016], 32000, 16384),
        aliases: &["codellama/CodeLlama-34b-Instruct-hf", "codellama/CodeLlama-34b-hf"],
    },
    BuiltIn {
        spec: llama("Llama-3.1-8B", [32, 4096, 32, 8, 14336], 128256, 131_072),
        aliases: &["meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct"],
    },
    BuiltIn {
        spec: llama("Llama-3.1-70B", [80, 8192, 64, 8, 28672], 128256, 131_072),
        aliases: &["meta-llama/Llama-3.1-70B", "meta-llama/Llama-3.1-70B-Instruct"],
    },
    BuiltIn {
        spec: qwen2("Qwen2.5-7B", [28, 3584, 28, 4, 18944]),
        aliases: &["Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct"],
    },
    BuiltIn {
        spec: qwen2("Qwen2.5-72B", [80, 8192, 64, 8, 29568]),
        aliases: &["Qwen/Qwen2.5-72B", "Qwen/Qwen2.5-72B-Instruct"],
    },
    BuiltIn { spec: qwen3("Qwen3-32B", [64, 5120, 64, 8, 25600]), aliases: &["Qwen/Qwen3-32B"] },
    BuiltIn {
        spec: with_experts(
            qwen3("Qwen3-30B-A3B", [48, 2048, 32, 4, 6144]),
            Moe { experts: 128, experts_per_token: 8, moe_intermediate: 768 },
        ),
        aliases: &["Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-30B-A3B-Instruct-2507"],
    },
    BuiltIn {
        spec: llama("Mistral-7B", [32, 4096, 32, 8, 14336], 32000, 32768),
        aliases: &["mistralai/Mistral-7B-v0.1", "mistralai/Mistral-7B-Instruct-v0.2"],
    },
    BuiltIn {
        spec: with_experts(
            llama("Mixtral-8x7B", [32, 4096, 32, 8, 14336], 32000, 32768),
            Moe { experts: 8, experts_per_token: 2, moe_intermediate: 14336 },
        ),
        aliases: &["mistralai/Mixtral-8x7B-v0.1", "mistralai/Mixtral-8x7B-Instruct-v0.1"],
    },
];

/// The model called `name`: ours or its HuggingFace name, in any case.
pub fn find(name: &str) -> Option<&'static ModelSpec> {
    BUILT_IN
        .iter()
        .find(|m| {
            m.spec.name.eq_ignore_ascii_case(name)
                || m.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
        })
        .map(|m| &m.spec)
}

/// The names of all built-in models, in the order of the list.
pub fn names() -> Vec<&'static str> {
    BUILT_IN.iter().map(|m| m.spec.name.as_ref()).collect()
}

/// The built-in model whose name, or HuggingFace name, is nearest to `name`, for "did you mean".
/// `None` if nothing is near.
pub fn closest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let likeness = |other: &str| strsim::jaro_winkler(&name, &other.to_ascii_lowercase());
    BUILT_IN
        .iter()
        .map(|m| {
            let spellings = m.aliases.iter().copied().chain([m.spec.name.as_ref()]);
            (spellings.map(likeness).fold(0.0, f64::max), m.spec.name.as_ref())
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.75)
        .map(|(_, name)| name)
}

/// The HuggingFace name of the built-in model called `name`.
pub(super) fn hugging_face_name(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|m| m.spec.name == name).and_then(|m| m.aliases.first().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_by_either_name() {
        let spec = find("meta-llama/Llama-2-7b-hf").unwrap();
        assert_eq!(spec.name, "Llama-2-7B");
        assert_eq!(find("llama-2-7b"), Some(spec));
        assert_eq!(spec.hugging_face_name(), Some("meta-llama/Llama-2-7b-hf"));
        assert_eq!(find("Llama-2-7"), None);
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        assert_eq!(closest("Lama-2-7B"), Some("Llama-2-7B"));
        assert_eq!(closest("meta-llama/Llama-2-70b"), Some("Llama-2-70B"));
        assert_eq!(closest("zzz"), None);
    }
}
