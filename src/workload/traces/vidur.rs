//! Vidur's and Splitwise's CSV.

use csv::StringRecord;

use super::{ColumnMap, TimeUnit, position};

/// `arrived_at,num_prefill_tokens,num_decode_tokens`, and `id` or `request_id` where it is there.
pub(super) fn column_map(header: &StringRecord) -> ColumnMap {
    let ids = ["id", "request_id"].map(|name| Some(name.to_owned()));
    ColumnMap {
        arrived_at: Some("arrived_at".to_owned()),
        prompt: Some("num_prefill_tokens".to_owned()),
        output: Some("num_decode_tokens".to_owned()),
        id: ids.into_iter().find(|name| position(header, name).is_some()).flatten(),
        time_unit: TimeUnit::Seconds,
        rebase: false,
    }
}
