//! Whether results are as expected.

use super::bound::{show_measured, show_range};
use super::{Bound, Expectation, Over};
use crate::metrics::names;
use crate::metrics::result::VariantResult;
use crate::metrics::unit::Unit;

/// An expectation, evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The metric.
    pub metric: String,
    /// What was expected, in one line: `ttft.mean 150..300 ms, mean of 20 seeds`.
    pub expected: String,
    /// What was measured: `251 ms`, or per variant `max 29, paged 51`; for an order the values in
    /// it.
    pub measured: String,
    /// Whether it holds. What cannot be measured does not.
    pub met: bool,
    /// Where the expected figure comes from.
    pub source: Option<String>,
}

/// Evaluates all of a scenario's expectations, in order.
pub fn evaluate_all(expectations: &[Expectation], variants: &[VariantResult]) -> Vec<Outcome> {
    expectations.iter().map(|expectation| evaluate(expectation, variants)).collect()
}

/// Evaluates one expectation against the results of all variants.
pub fn evaluate(expectation: &Expectation, variants: &[VariantResult]) -> Outcome {
    let unit = names::find(&expectation.metric).map_or(Unit::Number, |metric| metric.unit);
    let bound = expectation.bound();
    let (met, measured) = match (&bound, &expectation.ratio) {
        (None, _) => (false, "no bound".to_owned()),
        (Some(Bound::Order(order)), _) => in_order(expectation, order, variants, unit),
        (Some(Bound::RatioOrder(pairs)), _) => ratios_in_order(expectation, pairs, variants),
        (Some(bound), Some((above, below))) => ratio(expectation, bound, above, below, variants),
        (Some(bound), None) => each(expectation, bound, variants, unit),
    };
    Outcome {
        metric: expectation.metric.clone(),
        expected: describe(expectation, bound.as_ref(), unit, variants),
        measured,
        met,
        source: expectation.source.clone(),
    }
}

/// Every variant that it is about keeps the bound.
fn each(
    expectation: &Expectation,
    bound: &Bound,
    variants: &[VariantResult],
    unit: Unit,
) -> (bool, String) {
    let chosen: Vec<&VariantResult> = variants
        .iter()
        .filter(|variant| expectation.variant.as_ref().is_none_or(|name| *name == variant.name))
        .collect();
    if chosen.is_empty() {
        return (false, "not run".to_owned());
    }
    let mut all_met = true;
    let mut texts = Vec::new();
    for variant in &chosen {
        let values = values(variant, expectation);
        let missed = values.iter().filter(|value| !keeps(bound, **value, unit)).count();
        all_met &= missed == 0;
        texts.push((missed > 0, &variant.name, show_values(&values, missed, unit)));
    }
    // What is the same everywhere is said once.
    if let Some((_, _, text)) = texts.first().filter(|first| texts.iter().all(|t| t.2 == first.2))
        && (all_met || texts.len() == 1)
    {
        return (all_met, text.clone());
    }
    // With many variants only the offenders are of interest.
    let offenders = !all_met;
    let shown: Vec<String> = texts
        .into_iter()
        .filter(|(missed, ..)| *missed || !offenders)
        .map(|(_, name, text)| format!("{name} {text}"))
        .collect();
    (all_met, shown.join(", "))
}

fn keeps(bound: &Bound, value: Option<f64>, unit: Unit) -> bool {
    value.is_some_and(|value| bound.keeps(value, unit))
}

/// The values that a bound is applied to: the mean over seeds, or one per seed.
fn values(variant: &VariantResult, expectation: &Expectation) -> Vec<Option<f64>> {
    let metric = &expectation.metric;
    if let Some(class) = &expectation.class {
        return match expectation.over {
            Over::MeanOfSeeds => vec![variant.mean_of_class(class, metric)],
            Over::EverySeed if variant.runs.is_empty() => vec![None],
            Over::EverySeed => {
                variant.runs.iter().map(|run| run.get_of_class(class, metric)).collect()
            }
        };
    }
    if let Some(model) = &expectation.model {
        return match expectation.over {
            Over::MeanOfSeeds => vec![variant.mean_of(model, metric)],
            Over::EverySeed if variant.runs.is_empty() => vec![None],
            Over::EverySeed => variant.runs.iter().map(|run| run.get_of(model, metric)).collect(),
        };
    }
    match expectation.over {
        Over::MeanOfSeeds => vec![variant.mean(metric)],
        Over::EverySeed if variant.runs.is_empty() => vec![None],
        Over::EverySeed => variant.runs.iter().map(|run| run.get(metric)).collect(),
    }
}

fn show_values(values: &[Option<f64>], missed: usize, unit: Unit) -> String {
    let known: Vec<f64> = values.iter().flatten().copied().collect();
    if known.len() < values.len() {
        return match values.len() {
            1 => "no value".to_owned(),
            all => format!("no value in {} of {all} seeds", all - known.len()),
        };
    }
    let least = known.iter().copied().fold(f64::INFINITY, f64::min);
    let most = known.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if least == most {
        return show_measured(least, unit);
    }
    let range = show_range(least, most, unit);
    if missed == 0 { range } else { format!("{range}, missed in {missed} of {}", known.len()) }
}

