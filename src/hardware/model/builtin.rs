//! The models known by name. Figures: the public HuggingFace configs of the named repositories.

use std::borrow::Cow;

use super::known::{KNOWN, Known};
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
        family: "llama",
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
        other_layer_params: 0,
        other_params: 0,
        dtype_bytes: 2.0,
        weights: Weights::Half,
        weight_block: None,
        kv_cache: KvCache::Fp16,
        head_weights: Weights::Half,
        stack: Vec::new(),
        unmodelled: Vec::new(),
    }
}

/// Qwen2's blocks: Llama's with a bias on QKV.
const fn qwen2(name: &'static str, shape: [u32; 5]) -> ModelSpec {
    let mut spec = llama(name, shape, 152_064, 32768);
    spec.qkv_bias = true;
    spec.family = "qwen2";
    spec
}

/// Qwen3's blocks: Llama's with heads of 128, whatever the hidden width, and a norm on each.
const fn qwen3(name: &'static str, shape: [u32; 5]) -> ModelSpec {
    let mut spec = llama(name, shape, 151_936, 40960);
    spec.head_dim = 128;
    spec.qk_norm = true;
    spec.family = "qwen3";
    spec
}

/// The same blocks under another family's name.
const fn of_family(family: &'static str, mut spec: ModelSpec) -> ModelSpec {
    spec.family = family;
    spec
}

/// The same blocks with heads of `head_dim`, whatever the hidden width.
const fn with_heads(mut spec: ModelSpec, head_dim: u32) -> ModelSpec {
    spec.head_dim = head_dim;
    spec
}

/// The same blocks with one matrix for embedding and LM head.
const fn tied(mut spec: ModelSpec) -> ModelSpec {
    spec.tie_word_embeddings = true;
    spec
}

