//! Attention from measured layouts of heads.

use super::Efficiencies;
use super::basis::{Cost, TimeBasis};
use super::samples::Samples;
use super::speed::{Heads, Speed, bound};
use crate::profile::operators::{AttentionTable, Between};

/// Which of the two kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Prefill,
    Decode,
}

impl Kind {
    /// The least time for `requests` requests of `tokens` tokens each.
    pub(super) fn bound(self, speed: &Speed, heads: &Heads, requests: f64, tokens: f64) -> f64 {
        bound(match self {
            Kind::Prefill => speed.prefill(heads, tokens, requests),
            Kind::Decode => speed.decode(heads, requests, tokens),
        })
    }

    /// Microseconds of a kernel that do not depend on its work, as calibrated for the roofline.
    pub(super) fn launch_us(self) -> f64 {
        match self {
            Kind::Prefill => Efficiencies::CALIBRATED.prefill.launch_us,
            Kind::Decode => Efficiencies::CALIBRATED.decode.launch_us,
        }
    }
}

/// How much longer the engine's own kernel may take by this rule than another engine's did on the
/// very layout.
const LONGER: f64 = 1.1;

/// The time of `together` equal chunks of `tokens` new tokens, each on `context` that is there,
/// from that of prompts without context, `new(requests, tokens)`.
///
/// `s = context + tokens` new tokens would take T(s); those that were there before save their
/// share of the pairs: `T(s) x (s^2 - context^2) / s^2`, and never less than without context.
pub(super) fn prompt(
    new: impl Fn(f64, f64) -> Cost,
    together: f64,
    tokens: f64,
    context: f64,
) -> Cost {
    let cost = new(together, tokens + context);
    if context <= 0.0 {
        return cost;
    }
    let whole = (tokens + context) * (tokens + context);
    let alone = new(together, tokens);
    let share = (whole - context * context) / whole;
    cost.with((cost.us * share).max(alone.us)).at_best(TimeBasis::Transferred)
}

/// One kernel for one layout of heads.
pub(super) struct Attention {
    kind: Kind,
    speed: Speed,
    heads: Heads,
    /// One if this number of query heads was measured, otherwise those below and above.
    tables: Vec<HeadTable>,
    basis: TimeBasis,
    /// The engine's own kernel with fewer heads, if `tables` are another engine's.
    own: Option<HeadTable>,
    /// Where the table comes from, and what was not measured.
    pub(super) source: String,
}

/// Times for one number of query heads.
struct HeadTable {
    heads: Heads,
    /// Ascending.
    by_requests: Vec<(f64, Samples)>,
}

impl Attention {
    /// The kernel for `heads`, from the best of the tables `all`.
    ///
    /// # Errors
    /// There is no table at all, or one is malformed.
    pub(super) fn new(
        kind: Kind,
        all: &[AttentionTable],
        heads: Heads,
        speed: Speed,
    ) -> Result<Attention, String> {
        let (measured, basis) = choose(all, &heads)?;
        let key = if heads.q == heads.kv { 0 } else { heads.kv };
        let mut found = head_tables(kind, measured)?;
        let at = found.partition_point(|table| table.heads.q < heads.q);
        let mut basis = basis;
        let tables: Vec<HeadTable> = match found.get(at) {
            Some(table) if table.heads.q == heads.q => found.drain(at..=at).collect(),
            Some(_) if at > 0 => {
                basis = basis.max(TimeBasis::Transferred);
                found.drain(at - 1..=at).collect()
            }
            Some(_) => {
                basis = basis.max(TimeBasis::Transferred);
                found.drain(..1).collect()
            }
            None => {
                basis = TimeBasis::Extrapolated;
                found.pop().into_iter().collect()
            }
        };
        let used: Vec<String> = tables.iter().map(|table| table.heads.q.to_string()).collect();
        let exact = measured.kv_heads == key && measured.head_dim == heads.head_dim;
        let mut source = measured.table.source.clone();
        if !exact || used != [heads.q.to_string()] {
            let kv = match measured.kv_heads {
                0 => "as many KV heads".to_owned(),
                kv => format!("{kv} KV heads"),
            };
            source.push_str(&format!(
                ", measured with {} query and {kv} of width {}",
                used.join(" and "),
                measured.head_dim
            ));
        }
        let mut own = None;
        if kind == Kind::Decode && exact && key == 0 {
            let first = tables_of(all, &heads).find(|table| table.kv_heads == 0);
            if let Some(first) = first.filter(|first| first.table.source != measured.table.source) {
                own = head_tables(kind, first)?.into_iter().max_by_key(|table| table.heads.q);
            }
            if let (Some(first), Some(own)) = (first, &own) {
                source = format!(
                    "{} with {} heads at the same number of (request, head) pairs, no more than \
                     {:.0} % above {source}",
                    first.table.source,
                    own.heads.q,
                    (LONGER - 1.0) * 100.0
                );
            }
        }
        Ok(Attention { kind, speed, heads, tables, basis, own, source })
    }

