//! The `workload` section of a scenario, as it is written.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::classes::{ClassSpec, Classes};
use super::plan::{Plan, Requests};
use super::traces::ClassName;
use super::{Arrivals, Conversations, Lengths, Prefix, TraceReplay, Workload, checks, shared};
use crate::base::{Nanos, SettingError};

/// What arrives and when: either `arrivals` with `lengths`, or a `trace` that has both.
///
/// ```
/// use vidur_ecs::workload::WorkloadSpec;
/// let options = ron::Options::default()
///     .with_default_extension(ron::extensions::Extensions::IMPLICIT_SOME);
/// let spec: WorkloadSpec = options.from_str(
///     "(requests: 3, arrivals: Poisson(qps: 2.0), lengths: Fixed(prompt: 128, output: 16))",
/// )?;
/// let workload = spec.check(std::path::Path::new("."))?;
/// let mut source = workload.source(42);
/// while let Some(request) = source.next_request() {
///     println!("{} {}", request.arrived_at, request.prompt_tokens);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadSpec {
    /// Number of requests. Arrivals stop here or at `duration_s`, whichever comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Seconds after which nothing arrives any more (an arrival exactly then is left out).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<f64>,
    /// When requests arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Arrivals>,
    /// How long their prompts and outputs are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<Lengths>,
    /// Makes conversations of the requests: the next turn arrives a time of thought after the last
    /// answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversations: Option<Conversations>,
    /// An exact list of requests instead of `requests`, `arrivals` and `lengths`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceReplay>,
    /// What prompts have in common, unless the trace says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Prefix>,
    /// Classes of requests by name, each with a share of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<IndexMap<String, ClassSpec>>,
    /// In a closed loop: seconds until a client whose request admission control refused sends the
    /// next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<f64>,
    /// What the statistics leave out at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Margin>,
    /// What the statistics leave out at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Margin>,
}

/// How much of the start or the end of a run the statistics leave out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Margin {
    /// So many requests, in order of arrival.
    Requests(u64),
    /// The requests that arrive within so many seconds of the start (time 0) or of the last
    /// arrival.
    Seconds(f64),
}

/// Seconds after which a client of a closed loop whose request was refused sends the next one.
const DEFAULT_RETRY_S: f64 = 1.0;

/// Requests, and what the user should know of them.
type Checked = (Requests, Vec<String>);

impl WorkloadSpec {
    /// Reads every file the workload names (paths are relative to `base_dir`) and checks every
    /// setting, so that nothing can fail later but that somebody changes a long trace, which is
    /// read again while it runs.
    ///
    /// # Errors
    /// The first setting that makes no sense, its path relative to `workload`. A complaint about
    /// a row of a file names the file, the line and the column in `found`.
    pub fn check(&self, base_dir: &Path) -> Result<Workload, SettingError> {
        if let Some(duration) = self.duration_s {
            checks::seconds("duration_s", duration)?;
        }
        let classes = match &self.classes {
            None => None,
            Some(classes) => {
                Some(Classes::check(classes, base_dir).map_err(|e| e.within("classes"))?)
            }
        };
        let named: Arc<[ClassName]>;
        let (requests, warnings) = match &self.trace {
            Some(trace) => {
                let replay = self.check_replay(trace, base_dir)?;
                named = replay.1;
                replay.0
            }
            None => {
                named = Arc::default();
                self.check_generated(classes.as_ref(), base_dir)?
            }
        };
        let classes = classes.map(|classes| classes.of_trace(&named)).transpose()?;
        let prefix = match &self.prefix {
            None => None,
            Some(_) if requests.have_content() => {
                let found = "given for a trace that has its own";
                return Err(SettingError::new("prefix", found, "one source of prefixes"));
            }
            Some(prefix) => Some(prefix.check().map_err(|e| e.within("prefix"))?),
        };
        if let Some(conversations) = &self.conversations {
            let before = prefix.as_ref().map_or(0, |prefix| prefix.tokens);
            conversations.check(before).map_err(|e| e.within("conversations"))?;
        }
        let plan = Plan {
            requests,
            conversations: self.conversations.clone(),
            prefix,
            classes,
            names_classes: !named.is_empty(),
            retry_after: Nanos::from_secs_f64(self.retry_after_s.unwrap_or(DEFAULT_RETRY_S)),
            warnings,
            limit: self.requests,
            duration: self.duration_s.map(Nanos::from_secs_f64),
            warmup: self.warmup,
            drain: self.drain,
        };
        self.check_classes(&plan)?;
        self.check_bounds(&plan)?;
        self.check_margins(&plan)?;
        Workload::new(plan)
    }