/// The same blocks with another vocabulary.
const fn with_vocab(mut spec: ModelSpec, vocab: u32) -> ModelSpec {
    spec.vocab = vocab;
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
        aliases: &[
            "meta-llama/Llama-2-7b-hf",
            "meta-llama/Llama-2-7b-chat-hf",
            "meta-llama/Llama-2-7b",
            "meta-llama/Llama-2-7b-chat",
        ],
    },
    BuiltIn {
        spec: llama("Llama-2-13B", [40, 5120, 40, 40, 13824], 32000, 4096),
        aliases: &[
            "meta-llama/Llama-2-13b-hf",
            "meta-llama/Llama-2-13b-chat-hf",
            "meta-llama/Llama-2-13b",
            "meta-llama/Llama-2-13b-chat",
        ],
    },
    BuiltIn {
        spec: llama("Llama-2-70B", [80, 8192, 64, 8, 28672], 32000, 4096),
        aliases: &[
            "meta-llama/Llama-2-70b-hf",
            "meta-llama/Llama-2-70b-chat-hf",
            "meta-llama/Llama-2-70b",
            "meta-llama/Llama-2-70b-chat",
        ],
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
        aliases: &[
            "meta-llama/Llama-3.1-8B",
            "meta-llama/Llama-3.1-8B-Instruct",
            "meta-llama/Meta-Llama-3.1-8B",
            "meta-llama/Meta-Llama-3.1-8B-Instruct",
            "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
        ],
    },
    BuiltIn {
        spec: llama("Llama-3.1-70B", [80, 8192, 64, 8, 28672], 128256, 131_072),
        aliases: &[
            "meta-llama/Llama-3.1-70B",
            "meta-llama/Llama-3.1-70B-Instruct",
            "meta-llama/Meta-Llama-3.1-70B",
            "meta-llama/Meta-Llama-3.1-70B-Instruct",
            // The same shape.
            "meta-llama/Llama-3.3-70B-Instruct",
            "deepseek-ai/DeepSeek-R1-Distill-Llama-70B",
        ],
    },
    BuiltIn {
        spec: qwen2("Qwen2.5-7B", [28, 3584, 28, 4, 18944]),
        aliases: &["Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B-Instruct"],
    },
    BuiltIn {
        spec: qwen2("Qwen2.5-72B", [80, 8192, 64, 8, 29568]),
        aliases: &["Qwen/Qwen2.5-72B", "Qwen/Qwen2.5-72B-Instruct"],
    },
    BuiltIn {
        spec: tied(with_vocab(qwen2("Qwen2.5-0.5B", [24, 896, 14, 2, 4864]), 151_936)),
        aliases: &["Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-0.5B-Instruct"],
    },
    BuiltIn {
        spec: tied(with_vocab(qwen2("Qwen2.5-1.5B", [28, 1536, 12, 2, 8960]), 151_936)),
        aliases: &["Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-1.5B-Instruct"],
    },
    BuiltIn {
        spec: tied(with_vocab(qwen2("Qwen2.5-3B", [36, 2048, 16, 2, 11008]), 151_936)),
        aliases: &["Qwen/Qwen2.5-3B", "Qwen/Qwen2.5-3B-Instruct"],
    },
    BuiltIn {
        spec: qwen2("Qwen2.5-14B", [48, 5120, 40, 8, 13824]),
        aliases: &["Qwen/Qwen2.5-14B", "Qwen/Qwen2.5-14B-Instruct"],
    },
    BuiltIn {
        spec: qwen2("Qwen2.5-32B", [64, 5120, 40, 8, 27648]),
        aliases: &["Qwen/Qwen2.5-32B", "Qwen/Qwen2.5-32B-Instruct"],
    },
    BuiltIn {
        spec: tied(qwen3("Qwen3-0.6B", [28, 1024, 16, 8, 3072])),
        aliases: &["Qwen/Qwen3-0.6B"],
    },
    BuiltIn {
        spec: tied(qwen3("Qwen3-1.7B", [28, 2048, 16, 8, 6144])),
        aliases: &["Qwen/Qwen3-1.7B"],
    },
    BuiltIn { spec: tied(qwen3("Qwen3-4B", [36, 2560, 32, 8, 9728])), aliases: &["Qwen/Qwen3-4B"] },
    BuiltIn { spec: qwen3("Qwen3-8B", [36, 4096, 32, 8, 12288]), aliases: &["Qwen/Qwen3-8B"] },
    BuiltIn { spec: qwen3("Qwen3-14B", [40, 5120, 40, 8, 17408]), aliases: &["Qwen/Qwen3-14B"] },
    BuiltIn { spec: qwen3("Qwen3-32B", [64, 5120, 64, 8, 25600]), aliases: &["Qwen/Qwen3-32B"] },
    BuiltIn {
        spec: of_family(
            "qwen3_moe",
            with_experts(
                qwen3("Qwen3-235B-A22B", [94, 4096, 64, 4, 12288]),
                Moe { experts: 128, experts_per_token: 8, moe_intermediate: 1536 },
            ),
        ),
        aliases: &["Qwen/Qwen3-235B-A22B"],
    },
    BuiltIn {
        spec: tied(llama("Llama-3.2-1B", [16, 2048, 32, 8, 8192], 128_256, 131_072)),
        aliases: &["meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B-Instruct"],
    },
    BuiltIn {
        spec: tied(llama("Llama-3.2-3B", [28, 3072, 24, 8, 8192], 128_256, 131_072)),
        aliases: &["meta-llama/Llama-3.2-3B", "meta-llama/Llama-3.2-3B-Instruct"],
    },
    BuiltIn {
        spec: llama("Llama-3.1-405B", [126, 16384, 128, 8, 53248], 128_256, 131_072),
        aliases: &[
            "meta-llama/Llama-3.1-405B",
            "meta-llama/Llama-3.1-405B-Instruct",
            "meta-llama/Meta-Llama-3.1-405B",
            "meta-llama/Meta-Llama-3.1-405B-Instruct",
        ],
    },
    BuiltIn {
        spec: of_family(
            "qwen3_moe",
            with_experts(
                qwen3("Qwen3-30B-A3B", [48, 2048, 32, 4, 6144]),
                Moe { experts: 128, experts_per_token: 8, moe_intermediate: 768 },
            ),
        ),
        aliases: &["Qwen/Qwen3-30B-A3B", "Qwen/Qwen3-30B-A3B-Instruct-2507"],
    },
    BuiltIn {
        spec: of_family("mistral", llama("Mistral-7B", [32, 4096, 32, 8, 14336], 32000, 32768)),
        aliases: &["mistralai/Mistral-7B-v0.1", "mistralai/Mistral-7B-Instruct-v0.2"],
    },
    BuiltIn {
        spec: of_family(
            "mistral",
            llama("Mistral-7B-v0.3", [32, 4096, 32, 8, 14336], 32768, 32768),
        ),
        aliases: &["mistralai/Mistral-7B-v0.3", "mistralai/Mistral-7B-Instruct-v0.3"],
    },
    BuiltIn {
        spec: of_family(
            "mistral",
            with_heads(llama("Mistral-Nemo-12B", [40, 5120, 32, 8, 14336], 131_072, 131_072), 128),
        ),
        aliases: &["mistralai/Mistral-Nemo-Base-2407", "mistralai/Mistral-Nemo-Instruct-2407"],
    },
    BuiltIn {
        spec: of_family(
            "mistral",
            with_heads(llama("Mistral-Small-24B", [40, 5120, 32, 8, 32768], 131_072, 32768), 128),
        ),
        aliases: &[
            "mistralai/Mistral-Small-24B-Base-2501",
            "mistralai/Mistral-Small-24B-Instruct-2501",
        ],
    },
    BuiltIn {
        spec: of_family("phi3", llama("Phi-4", [40, 5120, 40, 10, 17920], 100_352, 16384)),
        aliases: &["microsoft/phi-4"],
    },
    BuiltIn {
        spec: llama("Yi-34B", [60, 7168, 56, 8, 20480], 64000, 4096),
        aliases: &["01-ai/Yi-34B", "01-ai/Yi-34B-Chat"],
    },
    BuiltIn {
        spec: llama("TinyLlama-1.1B", [22, 2048, 32, 4, 5632], 32000, 2048),
        aliases: &["TinyLlama/TinyLlama-1.1B-Chat-v1.0"],
    },
    BuiltIn {
        spec: of_family(
            "mixtral",
            with_experts(
                llama("Mixtral-8x7B", [32, 4096, 32, 8, 14336], 32000, 32768),
                Moe { experts: 8, experts_per_token: 2, moe_intermediate: 14336 },
            ),
        ),
        aliases: &["mistralai/Mixtral-8x7B-v0.1", "mistralai/Mixtral-8x7B-Instruct-v0.1"],
    },
    BuiltIn {
        spec: of_family(
            "mixtral",
            with_experts(
                llama("Mixtral-8x22B", [56, 6144, 48, 8, 16384], 32000, 65536),
                Moe { experts: 8, experts_per_token: 2, moe_intermediate: 16384 },
            ),
        ),
        aliases: &["mistralai/Mixtral-8x22B-v0.1"],
    },
];

