//! What is counted.

use vidur_ecs::base::Nanos;
use vidur_ecs::records::BatchRecord;

use super::World;
use super::replica::Batch;

impl World<'_> {
    /// Counts everything as it is now, and adds the time until `time` to the integrals.
    pub fn integrate(&mut self, time: Nanos) {
        let span = u128::from(time.since(self.now).0);
        if span == 0 {
            return;
        }
        let (mut allocated, mut used, mut running, mut waiting) = (0, 0, 0, 0);
        for replica in &self.replicas {
            allocated += replica.scheduler.memory.held() as u64;
            used += replica.used_tokens(&self.jobs, &self.limits);
            running += replica.scheduler.holders.len() as u64;
            waiting += replica.scheduler.waiting.len() as u64;
        }
        let totals = &mut self.out.totals;
        totals.kv_allocated_integral += span * u128::from(allocated);
        totals.kv_used_integral += span * u128::from(used);
        totals.running_integral += span * u128::from(running);
        totals.waiting_integral += span * u128::from(waiting);
        totals.running_peak = totals.running_peak.max(running);
        totals.waiting_peak = totals.waiting_peak.max(waiting);
    }

    /// A batch has gone through all stages; its requests are still as it found them.
    pub fn count_batch(&mut self, index: usize, batch: &Batch) {
        let totals = &mut self.out.totals;
        totals.batches += 1;
        totals.batch_members += batch.members.len() as u64;
        totals.end = totals.end.max(self.now);
        let (mut prompt_tokens, mut tokens) = (0, 0);
        for job in batch.members.iter().map(|&job| &self.jobs[job]) {
            let planned = u64::from(job.planned);
            tokens += job.planned;
            totals.context_products += u64::from(job.done) * planned;
            match job.prefilled {
                true => totals.decode_tokens += planned,
                false => {
                    prompt_tokens += job.planned;
                    totals.prefill_tokens += planned;
                    totals.prefill_squares += planned * (planned + 1) / 2;
                }
            }
        }
        self.out.batches.push(BatchRecord {
            id: batch.id,
            count: 1,
            replica: index as u32,
            stage: self.limits.stages - 1,
            scheduled_at: batch.scheduled_at,
            completed_at: self.now,
            tokens,
            prefill_tokens: prompt_tokens,
            size: batch.members.len() as u32,
        });
    }
}
