//! `request_metrics.csv`: one row per request, in the order in which they end.

use std::io::{self, Write};

use super::rows::{Rows, quoted};
use crate::base::Nanos;
use crate::metrics::seconds_per;
use crate::records::{RequestRecord, RequestStatus};

/// Vidur's columns in Vidur's order, then ours. Times in seconds, `*_normalized` in seconds per
/// output token, except the prefill's, which is per prompt token.
pub const HEADER: &str = "Request Id,request_e2e_time,request_e2e_time_normalized,\
request_execution_time,request_execution_time_normalized,request_model_execution_time,\
request_model_execution_time_normalized,request_preemption_time,request_scheduling_delay,\
request_execution_plus_preemption_time,request_execution_plus_preemption_time_normalized,\
prefill_e2e_time,prefill_time_execution_plus_preemption,\
prefill_time_execution_plus_preemption_normalized,\
decode_time_execution_plus_preemption_normalized,request_inter_arrival_delay,request_num_tokens,\
request_num_prefill_tokens,request_num_decode_tokens,request_pd_ratio,request_num_restarts,\
replica_id,model,arrived_at,scheduled_at,first_token_at,completed_at,num_cached_tokens,\
num_preemptions,ttft,tpot,status,reject_reason";

/// More columns under speculative decoding.
const DRAFTS: &str = "num_draft_tokens,num_accepted_tokens";

/// More columns with KV blocks in host memory.
const OFFLOAD: &str = "num_host_cached_tokens,num_swaps";

/// One more column under disaggregation.
const TRANSFERS: &str = "kv_transfer_time";

/// One more column where LoRA adapters are served.
const ADAPTERS: &str = "lora_adapter";

/// One more column where there are classes of requests.
const CLASSES: &str = "class";

/// The last column of a file of several seeds.
const SEED: &str = "seed";

/// Writes the rows. A cell is empty where its value does not exist: completion and what derives
/// from it for a request that did not finish, TPOT for one output token, and so on.
#[derive(Debug)]
pub struct RequestCsv<W> {
    rows: Rows<W>,
    models: Vec<String>,
    drafts: bool,
    offload: bool,
    transfers: bool,
    adapters: bool,
    classes: Vec<String>,
    seed: Option<u64>,
}

impl<W: Write> RequestCsv<W> {
    /// Starts the file; a row names the model of its request's pool.
    pub fn new(out: W, models: &[&str]) -> RequestCsv<W> {
        let models = models.iter().map(|model| quoted(model)).collect();
        let rows = Rows::new(out, HEADER);
        RequestCsv {
            rows,
            models,
            drafts: false,
            offload: false,
            transfers: false,
            adapters: false,
            classes: Vec::new(),
            seed: None,
        }
    }

    /// Also writes the columns of speculative decoding. Before the first row.
    pub fn with_drafts(mut self) -> RequestCsv<W> {
        self.rows.more_columns(DRAFTS);
        self.drafts = true;
        self
    }

    /// Also writes the columns of host memory. Before the first row, after
    /// [`RequestCsv::with_drafts`].
    pub fn with_offload(mut self) -> RequestCsv<W> {
        self.rows.more_columns(OFFLOAD);
        self.offload = true;
        self
    }

    /// Also writes the column of disaggregation. Before the first row, after
    /// [`RequestCsv::with_drafts`].
    pub fn with_transfers(mut self) -> RequestCsv<W> {
        self.rows.more_columns(TRANSFERS);
        self.transfers = true;
        self
    }

    /// Also writes the column of LoRA adapters. Before the first row, after the others but for
    /// [`RequestCsv::with_classes`].
    pub fn with_adapters(mut self) -> RequestCsv<W> {
        self.rows.more_columns(ADAPTERS);
        self.adapters = true;
        self
    }

    /// Also writes the column of classes with these names. Before the first row, after the others
    /// but for [`RequestCsv::with_seed`].
    pub fn with_classes(mut self, names: &[String]) -> RequestCsv<W> {
        self.rows.more_columns(CLASSES);
        self.classes = names.iter().map(|name| quoted(name)).collect();
        self
    }

    /// Also writes the seed of the run, for a file of several. Before the first row, the last of
    /// the additions.
    pub fn with_seed(mut self, seed: u64) -> RequestCsv<W> {
        self.rows.more_columns(SEED);
        self.seed = Some(seed);
        self
    }