    /// The requests of a trace, and the names of their classes.
    fn check_replay(
        &self,
        trace: &TraceReplay,
        dir: &Path,
    ) -> Result<(Checked, Arc<[ClassName]>), SettingError> {
        let excess = |path| {
            SettingError::new(path, "given beside `trace`", "either a trace or generated requests")
        };
        if self.arrivals.is_some() {
            return Err(excess("arrivals").help("`arrivals: Trace(...)` takes only the times"));
        }
        if self.lengths.is_some() {
            return Err(excess("lengths").help("`lengths: Trace(...)` takes only the lengths"));
        }
        if self.conversations.is_some() {
            return Err(excess("conversations")
                .help("`trace: (think: ...)` makes closed loops of a trace's conversations"));
        }
        if self.requests.is_some() {
            return Err(excess("requests").help("`trace: (limit: N)` takes its first N requests"));
        }
        let replayed = shared::read(trace, dir).map_err(|e| e.within("trace"))?;
        let (classes, warnings) = (replayed.classes.clone(), replayed.warnings.clone());
        Ok(((Requests::Replay(replayed), warnings), classes))
    }

    fn check_generated(
        &self,
        classes: Option<&Classes>,
        base_dir: &Path,
    ) -> Result<Checked, SettingError> {
        if self.requests == Some(0) {
            return Err(SettingError::new("requests", 0, "at least 1 request"));
        }
        let arrivals = self.arrivals.as_ref().ok_or_else(|| {
            checks::missing("arrivals", "an arrival process")
                .help("for example `arrivals: Poisson(qps: 2.0)`, or a `trace`")
        })?;
        let arrivals = arrivals.check(base_dir).map_err(|e| e.within("arrivals"))?;
        let of_classes = classes.and_then(Classes::all_lengths);
        let lengths = match (&self.lengths, of_classes) {
            (Some(_), Some(_)) => {
                let found = "given beside lengths of every class";
                return Err(SettingError::new("lengths", found, "lengths that a class has"));
            }
            (Some(lengths), None) => lengths.check(base_dir).map_err(|e| e.within("lengths"))?,
            (None, Some(lengths)) => lengths,
            (None, None) => {
                return Err(checks::missing("lengths", "a length distribution")
                    .help("for example `lengths: Fixed(prompt: 128, output: 128)`, or a `trace`"));
            }
        };
        let mut warnings = arrivals.warnings().to_vec();
        warnings.extend_from_slice(lengths.warnings());
        warnings.dedup();
        Ok((Requests::Generated { arrivals, lengths }, warnings))
    }

    /// What classes and refused requests mean depends on where requests come from.
    fn check_classes(&self, plan: &Plan) -> Result<(), SettingError> {
        if plan.classes.as_ref().is_some_and(Classes::any_lengths) {
            let beside = match (&self.trace, &self.conversations) {
                (Some(_), _) => Some("a trace, which has all lengths"),
                (None, Some(_)) => Some("conversations, whose turns are drawn together"),
                (None, None) => None,
            };
            if let Some(beside) = beside {
                let found = format!("with lengths of a class, beside {beside}");
                return Err(SettingError::new("classes", found, "classes without `lengths`"));
            }
        }
        if let Some(seconds) = self.retry_after_s {
            if !(1e-3..=checks::MAX_SECONDS).contains(&seconds) {
                return Err(SettingError::new("retry_after_s", seconds, "seconds from 0.001 on"));
            }
            if plan.concurrency().is_none() {
                let expected = "a closed loop (`arrivals: Concurrency(n)`), or no `retry_after_s`";
                return Err(SettingError::new("retry_after_s", "given in an open loop", expected));
            }
        }
        Ok(())
    }

