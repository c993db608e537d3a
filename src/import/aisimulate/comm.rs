//! Collectives among the GPUs of a node.

use std::collections::BTreeMap;

use crate::import::aisimulate::parquet_file::for_each;
use crate::import::aisimulate::{ENGINE, Import};
use crate::profile::ProfileError;
use crate::profile::grid::Grid;
use crate::profile::operators::{Between, Collective, CollectiveTable};

const CUSTOM: &str = "custom_allreduce_perf.parquet";
const NCCL: &str = "nccl_perf.parquet";

/// The source counts elements of two bytes.
const BYTES: u32 = 2;

pub(super) fn import(import: &mut Import) -> Result<(), ProfileError> {
    custom(import)?;
    nccl(import)
}

/// The engine's own all-reduce, as launched from a CUDA graph.
fn custom(import: &mut Import) -> Result<(), ProfileError> {
    let newest = import.engine_version;
    let Some(version) = import.system.version_up_to("comm", ENGINE, CUSTOM, newest) else {
        return Ok(());
    };
    let (file, bytes) = import.system.table("comm", ENGINE, &version, CUSTOM)?;
    let mut grid = Grid::default();
    for_each(bytes, &file, |row| {
        let eager = row.text("kernel_source").ends_with("_eager");
        if !eager && row.text("allreduce_dtype") == "bfloat16" {
            let size = row.count("message_size")?.saturating_mul(BYTES);
            grid.add([row.count("num_gpus")?, 0], size, row.micros("latency")?);
        }
        Ok(())
    })?;
    grid.sort();
    let source = format!("vLLM {version}");
    import.tables.collectives.push(CollectiveTable {
        operation: Collective::AllReduce,
        library: "custom".to_owned(),
        table: grid.table(1, Between::Linear, &source),
    });
    import.note("all-reduce", &format!("AISimulate, {source}"), vec![file]);
    Ok(())
}

fn nccl(import: &mut Import) -> Result<(), ProfileError> {
    let newest = import.system.nccl_version().unwrap_or("9999").to_owned();
    let Some(version) = import.system.version_up_to("comm", "nccl", NCCL, &newest) else {
        return Ok(());
    };
    let (file, bytes) = import.system.table("comm", "nccl", &version, NCCL)?;
    let mut grids: BTreeMap<Collective, Grid> = BTreeMap::new();
    for_each(bytes, &file, |row| {
        let operation = match row.text("op_name") {
            "all_reduce" => Collective::AllReduce,
            "all_gather" => Collective::AllGather,
            "reduce_scatter" => Collective::ReduceScatter,
            "alltoall" => Collective::AllToAll,
            _ => return Ok(()),
        };
        if row.text("nccl_dtype") == "half" {
            let size = row.count("message_size")?.saturating_mul(BYTES);
            let grid = grids.entry(operation).or_default();
            grid.add([row.count("num_gpus")?, 0], size, row.micros("latency")?);
        }
        Ok(())
    })?;
    let source = format!("NCCL {version}");
    for (operation, grid) in &mut grids {
        grid.sort();
        import.tables.collectives.push(CollectiveTable {
            operation: *operation,
            library: "nccl".to_owned(),
            table: grid.table(1, Between::Linear, &source),
        });
    }
    import.note("NCCL", &format!("AISimulate, {source}"), vec![file]);
    Ok(())
}