    /// Writes one row. Lengths are those at arrival, also after preemptions (Vidur divides by what
    /// is left then).
    pub fn write(&mut self, r: &RequestRecord) {
        let finished = r.status == RequestStatus::Finished;
        let completed = r.completed_at.filter(|_| finished);
        let output = f64::from(r.output_tokens.max(1));
        let prompt = f64::from(r.prompt_tokens.max(1));
        let per = |time: Option<Nanos>, tokens: f64| time.map(|time| seconds_per(time, tokens));

        let since = |to: Option<Nanos>, from: Option<Nanos>| Some(to?.since(from?));
        let arrived = Some(r.arrived_at);
        let e2e = since(completed, arrived);
        let ttft = since(r.first_token_at, arrived);
        let prefill = since(r.first_token_at, r.scheduled_at);
        let decode = since(completed, r.first_token_at);
        let execution = r.scheduled_at.map(|_| r.execution_time);
        let preemption = r.scheduled_at.map(|_| r.preemption_time);
        let both = r.scheduled_at.map(|_| r.execution_time + r.preemption_time);
        // A whole for a request that finished; what a part of it would be per token says nothing.
        let whole = |time: Option<Nanos>| time.filter(|_| finished);

        let rows = &mut self.rows;
        rows.integer(r.id);
        rows.time(e2e);
        rows.ratio(per(e2e, output));
        // Without CPU overheads the model's execution time is the whole execution time.
        let start = rows.here();
        rows.time(execution);
        rows.ratio(per(whole(execution), output));
        rows.again(start, rows.here());
        rows.time(preemption);
        rows.time(since(r.scheduled_at, arrived));
        rows.time(both);
        rows.ratio(per(whole(both), output));
        let before_ttft = rows.here();
        rows.time(ttft);
        let after_ttft = rows.here();
        rows.time(prefill);
        rows.ratio(per(prefill, prompt));
        rows.ratio(per(decode, output));
        rows.time(r.inter_arrival);
        rows.integer(u64::from(r.prompt_tokens) + u64::from(r.output_tokens));
        rows.integer(r.prompt_tokens);
        rows.integer(r.output_tokens);
        rows.ratio(f64::from(r.prompt_tokens) / output);
        rows.integer(r.restarts);

        match r.replica {
            Some(replica) => rows.integer(replica),
            None => rows.text(""),
        }
        rows.text(self.models.get(r.pool as usize).map_or("", String::as_str));
        rows.time(arrived);
        rows.time(r.scheduled_at);
        rows.time(r.first_token_at);
        rows.time(completed);
        rows.integer(r.cached_tokens);
        rows.integer(r.restarts);
        rows.again(before_ttft, after_ttft);
        rows.ratio(per(decode, output - 1.0).filter(|_| r.output_tokens > 1));
        let (status, reason) = match &r.status {
            RequestStatus::Finished => ("finished", String::new()),
            RequestStatus::Unfinished => ("unfinished", String::new()),
            RequestStatus::Rejected(reason) | RequestStatus::NotAdmitted(reason) => {
                ("rejected", quoted(reason))
            }
        };
        rows.text(status);
        rows.text(&reason);
        if self.drafts {
            rows.integer(r.drafted);
            rows.integer(r.accepted);
        }
        if self.offload {
            rows.integer(r.reloaded_tokens);
            rows.integer(r.swaps);
        }
        if self.transfers {
            rows.time(r.kv_transfer);
        }
        if self.adapters {
            match r.adapter {
                Some(adapter) => rows.integer(adapter),
                None => rows.text(""),
            }
        }
        if !self.classes.is_empty() {
            rows.text(self.classes.get(r.class as usize).map_or("", String::as_str));
        }
        if let Some(seed) = self.seed {
            rows.integer(seed);
        }
        rows.end_row();
    }

    /// Ends the file; returns the first error there was.
    pub fn finish(self) -> io::Result<W> {
        self.rows.finish()
    }
}