    /// The time for `requests` requests of `tokens` tokens each: new ones in prefill, of context
    /// in decode.
    pub(super) fn cost(&self, requests: f64, tokens: f64) -> Cost {
        let own = self.bound(&self.heads, requests, tokens);
        // In proportion to the least time, if the layout is not quite the one that was measured.
        let scaled = |table: &HeadTable| {
            let cost = self.in_table(table, requests, tokens);
            match table.heads == self.heads {
                true => cost,
                false => cost.with(cost.us * own / self.bound(&table.heads, requests, tokens)),
            }
        };
        let cost = match self.tables.as_slice() {
            [] => Cost::default(),
            [table] => scaled(table),
            [below, above, ..] => {
                let (q0, q1) = (f64::from(below.heads.q), f64::from(above.heads.q));
                let share = (f64::from(self.heads.q) - q0) / (q1 - q0);
                let (low, high) = (
                    self.in_table(below, requests, tokens),
                    self.in_table(above, requests, tokens),
                );
                low.with(low.us + (high.us - low.us) * share).at_best(high.basis)
            }
        };
        let cost = cost.at_best(self.basis);
        match &self.own {
            Some(own) => self.with_own(own, cost, requests, tokens),
            None => cost,
        }
    }

    /// The time by the engine's own kernel, where `other` is another engine's of this very layout.
    ///
    /// With one KV head per query head a kernel's work consists of (request, head) pairs: as many
    /// pairs of the same context take the same time, however they are grouped (32 heads of one
    /// request as 8 heads of four: within 3 % in tables that have both). The engine's own kernel
    /// thus tells the time of more heads; it is not believed where it is much slower than what was
    /// measured of this layout with another engine, unless that kernel found its data in the cache,
    /// which shows in its time: that of the memory's bandwidth, to which it was raised.
    fn with_own(&self, own: &HeadTable, other: Cost, requests: f64, tokens: f64) -> Cost {
        let pairs = requests * f64::from(self.heads.q) / f64::from(own.heads.q);
        let cost = self.in_table(own, pairs, tokens);
        let beyond = |cost: &Cost| cost.basis == TimeBasis::Extrapolated;
        if beyond(&cost) && !beyond(&other) {
            return other;
        }
        let cached = other.us <= 1.02 * self.bound(&self.heads, requests, tokens);
        let most = if cached || beyond(&other) { f64::INFINITY } else { LONGER * other.us };
        cost.with(cost.us.min(most)).at_best(TimeBasis::Transferred)
    }

    fn bound(&self, heads: &Heads, requests: f64, tokens: f64) -> f64 {
        self.kind.bound(&self.speed, heads, requests, tokens)
    }

    /// Bilinear in requests and tokens. Where one of the neighbouring numbers of requests was not
    /// measured with so many tokens, the nearest point (by factors) in proportion to the least
    /// time.
    fn in_table(&self, table: &HeadTable, requests: f64, tokens: f64) -> Cost {
        let rows = &table.by_requests;
        let above = rows.partition_point(|(r, _)| *r < requests);
        let exact = rows.get(above).filter(|(r, s)| *r == requests && s.covers(tokens));
        if let Some((_, samples)) = exact {
            return Cost::measured(samples.at(tokens));
        }
        let below = rows[..above].last();
        let upper = rows.get(above);
        if let (Some((r0, s0)), Some((r1, s1))) = (below, upper)
            && s0.covers(tokens)
            && s1.covers(tokens)
        {
            let share = (requests - r0) / (r1 - r0);
            let (low, high) = (s0.at(tokens), s1.at(tokens));
            return Cost::measured(low + (high - low) * share);
        }
        let apart = |(measured, samples): &(f64, Samples)| {
            let nearest = tokens.clamp(samples.first(), samples.last());
            (requests / measured).log2().abs() + (tokens / nearest).log2().abs()
        };
        let nearest = rows.iter().min_by(|a, b| apart(a).total_cmp(&apart(b)));
        match nearest {
            // A table that ends at 4096 tokens also tells the time of 4097.
            Some(row) if apart(row) < 0.05 => self.scaled_row(table, row, requests, tokens),
            // Within a factor of two it is a matter of proportion; farther, a guess.
            Some(row) if apart(row) <= 1.0 && upper.is_some() && row.1.covers(tokens) => {
                self.scaled_row(table, row, requests, tokens).at_best(TimeBasis::Transferred)
            }
            Some(row) => {
                self.scaled_row(table, row, requests, tokens).at_best(TimeBasis::Extrapolated)
            }
            None => Cost::default(),
        }
    }

