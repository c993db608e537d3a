//! Expectations: what a scenario claims about its own results.

mod bound;
mod evaluate;

use serde::{Deserialize, Serialize};

use super::names::{self, Metric};
use crate::base::SettingError;

#[doc(hidden)]
pub use bound::Bound;
pub use evaluate::Outcome;
pub(crate) use evaluate::evaluate_all;

/// Over what an expectation must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[doc(hidden)]
pub enum Over {
    /// The mean over seeds (of a ratio: the ratio of the means).
    #[default]
    MeanOfSeeds,
    /// Each seed by itself.
    EverySeed,
}

/// One element of a scenario's `expect`. Exactly one of the bounds and orders is given, and `ratio`
/// with a bound. Bounds without a unit are in the metric's own (seconds for times). Without a
/// `variant` it must hold in every variant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// A name of the registry: `ttft.mean`.
    pub metric: String,
    /// The model that it is about, where there are several; all together if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The class of requests that it is about, where there are classes; all together if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The variant that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Over what it must hold.
    #[serde(default)]
    pub over: Over,
    /// Smallest allowed value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// The least value in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least_ms: Option<f64>,
    /// The least value in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least_s: Option<f64>,
    /// Largest allowed value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// The largest value in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most_ms: Option<f64>,
    /// The largest value in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most_s: Option<f64>,
    /// The value itself; exact for counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<f64>,
    /// The exact value in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals_ms: Option<f64>,
    /// The exact value in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals_s: Option<f64>,
    /// Smallest and largest allowed value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between: Option<(f64, f64)>,
    /// The bounds in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between_ms: Option<(f64, f64)>,
    /// The bounds in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub between_s: Option<(f64, f64)>,
    /// Target and allowed distance from it, in the metric's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<(f64, f64)>,
    /// The largest distance in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<(f64, f64)>,
    /// The largest distance in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within_s: Option<(f64, f64)>,
    /// Variants by strictly increasing value, the smallest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Vec<String>>,
    /// Pairs of variants by strictly increasing (first's value) / (second's value): a gap that
    /// grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio_order: Option<Vec<(String, String)>>,
    /// The bound is on (first variant's value) / (second one's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ratio: Option<(String, String)>,
    /// Where the figure comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Expectation {
    /// Complains about whatever makes no sense, with paths relative to this expectation. `variants`
    /// are the names of the scenario's variants, empty when it has none.
    pub fn check(&self, variants: &[&str]) -> Vec<SettingError> {
        let mut errors = Vec::new();
        let metric = names::find(&self.metric);
        if metric.is_none() {
            let error = SettingError::new("metric", quoted(&self.metric), "the name of a metric");
            errors.push(match names::closest(&self.metric) {
                Some(name) => error.help(format!("did you mean `{name}`?")),
                None => error.help("`vidur-ecs list` shows all"),
            });
        }
        self.check_variants(variants, &mut errors);
        self.check_bound(metric, &mut errors);
        errors
    }

    fn check_variants(&self, variants: &[&str], errors: &mut Vec<SettingError>) {
        let mut named: Vec<(String, &str)> = Vec::new();
        named.extend(self.variant.as_deref().map(|name| ("variant".to_owned(), name)));
        for (i, name) in self.order.iter().flatten().enumerate() {
            named.push((format!("order[{i}]"), name));
        }
        for (i, (above, below)) in self.ratio_order.iter().flatten().enumerate() {
            named.push((format!("ratio_order[{i}][0]"), above));
            named.push((format!("ratio_order[{i}][1]"), below));
        }
        if let Some((above, below)) = &self.ratio {
            named.push(("ratio[0]".to_owned(), above));
            named.push(("ratio[1]".to_owned(), below));
        }
        for (path, name) in named {
            if !variants.contains(&name) {
                errors.push(unknown_variant(path, name, variants));
            }
        }
        let naming = [
            ("order", self.order.is_some()),
            ("ratio_order", self.ratio_order.is_some()),
            ("ratio", self.ratio.is_some()),
        ];
        if let Some((other, _)) = naming.iter().find(|(_, given)| *given)
            && self.variant.is_some()
        {
            errors.push(SettingError::new(
                "variant",
                format!("given next to `{other}`"),
                format!("one of the two: `{other}` names its variants"),
            ));
        }
    }

    fn check_bound(&self, metric: Option<&Metric>, errors: &mut Vec<SettingError>) {
        let given = self.given();
        match given.as_slice() {
            [] => errors.push(SettingError::new(
                "",
                "without a bound",
                "one of `at_least`, `at_most`, `equals`, `between`, `within`, `order`, `ratio_order`",
            )),
            [(name, factor, bound)] => {
                let suffixed = factor.is_some();
                let of_time = self.ratio.is_none()
                    && metric.is_none_or(|metric| metric.unit == super::unit::Unit::Seconds);
                if suffixed && !of_time {
                    let stem = name.rsplit_once('_').map_or(*name, |(stem, _)| stem);
                    errors.push(SettingError::new(
                        *name,
                        format!("on what is no time ({})", self.subject()),
                        format!("`{stem}`"),
                    ));
                }
                errors.extend(bound.check(name));
                if self.ratio.is_some() && matches!(bound, Bound::Order(_) | Bound::RatioOrder(_)) {
                    errors.push(SettingError::new(
                        "ratio",
                        format!("given next to `{name}`"),
                        "one of the two",
                    ));
                }
            }
            [(first, ..), (second, ..), ..] => errors.push(
                SettingError::new(*second, format!("given next to `{first}`"), "one bound")
                    .help("for two limits use `between: (least, most)`"),
            ),
        }
    }

    fn subject(&self) -> String {
        if self.ratio.is_some() { "a ratio".to_owned() } else { quoted(&self.metric) }
    }

    /// The bound, in the metric's own unit; `None` unless exactly one is given.
    pub fn bound(&self) -> Option<Bound> {
        match self.given().as_slice() {
            [(_, factor, bound)] => Some(bound.scaled(factor.unwrap_or(1.0))),
            _ => None,
        }
    }

    /// All bounds that are given, as written: name, factor to seconds if it has a unit, bound.
    fn given(&self) -> Vec<(&'static str, Option<f64>, Bound)> {
        const MS: Option<f64> = Some(1e-3);
        const S: Option<f64> = Some(1.0);
        let between =
            |pair: Option<(f64, f64)>| pair.map(|(least, most)| Bound::Between(least, most));
        let within = |pair: Option<(f64, f64)>| {
            pair.map(|(target, tolerance)| Bound::Within { target, tolerance })
        };
        let all = [
            ("at_least", None, self.at_least.map(Bound::AtLeast)),
            ("at_least_ms", MS, self.at_least_ms.map(Bound::AtLeast)),
            ("at_least_s", S, self.at_least_s.map(Bound::AtLeast)),
            ("at_most", None, self.at_most.map(Bound::AtMost)),
            ("at_most_ms", MS, self.at_most_ms.map(Bound::AtMost)),
            ("at_most_s", S, self.at_most_s.map(Bound::AtMost)),
            ("equals", None, self.equals.map(Bound::Equals)),
            ("equals_ms", MS, self.equals_ms.map(Bound::Equals)),
            ("equals_s", S, self.equals_s.map(Bound::Equals)),
            ("between", None, between(self.between)),
            ("between_ms", MS, between(self.between_ms)),
            ("between_s", S, between(self.between_s)),
            ("within", None, within(self.within)),
            ("within_ms", MS, within(self.within_ms)),
            ("within_s", S, within(self.within_s)),
            ("order", None, self.order.clone().map(Bound::Order)),
            ("ratio_order", None, self.ratio_order.clone().map(Bound::RatioOrder)),
        ];
        all.into_iter()
            .filter_map(|(name, factor, bound)| bound.map(|bound| (name, factor, bound)))
            .collect()
    }
}

