//! How large an adapter is.

use serde::{Deserialize, Serialize};

use crate::hardware::Parallelism;
use crate::hardware::model::ModelSpec;

/// A linear layer of each transformer block that an adapter changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Module {
    /// `q_proj`.
    Q,
    /// `k_proj`.
    K,
    /// `v_proj`.
    V,
    /// `o_proj`.
    O,
    /// `gate_proj`.
    Gate,
    /// `up_proj`.
    Up,
    /// `down_proj`.
    Down,
}

impl Module {
    /// All of a block's, in the order of the computation.
    pub const ALL: [Module; 7] =
        [Module::Q, Module::K, Module::V, Module::O, Module::Gate, Module::Up, Module::Down];

    /// Whether it belongs to the MLP.
    pub fn is_mlp(self) -> bool {
        matches!(self, Module::Gate | Module::Up | Module::Down)
    }

    /// Width of its input and of its output on each GPU. The input of `O` and `Down` is divided
    /// among the GPUs of a tensor-parallel group, the output of the others is.
    pub fn widths(self, model: &ModelSpec, parallel: Parallelism) -> (u64, u64) {
        let heads =
            |heads: u32| u64::from(heads.div_ceil(parallel.tensor)) * u64::from(model.head_dim);
        let hidden = u64::from(model.hidden);
        let intermediate = u64::from(model.intermediate.div_ceil(parallel.tensor));
        match self {
            Module::Q => (hidden, heads(model.q_heads)),
            Module::K | Module::V => (hidden, heads(model.kv_heads)),
            Module::O => (heads(model.q_heads), hidden),
            Module::Gate | Module::Up => (hidden, intermediate),
            Module::Down => (intermediate, hidden),
        }
    }
}

/// Bytes of an adapter on each GPU: over the blocks and their adapted modules
/// `rank x (in + out) x bytes of an activation`. Under tensor parallelism one of an adapter's two
/// matrices is divided, as in vLLM without `fully_sharded_loras`: of `in` and `out` the one that
/// the module's own matrix is divided along.
pub fn adapter_bytes(
    model: &ModelSpec,
    parallel: Parallelism,
    rank: u32,
    modules: &[Module],
) -> u64 {
    let widths = modules.iter().map(|module| module.widths(model, parallel));
    let elements: u64 = widths.map(|(input, output)| input + output).sum();
    let all = u64::from(model.layers) * u64::from(rank) * elements;
    (all as f64 * model.dtype_bytes).ceil() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::model;

    const ONE: Parallelism = Parallelism { tensor: 1, pipeline: 1 };

    #[test]
    fn llama_2_7b_by_hand() {
        let llama = model::find("Llama-2-7B").unwrap();
        // 32 blocks x 2 modules x 16 x (4096 + 4096) x 2 bytes.
        assert_eq!(adapter_bytes(llama, ONE, 16, &[Module::Q, Module::V]), 16_777_216);
        // 4 x 8192 for attention, 3 x (4096 + 11008) for the MLP.
        let all = 32 * 16 * (4 * 8192 + 3 * 15_104) * 2;
        assert_eq!(adapter_bytes(llama, ONE, 16, &Module::ALL), all);
        // Over two GPUs q has 4096 inputs and 2048 outputs on each, o the other way about.
        let two = Parallelism { tensor: 2, pipeline: 1 };
        let half = 32 * 16 * (4096 + 2048) * 2;
        assert_eq!(adapter_bytes(llama, two, 16, &[Module::Q]), half);
        assert_eq!(adapter_bytes(llama, two, 16, &[Module::O]), half);
    }

    #[test]
    fn fewer_kv_heads_are_smaller_adapters() {
        let llama = model::find("Llama-2-70B").unwrap();
        // 80 blocks, 8 KV heads of 128.
        assert_eq!(adapter_bytes(llama, ONE, 8, &[Module::K]), 80 * 8 * (8192 + 1024) * 2);
    }
}
