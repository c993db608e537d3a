//! `batch_metrics.csv`: one row per batch, in the order in which they end.

use std::io::{self, Write};

use super::rows::Rows;
use crate::metrics::BatchRecord;

/// Vidur's columns, then ours. Times in seconds; `batch_execution_time` is from planning to the end
/// of the last stage, as in Vidur (with pipelines it includes waiting for stages).
pub const HEADER: &str = "Batch Id,batch_num_tokens,batch_num_prefill_tokens,\
batch_num_decode_tokens,batch_size,batch_execution_time,\
replica_id,stage_id,scheduled_at,completed_at";

/// Writes the rows.
#[derive(Debug)]
pub struct BatchCsv<W> {
    rows: Rows<W>,
}

impl<W: Write> BatchCsv<W> {
    /// Starts the file.
    pub fn new(out: W) -> BatchCsv<W> {
        BatchCsv { rows: Rows::new(out, HEADER) }
    }

    /// Writes one row.
    pub fn write(&mut self, batch: &BatchRecord) {
        let rows = &mut self.rows;
        rows.integer(batch.id);
        rows.integer(batch.tokens);
        rows.integer(batch.prefill_tokens);
        rows.integer(batch.tokens.saturating_sub(batch.prefill_tokens));
        rows.integer(batch.size);
        rows.time(batch.completed_at.since(batch.scheduled_at));
        rows.integer(batch.replica);
        rows.integer(batch.stage);
        rows.time(batch.scheduled_at);
        rows.time(batch.completed_at);
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
    use crate::sim::Nanos;

    #[test]
    fn a_batch_byte_by_byte() {
        let mut csv = BatchCsv::new(Vec::new());
        csv.write(&BatchRecord {
            id: 12,
            replica: 3,
            stage: 1,
            scheduled_at: Nanos(127_507_536),
            completed_at: Nanos(142_382_536),
            tokens: 399,
            prefill_tokens: 395,
            size: 5,
        });
        let text = String::from_utf8(csv.finish().unwrap()).unwrap();
        assert_eq!(
            text.lines().nth(1),
            Some("12,399,395,4,5,0.014875,3,1,0.127507536,0.142382536")
        );
    }
}