/// [`Expectation::check`] of a whole list, with paths such as `expect[2].metric`.
pub(crate) fn check_all(
    expectations: &[Expectation],
    variants: &[&str],
    models: &[&str],
    classes: &[&str],
) -> Vec<SettingError> {
    let mut errors = Vec::new();
    for (i, expectation) in expectations.iter().enumerate() {
        let here = format!("expect[{i}]");
        if let Some(model) = expectation.model.as_deref()
            && !models.contains(&model)
        {
            let known = match models {
                [] => "no model: there are no `models`".to_owned(),
                models => format!("one of {}", models.join(", ")),
            };
            errors.push(SettingError::new(format!("{here}.model"), quoted(model), known));
        }
        if let Some(class) = expectation.class.as_deref() {
            let refuse = |found: String, expected: String| {
                SettingError::new(format!("{here}.class"), found, expected)
            };
            let metric = expectation.metric.as_str();
            if !classes.contains(&class) {
                let known = match classes {
                    [] => "no class: the workload has no `classes`".to_owned(),
                    classes => format!("one of {}", classes.join(", ")),
                };
                errors.push(refuse(quoted(class), known));
            } else if expectation.model.is_some() {
                errors
                    .push(refuse("given next to `model`".to_owned(), "one of the two".to_owned()));
            } else if names::find(metric).is_some() && !names::is_of_classes(metric) {
                let expected = "a metric of requests: the engine does not tell classes apart";
                errors.push(refuse(format!("given for {}", quoted(metric)), expected.to_owned()));
            }
        }
        errors.extend(expectation.check(variants).into_iter().map(|error| error.within(&here)));
    }
    errors
}