/// A model's name, its other ones, and where its shape is.
#[derive(Clone, Copy)]
struct Entry {
    name: &'static str,
    aliases: &'static [&'static str],
    shape: Shape,
}

#[derive(Clone, Copy)]
enum Shape {
    Written(&'static ModelSpec),
    Config(&'static Known),
}

/// All models, in the order of the lists.
fn entries() -> impl Iterator<Item = Entry> {
    let written = BUILT_IN.iter().map(|model| Entry {
        name: model.spec.name.as_ref(),
        aliases: model.aliases,
        shape: Shape::Written(&model.spec),
    });
    let configs = KNOWN.iter().map(|known| Entry {
        name: known.name,
        aliases: known.aliases,
        shape: Shape::Config(known),
    });
    written.chain(configs)
}

/// The model called `name`: ours or its HuggingFace name, with or without who published it, in any
/// case.
pub fn find(name: &str) -> Option<&'static ModelSpec> {
    let same = |known: &str| known.eq_ignore_ascii_case(name);
    let short = |alias: &'static str| alias.rsplit('/').next().unwrap_or(alias);
    let called = |model: &Entry| {
        same(model.name) || model.aliases.iter().any(|alias| same(alias) || same(short(alias)))
    };
    let found = entries().find(called);
    // Our name under the name of its publisher.
    let published = || {
        let (publisher, rest) = name.split_once('/')?;
        entries().find(|model| {
            let mut publishers = model.aliases.iter().filter_map(|alias| alias.split('/').next());
            model.name.eq_ignore_ascii_case(rest)
                && publishers.any(|own| own.eq_ignore_ascii_case(publisher))
        })
    };
    match found.or_else(published)?.shape {
        Shape::Written(spec) => Some(spec),
        Shape::Config(known) => known.spec(),
    }
}

/// The names of all built-in models, in the order of the list.
pub fn names() -> Vec<&'static str> {
    entries().map(|model| model.name).collect()
}

