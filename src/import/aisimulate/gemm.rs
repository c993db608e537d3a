//! Matrix products, and the experts of mixtures.

use crate::import::aisimulate::parquet_file::for_each;
use crate::import::aisimulate::{ENGINE, Import};
use crate::profile::ProfileError;
use crate::profile::grid::Grid;
use crate::profile::operators::{Between, Dtype, ExpertsTable, GemmTable, Peak};

const GEMM: &str = "gemm_perf.parquet";
const MOE: &str = "moe_perf.parquet";

/// How tokens are spread over experts in the rows that are taken: mildly uneven.
const ROUTING: &str = "power_law_1.01";

/// The least time of a product in microseconds: what compute or memory allow.
pub(super) fn roofline_us(peak: &Peak, dtype: Dtype, m: f64, n: f64, k: f64) -> f64 {
    let tflops = match dtype {
        Dtype::Bf16 | Dtype::Int8 => peak.bf16_tflops,
        Dtype::Fp8 => peak.fp8_tflops,
    };
    let compute = 2.0 * m * n * k / (tflops * 1e6);
    let bytes = dtype.bytes() * (m * n + m * k + n * k);
    compute.max(bytes / (peak.memory_gbps * 1e3))
}

fn dtype(name: &str) -> Option<Dtype> {
    match name {
        "bfloat16" => Some(Dtype::Bf16),
        "fp8" => Some(Dtype::Fp8),
        _ => None,
    }
}

pub(super) fn import(import: &mut Import) -> Result<(), ProfileError> {
    let newest = import.engine_version;
    let Some(version) = import.system.version_up_to("gemm", ENGINE, GEMM, newest) else {
        return Ok(());
    };
    let mut versions = vec![version.clone()];
    versions.extend(import.system.declared_reuse("gemm", ENGINE, &version, GEMM));
    let mut grids = [(Dtype::Bf16, Grid::default()), (Dtype::Fp8, Grid::default())];
    let mut files = Vec::new();
    let peak = import.tables.peak;
    for version in &versions {
        let (file, bytes) = import.system.table("gemm", ENGINE, version, GEMM)?;
        for_each(bytes, &file, |row| {
            let Some(dtype) = dtype(row.text("gemm_dtype")) else { return Ok(()) };
            let (m, n, k) = (row.count("m")?, row.count("n")?, row.count("k")?);
            let least = roofline_us(&peak, dtype, m.into(), n.into(), k.into());
            if let Some((_, grid)) = grids.iter_mut().find(|(d, _)| *d == dtype) {
                grid.add([n, k], m, row.micros("latency")?.max(least));
            }
            Ok(())
        })?;
        files.push(file);
    }
    let source = format!("vLLM {}", versions.join(" + "));
    for (dtype, grid) in grids.iter().filter(|(_, grid)| !grid.is_empty()) {
        let table = grid.table(2, Between::Linear, &source);
        import.tables.gemm.push(GemmTable { dtype: *dtype, table });
    }
    import.note("GEMM", &format!("AISimulate, {source}"), files);
    Ok(())
}

pub(super) fn import_experts(import: &mut Import) -> Result<(), ProfileError> {
    let newest = import.engine_version;
    let Some(version) = import.system.version_up_to("moe", ENGINE, MOE, newest) else {
        return Ok(());
    };
    let (file, bytes) = import.system.table("moe", ENGINE, &version, MOE)?;
    let mut grids: std::collections::BTreeMap<(Dtype, [u32; 4]), Grid> = Default::default();
    for_each(bytes, &file, |row| {
        let Some(dtype) = dtype(row.text("moe_dtype")) else { return Ok(()) };
        if row.text("distribution") != ROUTING || row.count("moe_ep_size")? != 1 {
            return Ok(());
        }
        let shape = [
            row.count("hidden_size")?,
            row.count("inter_size")?,
            row.count("num_experts")?,
            row.count("topk")?,
        ];
        let keys = [row.count("moe_tp_size")?, 0];
        let grid = grids.entry((dtype, shape)).or_default();
        grid.add(keys, row.count("num_tokens")?, row.micros("latency")?);
        Ok(())
    })?;
    let source = format!("vLLM {version}");
    for ((dtype, [hidden, intermediate, experts, top_k]), grid) in &mut grids {
        grid.sort();
        import.tables.experts.push(ExpertsTable {
            dtype: *dtype,
            hidden: *hidden,
            intermediate: *intermediate,
            experts: *experts,
            top_k: *top_k,
            routing: ROUTING.to_owned(),
            table: grid.table(1, Between::Linear, &source),
        });
    }
    import.note("experts", &format!("AISimulate, {source}"), vec![file]);
    Ok(())
}
