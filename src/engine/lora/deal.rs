//! Which request wants which adapter.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::RandomStream;
use crate::workload::{Content, NewRequest, Ranks, RequestSource, Tagged, TokenSpan};

/// How unequally adapters are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Popularity {
    /// Each as much as any other.
    #[default]
    Uniform,
    /// The k-th with weight `k^-theta`.
    Zipf(f64),
}

impl Popularity {
    /// The exponent of the weights.
    pub(super) fn theta(self) -> f64 {
        match self {
            Popularity::Uniform => 0.0,
            Popularity::Zipf(theta) => theta,
        }
    }
}

/// `source`, its requests dealt out to the adapters under `seed`. What follows a request has its
/// adapter; `follows` says whether anything does. A share of the requests wants the model itself.
pub(super) fn deal(
    source: Box<dyn RequestSource>,
    ranks: Ranks,
    base_share: f64,
    seed: u64,
    follows: bool,
) -> Box<dyn RequestSource> {
    let mut stream = RandomStream::new(seed, "lora adapters");
    let draw = move || {
        // Both are drawn for each, so that the share shifts no adapter.
        let (base, adapter) = (stream.uniform() < base_share, ranks.draw(&mut stream));
        if base { u32::MAX } else { adapter }
    };
    Box::new(Tagged::new(source, follows, draw, |request, adapter| {
        if adapter != u32::MAX {
            request.adapter = Some(adapter);
            salt(request, adapter);
        }
    }))
}

/// Keys and values under different adapters differ: blocks are told apart by the first text of the
/// prompt, on which the hashes of all blocks depend.
fn salt(request: &mut NewRequest, adapter: u32) {
    let Some(content) = &request.content else { return };
    let mut prompt = content.prompt.clone();
    if let Some(first) = prompt.first_mut() {
        let step = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(adapter) + 1);
        *first = TokenSpan { id: first.id.wrapping_add(step), ..*first };
    }
    request.content = Some(Arc::new(Content { prompt, answer: content.answer }));
}