    /// The time of one row's nearest point in proportion to the least time.
    fn scaled_row(
        &self,
        table: &HeadTable,
        (measured, samples): &(f64, Samples),
        requests: f64,
        tokens: f64,
    ) -> Cost {
        let nearest = tokens.clamp(samples.first(), samples.last());
        let ratio = self.bound(&table.heads, requests, tokens)
            / self.bound(&table.heads, *measured, nearest);
        // Less work than the least that was measured does not take less: that is launch time.
        Cost::measured(samples.at(nearest) * if nearest > tokens { ratio.max(1.0) } else { ratio })
    }
}

/// The rows of a table by their number of query heads, ascending.
fn head_tables(kind: Kind, measured: &AttentionTable) -> Result<Vec<HeadTable>, String> {
    let between = match kind {
        Kind::Prefill => Between::SquareRoot,
        Kind::Decode => Between::Linear,
    };
    let mut found: Vec<HeadTable> = Vec::new();
    for row in measured.table.rows(2, between)? {
        let [q, requests] = row.keys;
        let kv = if measured.kv_heads == 0 { q } else { measured.kv_heads };
        let (head_dim, kv_dtype) = (measured.head_dim, measured.kv_dtype);
        let heads = Heads { q, kv, head_dim, kv_dtype };
        let samples = (f64::from(requests), Samples::new(row, between));
        match found.last_mut() {
            Some(last) if last.heads == heads => last.by_requests.push(samples),
            _ => found.push(HeadTable { heads, by_requests: vec![samples] }),
        }
    }
    found.sort_by_key(|table| table.heads.q);
    Ok(found)
}

/// The tables of the width and the type of the cache of `heads`, the best source first.
fn tables_of<'a>(
    tables: &'a [AttentionTable],
    heads: &Heads,
) -> impl Iterator<Item = &'a AttentionTable> {
    let (kv_dtype, head_dim) = (heads.kv_dtype, heads.head_dim);
    tables.iter().filter(move |t| t.kv_dtype == kv_dtype && t.head_dim == head_dim)
}

/// The table for `heads`: of its layout, the first that has this number of query heads, else the
/// first that has some below and above, else the one with most. Without its layout, the nearest.
fn choose<'a>(
    tables: &'a [AttentionTable],
    heads: &Heads,
) -> Result<(&'a AttentionTable, TimeBasis), String> {
    let key = if heads.q == heads.kv { 0 } else { heads.kv };
    let q_heads = |table: &AttentionTable| -> Vec<u32> {
        let lines = table.table.rows.lines();
        lines.filter_map(|line| line.split_ascii_whitespace().next()?.parse().ok()).collect()
    };
    let layout: Vec<&AttentionTable> =
        tables_of(tables, heads).filter(|t| t.kv_heads == key).collect();
    let exact = layout.iter().find(|t| q_heads(t).contains(&heads.q));
    let around = || {
        layout.iter().find(|t| {
            let q = q_heads(t);
            q.iter().any(|q| *q < heads.q) && q.iter().any(|q| *q > heads.q)
        })
    };
    let largest = || layout.iter().rev().max_by_key(|t| q_heads(t).into_iter().max().unwrap_or(0));
    if let Some(table) = exact.or_else(around).or_else(largest) {
        return Ok((table, TimeBasis::Measured));
    }
    let apart = |table: &AttentionTable| {
        let measured = if table.kv_heads == 0 { heads.q } else { table.kv_heads };
        let kv = (f64::from(measured) / f64::from(heads.kv)).log2().abs();
        let dim = (f64::from(table.head_dim) / f64::from(heads.head_dim)).log2().abs();
        let dtype = if table.kv_dtype == heads.kv_dtype { 0.0 } else { 100.0 };
        kv + dim + dtype
    };
    tables
        .iter()
        .min_by(|a, b| apart(a).total_cmp(&apart(b)))
        .map(|table| (table, TimeBasis::Transferred))
        .ok_or_else(|| "it has no attention tables".to_owned())
}
