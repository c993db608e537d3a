//! What tokens a request consists of, as far as prefix caching must know: which spans are equal to
//! spans of other requests.

/// A span of tokens with an identity: two spans with the same id are the same tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenSpan {
    /// Its identity. Ids of a workload share one name space; a trace's ids, the answers of a
    /// conversation and the texts that a group shares must not collide.
    pub id: u64,
    /// Its length in tokens.
    pub tokens: u32,
}

/// The identity of a request's tokens. What the spans do not cover of the prompt is like no other
/// request's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Spans of the prompt, from its first token on.
    pub prompt: Box<[TokenSpan]>,
    /// Identity of the answer, if a later prompt repeats it.
    pub answer: Option<u64>,
}
