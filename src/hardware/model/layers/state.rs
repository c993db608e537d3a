//! States of recurrent layers: sizes as vLLM allocates them (`mamba_utils`, vLLM 0.33, Apache-2.0).

use crate::hardware::Parallelism;

/// The state that a recurrent layer keeps of a sequence: what its convolution has seen last, in
/// the model's type, and the recurrence's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearState {
    /// What it is called: `GatedDeltaNet`, `KDA`, `Mamba2`, `Mamba`, `Lightning`, `ShortConv`,
    /// `RG-LRU`.
    pub name: &'static str,
    /// Channels of the convolution.
    pub conv_channels: u32,
    /// Earlier inputs that the convolution keeps: its kernel less one.
    pub conv_inputs: u32,
    /// Heads of the recurrence.
    pub heads: u32,
    /// Elements of a head's state.
    pub head_elements: u32,
    /// Bytes of one of them.
    pub element_bytes: u32,
}

impl LinearState {
    /// Bytes of a sequence over all GPUs, convolution in 16 bits.
    pub fn bytes(&self) -> u64 {
        let conv = 2 * u64::from(self.conv_channels) * u64::from(self.conv_inputs);
        conv + self.recurrent_bytes()
    }

    /// Bytes of a sequence on one GPU.
    pub fn bytes_per_gpu(&self, parallel: Parallelism) -> u64 {
        self.bytes().div_ceil(parallel.tensor.into())
    }

    /// Bytes of the recurrence alone, over all GPUs.
    pub fn recurrent_bytes(&self) -> u64 {
        u64::from(self.heads) * u64::from(self.head_elements) * u64::from(self.element_bytes)
    }

    /// FLOPs of a token: each element of the state is decayed, written and read.
    pub fn flops_per_token(&self) -> f64 {
        let state = f64::from(self.heads) * f64::from(self.head_elements);
        let conv = f64::from(self.conv_channels) * f64::from(self.conv_inputs + 1);
        6.0 * state + 2.0 * conv
    }

    pub(super) fn heads(&self) -> Vec<(&'static str, u32, bool)> {
        match self.name {
            // Channels, not heads: any division will do.
            "ShortConv" | "Mamba" | "RG-LRU" => Vec::new(),
            _ => vec![("recurrent heads", self.heads, false)],
        }
    }
}
