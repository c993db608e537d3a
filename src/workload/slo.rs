//! Service-level objectives: limits per request, and how many requests keep them.

use serde::{Deserialize, Serialize};

use crate::base::{Nanos, SettingError};

/// Limits in milliseconds; a request is good when it keeps all that are given. Without a limit
/// there is nothing to attain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slo {
    /// Largest time to first token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<f64>,
    /// Largest time per output token (n - 1); a request with one token keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpot_ms: Option<f64>,
    /// Largest end-to-end latency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e2e_ms: Option<f64>,
    /// Largest 99th percentile of the inter-token latency. A limit on the whole run, not on a
    /// request: it does not enter goodput.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub itl_p99_ms: Option<f64>,
    /// Share of requests that is to keep the limits.
    #[serde(default = "default_attain")]
    pub attain: f64,
}

fn default_attain() -> f64 {
    0.99
}

/// Which limits one request keeps; a limit that is not given is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The TTFT limit.
    pub ttft: bool,
    /// The TPOT limit.
    pub tpot: bool,
    /// The E2E limit.
    pub e2e: bool,
}

impl Kept {
    /// Whether the request is good.
    pub fn all(self) -> bool {
        self.ttft && self.tpot && self.e2e
    }
}

impl Slo {
    /// Complains about limits that are not above 0, a share outside 0..1 and an SLO without limits.
    pub fn check(&self) -> Vec<SettingError> {
        let limits = [
            ("ttft_ms", self.ttft_ms),
            ("tpot_ms", self.tpot_ms),
            ("e2e_ms", self.e2e_ms),
            ("itl_p99_ms", self.itl_p99_ms),
        ];
        let mut errors: Vec<SettingError> = limits
            .iter()
            .filter_map(|&(name, limit)| limit.map(|limit| (name, limit)))
            .filter(|(_, limit)| !(limit.is_finite() && *limit > 0.0))
            .map(|(name, limit)| SettingError::new(name, limit, "milliseconds above 0"))
            .collect();
        if !(self.attain > 0.0 && self.attain <= 1.0) {
            errors.push(
                SettingError::new("attain", self.attain, "a share above 0 and at most 1")
                    .help("99 % is 0.99"),
            );
        }
        if limits.iter().all(|(_, limit)| limit.is_none()) {
            errors.push(SettingError::new(
                "",
                "without a limit",
                "at least one of `ttft_ms`, `tpot_ms`, `e2e_ms`, `itl_p99_ms`",
            ));
        }
        errors
    }

    /// Which limits a finished request with these times keeps. `tpot` is in seconds.
    pub fn kept(&self, ttft: Nanos, tpot: Option<f64>, e2e: Nanos) -> Kept {
        let within = |limit: Option<f64>, millis: f64| limit.is_none_or(|limit| millis <= limit);
        Kept {
            ttft: within(self.ttft_ms, ttft.as_millis_f64()),
            tpot: tpot.is_none_or(|tpot| within(self.tpot_ms, tpot * 1e3)),
            e2e: within(self.e2e_ms, e2e.as_millis_f64()),
        }
    }

    /// Whether a run reaches the objective, from its attained share and its P99 ITL in seconds.
    pub fn met(&self, attained: f64, itl_p99: Option<f64>) -> bool {
        let itl = self.itl_p99_ms.is_none_or(|limit| itl_p99.is_none_or(|p99| p99 * 1e3 <= limit));
        attained >= self.attain && itl
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slo() -> Slo {
        Slo { ttft_ms: Some(1000.0), tpot_ms: Some(50.0), attain: 0.99, ..Slo::default() }
    }

    #[test]
    fn a_limit_is_inclusive_and_an_absent_one_is_kept() {
        let kept = slo().kept(Nanos(1_000_000_000), None, Nanos::MAX);
        assert!(kept.all());
        let kept = slo().kept(Nanos(1_000_000_001), Some(0.0501), Nanos(0));
        assert_eq!(kept, Kept { ttft: false, tpot: false, e2e: true });
    }

    #[test]
    fn the_itl_limit_is_on_the_run() {
        let slo = Slo { itl_p99_ms: Some(200.0), ..slo() };
        assert!(slo.met(0.99, Some(0.2)));
        assert!(!slo.met(0.99, Some(0.201)));
        assert!(!slo.met(0.98, Some(0.1)));
    }

    #[test]
    fn nonsense_is_refused() {
        let bad = Slo { ttft_ms: Some(0.0), attain: 99.0, ..Slo::default() };
        let paths: Vec<_> = bad.check().into_iter().map(|e| e.path).collect();
        assert_eq!(paths, ["ttft_ms", "attain"]);
        assert_eq!(Slo { attain: 0.9, ..Slo::default() }.check().len(), 1);
        assert!(slo().check().is_empty());
        let parsed: Slo =
            crate::base::ron_options().from_str("(ttft_ms: 1000, tpot_ms: 50)").unwrap();
        assert_eq!(parsed, slo());
    }
}
