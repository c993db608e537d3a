//! Parameters, bytes and FLOPs of a model.

use super::ModelSpec;
use super::layers::{Layer, LayerRun, Mixer};
use crate::hardware::Parallelism;

impl ModelSpec {
    /// Name and size in a few words: `Llama-2-7B: 6.7 B parameters, 32 layers, ...`.
    pub fn about(&self) -> String {
        if !self.stack.is_empty() {
            let kinds = self.layer_kinds().into_iter();
            let kinds: Vec<String> = kinds.map(|(kind, n)| format!("{n} {kind}")).collect();
            return format!(
                "{}: {:.1} B parameters, {:.1} B active, {} layers ({}), {} tokens",
                self.label(),
                self.params() as f64 / 1e9,
                self.active_params() as f64 / 1e9,
                self.layers,
                kinds.join(", "),
                self.max_position
            );
        }
        format!(
            "{}: {:.1} B parameters, {} layers, {} query and {} KV heads, {} tokens",
            self.label(),
            self.params() as f64 / 1e9,
            self.layers,
            self.q_heads,
            self.kv_heads,
            self.max_position
        )
    }

    /// All parameters: embedding, blocks, norms and LM head (once if tied).
    pub fn params(&self) -> u64 {
        let one_gpu = Parallelism::default();
        let head = if self.tie_word_embeddings { 0 } else { self.vocab_params(one_gpu) };
        let layers = match self.stack.as_slice() {
            [] => u64::from(self.layers) * self.layer_params(one_gpu),
            stack => sum(stack, Layer::params),
        };
        layers + self.vocab_params(one_gpu) + head + u64::from(self.hidden) + self.other_params
    }

    /// Parameters that a token meets: all, less the experts that it is not routed to.
    pub fn active_params(&self) -> u64 {
        if !self.stack.is_empty() {
            return self.params()
                - sum(&self.stack, |layer| layer.params() - layer.active_params());
        }
        let one_gpu = Parallelism::default();
        let met = self.experts.map_or(0, |moe| moe.experts_per_token);
        let all = self.experts.map_or(0, |moe| moe.experts);
        let of = |experts| self.layer_matmul_params(one_gpu, experts);
        self.params() - u64::from(self.layers) * (of(all) - of(met))
    }

    /// Bytes of weights on the GPU that holds most: under pipeline parallelism that is the first
    /// stage (with the embedding) or the last (with the final norm and the LM head).
    pub fn weight_bytes(&self, parallel: Parallelism) -> u64 {
        if !self.stack.is_empty() {
            return self.stacked_bytes(parallel);
        }
        let stage = u64::from(self.layers_per_stage(parallel));
        let matrices = stage * self.quantizable_params(parallel);
        let others = stage * self.layer_params(parallel) - matrices;
        let embedding = self.vocab_params(parallel);
        let head = embedding + u64::from(self.hidden) + self.other_params;
        let ends = match (parallel.pipeline, self.tie_word_embeddings) {
            // One GPU row holds both ends; tied, the matrix is there once.
            (1, true) => head,
            (1, false) => embedding + head,
            _ => head,
        };
        let bytes =
            matrices as f64 * self.weights.bytes() + (others + ends) as f64 * self.dtype_bytes;
        bytes.ceil() as u64
    }

    /// Bytes of KV cache that one token takes on each GPU: keys and values of this GPU's heads and
    /// layers. Heads that cannot be divided are replicated, as vLLM does.
    pub fn kv_bytes_per_token(&self, parallel: Parallelism) -> u64 {
        if !self.stack.is_empty() {
            return self.stacked_kv_bytes(parallel);
        }
        let heads = u64::from(self.kv_heads.div_ceil(parallel.tensor));
        let elements =
            2 * heads * u64::from(self.head_dim) * u64::from(self.layers_per_stage(parallel));
        (elements as f64 * self.kv_cache.bytes()).ceil() as u64
    }

    /// Blocks per pipeline stage.
    pub fn layers_per_stage(&self, parallel: Parallelism) -> u32 {
        self.layers / parallel.pipeline
    }

