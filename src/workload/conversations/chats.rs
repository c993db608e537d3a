//! Generated conversations.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Conversations;
use crate::base::{Nanos, RandomStream};
use crate::workload::arrivals::ArrivalTimes;
use crate::workload::lengths::{LengthPairs, trim};
use crate::workload::prefix::SharedPrefix;
use crate::workload::{Content, LengthPair, NewRequest, RequestSource, TokenSpan};

/// First id of a turn's text. Shared prefixes have ids below.
const TEXTS: u64 = 1 << 32;

/// Conversations drawn as they arrive. All turns of one are drawn when it begins, in the order of
/// the arrivals, so that they do not depend on how fast anything is answered.
pub(in crate::workload) struct Chats {
    times: ArrivalTimes,
    pairs: LengthPairs,
    settings: Conversations,
    turns: RandomStream,
    think: RandomStream,
    prefix: Option<(SharedPrefix, RandomStream)>,
    /// What follows each turn that is under way, by its id. A conversation is here from its first
    /// turn's arrival until its last one's, and no longer.
    rest: BTreeMap<u64, Rest>,
    next_id: u64,
    limit: u64,
    end: Nanos,
}

/// A conversation under way.
struct Rest {
    /// The texts so far, the last answer included.
    history: Vec<TokenSpan>,
    /// The turns to come, the next one last.
    turns: Vec<Turn>,
}

/// What a turn adds, and the thought before it.
struct Turn {
    lengths: LengthPair,
    think: Nanos,
}

/// Where conversations end that would go on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatLimits {
    /// Turns of all of them.
    pub requests: Option<u64>,
    /// When the last one begins.
    pub duration: Option<Nanos>,
}

impl Chats {
    pub fn new(
        settings: &Conversations,
        times: ArrivalTimes,
        pairs: LengthPairs,
        prefix: Option<&SharedPrefix>,
        limits: ChatLimits,
        seed: u64,
    ) -> Chats {
        let stream = |purpose| RandomStream::new(seed, purpose);
        Chats {
            times,
            pairs,
            settings: settings.clone(),
            turns: stream("turns"),
            think: stream("think time"),
            prefix: prefix.map(|prefix| (prefix.clone(), stream("prefix"))),
            rest: BTreeMap::new(),
            next_id: 0,
            limit: limits.requests.unwrap_or(u64::MAX),
            end: limits.duration.unwrap_or(Nanos::MAX),
        }
    }

    /// The turns of a new conversation in their order; none if the lengths have come to an end.
    fn draw(&mut self, before: u32) -> Vec<Turn> {
        let most = self.settings.most();
        let wanted = u64::from(self.settings.turns.draw(&mut self.turns));
        let wanted = wanted.min(self.limit - self.next_id);
        let mut turns: Vec<Turn> = Vec::new();
        let mut total = before;
        while (turns.len() as u64) < wanted
            && let Some(mut lengths) = self.pairs.next()
        {
            if turns.is_empty() {
                lengths = trim::off_prompt(lengths, most - before);
            }
            total = total.saturating_add(lengths.total());
            if total > most {
                break;
            }
            let think = self.settings.think.draw(&mut self.think);
            turns.push(Turn { lengths, think });
        }
        turns
    }

    /// The request of the next turn after `history`; keeps what follows it.
    fn turn(&mut self, id: u64, earliest: Nanos, mut rest: Rest) -> Option<NewRequest> {
        let Turn { lengths, think } = rest.turns.pop()?;
        let text = TEXTS + 2 * id;
        rest.history.push(TokenSpan { id: text, tokens: lengths.prompt });
        let content = Content { prompt: rest.history.as_slice().into(), answer: Some(text + 1) };
        let prompt_tokens = rest.history.iter().map(|span| span.tokens).sum();
        if !rest.turns.is_empty() {
            rest.history.push(TokenSpan { id: text + 1, tokens: lengths.output });
            self.rest.insert(id, rest);
        }
        Some(NewRequest {
            id,
            arrived_at: earliest + think,
            prompt_tokens,
            output_tokens: lengths.output,
            priority: 0,
            class: 0,
            adapter: None,
            content: Some(Arc::new(content)),
        })
    }
}

impl RequestSource for Chats {
    fn next_request(&mut self) -> Option<NewRequest> {
        if self.next_id >= self.limit {
            return None;
        }
        let arrived_at = self.times.next().filter(|&time| time < self.end);
        let group = self.prefix.as_mut().map(|(prefix, stream)| prefix.draw(stream));
        let history: Vec<TokenSpan> = group.into_iter().collect();
        let before = history.iter().map(|span| span.tokens).sum();
        let mut turns = self.draw(before);
        turns.reverse();
        let (Some(arrived_at), Some(first)) = (arrived_at, turns.last_mut()) else {
            self.limit = 0;
            return None;
        };
        first.think = Nanos::ZERO;
        let id = self.next_id;
        self.next_id += turns.len() as u64;
        self.turn(id, arrived_at, Rest { history, turns })
    }

    fn ended(&mut self, id: u64, finished: bool, now: Nanos) -> Option<NewRequest> {
        let rest = self.rest.remove(&id)?;
        // Who is turned away does not go on.
        finished.then(|| self.turn(id + 1, now, rest))?
    }
}
