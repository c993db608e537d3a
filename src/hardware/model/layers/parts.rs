//! Parts that layers of most families are made of. Modules are named as checkpoints name them.

use super::{Layer, LinearState, Matrix, Mixer, Reach, Split};
use crate::hardware::model::Moe;

/// The matrices of an MLP under `module`.
pub fn mlp(module: &str, hidden: u64, width: u64, gated: bool) -> Vec<Matrix> {
    let up = Matrix::new(format!("{module}.up_proj"), width, hidden).split(Split::Rows(1));
    let down = Matrix::new(format!("{module}.down_proj"), hidden, width).split(Split::Columns(1));
    match gated {
        true => {
            let gate = Matrix::new(format!("{module}.gate_proj"), width, hidden);
            vec![gate.split(Split::Rows(1)), up.joined(), down]
        }
        false => vec![up, down],
    }
}

/// A router and its experts under `module`.
pub fn experts(module: &str, hidden: u64, moe: Moe, gated: bool) -> Vec<Matrix> {
    let router = Matrix::new(format!("{module}.gate"), moe.experts.into(), hidden).plain();
    let mut matrices = vec![router];
    matrices.extend(routed(&format!("{module}.experts.0"), hidden, moe, gated));
    matrices
}

/// Experts without their router; `module` is the first one's.
pub fn routed(module: &str, hidden: u64, moe: Moe, gated: bool) -> Vec<Matrix> {
    let matrices = mlp(module, hidden, moe.moe_intermediate.into(), gated).into_iter();
    matrices.map(|matrix| matrix.experts(moe.experts, moe.experts_per_token)).collect()
}

/// Attention with keys and values of heads.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Width of the model.
    pub hidden: u64,
    /// Query heads.
    pub q: u32,
    /// Key and value heads.
    pub kv: u32,
    /// Elements of a key.
    pub key_dim: u32,
    /// Elements of a value.
    pub value_dim: u32,
    /// Which tokens it sees.
    pub reach: Reach,
    /// Whether queries come with a gate as wide, in the same matrix.
    pub gated_queries: bool,
    /// Whether it keeps keys and values of its own.
    pub own_cache: bool,
}

impl Layer {
    /// Adds attention under `module`.
    pub fn add_attention(&mut self, module: &str, heads: Heads) {
        let Heads { hidden, q, kv, key_dim, value_dim, reach, gated_queries, own_cache } = heads;
        let name = |matrix: &str| format!("{module}.{matrix}");
        let queries = u64::from(q) * u64::from(key_dim) * if gated_queries { 2 } else { 1 };
        let unit = if gated_queries { 2 * key_dim } else { key_dim };
        self.matrices.push(Matrix::new(name("q_proj"), queries, hidden).split(Split::Rows(unit)));
        if own_cache {
            let rows = |dim: u32| u64::from(kv) * u64::from(dim);
            let keys = Matrix::new(name("k_proj"), rows(key_dim), hidden);
            let values = Matrix::new(name("v_proj"), rows(value_dim), hidden);
            self.matrices.push(keys.split(Split::Rows(key_dim)).joined());
            self.matrices.push(values.split(Split::Rows(value_dim)).joined());
        }
        let output = u64::from(q) * u64::from(value_dim);
        let output = Matrix::new(name("o_proj"), hidden, output).split(Split::Columns(value_dim));
        self.matrices.push(output);
        self.mixers.push(Mixer::Attention {
            q_heads: q,
            kv_heads: kv,
            key_dim,
            value_dim,
            reach,
            own_cache,
            indexer: 0,
        });
    }

    /// Adds a recurrence with its state.
    pub fn add_state(&mut self, state: LinearState) {
        self.mixers.push(Mixer::Linear(state));
    }

    /// Adds a matrix.
    pub fn add(&mut self, matrix: Matrix) {
        self.matrices.push(matrix);
    }
}
