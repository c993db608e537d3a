//! Reads a trace of any format row by row, and checks what concerns its rows together.

use std::path::{Path, PathBuf};

use super::csv_rows::CsvRows;
use super::ids::Ids;
use super::jsonl::JsonRows;
use super::rows::Row;
use super::share_gpt::Joined;
use super::text::Text;
use super::{ClassName, Need, TimeUnit, TraceFormat};
use crate::base::SettingError;
use crate::base::memory;

/// What a scenario says about a trace file.
#[derive(Clone, Debug)]
pub(crate) struct TraceSettings {
    pub file: PathBuf,
    pub format: TraceFormat,
    pub sort: bool,
    /// Tokens that each of a prompt's hash ids stands for, if not as many as the format has.
    pub tokens_per_hash: Option<u32>,
    /// Unit of the arrival times, if not that of the format.
    pub time_unit: Option<TimeUnit>,
}

impl TraceSettings {
    /// A file in a format, in its own order.
    pub fn new(file: &Path, format: &TraceFormat) -> TraceSettings {
        TraceSettings {
            file: file.to_owned(),
            format: format.clone(),
            sort: false,
            tokens_per_hash: None,
            time_unit: None,
        }
    }

    /// The file, of which only its being there has been checked.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn find(self, base_dir: &Path, need: Need) -> Result<TraceFile, SettingError> {
        if let (Some(unit), TraceFormat::Columns { .. }) = (self.time_unit, &self.format) {
            let found = format!("{unit:?} beside `format: Columns(...)`");
            return Err(SettingError::new(
                "time_unit",
                found,
                "the unit in `Columns(time_unit: ...)`",
            ));
        }
        let text = Text::find(&self.file, base_dir)?;
        Ok(TraceFile { settings: self, text, need })
    }
}

/// A trace file that is there, and what is wanted of it.
#[derive(Clone, Debug)]
pub(crate) struct TraceFile {
    settings: TraceSettings,
    text: Text,
    need: Need,
}

impl TraceFile {
    /// Starts to read it.
    ///
    /// # Errors
    /// It cannot be read, has changed since it was found, or its header does not fit; if it is to
    /// be sorted, as [`TraceReader::next`] too.
    pub fn open(&self) -> Result<TraceReader, SettingError> {
        let lines = self.lines()?;
        let mut reader = TraceReader {
            file: self.clone(),
            rebase: self.need.times && lines.rebase(),
            lines,
            sorted: None,
            ids: Ids::default(),
            turns: Joined::default(),
            start: 0,
            last: None,
        };
        if self.need.times && self.settings.sort {
            let mut rows = Vec::new();
            while let Some(row) = reader.next_in_file()? {
                grows(&mut rows, row)?;
            }
            rows.sort_by_key(|row: &Row| row.time);
            reader.sorted = Some(rows.into_iter());
        }
        Ok(reader)
    }

    /// Whether all of it has to be kept, since it cannot be read row by row or not again.
    pub fn must_be_kept(&self) -> bool {
        (self.need.times && self.settings.sort) || self.text.is_piped()
    }

    /// Complains if it is no longer the file that was found at first.
    ///
    /// # Errors
    /// It is not.
    pub fn check_unchanged(&self) -> Result<(), SettingError> {
        self.text.check_unchanged()
    }

    fn lines(&self) -> Result<Rows, SettingError> {
        let TraceFile { settings, text, need } = self;
        Ok(match settings.format.json(text)? {
            Some(format) => Rows::Json(Box::new(JsonRows::open(text, format, *need, settings)?)),
            None => Rows::Csv(Box::new(CsvRows::open(settings, text, *need)?)),
        })
    }
}

/// Keeps one more of the rows of a file, as long as there is memory.
///
/// # Errors
/// There is not.
pub(crate) fn grows<T>(kept: &mut Vec<T>, one: T) -> Result<(), SettingError> {
    if kept.len() == kept.capacity() {
        room_for_rows(std::mem::size_of::<T>() * kept.len().max(LOOK_EVERY))?;
    }
    kept.push(one);
    Ok(())
}

/// Rows that are kept between two looks at the memory.
const LOOK_EVERY: usize = 1 << 14;

/// Complains if so many bytes of rows would be too much.
pub(crate) fn room_for_rows(bytes: usize) -> Result<(), SettingError> {
    memory::check_room_for(bytes as u64).map_err(|error| {
        let found = format!("a file whose rows have to be kept, and {error}");
        SettingError::new("file", found, "a smaller file, or settings with which no row is kept")
    })
}

/// The rows of a file in its own order, each checked for itself.
enum Rows {
    Csv(Box<CsvRows>),
    Json(Box<JsonRows>),
}

