//! Vidur's and Splitwise's CSV.

use csv::StringRecord;

use super::{ColumnMap, TimeUnit, position};

/// `arrived_at,num_prefill_tokens,num_decode_tokens`, and `id` where it is there.
pub(super) fn column_map(header: &StringRecord) -> ColumnMap {
    let id = Some("id".to_owned());
    ColumnMap {
        arrived_at: Some("arrived_at".to_owned()),
        prompt: Some("num_prefill_tokens".to_owned()),
        output: Some("num_decode_tokens".to_owned()),
        id: id.filter(|_| position(header, &Some("id".to_owned())).is_some()),
        time_unit: TimeUnit::Seconds,
        rebase: false,
    }
}