    /// FLOPs of the blocks' matrix products for one token, over all GPUs: 2 per weight that the
    /// token meets, so of a block's experts only those it is routed to. The LM head is apart
    /// ([`ModelSpec::lm_head_flops`]), since it sees only sampled tokens. (Forward part of the
    /// count in appendix B of the PaLM paper, arXiv:2204.02311.)
    pub fn matmul_flops_per_token(&self) -> f64 {
        if !self.stack.is_empty() {
            return 2.0 * sum(&self.stack, Layer::multiplied_params) as f64;
        }
        let met = self.experts.map_or(0, |moe| moe.experts_per_token);
        2.0 * f64::from(self.layers) * self.layer_matmul_params(Parallelism::default(), met) as f64
    }

    /// FLOPs of the LM head for one sampled token, over all GPUs.
    pub fn lm_head_flops(&self) -> f64 {
        2.0 * f64::from(self.vocab) * f64::from(self.hidden)
    }

    /// FLOPs of attention for one (query, key) pair over all layers and GPUs: the products QK and
    /// AV, 2 each per element of all query heads (= 4 x hidden x layers where heads fill the hidden
    /// width). Same source as [`ModelSpec::matmul_flops_per_token`].
    pub fn attention_flops_per_pair(&self) -> f64 {
        if !self.stack.is_empty() {
            let flops = |layer: &Layer| layer.mixers.iter().map(Mixer::flops_per_pair).sum::<u64>();
            return sum(&self.stack, flops) as f64;
        }
        4.0 * f64::from(self.layers) * f64::from(self.q_heads) * f64::from(self.head_dim)
    }

    /// Parameters of one block on one GPU, norms included.
    fn layer_params(&self, parallel: Parallelism) -> u64 {
        let norms = if self.post_attn_norm { 2 } else { 1 };
        let head_dim = u64::from(self.head_dim);
        let head_norms = if self.qk_norm { 2 * head_dim } else { 0 };
        let heads =
            self.q_heads.div_ceil(parallel.tensor) + 2 * self.kv_heads.div_ceil(parallel.tensor);
        let bias = if self.qkv_bias { u64::from(heads) * head_dim } else { 0 };
        let experts = self.experts.map_or(0, |moe| moe.experts);
        let matrices = self.layer_matmul_params(parallel, experts);
        matrices + bias + head_norms + norms * u64::from(self.hidden) + self.other_layer_params
    }

    /// Parameters of one block on one GPU that a quantised model has in fewer bits: its matrices,
    /// but for a mixture's router.
    fn quantizable_params(&self, parallel: Parallelism) -> u64 {
        let experts = self.experts.map_or(0, |moe| moe.experts);
        let router = u64::from(self.hidden) * u64::from(experts);
        self.layer_matmul_params(parallel, experts) - router
    }

    /// Parameters of one block's matrices on one GPU, with `experts` of its experts. Experts are
    /// spread over the GPUs, whole or in slices; the router is on each.
    fn layer_matmul_params(&self, parallel: Parallelism, experts: u32) -> u64 {
        let hidden = u64::from(self.hidden);
        let head_dim = u64::from(self.head_dim);
        let q = u64::from(self.q_heads.div_ceil(parallel.tensor));
        let kv = u64::from(self.kv_heads.div_ceil(parallel.tensor));
        let mlp_matrices = if self.gated_mlp { 3 } else { 2 };
        let mlp = match self.experts {
            None => mlp_matrices * hidden * u64::from(self.intermediate.div_ceil(parallel.tensor)),
            Some(moe) => {
                let expert = mlp_matrices * hidden * u64::from(moe.moe_intermediate);
                (u64::from(experts) * expert).div_ceil(u64::from(parallel.tensor))
                    + hidden * u64::from(moe.experts)
            }
        };
        // QKV projection and output projection, then the MLP or the experts.
        hidden * head_dim * (q + 2 * kv) + hidden * head_dim * q + mlp
    }

    /// Parameters of the embedding, or of the LM head, on one GPU.
    fn vocab_params(&self, parallel: Parallelism) -> u64 {
        u64::from(self.vocab.div_ceil(parallel.tensor)) * u64::from(self.hidden)
    }
}

/// The sum over all layers.
pub(super) fn sum(stack: &[LayerRun], of: impl Fn(&Layer) -> u64) -> u64 {
    stack.iter().map(|run| u64::from(run.count) * of(&run.layer)).sum()
}

#[cfg(test)]
mod tests {
    use crate::hardware::Parallelism;
    use crate::hardware::model::find;

