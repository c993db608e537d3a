//! Vidur's and Splitwise's CSV.

use csv::StringRecord;

use super::{ColumnMap, position};

/// `arrived_at,num_prefill_tokens,num_decode_tokens`, and `id` or `request_id`, `priority` and
/// `class` where they are there.
pub(super) fn column_map(header: &StringRecord) -> ColumnMap {
    let there = |names: &[&str]| {
        let names = names.iter().map(|name| Some((*name).to_owned()));
        names.into_iter().find(|name| position(header, name).is_some()).flatten()
    };
    ColumnMap {
        arrived_at: Some("arrived_at".to_owned()),
        prompt: Some("num_prefill_tokens".to_owned()),
        output: Some("num_decode_tokens".to_owned()),
        id: there(&["id", "request_id"]),
        priority: there(&["priority"]),
        class: there(&["class"]),
        ..ColumnMap::default()
    }
}
