//! A matrix of a layer: its size, its copies, how GPUs share it, how it is stored.

use std::borrow::Cow;

use crate::hardware::Parallelism;
use crate::hardware::model::Weights;

/// How tensor parallelism divides a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Its outputs, in units of so many rows (a head); units are replicated where there are fewer
    /// than GPUs.
    Rows(u32),
    /// Its inputs, in units of so many columns.
    Columns(u32),
    /// Each GPU has all of it.
    Whole,
    /// Its copies, whole or in slices: experts.
    Copies,
}

/// A matrix, or as many as a layer has of this shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// The module's name within its layer, as checkpoints have it: `self_attn.q_proj`. Of experts
    /// the first one's.
    pub module: Cow<'static, str>,
    /// Outputs.
    pub rows: u64,
    /// Inputs.
    pub columns: u64,
    /// How many there are: experts.
    pub copies: u32,
    /// How many of the copies a token is multiplied with.
    pub active: u32,
    /// How GPUs share it.
    pub split: Split,
    /// Whether a checkpoint may store it in fewer than 16 bits; routers, for one, stay.
    pub quantizable: bool,
    /// Whether it is computed in one product with the matrix before it, like keys with queries.
    pub joined: bool,
    /// Whether its copies are rows of a table that are read, rather than multiplied with.
    pub table: bool,
    /// How it is stored.
    pub weights: Weights,
}

impl Matrix {
    /// A matrix of `rows` outputs and `columns` inputs, in 16 bits.
    pub fn new(module: impl Into<Cow<'static, str>>, rows: u64, columns: u64) -> Matrix {
        Matrix {
            module: module.into(),
            rows,
            columns,
            copies: 1,
            active: 1,
            split: Split::Whole,
            quantizable: true,
            joined: false,
            table: false,
            weights: Weights::Half,
        }
    }

    /// The same, shared in this way.
    #[must_use]
    pub fn split(mut self, split: Split) -> Matrix {
        self.split = split;
        self
    }

    /// The same, always in 16 bits.
    #[must_use]
    pub fn plain(mut self) -> Matrix {
        self.quantizable = false;
        self
    }

    /// The same, computed in one product with the matrix before it.
    #[must_use]
    pub fn joined(mut self) -> Matrix {
        self.joined = true;
        self
    }

    /// As many copies, of which a token meets some.
    #[must_use]
    pub fn experts(mut self, copies: u32, active: u32) -> Matrix {
        (self.copies, self.active, self.split) = (copies, active, Split::Copies);
        self
    }

    /// A table of so many rows of `width`, of which a token reads some.
    pub fn table(module: impl Into<Cow<'static, str>>, rows: u32, width: u64, read: u32) -> Matrix {
        Matrix { table: true, ..Matrix::new(module, 1, width).experts(rows, read) }
    }

    /// Parameters of all copies.
    pub fn params(&self) -> u64 {
        self.rows.saturating_mul(self.columns).saturating_mul(self.copies.into())
    }

    /// Parameters of the copies that a token meets.
    pub fn active_params(&self) -> u64 {
        self.rows.saturating_mul(self.columns).saturating_mul(self.active.into())
    }

    /// Rows and columns of one GPU's part; of experts those of a whole one.
    pub fn shape_per_gpu(&self, parallel: Parallelism) -> (u64, u64) {
        let gpus = u64::from(parallel.tensor);
        let share = |length: u64, unit: u32| {
            let unit = u64::from(unit).max(1);
            (length / unit).div_ceil(gpus) * unit
        };
        match self.split {
            Split::Rows(unit) => (share(self.rows, unit), self.columns),
            Split::Columns(unit) => (self.rows, share(self.columns, unit)),
            Split::Whole | Split::Copies => (self.rows, self.columns),
        }
    }

    /// Parameters on one GPU.
    pub fn params_per_gpu(&self, parallel: Parallelism) -> u64 {
        let (rows, columns) = self.shape_per_gpu(parallel);
        let all = rows.saturating_mul(columns).saturating_mul(self.copies.into());
        match self.split {
            Split::Copies => all.div_ceil(parallel.tensor.into()),
            _ => all,
        }
    }

    /// Bytes of a parameter, its share of scales included.
    pub fn bytes(&self) -> f64 {
        self.weights.bytes()
    }
}
