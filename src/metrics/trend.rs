//! Whether the queue grew while requests arrived.

use crate::base::Nanos;
use crate::records::{RequestRecord, RequestStatus};

/// Requests that waited for their first batch, by quarters of the time in which requests arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WaitingTrend {
    /// How many waited, the mean over each quarter.
    pub waiting: [f64; 4],
    /// Requests that arrived in the last quarter.
    pub arrivals: u64,
}

impl WaitingTrend {
    /// The sum over several runs of one configuration.
    pub fn sum(trends: impl Iterator<Item = WaitingTrend>) -> WaitingTrend {
        trends.fold(WaitingTrend::default(), |mut sum, trend| {
            for (sum, waiting) in sum.waiting.iter_mut().zip(trend.waiting) {
                *sum += waiting;
            }
            sum.arrivals += trend.arrivals;
            sum
        })
    }

    /// Whether the queue grew to the end of the arrivals: from quarter to quarter, by more than
    /// three in a hundred of those that arrived, and by more than independent arrivals do by
    /// chance.
    pub fn grew(&self) -> bool {
        let [_, second, third, last] = self.waiting;
        second < third && third < last && self.by_more_than(0.03, 3.0)
    }

    /// Whether the queue grew beyond any doubt, whatever the capacity is estimated to be.
    pub fn grew_beyond_doubt(&self) -> bool {
        self.grew() && self.by_more_than(0.2, 8.0)
    }

    /// Whether it grew in the last quarter by more than a share of its arrivals and so many times
    /// their square root.
    fn by_more_than(&self, share: f64, deviations: f64) -> bool {
        let (growth, arrivals) = (self.waiting[3] - self.waiting[2], self.arrivals as f64);
        growth > share * arrivals && growth > deviations * arrivals.sqrt()
    }
}

/// More cells than this are merged in pairs.
const MOST_CELLS: u64 = 512;
/// The first width of a cell, as a power of two in nanoseconds: about a millisecond.
const FIRST_SHIFT: u32 = 20;

/// Counts arrivals and first batches in cells of equal time, few enough to hold a run of any
/// length.
#[derive(Debug)]
pub(super) struct WaitingCells {
    shift: u32,
    cells: Vec<Cell>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    arrivals: u64,
    scheduled: u64,
}

impl Default for WaitingCells {
    fn default() -> WaitingCells {
        WaitingCells { shift: FIRST_SHIFT, cells: Vec::new() }
    }
}

impl WaitingCells {
    /// Counts a request that ended. One that was refused waited for nothing.
    pub fn count(&mut self, record: &RequestRecord) {
        if matches!(record.status, RequestStatus::Finished | RequestStatus::Unfinished) {
            self.cell(record.arrived_at).arrivals += 1;
            if let Some(scheduled_at) = record.scheduled_at {
                self.cell(scheduled_at).scheduled += 1;
            }
        }
    }

    fn cell(&mut self, time: Nanos) -> &mut Cell {
        while time.0 >> self.shift >= MOST_CELLS {
            self.shift += 1;
            let merged = self.cells.chunks(2).map(|pair| Cell {
                arrivals: pair.iter().map(|cell| cell.arrivals).sum(),
                scheduled: pair.iter().map(|cell| cell.scheduled).sum(),
            });
            self.cells = merged.collect();
        }
        let index = (time.0 >> self.shift) as usize;
        if self.cells.len() <= index {
            self.cells.resize(index + 1, Cell::default());
        }
        &mut self.cells[index]
    }

    /// The trend between the first and the last arrival; none where they lie close together.
    pub fn trend(&self) -> WaitingTrend {
        let there = |cell: &Cell| cell.arrivals > 0;
        let (Some(first), Some(last)) =
            (self.cells.iter().position(there), self.cells.iter().rposition(there))
        else {
            return WaitingTrend::default();
        };
        let (cells, mut trend) = (last + 1 - first, WaitingTrend::default());
        if cells < 8 {
            return trend;
        }
        let (mut waiting, mut sums) = (0_i64, [(0.0, 0_u32); 4]);
        for (place, cell) in self.cells[first..=last].iter().enumerate() {
            let quarter = place * 4 / cells;
            waiting += cell.arrivals as i64 - cell.scheduled as i64;
            sums[quarter].0 += waiting as f64;
            sums[quarter].1 += 1;
            trend.arrivals += if quarter == 3 { cell.arrivals } else { 0 };
        }
        trend.waiting = sums.map(|(sum, cells)| sum / f64::from(cells));
        trend
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request every 10 ms, of which an engine takes one every `each` ms.
    fn trend(requests: u64, each: u64) -> WaitingTrend {
        let mut cells = WaitingCells::default();
        for i in 0..requests {
            let (arrived, taken) = (i * 10_000_000, i * 10_000_000.max(each * 1_000_000));
            cells.cell(Nanos(arrived)).arrivals += 1;
            cells.cell(Nanos(taken)).scheduled += 1;
        }
        cells.trend()
    }

    #[test]
    fn a_queue_grows_where_more_arrives_than_is_served() {
        let slow = trend(4_000, 15);
        // A third of what arrives stays: 1,333 at the end, 167 more in the middle of each quarter.
        assert!((slow.waiting[3] - slow.waiting[2] - 333.0).abs() < 10.0, "{slow:?}");
        assert!((slow.waiting[3] - 1_167.0).abs() < 10.0, "{slow:?}");
        assert!(slow.grew() && slow.grew_beyond_doubt());
        assert!(!trend(4_000, 10).grew() && !trend(4_000, 3).grew());
        assert!(!trend(40, 11).grew(), "four more are chance");
        let all = WaitingTrend::sum([slow, slow].into_iter());
        assert_eq!((all.arrivals, all.waiting[3]), (2 * slow.arrivals, 2.0 * slow.waiting[3]));
    }
}
