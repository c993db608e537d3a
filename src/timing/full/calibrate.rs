//! Efficiencies of a roofline, fitted to devices that were measured.
//!
//! For the operators of the built-in models at common degrees of tensor parallelism, each kind's
//! few parameters are those with the least mean |log(estimate / measured)|, found by coordinate
//! descent from a fixed start: the result depends on the shipped profiles alone.

use std::collections::BTreeSet;

use super::attention::Kind;
use super::measured::MeasuredOperators;
use super::pass::OperatorSource;
use super::roofline::{Efficiencies, Efficiency, LinkEfficiency, NVLINK_GBPS, all_reduce_us, peak};
use super::speed::{Experts, Heads, Speed};
use super::weight_only::WeightOnly;
use crate::hardware::model::Weights;
use crate::hardware::{DeviceSpec, model};
use crate::profile;
use crate::profile::Profile;
use crate::profile::operators::Dtype;

/// Where the descent starts: round figures.
const START: Efficiencies = Efficiencies {
    gemm: Efficiency { compute: 0.7, memory: 0.8, launch_us: 3.0, sharpness: 3.0 },
    prefill: Efficiency { compute: 0.6, memory: 0.8, launch_us: 10.0, sharpness: 3.0 },
    decode: Efficiency { compute: 0.1, memory: 0.8, launch_us: 10.0, sharpness: 3.0 },
    experts: Efficiency { compute: 0.6, memory: 0.8, launch_us: 10.0, sharpness: 3.0 },
    nvlink: LinkEfficiency { bandwidth: 0.7, launch_us: 5.0 },
    pcie: LinkEfficiency { bandwidth: 0.7, launch_us: 10.0 },
    weight_only: WeightOnly::ASSUMED,
};

/// A measured operator: compute and memory time at the data sheet's figures, and its time.
struct Point {
    bounds: [f64; 2],
    us: f64,
}

/// All measured operators.
#[derive(Default)]
struct Points {
    gemm: Vec<Point>,
    prefill: Vec<Point>,
    decode: Vec<Point>,
    experts: Vec<Point>,
    /// Link, GPUs, bytes, microseconds.
    nvlink: Vec<(f64, u32, f64, f64)>,
    pcie: Vec<(f64, u32, f64, f64)>,
}

/// The efficiencies that fit `devices` best. Devices without shipped operator tables count for
/// nothing, and so do those whose tables hold the shapes of a single model (and no experts): what
/// is transferred to other shapes would weigh as much as what was measured.
///
/// # Errors
/// A shipped profile cannot be read.
pub fn calibrate(devices: &[&DeviceSpec]) -> Result<Efficiencies, String> {
    let mut points = Points::default();
    for device in devices {
        let Some(shipped) = profile::shipped_operators(device.name) else { continue };
        let profile = shipped.load().map_err(|error| error.to_string())?;
        points.add(device, &profile)?;
    }
    let start = START;
    Ok(Efficiencies {
        gemm: fit_efficiency(&points.gemm, &start.gemm),
        prefill: fit_efficiency(&points.prefill, &start.prefill),
        decode: fit_efficiency(&points.decode, &start.decode),
        experts: fit_efficiency(&points.experts, &start.experts),
        nvlink: fit_link(&points.nvlink, &start.nvlink),
        pcie: fit_link(&points.pcie, &start.pcie),
        // There are no measurements of it.
        weight_only: start.weight_only,
    })
}

/// The models whose matrices efficiencies are fitted to: a list of its own, so that more built-in
/// models do not change them.
const FITTED: [&str; 14] = [
    "Llama-2-7B",
    "Llama-2-13B",
    "Llama-2-70B",
    "Llama-3-8B",
    "Llama-3-70B",
    "CodeLlama-34B",
    "Llama-3.1-8B",
    "Llama-3.1-70B",
    "Qwen2.5-7B",
    "Qwen2.5-72B",
    "Qwen3-32B",
    "Qwen3-30B-A3B",
    "Mistral-7B",
    "Mixtral-8x7B",
];