fn in_order(
    expectation: &Expectation,
    order: &[String],
    variants: &[VariantResult],
    unit: Unit,
) -> (bool, String) {
    let mut columns = Vec::new();
    for name in order {
        let Some(variant) = variants.iter().find(|variant| variant.name == *name) else {
            return (false, format!("{name} not run"));
        };
        columns.push(values(variant, expectation));
    }
    rising(&columns, &|value| show_measured(value, unit))
}

fn ratios_in_order(
    expectation: &Expectation,
    pairs: &[(String, String)],
    variants: &[VariantResult],
) -> (bool, String) {
    let mut columns = Vec::new();
    for (above, below) in pairs {
        let Some(ratios) = ratios(expectation, above, below, variants) else {
            return (false, "not run".to_owned());
        };
        columns.push(ratios);
    }
    rising(&columns, &|ratio| format!("{} x", show_measured(ratio, Unit::Number)))
}

/// Whether every value of a column is below that of the next one, seed by seed, and the columns'
/// means.
fn rising(columns: &[Vec<Option<f64>>], show: &dyn Fn(f64) -> String) -> (bool, String) {
    let seeds = columns.iter().map(Vec::len).min().unwrap_or(0);
    let rises = |seed: usize| {
        columns.windows(2).all(|pair| match (pair[0][seed], pair[1][seed]) {
            (Some(low), Some(high)) => low < high,
            _ => false,
        })
    };
    let missed = (0..seeds).filter(|&seed| !rises(seed)).count();
    let means: Vec<String> = columns
        .iter()
        .map(|column| {
            let known: Vec<f64> = column.iter().flatten().copied().collect();
            if known.len() < column.len() || known.is_empty() {
                return "no value".to_owned();
            }
            let mean = known.iter().sum::<f64>() / known.len() as f64;
            show(mean)
        })
        .collect();
    let mut text = means.join(", ");
    if seeds > 1 {
        text.push_str(&format!("; {} of {seeds} seeds", seeds - missed));
    }
    (missed == 0 && seeds > 0, text)
}

fn ratio(
    expectation: &Expectation,
    bound: &Bound,
    above: &str,
    below: &str,
    variants: &[VariantResult],
) -> (bool, String) {
    let Some(ratios) = ratios(expectation, above, below, variants) else {
        return (false, "not run".to_owned());
    };
    let missed = ratios.iter().filter(|ratio| !keeps(bound, **ratio, Unit::Number)).count();
    let known: Vec<f64> = ratios.iter().flatten().copied().collect();
    let text = match known.as_slice() {
        [one] => format!("{} x", show_measured(*one, Unit::Number)),
        _ => show_values(&ratios, missed, Unit::Number),
    };
    (missed == 0, text)
}

/// One variant's values over another's; `None` if one of the two was not run.
fn ratios(
    expectation: &Expectation,
    above: &str,
    below: &str,
    variants: &[VariantResult],
) -> Option<Vec<Option<f64>>> {
    let find = |name: &str| variants.iter().find(|variant| variant.name == name);
    let pairs =
        values(find(above)?, expectation).into_iter().zip(values(find(below)?, expectation));
    let ratios =
        pairs.map(|(above, below)| Some(above? / below?).filter(|ratio| ratio.is_finite()));
    Some(ratios.collect())
}

