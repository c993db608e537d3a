//! Whether a profile makes sense: what the timing code relies on.

use super::format::{
    AttentionTables, Curve, FORMAT, ModelTables, NetworkTables, Operator, Profile, Surface,
    TokenTables,
};
use super::layerwise_check::check_layerwise;

/// What is wrong, and in which table.
pub(super) struct Complaint {
    pub(super) place: String,
    pub(super) message: String,
}

pub(super) type Checked = Result<(), Complaint>;

pub(super) fn complain(place: impl Into<String>, message: impl Into<String>) -> Checked {
    Err(Complaint { place: place.into(), message: message.into() })
}

impl Profile {
    /// Every axis ascends, every table has a finite, positive-or-zero time per point, and nothing
    /// that the timing code needs is missing.
    pub(super) fn check(&self) -> Checked {
        if self.format != FORMAT {
            let message = format!("{} was found, but this program reads {FORMAT}", self.format);
            return complain("format", message);
        }
        let sections = [
            self.model.is_some(),
            self.network.is_some(),
            self.operators.is_some(),
            self.layerwise.is_some(),
        ];
        if !sections.contains(&true) {
            let message = "it has none of `model`, `network`, `operators` and `layerwise`";
            return complain("the profile", message);
        }
        if let Some(operators) = &self.operators {
            for (about, table, ..) in operators.tables() {
                ascending(&table.axis, &format!("operators ({about}).axis"))?;
            }
        }
        self.model.as_ref().map_or(Ok(()), check_model)?;
        self.layerwise.as_ref().map_or(Ok(()), check_layerwise)?;
        self.network.as_ref().map_or(Ok(()), check_network)
    }
}

fn check_model(model: &ModelTables) -> Checked {
    if model.ranks.is_empty() {
        return complain("model.ranks", "there is none");
    }
    for rank in &model.ranks {
        let place = format!("model.ranks (tensor_parallel {})", rank.tensor_parallel);
        if rank.tensor_parallel == 0 {
            return complain(place, "tensor_parallel must be at least 1");
        }
        check_tokens(&rank.per_tokens, &format!("{place}.per_tokens"))?;
        check_attention(&rank.attention, &format!("{place}.attention"))?;
    }
    Ok(())
}

fn check_tokens(tables: &TokenTables, place: &str) -> Checked {
    ascending(&tables.tokens, &format!("{place}.tokens"))?;
    above_zero(&tables.tokens, &format!("{place}.tokens"))?;
    for operator in Operator::ALL {
        // The embedding is not part of Vidur's composition, so it may be missing.
        match tables.us.get(&operator) {
            Some(us) => times(&tables.tokens, us, &format!("{place}.us.{}", operator.name()))?,
            None if operator == Operator::Emb => {}
            None => return complain(place, format!("`{}` is missing", operator.name())),
        }
    }
    Ok(())
}

fn check_attention(tables: &AttentionTables, place: &str) -> Checked {
    surface(&tables.decode, &format!("{place}.decode"))?;
    surface(&tables.prefill, &format!("{place}.prefill"))?;
    match &tables.kv_cache_save {
        Some(curve) => check_curve(curve, &format!("{place}.kv_cache_save")),
        None => Ok(()),
    }
}

fn check_network(network: &NetworkTables) -> Checked {
    for table in &network.all_reduce {
        check_curve(
            &table.bytes,
            &format!("network.all_reduce ({} workers).bytes", table.workers),
        )?;
    }
    for table in &network.send_recv {
        let place = format!("network.send_recv (within_node: {}).bytes", table.within_node);
        check_curve(&table.bytes, &place)?;
    }
    Ok(())
}

pub(super) fn surface(surface: &Surface, place: &str) -> Checked {
    above_zero(surface.rows.iter().flat_map(|row| surface.columns(row)), place)?;
    let keys: Vec<u32> = surface.rows.iter().map(|row| row.at).collect();
    ascending(&keys, &format!("{place}.rows"))?;
    for row in &surface.rows {
        let place = format!("{place}.rows (at {})", row.at);
        if row.at == 0 {
            return complain(place, "a row must be at 1 or more");
        }
        if row.x.is_none() && row.us.len() > surface.x.len() {
            let message = format!("{} times for {} columns", row.us.len(), surface.x.len());
            return complain(place, message);
        }
        ascending(surface.columns(row), &place)?;
        times(surface.columns(row), &row.us, &place)?;
    }
    Ok(())
}

pub(super) fn check_curve(curve: &Curve, place: &str) -> Checked {
    ascending(&curve.x, place)?;
    above_zero(&curve.x, place)?;
    times(&curve.x, &curve.us, place)
}

/// Times beyond the measurements are found from how they grow, so a point at 0 is not enough.
fn above_zero<'a>(axis: impl IntoIterator<Item = &'a u32>, place: &str) -> Checked {
    match axis.into_iter().any(|x| *x > 0) {
        true => Ok(()),
        false => complain(place, "no point is above 0"),
    }
}

pub(super) fn ascending(axis: &[u32], place: &str) -> Checked {
    if axis.is_empty() {
        return complain(place, "it is empty");
    }
    match axis.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => complain(place, format!("{} is followed by {}", pair[0], pair[1])),
        None => Ok(()),
    }
}

pub(super) fn times(axis: &[u32], us: &[f64], place: &str) -> Checked {
    if axis.len() != us.len() {
        return complain(place, format!("{} times for {} points", us.len(), axis.len()));
    }
    match us.iter().find(|time| !time.is_finite() || **time < 0.0) {
        Some(time) => complain(place, format!("{time} is no time")),
        None => Ok(()),
    }
}
