//! Everything that depends on the number of tokens alone, folded into one table.

use super::curve::Curve;
use crate::profile::format::{Operator, RankTables};

/// Tokens are rounded up to a multiple of this, as kernels pad them.
const ROUNDING: u32 = 8;

/// Times of a batch with a given number of tokens, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct TokenCost {
    /// GEMMs, norms, rotary embedding, activation and addition of one block.
    pub operators: f64,
    /// One all-reduce, without its launch.
    pub all_reduce: f64,
    /// One transfer to the next stage.
    pub send_recv: f64,
}

/// [`TokenCost`] by tokens: a table over the measured range, curves beyond it.
#[derive(Clone, Debug)]
pub(super) struct TokenCosts {
    operators: Curve,
    all_reduce: Option<Curve>,
    send_recv: Option<Curve>,
    /// By tokens / [`ROUNDING`].
    table: Vec<TokenCost>,
}

/// Which costs lie beyond the measurements.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokensBeyond {
    pub operators: bool,
    pub all_reduce: bool,
    pub send_recv: bool,
}

impl TokenCosts {
    /// `second_norm`: whether a block has a norm before its MLP.
    pub(super) fn new(
        rank: &RankTables,
        second_norm: bool,
        all_reduce: Option<Curve>,
        send_recv: Option<Curve>,
    ) -> TokenCosts {
        let operators = fold(rank, second_norm);
        let entries = operators.limit() as u32 / ROUNDING;
        let mut costs = TokenCosts { operators, all_reduce, send_recv, table: Vec::new() };
        costs.table = (0..=entries).map(|entry| costs.compute(entry * ROUNDING)).collect();
        costs
    }

    /// The costs of a batch of `tokens`.
    pub(super) fn at(&self, tokens: u32) -> (TokenCost, TokensBeyond) {
        let entry = tokens.div_ceil(ROUNDING);
        let rounded = entry.saturating_mul(ROUNDING);
        let beyond = |curve: &Curve| f64::from(rounded) > curve.limit();
        let outside = TokensBeyond {
            operators: beyond(&self.operators),
            all_reduce: self.all_reduce.as_ref().is_some_and(beyond),
            send_recv: self.send_recv.as_ref().is_some_and(beyond),
        };
        let cost = match self.table.get(entry as usize) {
            Some(cost) => *cost,
            None => self.compute(rounded),
        };
        (cost, outside)
    }

    fn compute(&self, tokens: u32) -> TokenCost {
        let tokens = f64::from(tokens);
        let at = |curve: &Option<Curve>| curve.as_ref().map_or(0.0, |curve| curve.at(tokens));
        TokenCost {
            operators: self.operators.at(tokens),
            all_reduce: at(&self.all_reduce),
            send_recv: at(&self.send_recv),
        }
    }

    /// Most tokens that operators were measured with.
    pub(super) fn limit(&self) -> f64 {
        self.operators.limit()
    }
}

/// The sum of a block's operators. They share their points, so the sum of the interpolations is the
/// interpolation of the sum. One addition is counted, as Vidur does, though a block has two.
fn fold(rank: &RankTables, second_norm: bool) -> Curve {
    let tables = &rank.per_tokens;
    let mut sum = vec![0.0; tables.tokens.len()];
    for (operator, us) in &tables.us {
        let counts = match operator {
            Operator::Emb => false,
            Operator::PostAttentionLayernorm => second_norm,
            _ => true,
        };
        if counts {
            sum.iter_mut().zip(us).for_each(|(sum, us)| *sum += us);
        }
    }
    Curve::new(tables.tokens.iter().map(|tokens| f64::from(*tokens)).collect(), sum)
}
