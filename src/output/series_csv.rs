//! `time_series.csv`: one row per interval of simulated time.

use std::io::{self, Write};

use super::rows::Rows;
use crate::base::Nanos;
use crate::records::IntervalRecord;

/// The columns. `time` is the end of the interval in seconds; counts are those at that time, tokens
/// and requests those of the interval.
pub const HEADER: &str = "time,running,waiting,kv_allocated_blocks,kv_allocated,kv_used_tokens,\
prompt_tokens,output_tokens,finished,output_throughput";

/// Writes the rows.
#[derive(Debug)]
pub struct SeriesCsv<W> {
    rows: Rows<W>,
    seconds: f64,
    blocks: u64,
}

impl<W: Write> SeriesCsv<W> {
    /// Starts the file, of a cluster of so many KV blocks.
    pub fn new(out: W, interval: Nanos, blocks: u64) -> SeriesCsv<W> {
        SeriesCsv { rows: Rows::new(out, HEADER), seconds: interval.as_secs_f64(), blocks }
    }

    /// Writes one row.
    pub fn write(&mut self, interval: &IntervalRecord) {
        let rows = &mut self.rows;
        rows.time(interval.time);
        rows.integer(interval.running);
        rows.integer(interval.waiting);
        rows.integer(interval.kv_allocated);
        rows.ratio(interval.kv_allocated as f64 / self.blocks as f64);
        rows.integer(interval.kv_used);
        rows.integer(interval.prompt_tokens);
        rows.integer(interval.output_tokens);
        rows.integer(interval.finished);
        rows.ratio(interval.output_tokens as f64 / self.seconds);
        rows.end_row();
    }

    /// Ends the file; returns the first error there was.
    pub fn finish(self) -> io::Result<W> {
        self.rows.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_byte_by_byte() {
        let mut csv = SeriesCsv::new(Vec::new(), Nanos(500_000_000), 200);
        csv.write(&IntervalRecord {
            time: Nanos(1_500_000_000),
            running: 3,
            waiting: 1,
            kv_allocated: 50,
            kv_used: 777,
            prompt_tokens: 100,
            output_tokens: 61,
            finished: 2,
        });
        let text = String::from_utf8(csv.finish().unwrap()).unwrap();
        assert_eq!(text.lines().nth(1), Some("1.5,3,1,50,0.25,777,100,61,2,122.0"));
    }
}
