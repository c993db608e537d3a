//! Classes of requests: each has a share of the requests, and may have its own priority, lengths
//! and objectives.

use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::lengths::{LengthDistribution, LengthPairs};
use super::tagged::{Changed, Tagged};
use super::traces::ClassName;
use super::{Lengths, RequestSource};
use crate::base::{RandomStream, SettingError};
use crate::workload::Slo;

/// The most classes: each has metrics of its own.
const MAX_CLASSES: usize = 64;

/// A class, as a scenario says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassSpec {
    /// Its share of the requests, relative to the other classes' shares; `None` in all classes
    /// where a trace names the class of each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Priority of its requests, smaller is more urgent; as the workload has it if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Lengths of its requests; those of the workload if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<Lengths>,
    /// Its objectives; those of the scenario if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<Slo>,
}

/// Checked classes.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    names: Vec<String>,
    of_requests: OfRequests,
    priorities: Vec<Option<i32>>,
    lengths: Vec<Option<Arc<dyn LengthDistribution>>>,
}

/// How requests get their class.
#[derive(Clone, Debug)]
enum OfRequests {
    /// It is drawn: sums of the shares up to each class.
    Shares(Vec<f64>),
    /// A trace names it: the class of each of its names.
    Named(Vec<u32>),
}

impl Classes {
    /// Checks the settings; paths of errors are relative to `classes`.
    ///
    /// # Errors
    /// A share or lengths that make no sense, or too many classes.
    pub fn check(
        specs: &IndexMap<String, ClassSpec>,
        base_dir: &Path,
    ) -> Result<Classes, SettingError> {
        if specs.is_empty() || specs.len() > MAX_CLASSES {
            let expected = format!("1 to {MAX_CLASSES} classes");
            return Err(SettingError::new("", format!("{} classes", specs.len()), expected));
        }
        let mut classes = Classes {
            names: Vec::new(),
            of_requests: OfRequests::Named(Vec::new()),
            priorities: Vec::new(),
            lengths: Vec::new(),
        };
        let mut sums = Vec::new();
        let mut sum = 0.0;
        let shares = specs.values().any(|spec| spec.share.is_some());
        for (name, spec) in specs {
            if name.trim().is_empty() || name.contains(char::is_control) || name.contains('"') {
                let found = format!("a class called `{}`", name.escape_debug());
                return Err(SettingError::new("", found, "a name of a word or two"));
            }
            let within = |error: SettingError| error.within(&format!("\"{name}\""));
            let expected = "a share above 0, such as 0.5";
            match spec.share {
                Some(share) if share > 0.0 && share <= 1e6 => sum += share,
                Some(share) => return Err(within(SettingError::new("share", share, expected))),
                None if shares => {
                    return Err(within(SettingError::new("share", "absent", expected)));
                }
                None => {}
            }
            if let Some(error) = spec.slo.as_ref().and_then(|slo| slo.check().into_iter().next()) {
                return Err(within(error.within("slo")));
            }
            if let Some(slo) = &spec.slo
                && slo.itl_p99_ms.is_some()
            {
                let expected = "no limit of a class: gaps between tokens are pooled over classes";
                return Err(within(SettingError::new("slo.itl_p99_ms", "given", expected)));
            }
            let lengths = match &spec.lengths {
                None => None,
                Some(lengths) => Some(endless(lengths, base_dir).map_err(within)?),
            };
            classes.names.push(name.clone());
            sums.push(sum);
            classes.priorities.push(spec.priority);
            classes.lengths.push(lengths);
        }
        if shares {
            classes.of_requests = OfRequests::Shares(sums);
        }
        Ok(classes)
    }

