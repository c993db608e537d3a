//! BurstGPT's CSV (Wang et al., "BurstGPT: A Real-World Workload Dataset to Optimize LLM Serving
//! Systems").

use super::ColumnMap;

/// `Timestamp,Model,Request tokens,Response tokens,...`, of one model or of all. A request without
/// a response failed.
pub(super) fn column_map(model: Option<&str>) -> ColumnMap {
    ColumnMap {
        arrived_at: Some("Timestamp".to_owned()),
        prompt: Some("Request tokens".to_owned()),
        output: Some("Response tokens".to_owned()),
        only: model.map(|model| ("Model".to_owned(), model.to_owned())),
        zero_output_failed: true,
        rebase: true,
        ..ColumnMap::default()
    }
}