    /// The published parameter counts.
    #[test]
    fn parameters_are_those_of_the_published_models() {
        for (name, params) in [
            ("Llama-2-7B", 6_738_415_616),
            ("Llama-2-13B", 13_015_864_320),
            ("Llama-2-70B", 68_976_648_192),
            ("Llama-3-8B", 8_030_261_248),
            ("Llama-3-70B", 70_553_706_496),
            ("CodeLlama-34B", 33_743_970_304_u64),
            ("Llama-3.1-8B", 8_030_261_248),
            ("Qwen2.5-7B", 7_615_616_512),
            ("Qwen2.5-72B", 72_706_203_648),
            ("Qwen3-32B", 32_762_123_264),
            ("Qwen3-30B-A3B", 30_532_122_624),
            ("Mistral-7B", 7_241_732_096),
            ("Mixtral-8x7B", 46_702_792_704),
            ("Mixtral-8x22B", 140_620_634_112),
            ("Mistral-7B-v0.3", 7_248_023_552),
            ("Mistral-Nemo-12B", 12_247_782_400),
            ("Mistral-Small-24B", 23_572_403_200),
            ("Qwen2.5-0.5B", 494_032_768),
            ("Qwen2.5-1.5B", 1_543_714_304),
            ("Qwen2.5-3B", 3_085_938_688),
            ("Qwen2.5-14B", 14_770_033_664),
            ("Qwen2.5-32B", 32_763_876_352),
            ("Qwen3-0.6B", 596_049_920),
            ("Qwen3-1.7B", 1_720_574_976),
            ("Qwen3-4B", 4_022_468_096),
            ("Qwen3-8B", 8_190_735_360),
            ("Qwen3-14B", 14_768_307_200),
            ("Qwen3-235B-A22B", 235_093_634_560),
            ("Llama-3.2-1B", 1_235_814_400),
            ("Llama-3.2-3B", 3_212_749_824),
            ("Llama-3.1-405B", 405_853_388_800),
            ("Yi-34B", 34_388_917_248),
            ("Phi-4", 14_659_507_200),
            ("TinyLlama-1.1B", 1_100_048_384),
        ] {
            assert_eq!(find(name).unwrap().params(), params, "{name}");
        }
    }

    #[test]
    fn bytes_are_split_over_gpus() {
        let model = find("Llama-2-70B").unwrap();
        let whole = Parallelism::default();
        assert_eq!(model.weight_bytes(whole), 2 * model.params());
        assert_eq!(model.kv_bytes_per_token(whole), 80 * 8 * 128 * 2 * 2);

        let tp16 = Parallelism { tensor: 16, pipeline: 1 };
        assert_eq!(model.kv_bytes_per_token(tp16), 80 * 128 * 2 * 2, "a KV head is replicated");

        let pp2 = Parallelism { tensor: 1, pipeline: 2 };
        let head = 2 * (32000 + 1) * 8192;
        let layer = (model.weight_bytes(whole) - head - 2 * 32000 * 8192) / 80;
        assert_eq!(model.weight_bytes(pp2), 40 * layer + head);
        assert_eq!(model.kv_bytes_per_token(pp2), 40 * 8 * 128 * 2 * 2);
    }

    #[test]
    fn flops_are_two_per_weight_and_pair() {
        let model = find("Llama-2-7B").unwrap();
        let layers = 32.0 * (4.0 * 4096.0 * 4096.0 + 3.0 * 4096.0 * 11008.0);
        assert_eq!(model.matmul_flops_per_token(), 2.0 * layers);
        assert_eq!(model.attention_flops_per_pair(), 4.0 * 4096.0 * 32.0);
        assert_eq!(model.lm_head_flops(), 2.0 * 32000.0 * 4096.0);
    }

    #[test]
    fn a_token_meets_some_of_the_experts() {
        let model = find("Qwen3-30B-A3B").unwrap();
        // "3B" are active, LM head and embedding included.
        let active = model.matmul_flops_per_token() / 2.0 + 2.0 * 151_936.0 * 2048.0;
        assert!((3.2e9..3.5e9).contains(&active), "{active}");
        let tp2 = Parallelism { tensor: 2, pipeline: 1 };
        let half =
            model.weight_bytes(tp2) as f64 / model.weight_bytes(Parallelism::default()) as f64;
        assert!((0.5..0.51).contains(&half), "{half}");
        assert_eq!(model.kv_bytes_per_token(tp2), 48 * 2 * 2 * 128 * 2);
        assert_eq!(find("Qwen3-32B").unwrap().kv_bytes_per_token(Parallelism::default()), 262_144);
    }
}
