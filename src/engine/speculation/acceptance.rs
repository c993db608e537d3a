//! Which drafts are accepted, and what follows from it on average.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::{RandomStream, SettingError};

/// How likely the draft at a position is accepted, given that all before it were.
#[derive(Clone, Debug, PartialEq)]
pub enum Acceptance {
    /// At every position alike: the `alpha` of Leviathan et al.
    Same(f64),
    /// By position, the first draft first.
    ByPosition(Vec<f64>),
}

impl Acceptance {
    /// The chance at a position, from 0.
    pub fn at(&self, position: u32) -> f64 {
        match self {
            Acceptance::Same(alpha) => *alpha,
            Acceptance::ByPosition(table) => table.get(position as usize).copied().unwrap_or(0.0),
        }
    }

    /// Complains about what is no probability, and about a table that is shorter than `k`.
    ///
    /// # Errors
    /// Names the value, relative to the acceptance.
    pub fn check(&self, k: u32) -> Result<(), SettingError> {
        let values = match self {
            Acceptance::Same(alpha) => std::slice::from_ref(alpha),
            Acceptance::ByPosition(table) => table.as_slice(),
        };
        for (index, value) in values.iter().enumerate() {
            if !(0.0..=1.0).contains(value) {
                let path = match self {
                    Acceptance::Same(_) => String::new(),
                    Acceptance::ByPosition(_) => format!("[{index}]"),
                };
                return Err(SettingError::new(path, value, "a probability, 0 to 1"));
            }
        }
        match self {
            Acceptance::ByPosition(table) if table.len() < k as usize => {
                let found = format!("a table of {} positions", table.len());
                Err(SettingError::new("", found, format!("at least k = {k} of them")))
            }
            _ => Ok(()),
        }
    }
}

impl Serialize for Acceptance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Acceptance::Same(alpha) => alpha.serialize(serializer),
            Acceptance::ByPosition(table) => table.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Acceptance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Acceptance, D::Error> {
        // RON reads numbers of any type as the narrowest one, so the text is looked at.
        let text = <&ron::value::RawValue>::deserialize(deserializer)?.trim().get_ron();
        let read = match text.starts_with('[') {
            true => ron::from_str(text).map(Acceptance::ByPosition),
            false => ron::from_str(text).map(Acceptance::Same),
        };
        read.map_err(|_| {
            let expected = "expected a probability, or a list of one for each position";
            D::Error::custom(format!("`{text}` for acceptance, {expected}"))
        })
    }
}

/// A request's drafts: the stream that decides on them, and how many there were. The stream is the
/// request's own, and each draft that is looked at takes one number, so that who else is in the
/// batch shifts nobody's luck.
#[derive(Clone, Debug)]
pub struct Drafting {
    stream: RandomStream,
    /// Drafts that were verified.
    pub drafted: u32,
    /// Drafts that were accepted.
    pub accepted: u32,
}

impl Drafting {
    /// The drafts of request `id` of a pool under the run's `seed`; the only pool has no name.
    pub fn new(seed: u64, pool: &str, id: u64) -> Drafting {
        let purpose = match pool {
            "" => format!("acceptance of request {id}"),
            pool => format!("acceptance of request {id} of {pool}"),
        };
        let stream = RandomStream::new(seed, &purpose);
        Drafting { stream, drafted: 0, accepted: 0 }
    }

    /// Verifies `drafts` drafts and returns how many are accepted: up to the first that is not.
    pub fn verify(&mut self, drafts: u32, acceptance: &Acceptance) -> u32 {
        let refused = (0..drafts).find(|&i| self.stream.uniform() >= acceptance.at(i));
        let accepted = refused.unwrap_or(drafts);
        self.drafted = self.drafted.saturating_add(drafts);
        self.accepted = self.accepted.saturating_add(accepted);
        accepted
    }
}

