//! Whether the ids of a trace's rows are all different.

use std::collections::BTreeMap;

use super::rows::Row;
use super::text::Text;
use crate::base::SettingError;

/// Looks at ids as they come. Those that rise need no memory; all others are read again when the
/// rows are over, and take 8 bytes each for as long.
#[derive(Debug, Default)]
pub(super) struct Ids {
    count: usize,
    last: Option<u64>,
    unordered: bool,
}

impl Ids {
    pub fn see(&mut self, id: Option<u64>) {
        if id.is_some() {
            self.unordered |= self.last >= id;
            self.last = id;
            self.count += 1;
        }
    }

    /// Complains if two rows have the same id. `reread` hands every row to a function once more, in
    /// the order of the file.
    ///
    /// # Errors
    /// The first row with an id that was there before.
    pub fn check(
        &self,
        text: &Text,
        mut reread: impl FnMut(&mut dyn FnMut(&Row)) -> Result<(), SettingError>,
    ) -> Result<(), SettingError> {
        if !self.unordered {
            return Ok(());
        }
        let mut ids = Vec::with_capacity(self.count);
        reread(&mut |row| ids.extend(row.id))?;
        ids.sort_unstable();
        let repeated = ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        let mut firsts: BTreeMap<u64, Option<u64>> = repeated.map(|id| (id, None)).collect();
        drop(ids);
        if firsts.is_empty() {
            return Ok(());
        }
        let mut twice = None;
        reread(&mut |row| {
            let Some(id) = row.id else { return };
            match firsts.get_mut(&id) {
                Some(Some(first)) => _ = twice.get_or_insert((id, *first, row.at)),
                Some(first) => *first = Some(row.at),
                None => {}
            }
        })?;
        let Some((id, first, second)) = twice else { return Ok(()) };
        Err(SettingError::new(
            "file",
            format!("id {id} at {} and again at {}", text.place(first), text.place(second)),
            "a different id for each request",
        ))
    }
}
