//! Limits the rate of prompt tokens of each class.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Admission, AdmissionClass, AdmissionRequest, PoolState, known_class};
use crate::base::{Nanos, SettingError};

/// A token bucket per class: it holds up to `burst_tokens`, is full at first and filled with
/// `tokens_per_s`; a request takes as many as its prompt has, and is refused if there are not
/// enough. A refused request takes none. Output tokens do not count: nobody knows them beforehand.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenBudget {
    /// The budgets of single classes, by name.
    pub classes: IndexMap<String, Budget>,
    /// The budget of each other class; without it these are not limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub each: Option<Budget>,
    #[serde(skip)]
    buckets: Vec<Option<Bucket>>,
}

/// How many prompt tokens a class may send.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Prompt tokens per second in the long run.
    pub tokens_per_s: f64,
    /// Prompt tokens at once.
    pub burst_tokens: f64,
}

impl Budget {
    fn check(&self, path: &str) -> Result<(), SettingError> {
        for (name, value) in
            [("tokens_per_s", self.tokens_per_s), ("burst_tokens", self.burst_tokens)]
        {
            if !(value > 0.0 && value <= 1e12) {
                let expected = "tokens above 0 and at most 1e12";
                return Err(SettingError::new(format!("{path}.{name}"), value, expected));
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    since: Nanos,
}

impl Admission for TokenBudget {
    const NAME: &'static str = "TokenBudget";
    const ABOUT: &'static str = "limits the prompt tokens per second of each class (token bucket)";

    fn check(&self, classes: &[AdmissionClass]) -> Result<(), SettingError> {
        if self.classes.is_empty() && self.each.is_none() {
            let expected = "`each: (tokens_per_s: 5000, burst_tokens: 20000)`, or `classes`";
            return Err(SettingError::new("", "without a budget", expected));
        }
        for (name, budget) in &self.classes {
            known_class("classes", name, classes)?;
            budget.check(&format!("classes.\"{name}\""))?;
        }
        self.each.iter().try_for_each(|each| each.check("each"))
    }

    fn admit(&mut self, request: &AdmissionRequest, _: &PoolState) -> Result<(), String> {
        let own = self.classes.get(&request.about.name).copied();
        let Some(budget) = own.or(self.each) else { return Ok(()) };
        let place = request.class as usize;
        if self.buckets.len() <= place {
            self.buckets.resize(place + 1, None);
        }
        let full = Bucket { tokens: budget.burst_tokens, since: Nanos::ZERO };
        let bucket = self.buckets[place].get_or_insert(full);
        let filled = request.now.since(bucket.since).as_secs_f64() * budget.tokens_per_s;
        bucket.tokens = (bucket.tokens + filled).min(budget.burst_tokens);
        bucket.since = request.now;
        let wanted = f64::from(request.prompt_tokens);
        if wanted > bucket.tokens {
            let left = bucket.tokens.floor();
            return Err(format!("admission: the budget has {left} prompt tokens left"));
        }
        bucket.tokens -= wanted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_filled_at_its_rate_and_never_over() {
        let classes = ["chat", "batch"].map(|name| AdmissionClass { name: name.into(), slo: None });
        let budget = Budget { tokens_per_s: 100.0, burst_tokens: 250.0 };
        let mut gate = TokenBudget {
            classes: [("batch".to_owned(), budget)].into(),
            ..TokenBudget::default()
        };
        gate.check(&classes).unwrap();
        let mut admits = |class: usize, seconds: u64, prompt_tokens| {
            let now = Nanos(seconds * 1_000_000_000);
            let about = &classes[class];
            let request =
                AdmissionRequest { now, class: class as u32, about, prompt_tokens, priority: 0 };
            gate.admit(&request, &PoolState::default()).is_ok()
        };
        assert!(!admits(1, 0, 251), "more than the bucket holds");
        assert!(admits(1, 0, 200));
        assert!(!admits(1, 0, 51));
        // 50 + 100 in a second; what was refused took nothing.
        assert!(!admits(1, 1, 151));
        assert!(admits(1, 1, 150));
        assert!(!admits(1, 100, 251) && admits(1, 100, 250));
        assert!(admits(0, 100, 1_000_000), "a class without a budget is not limited");
    }

    #[test]
    fn settings_that_make_no_sense() {
        let classes = [AdmissionClass::default()];
        assert!(TokenBudget::default().check(&classes).is_err());
        let bad = Budget { tokens_per_s: 0.0, burst_tokens: 1.0 };
        let each = TokenBudget { each: Some(bad), ..TokenBudget::default() };
        assert_eq!(each.check(&classes).unwrap_err().path, "each.tokens_per_s");
    }
}