    /// Classes of requests of a trace with these names of classes; of no trace, or of one that
    /// names none, if there are none. Paths of errors are relative to the workload.
    ///
    /// # Errors
    /// Nothing says which class a request is of, or the trace names one that is none.
    pub fn of_trace(mut self, found: &[ClassName]) -> Result<Classes, SettingError> {
        let OfRequests::Named(numbers) = &mut self.of_requests else { return Ok(self) };
        if found.is_empty() {
            let expected = "a share of each class, or a trace that names the class of each request";
            return Err(SettingError::new("classes", "without shares", expected)
                .help("for example \"chat\": (share: 0.5)"));
        }
        for class in found {
            let Some(number) = self.names.iter().position(|name| *name == class.name) else {
                let found = match class.name.as_str() {
                    "" => format!("without a class at {}", class.place),
                    name => format!("with class `{name}` at {}", class.place),
                };
                let expected = format!("one of the classes: {}", self.names.join(", "));
                return Err(SettingError::new("trace.file", found, expected).help(
                    "with a `share` for each class they are drawn, whatever the trace says",
                ));
            };
            numbers.push(number as u32);
        }
        Ok(self)
    }

    /// Names of the classes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a class has lengths of its own.
    pub fn any_lengths(&self) -> bool {
        self.lengths.iter().any(Option::is_some)
    }

    /// The lengths of the first class if every class has its own: the workload needs none then.
    pub fn all_lengths(&self) -> Option<Arc<dyn LengthDistribution>> {
        let all = self.lengths.iter().all(Option::is_some);
        self.lengths.first().cloned().flatten().filter(|_| all)
    }

    /// The longest prompt plus output if classes without lengths of their own have this.
    pub fn max_total(&self, of_workload: Option<u32>) -> Option<u32> {
        let of = |lengths: &Option<Arc<dyn LengthDistribution>>| match lengths {
            Some(lengths) => lengths.max_total(),
            None => of_workload,
        };
        self.lengths.iter().map(of).try_fold(0, |most, one| Some(one?.max(most)))
    }

    /// Why lengths of a class ended early, if a file of them has gone or changed since.
    pub fn failure(&self) -> Option<&str> {
        self.lengths.iter().flatten().find_map(|lengths| lengths.failure())
    }

    /// `source`, its requests dealt out to the classes under `seed`. `follows` says whether
    /// requests of it follow others, whose class they have then.
    pub fn deal(
        &self,
        source: Box<dyn RequestSource>,
        seed: u64,
        follows: bool,
    ) -> Box<dyn RequestSource> {
        let priorities = self.priorities.clone();
        let sums = match &self.of_requests {
            OfRequests::Shares(sums) => sums.clone(),
            OfRequests::Named(numbers) => {
                let numbers = numbers.clone();
                return Box::new(Changed::new(source, move |request| {
                    request.class = numbers[request.class as usize];
                    if let Some(priority) = priorities[request.class as usize] {
                        request.priority = priority;
                    }
                }));
            }
        };
        let mut stream = RandomStream::new(seed, "classes");
        let draw = move || draw(&sums, stream.uniform());
        let pairs = self.lengths.iter().zip(&self.names).map(|(lengths, name)| {
            let own = RandomStream::seed_of(seed, &format!("class {name}"));
            lengths.as_ref().map(|lengths| lengths.pairs(own))
        });
        let mut pairs: Vec<Option<LengthPairs>> = pairs.collect();
        Box::new(Tagged::new(source, follows, draw, move |request, class| {
            request.class = class;
            let place = class as usize;
            if let Some(priority) = priorities[place] {
                request.priority = priority;
            }
            // They have no end unless their file has gone, with which the source ends too.
            if let Some(pair) = pairs[place].as_mut().and_then(Iterator::next) {
                (request.prompt_tokens, request.output_tokens) = (pair.prompt, pair.output);
            }
        }))
    }
}

/// The class that a number from 0 to 1 falls into.
fn draw(sums: &[f64], uniform: f64) -> u32 {
    let at = uniform * sums.last().copied().unwrap_or(1.0);
    let place = sums.partition_point(|&sum| sum <= at);
    place.min(sums.len() - 1) as u32
}

