//! `batch_metrics.csv`: one row per batch, in the order in which they end, or one per run of equal
//! iterations.

use std::io::{self, Write};

use super::rows::Rows;
use crate::records::BatchRecord;

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

/// The columns of the run-length form. Iterations are numbered from 0 on each replica, tokens are
/// those of one iteration, `batch_execution_time` is that of all `count` together.
pub const RUN_LENGTH_HEADER: &str = "replica_id,first_iteration,count,batch_num_tokens,\
batch_num_prefill_tokens,batch_num_decode_tokens,batch_size,batch_execution_time,\
scheduled_at,completed_at";

/// Writes one row per run of iterations that only decode, as many requests each, without a pause
/// between them. How long a run is does not depend on how it was simulated.
#[derive(Debug)]
pub struct RunLengthCsv<W> {
    rows: Rows<W>,
    /// By replica: the number of the first iteration of its open run, and the run.
    open: Vec<(u64, Option<BatchRecord>)>,
}

impl<W: Write> RunLengthCsv<W> {
    /// Starts the file.
    pub fn new(out: W) -> RunLengthCsv<W> {
        RunLengthCsv { rows: Rows::new(out, RUN_LENGTH_HEADER), open: Vec::new() }
    }

    /// Takes the next iterations of a replica.
    pub fn write(&mut self, batch: &BatchRecord) {
        let index = batch.replica as usize;
        if self.open.len() <= index {
            self.open.resize(index + 1, (0, None));
        }
        if self.open[index].1.as_mut().is_some_and(|run| run.extend(batch)) {
            return;
        }
        self.close(index);
        self.open[index].1 = Some(*batch);
    }

    /// Writes the open run of a replica.
    fn close(&mut self, index: usize) {
        let (first, Some(run)) = self.open[index] else { return };
        self.open[index] = (first + u64::from(run.count), None);
        let rows = &mut self.rows;
        rows.integer(run.replica);
        rows.integer(first);
        rows.integer(run.count);
        rows.integer(run.tokens);
        rows.integer(run.prefill_tokens);
        rows.integer(run.tokens.saturating_sub(run.prefill_tokens));
        rows.integer(run.size);
        rows.time(run.completed_at.since(run.scheduled_at));
        rows.time(run.scheduled_at);
        rows.time(run.completed_at);
        rows.end_row();
    }

    /// Ends the file; returns the first error there was.
    pub fn finish(mut self) -> io::Result<W> {
        for index in 0..self.open.len() {
            self.close(index);
        }
        self.rows.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Nanos;

    #[test]
    fn a_batch_byte_by_byte() {
        let mut csv = BatchCsv::new(Vec::new());
        csv.write(&BatchRecord {
            id: 12,
            count: 1,
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

    #[test]
    fn runs_are_one_row() {
        let mut csv = RunLengthCsv::new(Vec::new());
        let mut write = |replica, count, from: u64, to: u64, prefill_tokens, size| {
            csv.write(&BatchRecord {
                id: 0,
                count,
                replica,
                stage: 0,
                scheduled_at: Nanos(from * 1_000_000_000),
                completed_at: Nanos(to * 1_000_000_000),
                tokens: size + prefill_tokens,
                prefill_tokens,
                size,
            });
        };
        write(0, 1, 0, 1, 9, 1);
        write(0, 1, 1, 2, 0, 1);
        write(1, 2, 1, 2, 0, 1);
        write(0, 3, 2, 5, 0, 1);
        write(0, 1, 5, 6, 0, 2); // another size
        write(0, 1, 7, 8, 0, 2); // after a pause
        let text = String::from_utf8(csv.finish().unwrap()).unwrap();
        let rows: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            rows,
            [
                "0,0,1,10,9,1,1,1.0,0.0,1.0",
                "0,1,4,1,0,1,1,4.0,1.0,5.0",
                "0,5,1,2,0,2,2,1.0,5.0,6.0",
                "0,6,1,2,0,2,2,1.0,7.0,8.0",
                "1,0,2,1,0,1,1,1.0,1.0,2.0",
            ]
        );
    }
}
