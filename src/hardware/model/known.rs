//! Models known by name that are described as their configs describe them, read when they are first
//! asked for. Figures: the public HuggingFace configs of the named repositories.

use std::path::Path;
use std::sync::OnceLock;

use super::ModelSpec;

/// A model known by name. The first alias is its HuggingFace name.
pub(super) struct Known {
    /// Our name.
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    config: &'static str,
    spec: OnceLock<Option<ModelSpec>>,
}

impl Known {
    const fn new(
        name: &'static str,
        config: &'static str,
        aliases: &'static [&'static str],
    ) -> Known {
        Known { name, aliases, config, spec: OnceLock::new() }
    }

    /// Its shape; tests read each, so that none is missing.
    pub fn spec(&'static self) -> Option<&'static ModelSpec> {
        let read = || {
            let spec = ModelSpec::from_hf_text(self.config, Path::new(self.name)).ok()?;
            Some(ModelSpec { name: self.name.into(), ..spec })
        };
        self.spec.get_or_init(read).as_ref()
    }
}

/// All of them, in the order of the list.
pub(super) static KNOWN: [Known; 39] = [
    Known::new("gpt-oss-20b", include_str!("known/gpt-oss-20b.json"), &["openai/gpt-oss-20b"]),
    Known::new("gpt-oss-120b", include_str!("known/gpt-oss-120b.json"), &["openai/gpt-oss-120b"]),
    Known::new(
        "Qwen3-Next-80B-A3B",
        include_str!("known/qwen3-next-80b-a3b.json"),
        &["Qwen/Qwen3-Next-80B-A3B-Instruct", "Qwen/Qwen3-Next-80B-A3B-Thinking"],
    ),
    Known::new(
        "Qwen3-Coder-480B-A35B",
        include_str!("known/qwen3-coder-480b-a35b.json"),
        &["Qwen/Qwen3-Coder-480B-A35B-Instruct"],
    ),
    Known::new("Qwen3.5-27B", include_str!("known/qwen3.5-27b.json"), &["Qwen/Qwen3.5-27B"]),
    Known::new(
        "Qwen3.5-122B-A10B",
        include_str!("known/qwen3.5-122b-a10b.json"),
        &["Qwen/Qwen3.5-122B-A10B"],
    ),
    Known::new(
        "Qwen3.5-397B-A17B",
        include_str!("known/qwen3.5-397b-a17b.json"),
        &["Qwen/Qwen3.5-397B-A17B"],
    ),
    Known::new(
        "DeepSeek-V3",
        include_str!("known/deepseek-v3.json"),
        &[
            "deepseek-ai/DeepSeek-V3",
            "deepseek-ai/DeepSeek-V3-0324",
            "deepseek-ai/DeepSeek-R1",
            "deepseek-ai/DeepSeek-R1-0528",
            "deepseek-ai/DeepSeek-V3.1",
        ],
    ),
    Known::new(
        "DeepSeek-V3.2",
        include_str!("known/deepseek-v3.2.json"),
        &["deepseek-ai/DeepSeek-V3.2", "deepseek-ai/DeepSeek-V3.2-Exp"],
    ),
    Known::new(
        "DeepSeek-V4-Flash",
        include_str!("known/deepseek-v4-flash.json"),
        &["deepseek-ai/DeepSeek-V4-Flash"],
    ),
    Known::new("Kimi-K2", include_str!("known/kimi-k2.json"), &["moonshotai/Kimi-K2-Instruct"]),
    Known::new("Kimi-K2.5", include_str!("known/kimi-k2.5.json"), &["moonshotai/Kimi-K2.5"]),
    Known::new("GLM-4.5", include_str!("known/glm-4.5.json"), &["zai-org/GLM-4.5"]),
    Known::new("GLM-4.5-Air", include_str!("known/glm-4.5-air.json"), &["zai-org/GLM-4.5-Air"]),
    Known::new("GLM-4.6", include_str!("known/glm-4.6.json"), &["zai-org/GLM-4.6"]),
    Known::new(
        "GLM-4.7-Flash",
        include_str!("known/glm-4.7-flash.json"),
        &["zai-org/GLM-4.7-Flash"],
    ),
    Known::new("GLM-5.2", include_str!("known/glm-5.2.json"), &["zai-org/GLM-5.2"]),
    Known::new(
        "MiniMax-M2.5",
        include_str!("known/minimax-m2.5.json"),
        &["MiniMaxAI/MiniMax-M2.5"],
    ),
    Known::new(
        "Llama-4-Scout",
        include_str!("known/llama-4-scout.json"),
        &["meta-llama/Llama-4-Scout-17B-16E-Instruct", "meta-llama/Llama-4-Scout-17B-16E"],
    ),
    Known::new(
        "Llama-4-Maverick",
        include_str!("known/llama-4-maverick.json"),
        &["meta-llama/Llama-4-Maverick-17B-128E-Instruct", "meta-llama/Llama-4-Maverick-17B-128E"],
    ),
    Known::new(
        "Gemma-2-2B",
        include_str!("known/gemma-2-2b.json"),
        &["google/gemma-2-2b", "google/gemma-2-2b-it"],
    ),
    Known::new(
        "Gemma-2-9B",
        include_str!("known/gemma-2-9b.json"),
        &["google/gemma-2-9b", "google/gemma-2-9b-it"],
    ),
    Known::new(
        "Gemma-2-27B",
        include_str!("known/gemma-2-27b.json"),
        &["google/gemma-2-27b", "google/gemma-2-27b-it"],
    ),
    Known::new(
        "Gemma-3-4B",
        include_str!("known/gemma-3-4b.json"),
        &["google/gemma-3-4b-it", "google/gemma-3-4b-pt"],
    ),
    Known::new(
        "Gemma-3-12B",
        include_str!("known/gemma-3-12b.json"),
        &["google/gemma-3-12b-it", "google/gemma-3-12b-pt"],
    ),
    Known::new(
        "Gemma-3-27B",
        include_str!("known/gemma-3-27b.json"),
        &["google/gemma-3-27b-it", "google/gemma-3-27b-pt"],
    ),
    Known::new(
        "Mistral-Small-3.1-24B",
        include_str!("known/mistral-small-3.1-24b.json"),
        &[
            "mistralai/Mistral-Small-3.1-24B-Instruct-2503",
            "mistralai/Mistral-Small-3.1-24B-Base-2503",
        ],
    ),
    Known::new(
        "Nemotron-3-Nano-30B-A3B",
        include_str!("known/nemotron-3-nano-30b-a3b.json"),
        &["nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"],
    ),
    Known::new(
        "Granite-4.0-H-Small",
        include_str!("known/granite-4.0-h-small.json"),
        &["ibm-granite/granite-4.0-h-small"],
    ),
    Known::new(
        "Phi-4-mini",
        include_str!("known/phi-4-mini.json"),
        &["microsoft/Phi-4-mini-instruct"],
    ),
    Known::new(
        "Seed-OSS-36B",
        include_str!("known/seed-oss-36b.json"),
        &["ByteDance-Seed/Seed-OSS-36B-Instruct"],
    ),
    Known::new(
        "EXAONE-4.0-32B",
        include_str!("known/exaone-4.0-32b.json"),
        &["LGAI-EXAONE/EXAONE-4.0-32B"],
    ),
    Known::new(
        "Hunyuan-A13B",
        include_str!("known/hunyuan-a13b.json"),
        &["tencent/Hunyuan-A13B-Instruct"],
    ),
    Known::new(
        "Falcon-H1-7B",
        include_str!("known/falcon-h1-7b.json"),
        &["tiiuae/Falcon-H1-7B-Instruct", "tiiuae/Falcon-H1-7B-Base"],
    ),
    Known::new("LFM2-350M", include_str!("known/lfm2-350m.json"), &["LiquidAI/LFM2-350M"]),
    Known::new("SmolLM3-3B", include_str!("known/smollm3-3b.json"), &["HuggingFaceTB/SmolLM3-3B"]),
    Known::new(
        "Command-A",
        include_str!("known/command-a.json"),
        &["CohereLabs/c4ai-command-a-03-2025"],
    ),
    Known::new(
        "Step-3.7-Flash",
        include_str!("known/step-3.7-flash.json"),
        &["stepfun-ai/Step-3.7-Flash"],
    ),
    Known::new("OLMo-3-32B", include_str!("known/olmo-3-32b.json"), &["allenai/Olmo-3-1125-32B"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// Billions of parameters as published, without vision towers and layers that draft.
    const PUBLISHED: &[(&str, f64)] = &[
        ("gpt-oss-20b", 20.9),
        ("gpt-oss-120b", 116.8),
        ("Qwen3-Next-80B-A3B", 80.0),
        ("Qwen3-Coder-480B-A35B", 480.0),
        ("Qwen3.5-27B", 27.0),
        ("Qwen3.5-122B-A10B", 122.0),
        ("Qwen3.5-397B-A17B", 397.0),
        ("DeepSeek-V3", 671.0),
        ("DeepSeek-V3.2", 671.9),
        ("DeepSeek-V4-Flash", 284.0),
        ("Kimi-K2", 1026.0),
        ("Kimi-K2.5", 1026.0),
        ("GLM-4.5", 353.0),
        ("GLM-4.5-Air", 107.0),
        ("GLM-4.6", 353.0),
        ("GLM-4.7-Flash", 30.0),
        ("GLM-5.2", 743.0),
        ("MiniMax-M2.5", 229.0),
        ("Llama-4-Scout", 107.8),
        ("Llama-4-Maverick", 400.7),
        ("Gemma-2-2B", 2.614),
        ("Gemma-2-9B", 9.242),
        ("Gemma-2-27B", 27.227),
        ("Gemma-3-4B", 3.88),
        ("Gemma-3-12B", 11.77),
        ("Gemma-3-27B", 27.01),
        ("Mistral-Small-3.1-24B", 23.57),
        ("Nemotron-3-Nano-30B-A3B", 31.6),
        ("Granite-4.0-H-Small", 32.2),
        ("Phi-4-mini", 3.84),
        ("Seed-OSS-36B", 36.15),
        ("EXAONE-4.0-32B", 32.0),
        ("Hunyuan-A13B", 80.4),
        ("Falcon-H1-7B", 7.59),
        ("LFM2-350M", 0.354),
        ("SmolLM3-3B", 3.075),
        ("Command-A", 111.0),
        ("Step-3.7-Flash", 196.0),
        ("OLMo-3-32B", 32.2),
    ];

    #[test]
    fn each_has_the_published_parameters() {
        assert_eq!(KNOWN.len(), PUBLISHED.len());
        for (known, (name, billions)) in KNOWN.iter().zip(PUBLISHED) {
            assert_eq!(known.name, *name);
            let spec = known.spec().unwrap();
            let found = spec.params() as f64 / 1e9;
            assert!((found / billions - 1.0).abs() < 0.01, "{name}: {found} B, not {billions} B");
            assert_eq!((spec.name.as_ref(), spec.unmodelled.len()), (*name, 0));
        }
    }
}