impl Points {
    fn add(&mut self, device: &DeviceSpec, profile: &Profile) -> Result<(), String> {
        let Some(tables) = profile.operators.as_ref().filter(|tables| !tables.experts.is_empty())
        else {
            return Ok(());
        };
        let mut measured = MeasuredOperators::new(tables, None);
        let speed = Speed::new(&peak(device));
        let (mut matrices, mut layouts) = (BTreeSet::new(), BTreeSet::new());
        let mut experts = BTreeSet::new();
        for name in FITTED {
            let Some(model) = model::find(name) else { continue };
            for tensor in [1, 2, 4, 8] {
                let share = |count: u32| count.div_ceil(tensor);
                let (q, kv) = (share(model.q_heads), share(model.kv_heads));
                layouts.insert((q, kv, model.head_dim));
                matrices.insert(((q + 2 * kv) * model.head_dim, model.hidden));
                matrices.insert((model.hidden, q * model.head_dim));
                matrices.insert((share(model.vocab), model.hidden));
                match model.experts {
                    None => {
                        matrices.insert((2 * share(model.intermediate), model.hidden));
                        matrices.insert((model.hidden, share(model.intermediate)));
                    }
                    Some(moe) => {
                        let width = share(moe.moe_intermediate);
                        let top_k = moe.experts_per_token;
                        experts.insert((model.hidden, width, moe.experts, top_k));
                    }
                }
            }
        }
        for (n, k) in matrices {
            let cost = measured.gemm(Weights::Half, n, k)?;
            for m in [1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192] {
                let m = f64::from(m);
                let bounds = speed.gemm(Dtype::Bf16, m, f64::from(n), f64::from(k));
                self.gemm.push(Point { bounds, us: cost(m).us });
            }
        }
        for (q, kv, head_dim) in layouts {
            let heads = Heads { q, kv, head_dim, kv_dtype: Dtype::Bf16 };
            let prefill = measured.attention(Kind::Prefill, heads)?;
            let decode = measured.attention(Kind::Decode, heads)?;
            for tokens in [128.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0] {
                for requests in [1.0, 4.0] {
                    let bounds = speed.prefill(&heads, tokens, requests);
                    let us = prefill(requests, tokens).us;
                    self.prefill.push(Point { bounds, us });
                }
                for requests in [1.0, 4.0, 16.0, 64.0, 128.0] {
                    let bounds = speed.decode(&heads, requests, tokens);
                    let us = decode(requests, tokens).us;
                    self.decode.push(Point { bounds, us });
                }
            }
        }
        for (hidden, width, experts, top_k) in experts {
            let width = f64::from(width);
            let shape = Experts { dtype: Dtype::Bf16, hidden, width, experts, top_k };
            let cost = measured.experts(Weights::Half, shape)?;
            for tokens in [1, 4, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192] {
                let tokens = f64::from(tokens);
                let bounds = speed.experts(&shape, tokens);
                self.experts.push(Point { bounds, us: cost(tokens).us });
            }
        }
        let fast = device.link_gbps > NVLINK_GBPS;
        let links = if fast { &mut self.nvlink } else { &mut self.pcie };
        for gpus in [2, 4, 8] {
            let Ok(cost) = measured.all_reduce(gpus) else { continue };
            for power in 13..=26 {
                let bytes = f64::from(1_u32 << power);
                links.push((device.link_gbps, gpus, bytes, cost(bytes).us));
            }
        }
        Ok(())
    }
}

fn fit_efficiency(points: &[Point], start: &Efficiency) -> Efficiency {
    let of =
        |p: &[f64; 4]| Efficiency { compute: p[0], memory: p[1], launch_us: p[2], sharpness: p[3] };
    let start = [start.compute, start.memory, start.launch_us, start.sharpness];
    // No more than the data sheet's figures, and no bend so blunt that both times add up to more
    // than their sum.
    let most = [1.0, 1.0, f64::INFINITY, 8.0];
    of(&fit(start, [0.01, 0.01, 0.1, 1.0], most, |p| {
        let efficiency = of(p);
        points.iter().map(|point| (efficiency.us(point.bounds) / point.us).ln().abs()).sum()
    }))
}

fn fit_link(points: &[(f64, u32, f64, f64)], start: &LinkEfficiency) -> LinkEfficiency {
    let of = |p: &[f64; 2]| LinkEfficiency { bandwidth: p[0], launch_us: p[1] };
    let start = [start.bandwidth, start.launch_us];
    of(&fit(start, [0.01, 0.1], [1.0, f64::INFINITY], |p| {
        let efficiency = of(p);
        points
            .iter()
            .map(|(link, gpus, bytes, us)| {
                (all_reduce_us(&efficiency, *link, *gpus, *bytes) / us).ln().abs()
            })
            .sum()
    }))
}

/// Coordinate descent on factors: each parameter is tried larger and smaller, in steps that shrink
/// when none helps.
fn fit<const N: usize>(
    start: [f64; N],
    least_of: [f64; N],
    most_of: [f64; N],
    loss: impl Fn(&[f64; N]) -> f64,
) -> [f64; N] {
    let mut best = start;
    let mut least = loss(&best);
    let mut step = 1.3;
    while step > 1.002 {
        let mut improved = false;
        for index in 0..N {
            for factor in [step, 1.0 / step] {
                let mut tried = best;
                tried[index] = (tried[index] * factor).clamp(least_of[index], most_of[index]);
                let value = loss(&tried);
                if value < least {
                    (best, least, improved) = (tried, value, true);
                }
            }
        }
        if !improved {
            step = 1.0 + (step - 1.0) / 2.0;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_efficiencies_are_found_again() {
        let known = Efficiency { compute: 0.7, memory: 0.8, launch_us: 4.0, sharpness: 2.0 };
        let points: Vec<Point> = (0..20)
            .flat_map(|a| (0..20).map(move |b| (f64::from(a) * 7.0, f64::from(b) * 9.0)))
            .map(|(c, m)| Point { bounds: [c, m], us: known.us([c, m]) })
            .collect();
        let found = fit_efficiency(&points, &START.gemm);
        for (found, known) in [(found.compute, 0.7), (found.memory, 0.8), (found.launch_us, 4.0)] {
            assert!((found / known - 1.0).abs() < 0.1, "{found} {known}");
        }
    }
}