/// A request with everything, for tests.
#[cfg(test)]
pub(crate) fn example() -> RequestRecord {
    RequestRecord {
        id: 7,
        pool: 0,
        class: 0,
        adapter: None,
        replica: Some(1),
        arrived_at: Nanos(1_000_000_000),
        inter_arrival: Some(Nanos(250_000_000)),
        scheduled_at: Some(Nanos(1_100_000_000)),
        first_token_at: Some(Nanos(1_300_000_000)),
        completed_at: Some(Nanos(2_000_000_000)),
        prompt_tokens: 100,
        output_tokens: 8,
        cached_tokens: 16,
        execution_time: Nanos(500_000_000),
        preemption_time: Nanos(300_000_000),
        reloaded_tokens: 32,
        restarts: 1,
        swaps: 2,
        kv_transfer: Some(Nanos(70_000_000)),
        drafted: 40,
        accepted: 31,
        in_window: true,
        status: RequestStatus::Finished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RequestRecord {
        example()
    }

    #[test]
    fn drafts_have_columns_at_the_end_where_there_are_any() {
        let mut csv = RequestCsv::new(Vec::new(), &["m"]).with_drafts();
        csv.write(&record());
        let text = String::from_utf8(csv.finish().unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("{HEADER},num_draft_tokens,num_accepted_tokens"));
        assert!(lines[1].ends_with(",finished,,40,31"), "{}", lines[1]);
    }

    #[test]
    fn transfers_have_a_column_at_the_end_where_there_are_any() {
        let mut csv = RequestCsv::new(Vec::new(), &["m"]).with_transfers();
        csv.write(&record());
        let text = String::from_utf8(csv.finish().unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("{HEADER},kv_transfer_time"));
        assert!(lines[1].ends_with(",finished,,0.07"), "{}", lines[1]);
    }

    #[test]
    fn classes_have_a_column_at_the_end_where_there_are_any() {
        let names = ["chat".to_owned(), "over, night".to_owned()];
        let mut csv = RequestCsv::new(Vec::new(), &["m"]).with_transfers().with_classes(&names);
        csv.write(&RequestRecord { class: 1, ..record() });
        let text = String::from_utf8(csv.finish().unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("{HEADER},kv_transfer_time,class"));
        assert!(lines[1].ends_with(",finished,,0.07,\"over, night\""), "{}", lines[1]);
    }

    #[test]
    fn a_seed_is_the_last_column() {
        let names = ["chat".to_owned()];
        let mut csv =
            RequestCsv::new(Vec::new(), &["m"]).with_drafts().with_classes(&names).with_seed(43);
        csv.write(&record());
        let text = String::from_utf8(csv.finish().unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("num_accepted_tokens,class,seed"), "{}", lines[0]);
        assert!(lines[1].ends_with(",40,31,chat,43"), "{}", lines[1]);
    }

    fn rows(records: &[RequestRecord]) -> Vec<String> {
        let mut csv = RequestCsv::new(Vec::new(), &["Llama-2-7B"]);
        records.iter().for_each(|record| csv.write(record));
        let text = String::from_utf8(csv.finish().unwrap()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_finished_request_byte_by_byte() {
        let lines = rows(&[record()]);
        assert_eq!(
            lines[1],
            "7,1.0,0.125,0.5,0.0625,0.5,0.0625,0.3,0.1,0.8,0.1,0.3,0.2,0.002,0.0875,0.25,108,100,8,\
             12.5,1,1,Llama-2-7B,1.0,1.1,1.3,2.0,16,1,0.3,0.1,finished,"
        );
    }

    #[test]
    fn what_does_not_exist_is_empty() {
        let one_token = RequestRecord { output_tokens: 1, inter_arrival: None, ..record() };
        let rejected = RequestRecord {
            replica: None,
            scheduled_at: None,
            first_token_at: None,
            execution_time: Nanos::ZERO,
            preemption_time: Nanos::ZERO,
            restarts: 0,
            cached_tokens: 0,
            status: RequestStatus::Rejected("prompt of 5000, limit 4096".to_owned()),
            ..record()
        };
        let unfinished = RequestRecord {
            first_token_at: None,
            completed_at: None,
            status: RequestStatus::Unfinished,
            ..record()
        };
        let lines = rows(&[one_token, rejected, unfinished]);
        assert!(lines[1].ends_with(",0.3,,finished,"), "{}", lines[1]);
        assert_eq!(
            lines[2],
            "7,,,,,,,,,,,,,,,0.25,108,100,8,12.5,0,,Llama-2-7B,1.0,,,,0,0,,,rejected,\
             \"prompt of 5000, limit 4096\""
        );
        assert_eq!(
            lines[3],
            "7,,,0.5,,0.5,,0.3,0.1,0.8,,,,,,0.25,108,100,8,12.5,1,1,Llama-2-7B,1.0,1.1,,,16,1,,,\
             unfinished,"
        );
    }

    #[test]
    fn every_row_has_a_cell_for_every_column() {
        let lines = rows(&[record()]);
        let mut reader = csv::Reader::from_reader(lines.join("\n").leak().as_bytes());
        let columns = reader.headers().unwrap().len();
        assert_eq!(columns, 33);
        assert!(reader.records().all(|row| row.unwrap().len() == columns));
    }
}
