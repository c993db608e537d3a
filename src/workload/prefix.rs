//! Generated prompts that have a beginning in common.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ranks::Ranks;
use super::{NewRequest, RequestSource, checks};
use crate::base::{RandomStream, SettingError};
use crate::workload::{Content, TokenSpan};

/// The most groups, which bounds what is kept of them.
const MAX_GROUPS: u32 = 1 << 20;

/// What the prompts of a workload have in common, as a scenario says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Prefix {
    /// Every request belongs to a group (a system prompt, a document) and its prompt begins with
    /// the group's text. That text is added to the prompt: lengths, and a `max_total` among them,
    /// are those of what comes after it.
    SharedPrefix {
        /// Number of groups.
        #[serde(default = "one_group")]
        groups: u32,
        /// Length of each group's text in tokens.
        tokens: u32,
        /// How unequal the groups are: the k-th has weight `k^-zipf`. Without it all have the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zipf: Option<f64>,
    },
}

fn one_group() -> u32 {
    1
}

impl Prefix {
    /// The names a scenario may use, in the order of the documentation.
    pub const NAMES: [&str; 1] = ["SharedPrefix"];

    /// Checks the settings.
    ///
    /// # Errors
    /// A setting that makes no sense, its path relative to the prefix.
    pub(super) fn check(&self) -> Result<SharedPrefix, SettingError> {
        let Prefix::SharedPrefix { groups, tokens, zipf } = *self;
        checks::tokens("tokens", tokens)?;
        if !(1..=MAX_GROUPS).contains(&groups) {
            return Err(SettingError::new("groups", groups, format!("1 to {MAX_GROUPS}")));
        }
        let theta = zipf.unwrap_or(0.0);
        checks::skew("zipf", theta)?;
        let contents = (0..u64::from(groups)).map(|id| {
            Arc::new(Content { prompt: [TokenSpan { id, tokens }].into(), answer: None })
        });
        Ok(SharedPrefix { tokens, ranks: Ranks::new(groups, theta), contents: contents.collect() })
    }
}

/// Checked groups. All requests of a group share its content.
#[derive(Clone, Debug)]
pub(super) struct SharedPrefix {
    pub tokens: u32,
    ranks: Ranks,
    contents: Arc<[Arc<Content>]>,
}

impl SharedPrefix {
    /// The text of a group.
    pub fn draw(&self, stream: &mut RandomStream) -> TokenSpan {
        self.draw_content(stream).prompt[0]
    }

    fn draw_content(&self, stream: &mut RandomStream) -> Arc<Content> {
        self.contents[self.ranks.draw(stream) as usize].clone()
    }

    /// `source`, its requests dealt out to the groups under `seed`.
    pub fn before(&self, source: Box<dyn RequestSource>, seed: u64) -> Box<dyn RequestSource> {
        let stream = RandomStream::new(seed, "prefix");
        Box::new(Prefixed { source, prefix: self.clone(), stream })
    }
}

/// A source whose prompts get the text of a group in front.
struct Prefixed {
    source: Box<dyn RequestSource>,
    prefix: SharedPrefix,
    stream: RandomStream,
}

impl RequestSource for Prefixed {
    fn next_request(&mut self) -> Option<NewRequest> {
        let mut request = self.source.next_request()?;
        request.prompt_tokens += self.prefix.tokens;
        request.content = Some(self.prefix.draw_content(&mut self.stream));
        Some(request)
    }

    fn failure(&self) -> Option<&str> {
        self.source.failure()
    }
}
