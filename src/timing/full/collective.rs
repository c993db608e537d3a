//! Collectives and transfers between GPUs.

use super::basis::{Cost, TimeBasis};
use super::samples::Samples;
use crate::profile::format::{Curve, NetworkTables};
use crate::profile::operators::{Between, Collective, OperatorTables, Peak, SampleRow};

/// Microseconds until a transfer between two GPUs begins to move (AISimulate's constant).
const TRANSFER_LATENCY_US: f64 = 10.0;

/// All-reduce among the GPUs of a tensor-parallel group.
pub(super) struct AllReduce {
    by_bytes: Samples,
    /// Factor for GPUs of several nodes.
    factor: f64,
    basis: TimeBasis,
    /// Where it was measured.
    pub(super) source: String,
}

impl AllReduce {
    /// From a device's tables: those of the engine's own kernel first.
    ///
    /// # Errors
    /// No all-reduce was measured among that many GPUs, or a table is malformed.
    pub(super) fn new(tables: &OperatorTables, gpus: u32) -> Result<AllReduce, String> {
        let peak = tables.peak;
        let within = gpus.min(peak.gpus_per_node);
        let all = tables.collectives.iter().filter(|t| t.operation == Collective::AllReduce);
        for collective in all {
            let rows = collective.table.rows(1, Between::Linear)?;
            if let Some(row) = rows.into_iter().find(|row| row.keys[0] == within) {
                let (factor, basis) = if gpus > within {
                    (across_nodes(&peak, gpus), TimeBasis::Extrapolated)
                } else {
                    (1.0, TimeBasis::Measured)
                };
                let by_bytes = Samples::new(row, Between::Linear);
                return Ok(AllReduce {
                    by_bytes,
                    factor,
                    basis,
                    source: collective.table.source.clone(),
                });
            }
        }
        Err(format!("it has all-reduce of {} GPUs, not of {within}", tables.all_reduce_gpus()))
    }

    /// From a network's tables; none if it was not measured among that many.
    pub(super) fn of_network(network: &NetworkTables, gpus: u32) -> Option<AllReduce> {
        let table = network.all_reduce.iter().find(|table| table.workers == gpus)?;
        Some(AllReduce {
            by_bytes: curve(&table.bytes),
            factor: 1.0,
            basis: TimeBasis::Measured,
            source: format!("network {}", network.name),
        })
    }

    /// The time for a message of `bytes`; beyond the largest measured one in proportion to it.
    pub(super) fn cost(&self, bytes: f64) -> Cost {
        beyond_in_proportion(&self.by_bytes, bytes).at_best(self.basis).scaled(self.factor)
    }
}

/// The traffic of a GPU grows with (p - 1) / p, and passes the slower link.
fn across_nodes(peak: &Peak, gpus: u32) -> f64 {
    let share = |gpus: u32| f64::from(gpus - 1) / f64::from(gpus);
    share(gpus) / share(peak.gpus_per_node) * peak.intra_node_gbps / peak.inter_node_gbps
}

fn beyond_in_proportion(samples: &Samples, bytes: f64) -> Cost {
    let us = samples.at(bytes);
    if bytes > samples.last() {
        return Cost { us: us * bytes / samples.last(), basis: TimeBasis::Extrapolated };
    }
    Cost::measured(us)
}

impl Cost {
    fn scaled(self, factor: f64) -> Cost {
        self.with(self.us * factor)
    }
}

fn curve(curve: &Curve) -> Samples {
    let x = curve.x.iter().map(|x| f64::from(*x)).collect();
    Samples::new(SampleRow { keys: [0; 2], x, us: curve.us.clone() }, Between::Linear)
}

/// Send and receive between two pipeline stages.
pub(super) enum Transfer {
    /// A latency, then bytes at this many per microsecond.
    Link(f64),
    /// Measured by bytes.
    Measured(Samples),
}

impl Transfer {
    /// Over the links of a device, within a node if all `gpus` fit into one.
    pub(super) fn link(peak: &Peak, gpus: u32) -> Transfer {
        let within = gpus <= peak.gpus_per_node;
        let gbps = if within { peak.intra_node_gbps } else { peak.inter_node_gbps };
        Transfer::Link(gbps * 1e3)
    }

    /// Over a network.
    pub(super) fn of_network(network: &NetworkTables, gpus: u32) -> Option<Transfer> {
        let within = gpus <= network.gpus_per_node;
        let table = network.send_recv.iter().find(|table| table.within_node == within)?;
        Some(Transfer::Measured(curve(&table.bytes)))
    }

    pub(super) fn cost(&self, bytes: f64) -> Cost {
        match self {
            Transfer::Link(speed) => Cost::transferred(TRANSFER_LATENCY_US + bytes / speed),
            Transfer::Measured(samples) => beyond_in_proportion(samples, bytes),
        }
    }
}
