//! The joint distributions that are part of the program.

use super::EmpiricalTable;
use crate::base::SettingError;

/// Name and text of each. A new one is a file and a line here.
pub const SHIPPED: [(&str, &str); 3] = [
    ("azure-conv-2023", include_str!("../../../profiles/workloads/azure-conv-2023.ron")),
    ("azure-code-2023", include_str!("../../../profiles/workloads/azure-code-2023.ron")),
    ("arxiv-summarization", include_str!("../../../profiles/workloads/arxiv-summarization.ron")),
];

/// The shipped distribution of that name.
///
/// # Errors
/// There is none.
pub fn shipped(name: &str) -> Result<EmpiricalTable, SettingError> {
    match SHIPPED.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => EmpiricalTable::parse(text, name),
        None => Err(SettingError::new(
            "name",
            format!("\"{name}\""),
            format!("one of {}", SHIPPED.map(|(known, _)| format!("\"{known}\"")).join(", ")),
        )
        .help("`file: \"x.ron\"` takes a table of your own, made by `vidur-ecs workload fit`")),
    }
}