/// Mean tokens per step, `(1 - a^(k+1)) / (1 - a)` = `1 + a + ... + a^k` (Leviathan, Kalman and
/// Matias, "Fast inference from transformers via speculative decoding", ICML 2023, equation 1).
pub fn tokens_per_step(alpha: f64, k: u32) -> f64 {
    let mut sum = 1.0;
    let mut power = 1.0;
    for _ in 0..k {
        power *= alpha;
        sum += power;
    }
    sum
}

/// Speed-up over decoding without drafts where one draft costs `cost` of a pass and a pass costs
/// the same whatever its width: `(1 - a^(k+1)) / ((1 - a)(k c + 1))` (the same paper, theorem 3.8).
pub fn speed_up(alpha: f64, k: u32, cost: f64) -> f64 {
    tokens_per_step(alpha, k) / (f64::from(k) * cost + 1.0)
}

/// The `k` up to `most` with the largest [`speed_up`]; 0 where no drafts are best.
pub fn best_k(alpha: f64, cost: f64, most: u32) -> u32 {
    let mut best = 0;
    for k in 1..=most {
        if speed_up(alpha, k, cost) > speed_up(alpha, best, cost) {
            best = k;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formulas_give_the_papers_example() {
        assert!((tokens_per_step(0.8, 5) - 3.689).abs() < 1e-3);
        assert!((speed_up(0.8, 5, 0.1) - 2.46).abs() < 5e-3);
        assert_eq!(tokens_per_step(1.0, 4), 5.0);
        assert_eq!(best_k(0.0, 0.1, 8), 0);
        assert_eq!(best_k(1.0, 0.1, 8), 8);
    }

    #[test]
    fn a_request_draws_the_same_whatever_its_steps() {
        let acceptance = Acceptance::Same(0.7);
        let (mut a, mut b) = (Drafting::new(1, "", 9), Drafting::new(1, "", 9));
        let first: Vec<u32> = (0..50).map(|_| a.verify(5, &acceptance)).collect();
        // Steps without drafts in between, as with another batch, take no numbers.
        let second: Vec<u32> = (0..50)
            .map(|_| {
                b.verify(0, &acceptance);
                b.verify(5, &acceptance)
            })
            .collect();
        assert_eq!(first, second);
        let mut other = Drafting::new(1, "", 10);
        let third: Vec<u32> = (0..50).map(|_| other.verify(5, &acceptance)).collect();
        assert_ne!(first, third);
    }

    #[test]
    fn positions_have_their_own_chances() {
        let acceptance = Acceptance::ByPosition(vec![1.0, 1.0, 0.0, 1.0]);
        let mut drafting = Drafting::new(3, "", 1);
        assert!((0..100).all(|_| drafting.verify(4, &acceptance) == 2));
        assert_eq!((drafting.drafted, drafting.accepted), (400, 200));
        assert!(acceptance.check(4).is_ok());
        assert!(acceptance.check(5).unwrap_err().expected.contains("k = 5"));
        assert_eq!(Acceptance::ByPosition(vec![0.5, 1.5]).check(1).unwrap_err().path, "[1]");
        assert!(Acceptance::Same(f64::NAN).check(1).is_err());
    }

    #[test]
    fn is_read_as_a_number_or_a_list() {
        let read = |text: &str| ron::from_str::<Acceptance>(text);
        assert_eq!(read("0.8").unwrap(), Acceptance::Same(0.8));
        assert_eq!(read("1").unwrap(), Acceptance::Same(1.0));
        assert_eq!(read(" [0.9, 0.8] ").unwrap(), Acceptance::ByPosition(vec![0.9, 0.8]));
        assert!(read("\"high\"").unwrap_err().to_string().contains("a probability"));
        let text = ron::to_string(&Acceptance::ByPosition(vec![0.9, 0.8])).unwrap();
        assert_eq!(read(&text).unwrap(), Acceptance::ByPosition(vec![0.9, 0.8]));
    }
}
