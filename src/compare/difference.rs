//! The difference of two means, with its interval.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// Differences whose p-value is below this are more than noise: 95 % intervals.
const LEVEL: f64 = 0.05;

/// How the runs of two sides match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Run by run under the same seed: what a seed does to both cancels out.
    Paired {
        /// Seeds that both have.
        common: usize,
        /// Seeds that only one has; they are left out.
        left_out: usize,
    },
    /// Not at least two seeds in common (and not one each): the means are compared, by Welch's test
    /// for unequal variances.
    Unpaired {
        /// Runs of the baseline.
        baseline: usize,
        /// Runs of the other.
        other: usize,
    },
}

impl Pairing {
    /// The pairing of two lists of seeds.
    pub fn of(a: &[u64], b: &[u64]) -> Pairing {
        let common = a.iter().filter(|seed| b.contains(seed)).count();
        let left_out = a.len() + b.len() - 2 * common;
        if common >= 2 || (common == 1 && left_out == 0) {
            return Pairing::Paired { common, left_out };
        }
        Pairing::Unpaired { baseline: a.len(), other: b.len() }
    }
}

/// What a difference amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Equal in every seed.
    Same,
    /// Seeds alone may make such a difference.
    Noise,
    /// Lower than the baseline, beyond noise.
    Lower,
    /// Higher than the baseline, beyond noise.
    Higher,
    /// A single run says nothing about noise.
    OneSeed,
}

impl Change {
    /// In a word.
    pub fn key(self) -> &'static str {
        match self {
            Change::Same => "same",
            Change::Noise => "noise",
            Change::Lower => "lower",
            Change::Higher => "higher",
            Change::OneSeed => "one seed",
        }
    }
}

/// A metric of two sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Mean of the baseline over the seeds that count.
    pub baseline: f64,
    /// Mean of the other.
    pub other: f64,
    /// Half the width of the 95 % confidence interval of `other - baseline`.
    pub ci95: Option<f64>,
    /// Two-sided p-value of no difference.
    pub p: Option<f64>,
    /// What it amounts to.
    pub verdict: Change,
    /// Runs of the baseline and of the other that have a value; in pairs if seeds pair.
    pub runs: (usize, usize),
}

impl Difference {
    /// The difference of the values by seed; `None` where one side has none.
    pub fn of(basis: Pairing, a: &[(u64, f64)], b: &[(u64, f64)]) -> Option<Difference> {
        match basis {
            Pairing::Paired { .. } => {
                let pairs: Vec<(f64, f64)> = a
                    .iter()
                    .filter_map(|(seed, x)| {
                        b.iter().find(|(other, _)| other == seed).map(|(_, y)| (*x, *y))
                    })
                    .collect();
                let differences: Vec<f64> = pairs.iter().map(|(x, y)| y - x).collect();
                let (_, variance) = moments(&differences)?;
                let n = pairs.len() as f64;
                let baseline = pairs.iter().map(|(x, _)| x).sum::<f64>() / n;
                let other = pairs.iter().map(|(_, y)| y).sum::<f64>() / n;
                let same = differences.iter().all(|&difference| difference == 0.0);
                let error = variance.map(|variance| ((variance / n).sqrt(), n - 1.0));
                let runs = (pairs.len(), pairs.len());
                Some(Difference { runs, ..Difference::judge(baseline, other, error, same) })
            }
            Pairing::Unpaired { .. } => {
                let a: Vec<f64> = a.iter().map(|(_, value)| *value).collect();
                let b: Vec<f64> = b.iter().map(|(_, value)| *value).collect();
                let ((x, vx), (y, vy)) = (moments(&a)?, moments(&b)?);
                let error = vx.zip(vy).map(|(vx, vy)| {
                    let (ex, ey) = (vx / a.len() as f64, vy / b.len() as f64);
                    // Welch and Satterthwaite's degrees of freedom.
                    let (fx, fy) = (a.len() as f64 - 1.0, b.len() as f64 - 1.0);
                    let freedom = (ex + ey) * (ex + ey) / (ex * ex / fx + ey * ey / fy);
                    ((ex + ey).sqrt(), if freedom.is_finite() { freedom } else { fx.min(fy) })
                });
                let same = a.iter().chain(&b).all(|&value| value == x);
                let runs = (a.len(), b.len());
                Some(Difference { runs, ..Difference::judge(x, y, error, same) })
            }
        }
    }