    /// The number of requests must be finite, and every trace long enough for it.
    fn check_bounds(&self, plan: &Plan) -> Result<(), SettingError> {
        let Requests::Generated { arrivals, lengths } = &plan.requests else { return Ok(()) };
        if self.conversations.is_some() {
            return self.check_conversation_bounds(plan, lengths.rows_required());
        }
        let too_few = |path, rows: u64| {
            SettingError::new(
                path,
                format!("{rows} rows for {} requests", self.requests.unwrap_or(rows)),
                "a row for each request",
            )
        };
        if let (Some(wanted), Some(rows)) = (self.requests, arrivals.count())
            && wanted > rows
        {
            return Err(
                too_few("arrivals.file", rows).help(format!("`requests: {rows}` is the most"))
            );
        }
        let wanted = [self.requests, arrivals.count()].into_iter().flatten().min();
        if let Some(rows) = lengths.rows_required() {
            let repeat = "`on_end: Repeat` starts over, `on_end: Stop` ends the run there";
            match wanted {
                Some(wanted) if wanted > rows => {
                    return Err(SettingError::new(
                        "lengths.file",
                        format!("{rows} rows for {wanted} requests"),
                        "a row for each request",
                    )
                    .help(repeat));
                }
                Some(_) => {}
                None => {
                    return Err(checks::missing("requests", "a number of requests")
                        .help(format!("the lengths have {rows} rows; {repeat}")));
                }
            }
        }
        let timed = plan.duration.is_some()
            && (arrivals.rate().is_some() || arrivals.concurrency().is_some());
        if plan.request_count().is_none() && !timed {
            return Err(checks::missing("requests", "a number of requests")
                .help("without it the workload has no end"));
        }
        if let (Some(rate), Some(count), None) =
            (arrivals.rate(), plan.request_count(), plan.duration)
            && count as f64 / rate > checks::MAX_SECONDS
        {
            return Err(SettingError::new(
                "requests",
                format!("{count} at {rate} requests per second"),
                "arrivals within 1e9 seconds",
            ));
        }
        Ok(())
    }

    /// Nobody knows beforehand how many conversations there will be.
    fn check_conversation_bounds(
        &self,
        plan: &Plan,
        rows: Option<u64>,
    ) -> Result<(), SettingError> {
        if let Some(rows) = rows {
            let expected = "`on_end: Stop` or `on_end: Repeat`, with conversations";
            return Err(SettingError::new("lengths.file", format!("{rows} rows"), expected));
        }
        if self.requests.is_none() && plan.duration.is_none() {
            return Err(checks::missing("requests", "a number of requests, all turns together")
                .help("or a `duration_s`"));
        }
        if self.requests.is_none() && plan.is_burst() {
            return Err(checks::missing("requests", "a number of requests, all turns together")
                .help("without it there is no end of conversations that begin at once"));
        }
        Ok(())
    }

    /// Warm-up and drain must leave something, as far as that is known before a run.
    fn check_margins(&self, plan: &Plan) -> Result<(), SettingError> {
        let mut requests = 0_u64;
        let mut span = 0.0;
        for (path, margin) in [("warmup", self.warmup), ("drain", self.drain)] {
            match margin {
                Some(Margin::Requests(n)) => requests = requests.saturating_add(n),
                Some(Margin::Seconds(s)) => {
                    checks::seconds(path, s)?;
                    if plan.is_burst() && !plan.is_closed_loop() {
                        return Err(SettingError::new(
                            path,
                            format!("Seconds({s})"),
                            "a number of requests, as all arrive at the same time",
                        )
                        .help("for example `Requests(100)`"));
                    }
                    span += s;
                }
                None => {}
            }
        }
        if plan.is_closed_loop() {
            let unknown = match self.drain {
                Some(Margin::Seconds(_)) => true,
                Some(Margin::Requests(_)) => plan.request_count().is_none(),
                None => false,
            };
            if unknown {
                return Err(SettingError::new(
                    "drain",
                    format!("{:?}", self.drain.unwrap_or(Margin::Requests(0))),
                    "`Requests(n)` together with `requests`",
                )
                .help("a closed loop has no end that is known beforehand"));
            }
        }
        if let Some(count) = plan.request_count()
            && requests >= count
            && requests > 0
        {
            return Err(nothing_left(format!("{requests} of at most {count} requests left out")));
        }
        if let Some(duration) = self.duration_s
            && span >= duration
        {
            return Err(nothing_left(format!("{span} of {duration} seconds left out")));
        }
        Ok(())
    }
}

/// The complaint that warm-up and drain cover the whole run.
pub(super) fn nothing_left(found: String) -> SettingError {
    SettingError::new("warmup", found, "warm-up and drain to leave requests for the statistics")
}
