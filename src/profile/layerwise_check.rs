//! Whether the layerwise part of a profile makes sense.

use super::check::{Checked, ascending, check_curve, complain, surface, times};
use super::layerwise::{
    LayerwiseAttention, LayerwiseRank, LayerwiseTables, Skew, Straggler, TokenOperator,
};

pub(super) fn check_layerwise(tables: &LayerwiseTables) -> Checked {
    if tables.ranks.is_empty() {
        return complain("layerwise.ranks", "there is none");
    }
    if let Some(Straggler { us, us_per_token, .. }) = tables.straggler
        && !(us.is_finite() && us >= 0.0 && us_per_token.is_finite() && us_per_token >= 0.0)
    {
        return complain("layerwise.straggler", "times must be 0 or more");
    }
    for rank in &tables.ranks {
        let place = format!("layerwise.ranks (tensor_parallel {})", rank.tensor_parallel);
        if rank.tensor_parallel == 0 {
            return complain(place, "tensor_parallel must be at least 1");
        }
        check_rank(rank, tables.shape.experts > 0, &place)?;
    }
    let moe = tables.shape.experts > 0;
    if moe && tables.ranks.iter().all(|rank| rank.moe.is_none()) {
        return complain("layerwise.ranks", "the model has experts, but no rank has `moe`");
    }
    Ok(())
}

fn check_rank(rank: &LayerwiseRank, experts: bool, place: &str) -> Checked {
    ascending(&rank.per_tokens.tokens, &format!("{place}.per_tokens.tokens"))?;
    for operator in TokenOperator::ALL {
        let place = format!("{place}.per_tokens.us.{}", operator.name());
        match rank.per_tokens.us.get(&operator) {
            Some(us) => times(&rank.per_tokens.tokens, us, &place)?,
            None if operator == TokenOperator::QkNorm || experts && operator.is_optional() => {}
            None => return complain(place, "it is missing"),
        }
    }
    check_curve(&rank.per_sequences.lm_head, &format!("{place}.per_sequences.lm_head"))?;
    check_curve(&rank.per_sequences.sampler, &format!("{place}.per_sequences.sampler"))?;
    check_attention(&rank.attention, &format!("{place}.attention"))?;
    if let Some(moe) = &rank.moe {
        surface(moe, &format!("{place}.moe"))?;
    }
    rank.skew.as_ref().map_or(Ok(()), |skew| check_skew(skew, &format!("{place}.skew")))
}

fn check_attention(attention: &LayerwiseAttention, place: &str) -> Checked {
    for (index, axis) in attention.axes.iter().enumerate() {
        ascending(axis, &format!("{place}.axes (number {index})"))?;
    }
    let keys: Vec<(u32, u32)> = attention.slices.iter().map(|slice| (slice.0, slice.1)).collect();
    if let Some(pair) = keys.windows(2).find(|pair| pair[0] >= pair[1]) {
        return complain(format!("{place}.slices"), format!("{:?} comes twice or late", pair[1]));
    }
    let has = |chunk: bool, decodes: bool| {
        keys.iter().any(|key| (key.0 > 0, key.1 > 0) == (chunk, decodes))
    };
    if !(has(false, true) && has(true, false) && has(true, true)) {
        return complain(place, "chunks alone, decoding alone and both together must be there");
    }
    for slice in &attention.slices {
        let place = format!("{place}.slices ({}, {})", slice.0, slice.1);
        let keys: Vec<u32> = slice.2.iter().map(|row| row.0).collect();
        ascending(&keys, &place)?;
        for row in &slice.2 {
            let Some(axis) = attention.axes.get(row.1) else {
                return complain(place, format!("there is no axis number {}", row.1));
            };
            times(axis, &row.2, &place)?;
        }
    }
    Ok(())
}

fn check_skew(skew: &Skew, place: &str) -> Checked {
    let classes = skew.position.len() * skew.longest.len();
    if skew.alpha.len() != skew.requests.len() || skew.alpha.iter().any(|a| a.len() != classes) {
        let message = format!("{} lists of {classes} are expected", skew.requests.len());
        return complain(format!("{place}.alpha"), message);
    }
    let ascends = |bounds: &[f64]| !bounds.is_empty() && bounds.windows(2).all(|b| b[0] < b[1]);
    if ![&skew.requests, &skew.position, &skew.longest].iter().all(|bounds| ascends(bounds)) {
        return complain(place, "bounds of classes must ascend");
    }
    match skew.alpha.iter().flatten().chain([&skew.default]).find(|alpha| !alpha.is_finite()) {
        Some(alpha) => complain(place, format!("{alpha} is no share")),
        None => Ok(()),
    }
}
