//! The files of a result folder, as rows of numbers.

use std::path::Path;

use serde_json::Value;

use crate::base::Source;
use crate::scenario::Document;

/// A time in nanoseconds.
pub(super) type Time = i64;

/// What a folder holds.
pub(super) struct Files {
    pub summary: Value,
    /// `None` if the file is not there, as for the others.
    pub requests: Option<Vec<Request>>,
    pub batches: Option<Vec<Batch>>,
    pub series: Option<Vec<Interval>>,
    /// From a request's arrival until the engine has it.
    pub api_overhead: Time,
    pub time_limit: Option<f64>,
    /// Requests that the scenario asks for, of all its models; `None` where it names no number.
    asked: Option<u64>,
    stages: f64,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Finished,
    Rejected,
    Unfinished,
}

/// A row of `request_metrics.csv`. What only some files have is `None` elsewhere.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub id: String,
    pub status: Status,
    pub arrived: Time,
    pub scheduled: Option<Time>,
    pub first_token: Option<Time>,
    pub completed: Option<Time>,
    pub prompt: u64,
    pub output: u64,
    pub cached: u64,
    pub reloaded: Option<u64>,
    pub drafted: Option<u64>,
    pub accepted: Option<u64>,
    pub restarts: u64,
    pub ttft: Option<Time>,
    pub tpot: Option<f64>,
    pub e2e: Option<Time>,
    pub queue: Option<Time>,
    pub execution: Option<Time>,
    pub preemption: Option<Time>,
    /// The outer one: whether there is such a column.
    pub transfer: Option<Option<Time>>,
}

/// A row of `batch_metrics.csv`, in either form.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub replica: u64,
    pub count: u64,
    pub tokens: u64,
    pub prefill: u64,
    pub decode: u64,
    pub size: u64,
    pub execution: Time,
    pub scheduled: Time,
    pub completed: Time,
}

/// A row of `time_series.csv`.
#[derive(Clone, Debug)]
pub(super) struct Interval {
    pub time: Time,
    pub running: u64,
    pub waiting: u64,
    pub kv_allocated: f64,
    pub kv_blocks: u64,
    pub prompt: u64,
    pub output: u64,
    pub finished: u64,
    pub throughput: f64,
}

impl Files {
    pub fn read(folder: &Path) -> Result<Files, String> {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
        let summary = text("summary.json").ok_or("there is no summary.json")?;
        let summary =
            serde_json::from_str(&summary).map_err(|error| format!("summary.json: {error}"))?;
        let scenario = Settings::read(text("scenario.ron").unwrap_or_default())?;
        let rows = |name: &str| text(name).map(|text| Table::read(name, &text)).transpose();
        Ok(Files {
            requests: rows("request_metrics.csv")?.map(|t| t.each(request)).transpose()?,
            batches: rows("batch_metrics.csv")?.map(|t| t.each(batch)).transpose()?,
            series: rows("time_series.csv")?.map(|t| t.each(interval)).transpose()?,
            api_overhead: (scenario.of_pool("engine.api_overhead_ms").unwrap_or(0.0) * 1e6).round()
                as Time,
            time_limit: scenario.number("time_limit_s"),
            asked: scenario.requests(),
            stages: scenario.of_pool("cluster.pipeline_parallel").unwrap_or(1.0),
            summary,
        })
    }

    /// A metric's mean over the only seed.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.summary["metrics"][name]["mean"].as_f64()
    }

    /// A count of `requests` in the summary.
    pub fn count(&self, name: &str) -> u64 {
        self.summary["requests"][name].as_u64().unwrap_or(u64::MAX)
    }

    /// Whether all figures are of the whole run.
    pub fn is_whole(&self) -> bool {
        self.count("counted") == self.count("finished")
    }

    /// When the run ended, in seconds.
    pub fn end(&self) -> f64 {
        let last = |times: &mut dyn Iterator<Item = Time>| times.max().unwrap_or(0);
        let requests = self.requests.iter().flatten();
        let arrived = last(&mut requests.map(|request| request.arrived));
        let ended = last(&mut self.batches.iter().flatten().map(|batch| batch.completed));
        let end = arrived.max(ended) as f64 / 1e9;
        match (self.time_limit, self.metric("duration")) {
            // A limit that was not reached leaves the run as it is.
            (Some(limit), Some(duration)) if self.is_whole() && limit == duration => limit,
            (Some(limit), _) if self.count("unfinished") > 0 => limit,
            // Others were still to come.
            (Some(limit), _) if self.asked.is_some_and(|all| self.count("arrived") < all) => limit,
            _ => end,
        }
    }

    /// Whether a replica has several stages.
    pub fn is_pipeline(&self) -> bool {
        self.stages > 1.0
    }

    /// Whether several pools share the cluster, whose figures need not add up to those of one.
    pub fn has_pools(&self) -> bool {
        self.summary["models"].is_object()
    }
}

