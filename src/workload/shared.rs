//! Traces that several configurations replay are read and kept once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use super::conversations::Chains;
use super::traces::ClassName;
use super::{NewRequest, TraceReplay};
use crate::scenario::SettingError;

/// What a trace yields.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub requests: Arc<[NewRequest]>,
    /// Which requests follow others, if they wait for them.
    pub chains: Option<Chains>,
    /// The names that their classes are numbers of; none if the file names none.
    pub classes: Arc<[ClassName]>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// A trace that somebody still uses.
struct Known {
    trace: TraceReplay,
    base_dir: PathBuf,
    /// Length and time of change of its files, so that a file that was changed is read anew.
    files: Vec<Option<(u64, SystemTime)>>,
    requests: Weak<[NewRequest]>,
    chains: Option<Chains>,
    classes: Arc<[ClassName]>,
    warnings: Vec<String>,
}

static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// The requests of `trace`, from memory if a workload with the same trace is in use: points of a
/// sweep and variants share them.
///
/// # Errors
/// As [`TraceReplay::check`].
pub(super) fn read(trace: &TraceReplay, base_dir: &Path) -> Result<Rows, SettingError> {
    let files: Vec<_> = [Some(&trace.file), trace.prefixes.as_ref()]
        .into_iter()
        .flatten()
        .map(|file| {
            let about = std::fs::metadata(base_dir.join(file)).ok()?;
            Some((about.len(), about.modified().ok()?))
        })
        .collect();
    // A thread that panicked while it held the lock left a whole list behind.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|one| one.requests.strong_count() > 0);
    let same = known
        .iter()
        .find(|one| one.trace == *trace && one.base_dir == base_dir && one.files == files);
    if let Some(one) = same
        && let Some(requests) = one.requests.upgrade()
    {
        let (chains, classes) = (one.chains.clone(), one.classes.clone());
        return Ok(Rows { requests, chains, classes, warnings: one.warnings.clone() });
    }
    let rows = trace.check(base_dir)?;
    known.push(Known {
        trace: trace.clone(),
        base_dir: base_dir.to_owned(),
        files,
        requests: Arc::downgrade(&rows.requests),
        chains: rows.chains.clone(),
        classes: rows.classes.clone(),
        warnings: rows.warnings.clone(),
    });
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_in_use_is_kept_once_and_a_changed_one_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let write = |rows: &str| {
            let text = format!("arrived_at,num_prefill_tokens,num_decode_tokens\n{rows}");
            std::fs::write(folder.path().join("t.csv"), text).unwrap();
        };
        let trace: TraceReplay = ron::from_str(r#"(file: "t.csv")"#).unwrap();
        let read = || read(&trace, folder.path()).unwrap().requests;
        write("0.5,10,3\n");
        let first = read();
        assert!(Arc::ptr_eq(&first, &read()));
        write("0.5,10,3\n1.5,20,4\n");
        assert_eq!(read().len(), 2);
        let other = TraceReplay { time_scale: 2.0, ..trace.clone() };
        let scaled = super::read(&other, folder.path()).unwrap().requests;
        assert_eq!(scaled[0].arrived_at.as_secs_f64(), 1.0);
        write("oops\n");
        assert!(super::read(&trace, folder.path()).is_err());
    }
}
