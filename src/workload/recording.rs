//! What a workload takes from a trace file: kept in memory if it is short, read again row by row
//! each time it is asked for otherwise.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use super::traces::{Row, TraceFile, TraceReader, grows, room_for_rows};
use crate::base::SettingError;

/// The most that is kept of a file that could be read again, in units of [`Convert::size`]: some
/// megabytes. Reading again costs less than a microsecond a row of CSV, but short traces are often
/// asked for many times.
const MOST_KEPT: u64 = 1 << 16;

/// Sizes that are kept between two looks at the memory.
const LOOK_EVERY: u64 = 1 << 14;

/// Makes of each row, in their order, what a workload needs of it.
pub(super) trait Convert: Clone + Debug + Send + Sync + 'static {
    type Item: Clone + Debug + Send + Sync;

    fn convert(&mut self, row: Row) -> Self::Item;

    /// How much memory an item takes, in units of an item of the smallest kind.
    fn size(_: &Self::Item) -> u64 {
        1
    }
}

/// The items of a file that has been read to its end once and checked.
#[derive(Debug)]
pub(super) struct Recording<C: Convert> {
    count: u64,
    held: Held<C>,
}

#[derive(Debug)]
enum Held<C: Convert> {
    Kept(Vec<C::Item>),
    Streamed {
        file: Box<TraceFile>,
        /// As it is before the first row.
        fresh: C,
        /// What went wrong when the file was read again.
        failure: OnceLock<String>,
    },
}

/// Collects the items of a file that is read for the first time.
pub(super) struct Recorder<C: Convert> {
    fresh: C,
    convert: C,
    count: u64,
    /// Rows so far and their size, as long as they are kept.
    kept: Option<Vec<C::Item>>,
    size: u64,
    most: u64,
}

impl<C: Convert> Recorder<C> {
    /// Keeps all items, or only if they are few.
    pub fn new(convert: C, all: bool) -> Recorder<C> {
        let most = if all { u64::MAX } else { most_kept() };
        Recorder {
            fresh: convert.clone(),
            convert,
            count: 0,
            kept: Some(Vec::new()),
            size: 0,
            most,
        }
    }

    /// The item of the next row, for a look at it.
    ///
    /// # Errors
    /// There is no memory to keep it.
    pub fn add(&mut self, row: Row) -> Result<C::Item, SettingError> {
        let item = self.convert.convert(row);
        self.count += 1;
        self.size = self.size.saturating_add(C::size(&item));
        if self.size > self.most {
            self.kept = None;
        }
        if let Some(kept) = &mut self.kept {
            // What an item points to is larger than itself at times.
            if self.size / LOOK_EVERY != (self.size.saturating_sub(C::size(&item))) / LOOK_EVERY {
                room_for_rows(0)?;
            }
            grows(kept, item.clone())?;
        }
        Ok(item)
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The items, which are those of the first rows of `file`.
    pub fn done(self, file: TraceFile) -> Recording<C> {
        let Recorder { fresh, count, kept, .. } = self;
        match kept {
            Some(items) => Recording::of(items),
            None => {
                let (file, failure) = (Box::new(file), OnceLock::new());
                Recording { count, held: Held::Streamed { file, fresh, failure } }
            }
        }
    }
}

impl<C: Convert> Recording<C> {
    /// These items.
    pub fn of(items: Vec<C::Item>) -> Recording<C> {
        Recording { count: items.len() as u64, held: Held::Kept(items) }
    }

    /// Reads all rows of a file.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn read(
        file: TraceFile,
        convert: C,
        keep_all: bool,
        mut look: impl FnMut(&C::Item),
    ) -> Result<(Recording<C>, TraceReader), SettingError> {
        let mut reader = file.open()?;
        let mut recorder = Recorder::new(convert, keep_all || file.must_be_kept());
        while let Some(row) = reader.next()? {
            look(&recorder.add(row)?);
        }
        Ok((recorder.done(file), reader))
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// All items, if they are kept.
    pub fn kept(&self) -> Option<&[C::Item]> {
        match &self.held {
            Held::Kept(items) => Some(items),
            Held::Streamed { .. } => None,
        }
    }

    /// What went wrong when the file was read again, after which no more items come.
    pub fn failure(&self) -> Option<&str> {
        match &self.held {
            Held::Kept(_) => None,
            Held::Streamed { failure, .. } => failure.get().map(String::as_str),
        }
    }

    /// The items in their order. They end early if [`Recording::failure`] says so.
    pub fn items(self: &Arc<Self>) -> Items<C> {
        Items { recording: self.clone(), next: 0, reading: None }
    }

    /// Opens the file at the first item and reads the next row.
    fn read_next(
        &self,
        reading: &mut Option<(TraceReader, C)>,
        index: u64,
    ) -> Result<Option<C::Item>, SettingError> {
        let Held::Streamed { file, fresh, .. } = &self.held else { return Ok(None) };
        let (reader, convert) = match reading {
            Some(reading) => reading,
            None => reading.insert((file.open()?, fresh.clone())),
        };
        let row = reader.next();
        let last = index + 1 == self.count;
        if last || !matches!(row, Ok(Some(_))) {
            // If somebody changed it meanwhile, that is what is wrong.
            file.check_unchanged()?;
        }
        match row? {
            Some(row) => Ok(Some(convert.convert(row))),
            None => {
                let found = format!("the end after {index} of {} rows", self.count);
                Err(SettingError::new("file", found, "as many rows as before"))
            }
        }
    }
}

/// The items of a recording, one at a time.
pub(super) struct Items<C: Convert> {
    recording: Arc<Recording<C>>,
    next: u64,
    reading: Option<(TraceReader, C)>,
}

impl<C: Convert> Iterator for Items<C> {
    type Item = C::Item;

    fn next(&mut self) -> Option<C::Item> {
        let index = self.next;
        if index >= self.recording.count {
            return None;
        }
        self.next += 1;
        let failure = match &self.recording.held {
            Held::Kept(items) => return items.get(index as usize).cloned(),
            Held::Streamed { failure, .. } => failure,
        };
        match self.recording.read_next(&mut self.reading, index) {
            Ok(item) => item,
            Err(error) => {
                // The first failure is told; others follow from it.
                let _ = failure.set(format!("found {}, expected {}", error.found, error.expected));
                (self.next, self.reading) = (u64::MAX, None);
                None
            }
        }
    }
}

#[cfg(not(test))]
fn most_kept() -> u64 {
    MOST_KEPT
}

#[cfg(test)]
use tests::most_kept;
#[cfg(test)]
pub(super) use tests::streaming;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    thread_local! {
        static MOST: Cell<u64> = const { Cell::new(super::MOST_KEPT) };
    }

    pub fn most_kept() -> u64 {
        MOST.get()
    }

    /// Runs `check` so that nothing is kept which could be read again.
    pub fn streaming<T>(check: impl FnOnce() -> T) -> T {
        MOST.set(0);
        let done = check();
        MOST.set(super::MOST_KEPT);
        done
    }
}
