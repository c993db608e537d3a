//! Conversations in closed loop: the next turn arrives a time of thought after the last answer.

mod chains;
mod chats;
mod draws;

pub(super) use chains::{Chained, Chains, Linked};
pub(super) use chats::{ChatLimits, Chats};
pub(crate) use draws::{Think, Turns};

use serde::{Deserialize, Serialize};

use super::checks::{self, MAX_TOKENS};
use crate::base::SettingError;

/// How requests form conversations, as a scenario says it. Arrivals are then those of
/// conversations, and lengths those of what a turn adds and of its answer; the prompt of a turn
/// begins with all turns before it and their answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conversations {
    /// Number of turns.
    pub turns: Turns,
    /// Time between the end of an answer and the next turn.
    pub think: Think,
    /// Most tokens of prompt plus output. A conversation ends before the turn that would exceed
    /// it; a first turn is shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_total: Option<u32>,
}

impl Conversations {
    /// Checks the settings. `before` tokens come before the first turn.
    ///
    /// # Errors
    /// A setting that makes no sense, its path relative to the conversations.
    pub(super) fn check(&self, before: u32) -> Result<(), SettingError> {
        self.turns.check().map_err(|error| error.within("turns"))?;
        self.think.check().map_err(|error| error.within("think"))?;
        if self.think == Think::Recorded {
            let expected = "a distribution: no file says when these turns are sent";
            return Err(SettingError::new("think", "Recorded", expected));
        }
        checks::max_total("max_total", self.max_total)?;
        if let Some(most) = self.max_total
            && most < before.saturating_add(2)
        {
            let expected = format!("more than the shared prefix of {before} tokens and 1 more");
            return Err(SettingError::new("max_total", most, expected));
        }
        Ok(())
    }

    /// The conversations without thinking.
    pub(super) fn restless(&self) -> Conversations {
        Conversations { think: Think::Fixed(0.0), ..self.clone() }
    }

    /// The limit on prompt plus output; there is always one, so that numbers of tokens stay small.
    fn most(&self) -> u32 {
        self.max_total.unwrap_or(2 * MAX_TOKENS)
    }
}
