//! A network's collectives: Vidur's `all_reduce.csv` and `send_recv.csv`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::import::vidur_profile::points::Points;
use crate::import::vidur_profile::table::CsvTable;
use crate::profile::ProfileError;
use crate::profile::format::{AllReduceTable, NetworkTables, SendRecvTable};

/// Reads both files.
///
/// Of the all-reduce rows those count in which all workers share a node; of the send/receive rows
/// `devices_per_node` says whether both ends do (2) or not (1).
pub(super) fn read(
    name: &str,
    all_reduce: &Path,
    send_recv: &Path,
) -> Result<NetworkTables, ProfileError> {
    let mut gpus_per_node = 0;
    let mut by_workers: BTreeMap<u32, Points> = BTreeMap::new();
    let reduce_table = CsvTable::read(all_reduce)?;
    for_each(&reduce_table, "all_reduce", |row| {
        gpus_per_node = gpus_per_node.max(row.node_size);
        if row.workers == row.devices_per_node {
            by_workers.entry(row.workers).or_default().add(0, row.bytes, row.us);
        }
    })?;
    if by_workers.is_empty() {
        return Err(reduce_table.nothing_measured("num_workers = devices_per_node".to_owned()));
    }
    let mut by_place: BTreeMap<bool, Points> = BTreeMap::new();
    let send_table = CsvTable::read(send_recv)?;
    for_each(&send_table, "send_recv", |row| {
        gpus_per_node = gpus_per_node.max(row.node_size);
        if matches!(row.devices_per_node, 1 | 2) {
            by_place.entry(row.devices_per_node == 2).or_default().add(0, row.bytes, row.us);
        }
    })?;
    if by_place.is_empty() {
        return Err(send_table.nothing_measured("devices_per_node = 1 or 2".to_owned()));
    }
    Ok(NetworkTables {
        name: name.to_owned(),
        gpus_per_node,
        all_reduce: by_workers
            .into_iter()
            .map(|(workers, points)| AllReduceTable { workers, bytes: points.curve() })
            .collect(),
        send_recv: by_place
            .into_iter()
            .map(|(within_node, points)| SendRecvTable { within_node, bytes: points.curve() })
            .collect(),
    })
}

/// One measurement of a collective.
struct Measurement {
    workers: u32,
    devices_per_node: u32,
    node_size: u32,
    bytes: u32,
    us: f64,
}

fn for_each(
    table: &CsvTable,
    collective: &str,
    mut take: impl FnMut(Measurement),
) -> Result<(), ProfileError> {
    let workers = table.column("num_workers")?;
    let devices_per_node = table.column("devices_per_node")?;
    let node_size = table.column("max_devices_per_node")?;
    let bytes = table.column("size")?;
    let time = table.column(&format!("time_stats.{collective}.median"))?;
    for row in table.rows() {
        take(Measurement {
            workers: row.integer(workers)?,
            devices_per_node: row.integer(devices_per_node)?,
            node_size: row.integer(node_size)?,
            bytes: row.integer(bytes)?,
            us: row.microseconds(time)?,
        });
    }
    Ok(())
}