/// The settings of a resolved scenario.
struct Settings(Document);

impl Settings {
    /// Reads `scenario.ron`; nothing is set in an empty one.
    fn read(text: String) -> Result<Settings, String> {
        let text = if text.is_empty() { "()".to_owned() } else { text };
        let document = Document::parse(&Source::new("scenario.ron", text));
        document.map(Settings).map_err(|error| error.to_string())
    }

    /// The number at a path.
    fn number(&self, path: &str) -> Option<f64> {
        let node = self.0.node(path)?;
        let text = self.0.slice(&node.span);
        text.trim_start_matches("Some(").trim_end_matches(')').parse().ok()
    }

    /// The names of its models, where there are several.
    fn models(&self) -> impl Iterator<Item = &str> {
        let models = self.0.node("models").map(|node| node.fields()).unwrap_or_default();
        models.iter().map(|model| self.0.slice(&model.key).trim_matches('"'))
    }

    /// The number at a path of the first pool that has one.
    fn of_pool(&self, path: &str) -> Option<f64> {
        let of_models = self.models().map(|name| format!("models.{name}.{path}"));
        let paths =
            [path.to_owned(), format!("disaggregated.prefill.{path}")].into_iter().chain(of_models);
        paths.into_iter().find_map(|path| self.number(&path))
    }

    /// The requests of all its models together.
    fn requests(&self) -> Option<u64> {
        let of_models = self.models().map(|name| format!("models.{name}.workload.requests"));
        let paths = std::iter::once("workload.requests".to_owned()).chain(of_models);
        let counts = paths.filter_map(|path| self.number(&path));
        counts.map(|count| count as u64).reduce(|sum, count| sum + count)
    }
}

struct Table {
    name: String,
    header: csv::StringRecord,
    rows: Vec<csv::StringRecord>,
}

impl Table {
    fn read(name: &str, text: &str) -> Result<Table, String> {
        let failed = |error: csv::Error| format!("{name}: {error}");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().map_err(failed)?.clone();
        let rows = reader.records().collect::<Result<_, _>>().map_err(failed)?;
        Ok(Table { name: name.to_owned(), header, rows })
    }

    fn each<T>(&self, read: fn(&Row<'_>) -> Result<T, String>) -> Result<Vec<T>, String> {
        let row = |(index, cells)| {
            read(&Row { table: self, cells })
                .map_err(|e| format!("{}, row {index}: {e}", self.name))
        };
        self.rows.iter().enumerate().map(row).collect()
    }
}

struct Row<'a> {
    table: &'a Table,
    cells: &'a csv::StringRecord,
}

impl Row<'_> {
    /// The text under a heading; `None` if there is no such column.
    fn cell(&self, heading: &str) -> Option<&str> {
        let index = self.table.header.iter().position(|known| known == heading)?;
        self.cells.get(index)
    }

    fn text(&self, heading: &str) -> Result<&str, String> {
        self.cell(heading).ok_or_else(|| format!("no column {heading}"))
    }

    fn number(&self, heading: &str) -> Result<Option<f64>, String> {
        match self.text(heading)? {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| format!("{heading} is `{text}`")),
        }
    }

    fn count(&self, heading: &str) -> Result<u64, String> {
        let text = self.text(heading)?;
        text.parse().map_err(|_| format!("{heading} is `{text}`"))
    }

    fn optional_count(&self, heading: &str) -> Result<Option<u64>, String> {
        self.cell(heading).map(|_| self.count(heading)).transpose()
    }

    /// Nanoseconds, exactly.
    fn time(&self, heading: &str) -> Result<Option<Time>, String> {
        let text = self.text(heading)?;
        if text.is_empty() {
            return Ok(None);
        }
        let wrong = || format!("{heading} is `{text}`");
        let (whole, fraction) = text.split_once('.').ok_or_else(wrong)?;
        format!("{whole}{fraction:0<9}").parse().map(Some).map_err(|_| wrong())
    }

    fn sure_time(&self, heading: &str) -> Result<Time, String> {
        self.time(heading)?.ok_or_else(|| format!("{heading} is empty"))
    }
}

