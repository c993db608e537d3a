//! What the matrix products of adapters cost.

use super::Module;
use crate::base::Nanos;
use crate::hardware::model::ModelSpec;
use crate::hardware::{DeviceSpec, Parallelism};

/// Kernels of an adapted module: one multiplies by the first, one by the second matrix.
const KERNELS: f64 = 2.0;

/// The time that adapters add to a step, a roofline with a launch time per kernel:
///
/// ```text
/// time = kernels x launch + max(FLOPs / (e x peak), bytes / (e x bandwidth))
/// FLOPs = tokens x 2 r (in + out)
/// bytes = adapters x adapter bytes + tokens x (in + out + 2 r) x bytes of an activation
/// ```
///
/// summed over the adapted modules of all blocks, with `tokens` those of requests with an adapter
/// and `adapters` the different ones of the batch; `e` is the share of the data sheet's figures
/// that the kernels reach. Both are assumptions, not measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdapterCost {
    /// Seconds of launches of a step with any adapter.
    launch_s: f64,
    /// Bytes of one adapter.
    adapter_bytes: f64,
    /// FLOPs for one token.
    token_flops: f64,
    /// Bytes read and written for one token.
    token_bytes: f64,
    /// FLOPs per second that are reached.
    flops_per_s: f64,
    /// Bytes per second that are reached.
    bytes_per_s: f64,
}

/// Adapters, and how their kernels do on a device.
#[derive(Clone, Copy, Debug)]
pub struct AdapterKernels<'a> {
    /// Rank of both matrices.
    pub rank: u32,
    /// What has adapters in each block.
    pub modules: &'a [Module],
    /// Share of the device's FLOPs and bandwidth that is reached.
    pub efficiency: f64,
    /// Microseconds for each kernel beside its work.
    pub kernel_us: f64,
}

impl AdapterCost {
    /// The cost of these adapters on this device.
    pub fn new(
        adapters: &AdapterKernels<'_>,
        model: &ModelSpec,
        parallel: Parallelism,
        device: &DeviceSpec,
    ) -> AdapterCost {
        let &AdapterKernels { rank, modules, efficiency, kernel_us } = adapters;
        let layers = f64::from(model.layers);
        let widths = modules.iter().map(|module| module.widths(model, parallel));
        let width: u64 = widths.map(|(input, output)| input + output).sum();
        let (width, rank_of_all) = (width as f64, f64::from(rank) * modules.len() as f64);
        AdapterCost {
            launch_s: layers * modules.len() as f64 * KERNELS * kernel_us / 1e6,
            adapter_bytes: super::adapter_bytes(model, parallel, rank, modules) as f64,
            token_flops: layers * 2.0 * f64::from(rank) * width,
            token_bytes: layers * (width + 2.0 * rank_of_all) * model.dtype_bytes,
            flops_per_s: efficiency * device.fp16_tflops * 1e12,
            bytes_per_s: efficiency * device.hbm_gbps * 1e9,
        }
    }

    /// The cost where only a share of the compute and one of the bandwidth is there.
    pub fn on_part(self, (compute, bandwidth): (f64, f64)) -> AdapterCost {
        AdapterCost {
            flops_per_s: self.flops_per_s * compute,
            bytes_per_s: self.bytes_per_s * bandwidth,
            ..self
        }
    }

    /// The time for so many tokens of requests with an adapter, of which so many differ.
    pub fn time(&self, tokens: u32, adapters: u32) -> Nanos {
        if tokens == 0 {
            return Nanos::ZERO;
        }
        let tokens = f64::from(tokens);
        let bytes = f64::from(adapters) * self.adapter_bytes + tokens * self.token_bytes;
        let compute = (tokens * self.token_flops / self.flops_per_s).max(bytes / self.bytes_per_s);
        Nanos::from_secs_f64(self.launch_s + compute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::find_device;
    use crate::hardware::model;

    #[test]
    fn the_formula_by_hand() {
        let llama = model::find("Llama-2-7B").unwrap();
        let device = find_device("A100-SXM-80G").unwrap();
        let whole = Parallelism { tensor: 1, pipeline: 1 };
        let modules = &[Module::Q, Module::V];
        let adapters = AdapterKernels { rank: 16, modules, efficiency: 0.5, kernel_us: 5.0 };
        let cost = AdapterCost::new(&adapters, llama, whole, device);
        assert_eq!(cost.time(0, 0), Nanos::ZERO);
        // 32 x 2 modules x 2 kernels of 5 us; 4 adapters of 16 MiB; 2 x 8192 + 2 x 32 elements of
        // two bytes in each of 32 blocks for a token.
        let bytes = 4.0 * 16_777_216.0 + 10.0 * 32.0 * (16_384.0 + 64.0) * 2.0;
        let want = 640e-6 + bytes / (0.5 * device.hbm_gbps * 1e9);
        assert_eq!(cost.time(10, 4), Nanos::from_secs_f64(want));
        // On a quarter of the GPU with half of its bandwidth the bytes take twice as long.
        let part = cost.on_part((0.25, 0.5));
        let want = 640e-6 + 2.0 * bytes / (0.5 * device.hbm_gbps * 1e9);
        assert_eq!(part.time(10, 4), Nanos::from_secs_f64(want));
        // Of rank 512 the products of a long prompt take longer than its bytes.
        let modules = &[Module::Q];
        let adapters = AdapterKernels { rank: 512, modules, efficiency: 0.5, kernel_us: 0.0 };
        let cost = AdapterCost::new(&adapters, llama, whole, device);
        let flops = 8_000.0 * 32.0 * 2.0 * 512.0 * 8192.0;
        let want = flops / (0.5 * device.fp16_tflops * 1e12);
        assert_eq!(cost.time(8_000, 1), Nanos::from_secs_f64(want));
    }
}