fn quoted(text: &str) -> String {
    format!("`{text}`")
}

fn unknown_variant(path: String, name: &str, variants: &[&str]) -> SettingError {
    let error = SettingError::new(path, quoted(name), "the name of a variant of this scenario");
    if variants.is_empty() {
        return error.help("it has no variants");
    }
    let known: Vec<String> = variants.iter().map(|name| quoted(name)).collect();
    error.help(format!("there are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Expectation {
        crate::base::ron_options().from_str(text).unwrap()
    }

    fn check(text: &str, want: &[&str]) {
        let errors = parse(text).check(&["paged", "max"]);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), want.len(), "{text}: {texts:?}");
        for (text, want) in texts.iter().zip(want) {
            assert!(text.contains(want), "{text:?} does not contain {want:?}");
        }
    }

    #[test]
    fn the_forms_of_the_scenario_files_are_fine() {
        for text in [
            r#"(metric: "ttft.mean", between_ms: (150, 300), over: MeanOfSeeds, source: "x")"#,
            r#"(metric: "kv_used_over_allocated", at_least: 0.96, variant: "paged")"#,
            r#"(metric: "e2e.p99", order: ["max", "paged"], over: EverySeed)"#,
            r#"(metric: "running_peak", variant: "max", equals: 29)"#,
            r#"(metric: "output_throughput", ratio: ("paged", "max"), at_least: 1.1)"#,
            r#"(metric: "output_throughput", ratio_order: [("paged", "max"), ("max", "paged")])"#,
            r#"(metric: "kv_allocated_mean", within: (0.5, 0.01))"#,
            r#"(metric: "itl.max", at_most_s: 1.5)"#,
        ] {
            check(text, &[]);
        }
    }

    #[test]
    fn nonsense_is_named() {
        check(r#"(metric: "ttft.men", at_least: 1)"#, &["did you mean `ttft.mean`"]);
        check(r#"(metric: "ttft.mean")"#, &["without a bound"]);
        check(
            r#"(metric: "ttft.mean", at_least: 1, at_most: 2)"#,
            &["`at_most` is given next to `at_least`, expected one bound"],
        );
        check(r#"(metric: "ttft.mean", between: (3, 2))"#, &["`between`"]);
        check(r#"(metric: "ttft.mean", within: (3, -2))"#, &["`within`"]);
        check(r#"(metric: "ttft.mean", at_least: inf)"#, &["`at_least`"]);
        check(r#"(metric: "ttft.mean", at_least: 1, variant: "pagd")"#, &["`paged`, `max`"]);
        check(r#"(metric: "ttft.mean", order: ["max"])"#, &["at least 2"]);
        check(r#"(metric: "ttft.mean", order: ["max", "max"])"#, &["`order`"]);
        check(r#"(metric: "ttft.mean", order: ["max", "pow2"])"#, &["`order[1]`"]);
        check(r#"(metric: "ttft.mean", ratio_order: [("max", "paged")])"#, &["1 pair, expected"]);
        check(
            r#"(metric: "ttft.mean", ratio_order: [("max", "paged"), ("max", "pow2")])"#,
            &["`ratio_order[1][1]`"],
        );
        check(r#"(metric: "running_peak", equals_ms: 3)"#, &["expected `equals`"]);
        check(r#"(metric: "ttft.mean", at_least_s: 3, ratio: ("max", "paged"))"#, &["`at_least`"]);
        check(
            r#"(metric: "ttft.mean", order: ["max", "paged"], variant: "max")"#,
            &["given next to `order`"],
        );
    }

    #[test]
    fn bounds_come_in_seconds() {
        let expectation = parse(r#"(metric: "ttft.mean", between_ms: (150, 300))"#);
        assert_eq!(expectation.bound(), Some(Bound::Between(0.15, 0.3)));
    }

    #[test]
    fn survives_a_round_trip() {
        let expectation = parse(r#"(metric: "e2e.p99", order: ["max", "paged"], over: EverySeed)"#);
        let text = ron::to_string(&expectation).unwrap();
        assert!(!text.contains("at_least"), "{text}");
        assert_eq!(ron::from_str::<Expectation>(&text).unwrap(), expectation);
    }

    #[test]
    fn a_list_counts_its_paths() {
        let list = [parse(r#"(metric: "ttft.mean", at_least: 1)"#), parse(r#"(metric: "x")"#)];
        let paths: Vec<String> =
            check_all(&list, &[], &[], &[]).into_iter().map(|e| e.path).collect();
        assert_eq!(paths, ["expect[1].metric", "expect[1]"]);
    }
}