/// Lengths that never come to an end, since nobody knows how many a class will need.
fn endless(
    lengths: &Lengths,
    base_dir: &Path,
) -> Result<Arc<dyn LengthDistribution>, SettingError> {
    let checked = lengths.check(base_dir).map_err(|error| error.within("lengths"))?;
    match checked.count().or(checked.rows_required()) {
        None => Ok(checked),
        Some(rows) => {
            let expected = "`on_end: Repeat` for a class, whose number of requests is drawn";
            Err(SettingError::new("lengths.file", format!("{rows} rows"), expected))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{NewRequest, WorkloadSpec};

    fn spec(text: &str) -> WorkloadSpec {
        crate::base::ron_options().from_str(text).unwrap()
    }

    fn requests(text: &str, seed: u64) -> Vec<NewRequest> {
        let mut source = spec(text).check(Path::new(".")).unwrap().source(seed);
        std::iter::from_fn(|| source.next_request()).collect()
    }

    fn refused(text: &str, want: &str) {
        let error = spec(text).check(Path::new(".")).unwrap_err().to_string();
        assert!(error.contains(want), "{error} does not contain {want}");
    }

    const PLAIN: &str = "requests: 4000, arrivals: Poisson(qps: 5.0), \
                         lengths: Uniform(prompt: (10, 500), output: (10, 90))";

    #[test]
    fn classes_take_their_shares_and_shift_nothing_else() {
        let plain = requests(&format!("({PLAIN})"), 7);
        let classes = r#"classes: {"a": (share: 3, priority: -2), "b": (share: 1),
            "c": (share: 1, lengths: Fixed(prompt: 7, output: 3))}"#;
        let dealt = requests(&format!("({PLAIN}, {classes})"), 7);
        let mut counts = [0_u32; 3];
        for (was, is) in plain.iter().zip(&dealt) {
            counts[is.class as usize] += 1;
            assert_eq!((was.id, was.arrived_at), (is.id, is.arrived_at));
            let lengths = |r: &NewRequest| (r.prompt_tokens, r.output_tokens);
            match is.class {
                2 => assert_eq!(lengths(is), (7, 3)),
                _ => assert_eq!(lengths(is), lengths(was)),
            }
            assert_eq!(is.priority, if is.class == 0 { -2 } else { 0 });
        }
        // 99.9 % of a binomial share lie within 3.3 standard deviations.
        for (count, share) in counts.into_iter().zip([0.6, 0.2, 0.2]) {
            let deviation: f64 = 4000.0 * share * (1.0 - share);
            assert!((f64::from(count) - 4000.0 * share).abs() < 3.3 * deviation.sqrt(), "{count}");
        }
    }

    #[test]
    fn a_conversation_stays_in_its_class() {
        let text = r#"(requests: 400, arrivals: Poisson(qps: 5.0),
            lengths: Fixed(prompt: 20, output: 10),
            conversations: (turns: Fixed(4), think: Fixed(1.0)),
            classes: {"a": (share: 1), "b": (share: 1, priority: 3)})"#;
        let workload = spec(text).check(Path::new(".")).unwrap();
        let mut source = workload.source(3);
        let mut seen = [false; 2];
        while let Some(first) = source.next_request() {
            let class = first.class;
            seen[class as usize] = true;
            let mut turn = Some(first);
            while let Some(request) = turn {
                assert_eq!((request.class, request.priority), (class, 3 * class as i32));
                turn = source.ended(request.id, true, request.arrived_at);
            }
        }
        assert_eq!(seen, [true; 2]);
    }

    const TRACE: &str = "arrived_at,num_prefill_tokens,num_decode_tokens,class\n\
                         0.5,10,3,b\n1.5,20,4,a\n2.5,30,5,b\n";
    const JSON: &str = "{\"timestamp\": 500, \"input_length\": 10, \"output_length\": 3, \"class\": \"b\"}\n\
                        {\"timestamp\": 1500, \"input_length\": 20, \"output_length\": 4, \"class\": \"a\"}\n\
                        {\"timestamp\": 2500, \"input_length\": 30, \"output_length\": 5, \"class\": \"b\"}\n";

    fn replay(file: &str, text: &str, more: &str) -> Result<Vec<NewRequest>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(file), text).unwrap();
        let spec = spec(&format!("(trace: (file: \"{file}\"), {more})"));
        let mut source = spec.check(folder.path()).map_err(|error| error.to_string())?.source(1);
        Ok(std::iter::from_fn(|| source.next_request()).collect())
    }

    #[test]
    fn a_trace_names_the_class_of_each_request() {
        let classes = r#"classes: {"a": (priority: 7), "b": ()}"#;
        for (file, text) in [("t.csv", TRACE), ("t.jsonl", JSON)] {
            let found = replay(file, text, classes).unwrap();
            let found: Vec<_> =
                found.iter().map(|r| (r.prompt_tokens, r.class, r.priority)).collect();
            assert_eq!(found, [(10, 1, 0), (20, 0, 7), (30, 1, 0)], "{file}");
            // Without classes, and with shares, the names say nothing.
            let plain = replay(file, text, "").unwrap();
            assert!(plain.iter().all(|r| r.class == 0), "{file}");
            let drawn = replay(file, text, r#"classes: {"x": (share: 1)}"#).unwrap();
            assert!(drawn.iter().all(|r| r.class == 0), "{file}");
        }
        let columns = r#"format: Columns(arrived_at: "arrived_at", prompt: "num_prefill_tokens",
            output: "num_decode_tokens", class: "tier")"#;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("t.csv"), TRACE.replace("class", "tier")).unwrap();
        let spec = spec(&format!("(trace: (file: \"t.csv\", {columns}), {classes})"));
        let mut source = spec.check(folder.path()).unwrap().source(1);
        assert_eq!(source.next_request().map(|r| r.class), Some(1));
    }

    #[test]
    fn names_that_are_no_class_are_refused_with_their_line() {
        let complaint = |text: &str, classes: &str| {
            replay("t.csv", text, &format!("classes: {{{classes}}}")).unwrap_err()
        };
        let only_b = complaint(TRACE, r#""b": ()"#);
        assert!(only_b.contains("with class `a` at t.csv:3"), "{only_b}");
        let none = complaint(&TRACE.replace("4,a", "4,"), r#""b": (), "a": ()"#);
        assert!(none.contains("without a class at t.csv:3"), "{none}");
        let plain = TRACE.replace(",class", "").replace(",b", "").replace(",a", "");
        let absent = complaint(&plain, r#""b": (), "a": ()"#);
        assert!(absent.contains("`classes` is without shares"), "{absent}");
        let mixed = complaint(TRACE, r#""b": (share: 2), "a": ()"#);
        assert!(mixed.contains(r#"`classes."a".share` is absent"#), "{mixed}");
        let number = JSON.replace("\"a\"", "5");
        let complaint = replay("t.jsonl", &number, "").unwrap_err();
        assert!(complaint.contains("`5` for key class at t.jsonl:2"), "{complaint}");
        refused(&format!(r#"({PLAIN}, classes: {{"a": ()}})"#), "without shares");
    }

    #[test]
    fn nonsense_is_refused() {
        refused(&format!("({PLAIN}, classes: {{}})"), "1 to 64 classes");
        refused(&format!(r#"({PLAIN}, classes: {{"a": (share: 0)}})"#), r#"`classes."a".share`"#);
        let slo = r#"classes: {"a": (share: 1, slo: (ttft_ms: -1))}"#;
        refused(&format!("({PLAIN}, {slo})"), r#"`classes."a".slo.ttft_ms`"#);
        let itl = r#"classes: {"a": (share: 1, slo: (itl_p99_ms: 10))}"#;
        refused(&format!("({PLAIN}, {itl})"), "itl_p99_ms");
    }

    #[test]
    fn lengths_of_all_classes_are_enough() {
        let text = r#"(requests: 10, arrivals: Static,
            classes: {"a": (share: 1, lengths: Fixed(prompt: 7, output: 3)),
                      "b": (share: 1, lengths: Fixed(prompt: 70, output: 30))})"#;
        let workload = spec(text).check(Path::new(".")).unwrap();
        assert_eq!(workload.max_total_hint(), Some(100));
        let some = text.replace(r#", lengths: Fixed(prompt: 70, output: 30)"#, "");
        refused(&some, "lengths");
    }
}
