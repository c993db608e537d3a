//! Everything but attention: by the batch's tokens and by its requests.

use super::grid::along;
use crate::profile::format::{Curve as Measured, Surface};
use crate::profile::layerwise::{LayerwiseRank, TokenOperator};
use crate::timing::measured::curve::Curve;

/// Microseconds of a batch with so many tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TokenTime {
    /// Operators of one layer, experts included.
    pub layer: f64,
    /// Time of experts that were measured on one GPU and are spread over several here.
    pub spread_experts: f64,
    /// Look-up of the embedding.
    pub embedding: f64,
    /// The norm after the last layer.
    pub final_norm: f64,
    /// One all-reduce.
    pub all_reduce: f64,
    /// One transfer to the next stage.
    pub send_recv: f64,
}

/// Experts, and the GPUs they are spread over.
#[derive(Clone, Debug)]
pub(super) struct Experts {
    /// By experts met: the curve along tokens.
    rows: Vec<(f64, Curve)>,
    experts: f64,
    per_token: f64,
    gpus: f64,
}

/// A link between GPUs: microseconds by the batch's tokens.
pub(super) type Link = Curve;

#[derive(Clone, Debug)]
pub(super) struct Operators {
    layer: Curve,
    embedding: Curve,
    final_norm: Curve,
    experts: Option<Experts>,
    all_reduce: Option<Link>,
    send_recv: Option<Link>,
    lm_head: Curve,
    sampler: Curve,
    /// By tokens.
    table: Vec<TokenTime>,
}

impl Operators {
    pub(super) fn new(
        rank: &LayerwiseRank,
        experts: Option<Experts>,
        all_reduce: Option<Link>,
        send_recv: Option<Link>,
    ) -> Operators {
        let tables = &rank.per_tokens;
        let x: Vec<f64> = tables.tokens.iter().map(|tokens| f64::from(*tokens)).collect();
        let mut layer = vec![0.0; x.len()];
        for (operator, us) in &tables.us {
            let times = operator.per_layer();
            layer.iter_mut().zip(us).for_each(|(sum, us)| *sum += times * us);
        }
        let curve = |operator| {
            let us = tables.us.get(&operator).cloned().unwrap_or_else(|| vec![0.0; x.len()]);
            Curve::new(x.clone(), us)
        };
        let mut operators = Operators {
            layer: Curve::new(x.clone(), layer),
            embedding: curve(TokenOperator::Embedding),
            final_norm: curve(TokenOperator::FinalLayernorm),
            experts,
            all_reduce,
            send_recv,
            lm_head: measured(&rank.per_sequences.lm_head),
            sampler: measured(&rank.per_sequences.sampler),
            table: Vec::new(),
        };
        operators.table =
            (0..=operators.token_limit() as u32).map(|tokens| operators.compute(tokens)).collect();
        operators
    }

    /// The times of a batch of `tokens`, and whether that lies beyond what was measured.
    pub(super) fn at(&self, tokens: u32) -> (TokenTime, bool) {
        match self.table.get(tokens as usize) {
            Some(time) => (*time, false),
            None => (self.compute(tokens), true),
        }
    }

    /// Microseconds of LM head and sampling for so many requests, and whether that lies beyond what
    /// was measured.
    pub(super) fn sampling(&self, requests: u32) -> (f64, bool) {
        let requests = f64::from(requests);
        let us = self.lm_head.at(requests) + self.sampler.at(requests);
        (us, requests > self.request_limit())
    }

    fn compute(&self, tokens: u32) -> TokenTime {
        let tokens = f64::from(tokens);
        let experts = self.experts.as_ref().map_or(0.0, |experts| experts.us(tokens));
        let spread = self.experts.as_ref().is_some_and(|experts| experts.gpus > 1.0);
        let at = |link: &Option<Link>| link.as_ref().map_or(0.0, |link| link.at(tokens));
        TokenTime {
            layer: self.layer.at(tokens) + experts,
            spread_experts: if spread { experts } else { 0.0 },
            embedding: self.embedding.at(tokens),
            final_norm: self.final_norm.at(tokens),
            all_reduce: at(&self.all_reduce),
            send_recv: at(&self.send_recv),
        }
    }

    /// Most tokens that were measured.
    pub(super) fn token_limit(&self) -> f64 {
        self.layer.limit()
    }

    /// Most requests that were measured.
    pub(super) fn request_limit(&self) -> f64 {
        self.lm_head.limit().min(self.sampler.limit())
    }
}

impl Experts {
    /// `gpus` share the experts, each holding whole ones.
    pub(super) fn new(moe: &Surface, experts: u32, per_token: u32, gpus: u32) -> Experts {
        let rows = moe.rows.iter().map(|row| {
            let x = moe.columns(row).iter().map(|tokens| f64::from(*tokens)).collect();
            (f64::from(row.at), Curve::new(x, row.us.clone()))
        });
        Experts {
            rows: rows.collect(),
            experts: f64::from(experts),
            per_token: f64::from(per_token),
            gpus: f64::from(gpus),
        }
    }

    /// Microseconds for `tokens` of the batch. Each token picks its experts independently, so that
    /// a GPU's E/g experts meet E/g (1 - (1 - k/E)^T) of them in expectation, and T k / g pairs of
    /// a token and an expert: as many as T/g tokens bring along where all experts are on one GPU.
    fn us(&self, tokens: f64) -> f64 {
        if tokens == 0.0 {
            return 0.0;
        }
        let missed = libm::pow(1.0 - self.per_token / self.experts, tokens);
        let met = self.experts / self.gpus * (1.0 - missed);
        let local = tokens / self.gpus;
        let points: Vec<(f64, f64)> =
            self.rows.iter().map(|(experts, curve)| (*experts, curve.at(local))).collect();
        along(&points, met)
    }
}

fn measured(curve: &Measured) -> Curve {
    Curve::new(curve.x.iter().map(|x| f64::from(*x)).collect(), curve.us.clone())
}