    /// `error` is the standard error of the difference and its degrees of freedom.
    fn judge(baseline: f64, other: f64, error: Option<(f64, f64)>, same: bool) -> Difference {
        let difference = other - baseline;
        let tested = error.and_then(|(error, freedom)| {
            let t = StudentsT::new(0.0, 1.0, freedom).ok()?;
            let half = t.inverse_cdf(1.0 - LEVEL / 2.0) * error;
            let p = match error > 0.0 {
                true => 2.0 * t.sf((difference / error).abs()),
                // Every seed differs by the same.
                false => f64::from(u8::from(same)),
            };
            Some((half, p))
        });
        let verdict = match tested {
            _ if same => Change::Same,
            None => Change::OneSeed,
            Some((_, p)) if p >= LEVEL => Change::Noise,
            Some(_) if difference < 0.0 => Change::Lower,
            Some(_) => Change::Higher,
        };
        let (ci95, p) = tested.unzip();
        Difference { baseline, other, ci95, p, verdict, runs: (0, 0) }
    }

    /// `other - baseline`.
    pub fn absolute(&self) -> f64 {
        self.other - self.baseline
    }

    /// The difference as a share of the baseline; `None` where that is 0.
    pub fn relative(&self) -> Option<f64> {
        (self.baseline != 0.0).then(|| self.absolute() / self.baseline.abs())
    }
}

/// Mean and, of at least two values, their sample variance.
fn moments(values: &[f64]) -> Option<(f64, Option<f64>)> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    Some((mean, (n > 1).then(|| squares / (n - 1) as f64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_seed(values: &[f64]) -> Vec<(u64, f64)> {
        (1..).zip(values.iter().copied()).collect()
    }

    fn paired(a: &[f64], b: &[f64]) -> Difference {
        let basis = Pairing::Paired { common: a.len(), left_out: 0 };
        Difference::of(basis, &by_seed(a), &by_seed(b)).unwrap()
    }

    #[test]
    fn seeds_pair_where_they_can() {
        assert_eq!(Pairing::of(&[1, 2, 3], &[3, 2, 1]), Pairing::Paired { common: 3, left_out: 0 });
        assert_eq!(
            Pairing::of(&[1, 2, 3], &[2, 3, 4, 5]),
            Pairing::Paired { common: 2, left_out: 3 }
        );
        assert_eq!(Pairing::of(&[1], &[1]), Pairing::Paired { common: 1, left_out: 0 });
        assert_eq!(Pairing::of(&[1, 2], &[2, 3]), Pairing::Unpaired { baseline: 2, other: 2 });
        assert_eq!(Pairing::of(&[1], &[1, 2]), Pairing::Unpaired { baseline: 1, other: 2 });
    }

    #[test]
    fn pairing_sees_through_what_seeds_do_to_both() {
        // Differences 1, 2, 3: mean 2, s = 1, error 1 / sqrt(3), t(2) = 3.4641, p = 0.0742;
        // half-width 4.30265 / sqrt(3).
        let a = [10.0, 200.0, 3000.0];
        let d = paired(&a, &[11.0, 202.0, 3003.0]);
        assert_eq!(d.verdict, Change::Noise);
        assert!((d.p.unwrap() - 0.074_18).abs() < 1e-4, "{d:?}");
        assert!((d.ci95.unwrap() - 2.484_14).abs() < 1e-4, "{d:?}");
        // Differences of about 2 with little spread.
        assert_eq!(paired(&a, &[12.0, 202.1, 3001.9]).verdict, Change::Higher);
        assert_eq!(paired(&a, &[8.0, 198.1, 2997.9]).verdict, Change::Lower);
        assert_eq!(paired(&a, &[8.0, 198.0, 2998.0]).verdict, Change::Lower, "always by 2");
        assert_eq!(paired(&a, &a).verdict, Change::Same);
        assert_eq!(paired(&[1.0], &[2.0]).verdict, Change::OneSeed);
    }

    #[test]
    fn welch_by_hand() {
        // scipy.stats.ttest_ind([1, 2, 3, 4], [4, 6, 8], equal_var=False):
        // t = 2.6458 (3.5 / sqrt(5/3/4 + 4/3)), df = 3.1006 ..., p = 0.0752.
        let a = by_seed(&[1.0, 2.0, 3.0, 4.0]);
        let b: Vec<(u64, f64)> = [4.0, 6.0, 8.0].map(|value| (99, value)).to_vec();
        let d = Difference::of(Pairing::Unpaired { baseline: 4, other: 3 }, &a, &b).unwrap();
        assert_eq!((d.baseline, d.other), (2.5, 6.0));
        let error: f64 = 5.0 / 3.0 / 4.0 + 4.0 / 3.0;
        let freedom =
            error * error / ((5.0_f64 / 12.0).powi(2) / 3.0 + (4.0_f64 / 3.0).powi(2) / 2.0);
        let t = StudentsT::new(0.0, 1.0, freedom).unwrap();
        assert!((d.p.unwrap() - 2.0 * t.sf(3.5 / error.sqrt())).abs() < 1e-12);
        assert!((d.ci95.unwrap() / error.sqrt() - t.inverse_cdf(0.975)).abs() < 1e-9);
        assert_eq!(d.verdict, Change::Noise);
    }
}
