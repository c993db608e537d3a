//! Statistics over seeds.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::summary::RunSummary;

/// One metric over several runs that differ in their seed only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Runs in which the metric has a value.
    pub runs: usize,
    /// Mean over runs.
    pub mean: f64,
    /// Half the width of the 95 % confidence interval of the mean, by Student's t; `None` for a
    /// single run.
    pub ci95: Option<f64>,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
}

impl Spread {
    /// Over these values; `None` without values.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let runs = values.len();
        if runs == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / runs as f64;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let ci95 = (runs > 1)
            .then(|| t_975(runs - 1) * (squares / (runs - 1) as f64 / runs as f64).sqrt());
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Spread { runs, mean, ci95, min, max })
    }

    /// The spread of one metric over these runs; runs without a value are left out.
    pub fn of_metric(runs: &[RunSummary], metric: &str) -> Option<Spread> {
        let values: Vec<f64> = runs.iter().filter_map(|run| run.get(metric)).collect();
        Spread::of(&values)
    }
}

/// The 97.5 % quantile of Student's t distribution.
fn t_975(degrees_of_freedom: usize) -> f64 {
    // Valid for every positive number of degrees of freedom; the normal's quantile otherwise.
    StudentsT::new(0.0, 1.0, degrees_of_freedom as f64).map_or(1.96, |t| t.inverse_cdf(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_values_are_the_tables() {
        for (df, t) in [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (19, 2.093), (39, 2.023)] {
            assert!((t_975(df) - t).abs() < 1e-3, "{df}: {}", t_975(df));
        }
    }

    #[test]
    fn interval_by_hand() {
        // Mean 3, s = sqrt(2.5), s / sqrt(5) = 0.70711, t(4) = 2.77645.
        let spread = Spread::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!((spread.mean, spread.min, spread.max, spread.runs), (3.0, 1.0, 5.0, 5));
        assert!((spread.ci95.unwrap() - 1.963_24).abs() < 1e-4, "{:?}", spread.ci95);
    }

    #[test]
    fn one_run_has_no_interval() {
        assert_eq!(Spread::of(&[7.0]).unwrap().ci95, None);
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[7.0, 7.0]).unwrap().ci95, Some(0.0));
    }
}