/// The built-in model whose name, or HuggingFace name, is nearest to `name`, for "did you mean".
/// `None` if nothing is near.
pub fn closest(name: &str) -> Option<&'static str> {
    if name.len() > crate::base::suggest::LONGEST {
        return None;
    }
    let name = name.to_ascii_lowercase();
    let likeness = |other: &str| strsim::jaro_winkler(&name, &other.to_ascii_lowercase());
    entries()
        .map(|model| {
            let spellings = model.aliases.iter().copied().chain([model.name]);
            (spellings.map(likeness).fold(0.0, f64::max), model.name)
        })
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.75)
        .map(|(_, name)| name)
}

/// The HuggingFace name of the built-in model called `name`.
pub(super) fn hugging_face_name(name: &str) -> Option<&'static str> {
    entries().find(|model| model.name == name).and_then(|model| model.aliases.first().copied())
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
        for (written, name) in [
            ("Mistral-7B-Instruct-v0.3", "Mistral-7B-v0.3"),
            ("mistralai/Mistral-7B-Instruct-v0.2", "Mistral-7B"),
            ("Llama-3.3-70B-Instruct", "Llama-3.1-70B"),
            ("Qwen3-8B", "Qwen3-8B"),
            ("qwen/qwen3-8b", "Qwen3-8B"),
            ("meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1-8B"),
            ("meta-llama/Llama-2-7B", "Llama-2-7B"),
            ("mistralai/Mistral-7B", "Mistral-7B"),
            ("openai/gpt-oss-120b", "gpt-oss-120b"),
            ("deepseek-ai/DeepSeek-R1", "DeepSeek-V3"),
            ("gemma-3-27b-it", "Gemma-3-27B"),
        ] {
            assert_eq!(find(written).map(|spec| spec.name.as_ref()), Some(name), "{written}");
        }
        for other in ["someone/Llama-2-7B", "Llama-3.1-8B-Instruct-FP8", "/models/Qwen3-8B", ""] {
            assert_eq!(find(other), None, "{other}");
        }
    }

    #[test]
    fn no_name_means_two_models() {
        // A name of ours may be the last part of its own HuggingFace name.
        let mut names: Vec<String> = entries()
            .flat_map(|model| model.aliases.iter().copied().chain([model.name]))
            .map(str::to_lowercase)
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        assert_eq!(closest("Lama-2-7B"), Some("Llama-2-7B"));
        assert_eq!(closest("meta-llama/Llama-2-70b"), Some("Llama-2-70B"));
        assert_eq!(closest("zzz"), None);
    }
}
