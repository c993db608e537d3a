//! The CSV of Azure's public LLM inference traces (2023 and 2024).

use super::{ColumnMap, TimeUnit};

/// `TIMESTAMP,ContextTokens,GeneratedTokens`.
pub(super) fn column_map() -> ColumnMap {
    ColumnMap {
        arrived_at: Some("TIMESTAMP".to_owned()),
        prompt: Some("ContextTokens".to_owned()),
        output: Some("GeneratedTokens".to_owned()),
        time_unit: TimeUnit::DateTime,
        rebase: true,
        ..ColumnMap::default()
    }
}
