//! Lengths without times.

use super::ColumnMap;

/// `num_prefill_tokens,num_decode_tokens`; further columns are not used.
pub(super) fn column_map() -> ColumnMap {
    ColumnMap {
        prompt: Some("num_prefill_tokens".to_owned()),
        output: Some("num_decode_tokens".to_owned()),
        ..ColumnMap::default()
    }
}
