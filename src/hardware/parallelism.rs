//! How one replica's model is spread over GPUs.

use serde::{Deserialize, Serialize};

use crate::base::SettingError;
use crate::hardware::model::layers::{Mixer, Split};
use crate::hardware::model::{ModelSpec, Weights};

/// GPUs of one replica: `tensor` x `pipeline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parallelism {
    /// GPUs that share each layer.
    pub tensor: u32,
    /// Stages that the layers are divided into.
    pub pipeline: u32,
}

impl Default for Parallelism {
    /// One GPU.
    fn default() -> Parallelism {
        Parallelism { tensor: 1, pipeline: 1 }
    }
}

impl Parallelism {
    /// GPUs of one replica.
    pub fn gpus(self) -> u32 {
        self.tensor.saturating_mul(self.pipeline)
    }

    /// Whether `model` can be divided this way.
    ///
    /// # Errors
    /// Names `cluster.tensor_parallel` where it is 0 or does not divide the query heads (or divides
    /// the KV heads unevenly), `cluster.pipeline_parallel` where it is 0 or does not divide the
    /// layers.
    pub fn check(self, model: &ModelSpec) -> Result<(), SettingError> {
        let Parallelism { tensor, pipeline } = self;
        let tensor_error = |expected: String| {
            let attends = model.q_heads;
            let help = format!("{} has {attends} query heads", model.name);
            Err(SettingError::new("cluster.tensor_parallel", tensor, expected).help(help))
        };
        if tensor == 0 {
            return tensor_error(format!("a divisor of the {} query heads", model.q_heads));
        }
        for run in model.layer_runs().iter() {
            for (what, heads, replicated) in run.layer.mixers.iter().flat_map(Mixer::heads) {
                // As in vLLM: KV heads are divided evenly or replicated evenly.
                let divided = heads.is_multiple_of(tensor);
                match replicated && tensor.is_multiple_of(heads) {
                    _ if divided => {}
                    true => {}
                    false if replicated => {
                        return tensor_error(format!(
                            "a divisor or multiple of the {heads} {what}"
                        ));
                    }
                    false => return tensor_error(format!("a divisor of the {heads} {what}")),
                }
            }
        }
        if pipeline == 0 || !model.layers.is_multiple_of(pipeline) {
            return Err(SettingError::new(
                "cluster.pipeline_parallel",
                pipeline,
                format!("a divisor of the {} layers of {}", model.layers, model.name),
            ));
        }
        self.check_blocks(model)
    }

    /// Whether each GPU's slices of matrices are whole blocks, where weights have a scale per
    /// block: vLLM and SGLang refuse to load anything else.
    fn check_blocks(self, model: &ModelSpec) -> Result<(), SettingError> {
        let Some((rows, columns)) = model.weight_block else { return Ok(()) };
        if !model.stack.is_empty() {
            return self.check_stack(model, (rows.into(), columns.into()));
        }
        let heads = |heads: u32| heads.div_ceil(self.tensor) * model.head_dim;
        let (what, mlp) = match model.experts {
            Some(moe) => ("an expert's", moe.moe_intermediate),
            None => ("the MLP's", model.intermediate),
        };
        let slices = [
            (what, mlp / self.tensor, mlp),
            ("the queries'", heads(model.q_heads), model.q_heads * model.head_dim),
            ("the keys'", heads(model.kv_heads), model.kv_heads * model.head_dim),
        ];
        for (what, slice, whole) in slices {
            // Slices are rows of one matrix and columns of another.
            if !slice.is_multiple_of(rows) || !slice.is_multiple_of(columns) {
                let expected = format!(
                    "slices of whole blocks of {rows} x {columns} weights (weight_block_size), as \
                     engines do"
                );
                let found = format!("{}, which cuts {what} {whole} rows into {slice}", self.tensor);
                return Err(SettingError::new("cluster.tensor_parallel", found, expected)
                    .help("use fewer GPUs for a replica, or weights without blocks"));
            }
        }
        Ok(())
    }
}

impl Parallelism {
    /// The same for a model with a list of layers, matrix by matrix.
    fn check_stack(
        self,
        model: &ModelSpec,
        (rows, columns): (u64, u64),
    ) -> Result<(), SettingError> {
        let gpus = u64::from(self.tensor);
        for matrix in model.stack.iter().flat_map(|run| &run.layer.matrices) {
            if self.tensor == 1 || matrix.weights != Weights::Fp8 {
                continue;
            }
            let (whole, slice, block) = match matrix.split {
                Split::Whole => continue,
                Split::Rows(_) => (matrix.rows, matrix.shape_per_gpu(self).0, rows),
                Split::Columns(_) => (matrix.columns, matrix.shape_per_gpu(self).1, columns),
                // Whole experts, or slices of their width.
                Split::Copies => {
                    let width = matrix.rows.min(matrix.columns);
                    (width, width / gpus, rows.max(columns))
                }
            };
            // A matrix of less than whole blocks is not divided into them.
            if whole.is_multiple_of(block) && slice != whole && !slice.is_multiple_of(block) {
                let expected = format!(
                    "slices of whole blocks of {rows} x {columns} weights (weight_block_size), as \
                     engines do"
                );
                let found = format!(
                    "{}, which cuts {} of {whole} into {slice}",
                    self.tensor, matrix.module
                );
                return Err(SettingError::new("cluster.tensor_parallel", found, expected)
                    .help("use fewer GPUs for a replica, or weights without blocks"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::model::find;

    #[test]
    fn what_does_not_divide_is_named() {
        let model = find("Llama-2-7B").unwrap();
        let path = |tensor, pipeline| {
            Parallelism { tensor, pipeline }.check(model).err().map(|error| error.path)
        };
        assert_eq!(path(4, 2), None);
        assert_eq!(path(3, 1).as_deref(), Some("cluster.tensor_parallel"));
        assert_eq!(path(0, 1).as_deref(), Some("cluster.tensor_parallel"));
        assert_eq!(path(1, 5).as_deref(), Some("cluster.pipeline_parallel"));
        assert_eq!(path(1, 0).as_deref(), Some("cluster.pipeline_parallel"));
    }

    /// An expert of Qwen3-30B-A3B has 768 rows: 192 each on 4 GPUs.
    #[test]
    fn slices_are_whole_blocks() {
        let model = find("Qwen3-30B-A3B").unwrap();
        let fp8 = ModelSpec { weight_block: Some((128, 128)), ..model.clone() };
        let tp = |tensor| Parallelism { tensor, pipeline: 1 };
        assert_eq!(tp(2).check(&fp8), Ok(()));
        assert_eq!(tp(4).check(model), Ok(()));
        let error = tp(4).check(&fp8).unwrap_err();
        assert_eq!(error.path, "cluster.tensor_parallel");
        assert!(error.found.contains("an expert's 768 rows into 192"), "{error}");
    }

    #[test]
    fn kv_heads_may_be_replicated() {
        let model = find("Llama-2-70B").unwrap();
        assert_eq!(Parallelism { tensor: 16, pipeline: 1 }.check(model), Ok(()));
    }
}