fn describe(
    expectation: &Expectation,
    bound: Option<&Bound>,
    unit: Unit,
    variants: &[VariantResult],
) -> String {
    let mut text = String::new();
    if let Some(variant) = &expectation.variant {
        text.push_str(&format!("{variant}: "));
    }
    text.push_str(&expectation.metric);
    if let Some(model) = &expectation.model {
        text.push_str(&format!(" of {model}"));
    }
    if let Some(class) = &expectation.class {
        text.push_str(&format!(" of {class}"));
    }
    if let Some((above, below)) = &expectation.ratio {
        text.push_str(&format!(" {above} / {below}"));
    }
    if let Some(bound) = bound {
        let unit = if expectation.ratio.is_some() { Unit::Number } else { unit };
        let colon = if matches!(bound, Bound::Order(_) | Bound::RatioOrder(_)) { ":" } else { "" };
        text.push_str(&format!("{colon} {}", bound.show(unit)));
    }
    let seeds = variants.iter().map(|variant| variant.runs.len()).max().unwrap_or(0);
    match expectation.over {
        _ if seeds < 2 => {}
        Over::MeanOfSeeds => text.push_str(&format!(", mean of {seeds} seeds")),
        Over::EverySeed => text.push_str(&format!(", every one of {seeds} seeds")),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Capacity, Load, Metrics, RunSummary};

    fn variant(name: &str, metric: &str, values: &[f64]) -> VariantResult {
        let runs = values
            .iter()
            .enumerate()
            .map(|(i, &value)| {
                let mut metrics = Metrics::default();
                metrics.set(metric, value);
                assert_eq!(metrics.unknown(), None);
                RunSummary { seed: 42 + i as u64, metrics, ..RunSummary::default() }
            })
            .collect();
        VariantResult {
            name: name.to_owned(),
            what: String::new(),
            gpus: 1,
            runs,
            load: Load::AllAtOnce,
            capacity: Capacity::NotAsked,
            slo: None,
            kv_blocks: 0,
            block_size: 16,
            timing: Default::default(),
            models: Vec::new(),
            classes: Vec::new(),
        }
    }

    fn check(text: &str, variants: &[VariantResult], met: bool, line: &str) {
        let expectation: Expectation = crate::base::ron_options().from_str(text).unwrap();
        let outcome = evaluate(&expectation, variants);
        assert_eq!(format!("{} | {}", outcome.expected, outcome.measured), line);
        assert_eq!(outcome.met, met, "{text}");
    }

    #[test]
    fn a_mean_hides_what_every_seed_shows() {
        let one = [variant("", "ttft.mean", &[0.1, 0.2, 0.3])];
        check(
            r#"(metric: "ttft.mean", between_ms: (150, 250))"#,
            &one,
            true,
            "ttft.mean 150..250 ms, mean of 3 seeds | 200 ms",
        );
        check(
            r#"(metric: "ttft.mean", between_ms: (150, 250), over: EverySeed)"#,
            &one,
            false,
            "ttft.mean 150..250 ms, every one of 3 seeds | 100 to 300 ms, missed in 2 of 3",
        );
    }

    #[test]
    fn counts_are_exact() {
        let max = [variant("max", "running_peak", &[29.0]), variant("b", "running_peak", &[30.0])];
        check(
            r#"(metric: "running_peak", variant: "max", equals: 29)"#,
            &max,
            true,
            "max: running_peak = 29 | 29",
        );
        let same = [variant("a", "running_peak", &[29.0]), variant("b", "running_peak", &[29.0])];
        check(r#"(metric: "running_peak", equals: 29)"#, &same, true, "running_peak = 29 | 29");
        check(r#"(metric: "running_peak", equals: 29)"#, &max, false, "running_peak = 29 | b 30");
        check(
            r#"(metric: "running_peak", equals: 29, variant: "c")"#,
            &max,
            false,
            "c: running_peak = 29 | not run",
        );
    }

    #[test]
    fn an_order_is_strict() {
        let two =
            |a: &[f64], b: &[f64]| [variant("a", "preemptions", a), variant("b", "preemptions", b)];
        let order = r#"(metric: "preemptions", order: ["a", "b"])"#;
        check(order, &two(&[1.0], &[2.0]), true, "preemptions: a < b | 1, 2");
        check(order, &two(&[2.0], &[2.0]), false, "preemptions: a < b | 2, 2");
        check(
            r#"(metric: "preemptions", order: ["a", "b"], over: EverySeed)"#,
            &two(&[1.0, 5.0], &[2.0, 4.0]),
            false,
            "preemptions: a < b, every one of 2 seeds | 3, 3; 1 of 2 seeds",
        );
    }

    #[test]
    fn a_ratio_is_of_means_or_per_seed() {
        let two = [
            variant("a", "output_throughput", &[3.0, 1.0]),
            variant("b", "output_throughput", &[1.0, 1.0]),
        ];
        check(
            r#"(metric: "output_throughput", ratio: ("a", "b"), at_least: 2)"#,
            &two,
            true,
            "output_throughput a / b >= 2, mean of 2 seeds | 2 x",
        );
        check(
            r#"(metric: "output_throughput", ratio: ("a", "b"), at_least: 2, over: EverySeed)"#,
            &two,
            false,
            "output_throughput a / b >= 2, every one of 2 seeds | 1 to 3, missed in 1 of 2",
        );
    }

    #[test]
    fn a_gap_must_grow() {
        let all = |c: f64| {
            [
                variant("a", "output_throughput", &[4.0]),
                variant("b", "output_throughput", &[2.0]),
                variant("c", "output_throughput", &[c]),
            ]
        };
        let order = r#"(metric: "output_throughput", ratio_order: [("a", "b"), ("a", "c")])"#;
        let expected = "output_throughput: a / b < a / c | 2 x, ";
        check(order, &all(1.0), true, &format!("{expected}4 x"));
        check(order, &all(2.0), false, &format!("{expected}2 x"));
        check(order, &all(0.0), false, &format!("{expected}no value"));
    }

    #[test]
    fn what_is_not_measured_is_not_met() {
        let one = [variant("", "ttft.mean", &[0.1])];
        check(r#"(metric: "tpot.mean", at_most: 9)"#, &one, false, "tpot.mean <= 9 s | no value");
        let none = [variant("", "ttft.mean", &[])];
        check(
            r#"(metric: "ttft.mean", at_most: 9, over: EverySeed)"#,
            &none,
            false,
            "ttft.mean <= 9 s | no value",
        );
    }
}