fn request(row: &Row<'_>) -> Result<Request, String> {
    Ok(Request {
        id: row.text("Request Id")?.to_owned(),
        status: match row.text("status")? {
            "finished" => Status::Finished,
            "rejected" => Status::Rejected,
            "unfinished" => Status::Unfinished,
            other => return Err(format!("status is `{other}`")),
        },
        arrived: row.sure_time("arrived_at")?,
        scheduled: row.time("scheduled_at")?,
        first_token: row.time("first_token_at")?,
        completed: row.time("completed_at")?,
        prompt: row.count("request_num_prefill_tokens")?,
        output: row.count("request_num_decode_tokens")?,
        cached: row.count("num_cached_tokens")?,
        reloaded: row.optional_count("num_host_cached_tokens")?,
        drafted: row.optional_count("num_draft_tokens")?,
        accepted: row.optional_count("num_accepted_tokens")?,
        restarts: row.count("request_num_restarts")?,
        ttft: row.time("ttft")?,
        tpot: row.number("tpot")?,
        e2e: row.time("request_e2e_time")?,
        queue: row.time("request_scheduling_delay")?,
        execution: row.time("request_execution_time")?,
        preemption: row.time("request_preemption_time")?,
        transfer: match row.cell("kv_transfer_time") {
            None => None,
            Some(_) => Some(row.time("kv_transfer_time")?),
        },
    })
}

fn batch(row: &Row<'_>) -> Result<Batch, String> {
    Ok(Batch {
        replica: row.count("replica_id")?,
        count: row.optional_count("count")?.unwrap_or(1),
        tokens: row.count("batch_num_tokens")?,
        prefill: row.count("batch_num_prefill_tokens")?,
        decode: row.count("batch_num_decode_tokens")?,
        size: row.count("batch_size")?,
        execution: row.sure_time("batch_execution_time")?,
        scheduled: row.sure_time("scheduled_at")?,
        completed: row.sure_time("completed_at")?,
    })
}

fn interval(row: &Row<'_>) -> Result<Interval, String> {
    let share = |heading: &str| row.number(heading)?.ok_or_else(|| format!("{heading} is empty"));
    Ok(Interval {
        time: row.sure_time("time")?,
        running: row.count("running")?,
        waiting: row.count("waiting")?,
        kv_allocated: share("kv_allocated")?,
        kv_blocks: row.count("kv_allocated_blocks")?,
        prompt: row.count("prompt_tokens")?,
        output: row.count("output_tokens")?,
        finished: row.count("finished")?,
        throughput: share("output_throughput")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_requests_of_the_workload_are_asked_for() {
        let settings = |text: &str| Settings::read(text.to_owned()).unwrap();
        let one = settings(
            "(name: \"requests: 7\", workload: (arrivals: Poisson(qps: 1.0), requests: 20), \
             admission: MaxQueue(requests: 3), time_limit_s: 2.5, engine: (api_overhead_ms: 1.5))",
        );
        assert_eq!((one.requests(), one.number("time_limit_s")), (Some(20), Some(2.5)));
        assert_eq!(one.of_pool("engine.api_overhead_ms"), Some(1.5));
        let two = settings(
            "(models: {\"a\": (workload: (requests: 5)), \"b\": (workload: (requests: 6), \
             cluster: (pipeline_parallel: 2), admission: MaxQueue(requests: 3))})",
        );
        assert_eq!(
            (two.requests(), two.of_pool("cluster.pipeline_parallel")),
            (Some(11), Some(2.0))
        );
        let sides = settings("(disaggregated: (prefill: (cluster: (pipeline_parallel: 4))))");
        assert_eq!(sides.of_pool("cluster.pipeline_parallel"), Some(4.0));
        let unbounded = settings("(workload: (duration_s: 3.0), admission: MaxQueue(requests: 3))");
        assert_eq!(unbounded.requests(), None);
        assert_eq!(settings("").requests(), None);
    }
}
