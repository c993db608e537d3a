//! Attention of a batch, by how far back it sees.

use super::attention::prompt;
use super::basis::Cost;
use super::pass::PerBatch;
use crate::hardware::model::layers::Reach;
use crate::timing::BatchShape;

/// Attention with keys and values of heads on one GPU.
pub(super) struct Attention {
    /// Elements of queries, and of keys or values, for one token.
    pub(super) q_width: f64,
    pub(super) kv_width: f64,
    /// Which tokens it sees.
    pub(super) reach: Reach,
    pub(super) prefill: PerBatch,
    pub(super) decode: PerBatch,
}

impl Attention {
    /// Attention of prompts: each by its own length and context, at the efficiency of as many
    /// requests together.
    pub(super) fn prefill(&self, batch: &BatchShape) -> Cost {
        let together = batch.prefills.len() as f64;
        let mut sum = Cost::default();
        for part in &batch.prefills {
            let (tokens, context) = (f64::from(part.tokens), f64::from(part.context));
            let cost = self.chunk(together, tokens, context);
            sum = sum.with(sum.us + cost.us / together).at_best(cost.basis);
        }
        sum
    }

    /// `together` equal chunks of `tokens` new tokens on `context`.
    fn chunk(&self, together: f64, tokens: f64, context: f64) -> Cost {
        let whole = |together, tokens, context| prompt(&self.prefill, together, tokens, context);
        match self.reach {
            Reach::Window(window) if tokens + context > f64::from(window) => {
                let window = f64::from(window);
                let pairs = pairs(window, tokens, context);
                // As many pairs of query and key as there are: a chunk of n tokens on c has
                // n c + n^2 / 2 of them.
                if tokens > window {
                    let pieces = pairs / (window * window);
                    let cost = whole(together * pieces.max(1.0), window, window / 2.0);
                    return cost.with(cost.us * (pieces / pieces.max(1.0)));
                }
                whole(together, tokens, (pairs / tokens - tokens / 2.0).max(0.0))
            }
            Reach::Chunk(chunk) if tokens + context > f64::from(chunk) => {
                let chunk = f64::from(chunk);
                let begun = context % chunk;
                let first = tokens.min(chunk - begun);
                let mut cost = whole(together, first, begun);
                let pieces = ((tokens - first) / chunk).floor();
                let rest = tokens - first - pieces * chunk;
                for (times, tokens) in [(pieces, chunk), (1.0, rest)] {
                    if times > 0.0 && tokens > 0.0 {
                        let more = whole(together * times, tokens, 0.0);
                        cost = cost.with(cost.us + more.us).at_best(more.basis);
                    }
                }
                cost
            }
            _ => whole(together, tokens, context),
        }
    }

    /// Of a context that is in the cache, what is seen.
    fn seen(&self, context: f64) -> f64 {
        match self.reach {
            Reach::All => context,
            Reach::Window(window) => context.min(f64::from(window)),
            // A chunk is half full on average once a request is longer than one.
            Reach::Chunk(chunk) if context > f64::from(chunk) => f64::from(chunk) / 2.0,
            Reach::Chunk(_) => context,
        }
    }

    /// Attention of decoding requests.
    ///
    /// Bytes are those of the mean context; work is spread over the device by request, so that the
    /// longest ones finish late: a share `skew` of the way to a batch that is all as long as the
    /// longest, and not before the longest would alone.
    ///
    /// Drafts are verified by the same kernel, which reads the KV cache once for all tokens of a
    /// request: it takes as long as one token each with that context, or as long as prompts take
    /// for as many pairs of query and key, whichever is longer.
    pub(super) fn decode(&self, batch: &BatchShape, skew: f64) -> Cost {
        if batch.decodes == 0 {
            return Cost::default();
        }
        let requests = f64::from(batch.decodes);
        let whole = batch.decode_context_mean();
        let mean = self.seen(whole);
        let mut cost = (self.decode)(requests, mean);
        if batch.drafts > 0 {
            // A prompt of s tokens has s^2 / 2 pairs.
            let pairs = (batch.decode_context + batch.draft_context) as f64 * (mean / whole);
            let compute = (self.prefill)(1.0, mean).us * 2.0 * pairs / (mean * mean);
            cost = cost.with(cost.us.max(compute));
        }
        let longest = self.seen(f64::from(batch.decode_context_max));
        if batch.decodes == 1 || longest <= mean {
            return cost;
        }
        let all_longest = (self.decode)(requests, longest).us.max(cost.us);
        let alone = (self.decode)(1.0, longest);
        cost.with((cost.us + skew * (all_longest - cost.us)).max(alone.us))
    }
}

/// Pairs of query and key of `tokens` new tokens on `context`, each query with `window` keys at
/// most; its own counts as half, as in a prompt's `n^2 / 2`.
pub(super) fn pairs(window: f64, tokens: f64, context: f64) -> f64 {
    // So many tokens see everything before them.
    let free = (window - context).clamp(0.0, tokens);
    free * context + free * free / 2.0 + (tokens - free) * window
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attention whose time is its pairs, and bytes of decoding.
    fn attention(reach: Reach) -> Attention {
        Attention {
            q_width: 1.0,
            kv_width: 1.0,
            reach,
            prefill: Box::new(|requests, tokens| Cost::measured(requests * tokens * tokens / 2.0)),
            decode: Box::new(|requests, context| Cost::measured(requests * context)),
        }
    }

    fn chunk(reach: Reach, tokens: f64, context: f64) -> f64 {
        attention(reach).chunk(1.0, tokens, context).us
    }

    #[test]
    fn a_window_limits_the_pairs() {
        let all = |tokens: f64, context: f64| tokens * context + tokens * tokens / 2.0;
        assert_eq!(chunk(Reach::All, 100.0, 50.0), all(100.0, 50.0));
        // Nothing is hidden yet.
        assert_eq!(chunk(Reach::Window(200), 100.0, 50.0), all(100.0, 50.0));
        let window = Reach::Window(100);
        assert_eq!(pairs(100.0, 50.0, 400.0), 50.0 * 100.0);
        assert!((chunk(window, 50.0, 400.0) - 5000.0).abs() < 1e-6);
        assert!((chunk(window, 1000.0, 400.0) - 100_000.0).abs() < 1e-6);
        // The first hundred tokens see fewer.
        assert!((chunk(window, 1000.0, 0.0) - (5000.0 + 90_000.0)).abs() < 1e-6);
    }

    #[test]
    fn chunks_begin_anew() {
        let reach = Reach::Chunk(100);
        assert_eq!(chunk(reach, 80.0, 0.0), 3200.0);
        // 20 to the end of the begun chunk, one whole, and 30 of the next.
        let expected = 20.0 * 80.0 + 200.0 + 5000.0 + 450.0;
        assert!((chunk(reach, 150.0, 180.0) - expected).abs() < 1e-6);
    }

    #[test]
    fn decoding_reads_what_is_seen() {
        let batch = BatchShape::of(&[], &[500, 500]);
        for (reach, seen) in
            [(Reach::All, 500.0), (Reach::Window(100), 100.0), (Reach::Chunk(200), 100.0)]
        {
            assert_eq!(attention(reach).decode(&batch, 0.0).us, 2.0 * seen, "{reach:?}");
        }
    }
}