impl Rows {
    /// Whether times count from the first one.
    fn rebase(&self) -> bool {
        match self {
            Rows::Csv(csv) => csv.rebase(),
            Rows::Json(json) => json.rebase(),
        }
    }

    fn next(&mut self, text: &Text) -> Result<Option<Row>, SettingError> {
        match self {
            Rows::Csv(csv) => csv.next(text),
            Rows::Json(json) => json.next(text),
        }
    }
}

/// The rows of a trace, one at a time, in order of time where times are wanted. None is kept,
/// unless they are to be sorted; of conversations, what the next turn needs to know is.
pub(crate) struct TraceReader {
    file: TraceFile,
    lines: Rows,
    /// The rows that are left of all, if they are sorted.
    sorted: Option<std::vec::IntoIter<Row>>,
    rebase: bool,
    ids: Ids,
    turns: Joined,
    /// The time on the file's clock that is time 0 of the simulation.
    start: i64,
    /// Time on the file's clock and place of the last row.
    last: Option<(i64, u64)>,
}

impl TraceReader {
    /// The next row, its time counted from the start of the trace.
    ///
    /// # Errors
    /// A row that makes no sense, or not after those before it; when the rows are over, what is
    /// wrong with all of them together. Each names the place in `found`.
    pub fn next(&mut self) -> Result<Option<Row>, SettingError> {
        let next = match &mut self.sorted {
            Some(rows) => rows.next(),
            None => self.next_in_file()?,
        };
        let Some(mut row) = next else {
            self.check_all()?;
            return Ok(None);
        };
        if self.file.need.times {
            self.check_time(&row)?;
        }
        if self.last.is_none() && self.rebase {
            self.start = row.time;
        }
        self.last = Some((row.time, row.at));
        // A span beyond what a number holds is refused at the end, with the last row's place.
        row.time = row.time.saturating_sub(self.start);
        if self.file.need.lengths {
            self.turns.join(&mut row, &self.file.text)?;
        }
        Ok(Some(row))
    }

    /// The next row of the file, without an end.
    fn next_in_file(&mut self) -> Result<Option<Row>, SettingError> {
        let row = self.lines.next(&self.file.text)?;
        if let Some(row) = &row {
            self.ids.see(row.id);
        }
        Ok(row)
    }

    fn check_time(&self, row: &Row) -> Result<(), SettingError> {
        match self.last {
            Some((earlier, at)) if row.time < earlier => {
                let seconds = (earlier as f64 - row.time as f64) / 1e9;
                let text = &self.file.text;
                Err(SettingError::new(
                    "file",
                    format!(
                        "a time at {} that is {seconds} s before the one at {}",
                        text.place(row.at),
                        text.place(at)
                    ),
                    "times that never go backwards",
                )
                .help("`sort: true` sorts the rows by time"))
            }
            _ => Ok(()),
        }
    }

    /// What is known when the rows are over.
    fn check_all(&self) -> Result<(), SettingError> {
        let TraceFile { settings, text, need } = &self.file;
        if let Rows::Csv(csv) = &self.lines {
            csv.check_any(&settings.file)?;
        }
        let Some((last, at)) = self.last else {
            let found = format!("no rows in {}", settings.file.display());
            return Err(SettingError::new("file", found, "at least one row"));
        };
        self.ids.check(text, |each| {
            let mut rows = self.file.lines()?;
            while let Some(row) = rows.next(text)? {
                each(&row);
            }
            Ok(())
        })?;
        let within = last.checked_sub(self.start).is_some_and(|span| span as f64 <= 1e18);
        if need.times && !within {
            return Err(SettingError::new(
                "file",
                format!("a time at {} more than 1e9 s after the start", text.place(at)),
                "times within 1e9 s",
            )
            .help("is the unit right? `rebase: true` in `Columns` counts from the first time"));
        }
        Ok(())
    }

    /// Time of the last row, in nanoseconds from the start of the trace.
    pub fn last_time(&self) -> i64 {
        self.last.map_or(0, |(time, _)| time.saturating_sub(self.start))
    }

    /// Names of the classes of the rows so far, in the order in which they come; none if there are
    /// none.
    pub fn classes(&self) -> Vec<ClassName> {
        match &self.lines {
            Rows::Csv(csv) => csv.classes().named(&self.file.text),
            Rows::Json(json) => json.classes().named(&self.file.text),
        }
    }

    /// What the user should know of the rows so far.
    pub fn warnings(&self) -> Vec<String> {
        match &self.lines {
            Rows::Csv(csv) => csv.warnings(&self.file.settings.file),
            Rows::Json(json) => json.warnings(&self.file.settings.file),
        }
    }
}
