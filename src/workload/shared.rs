//! Traces that several configurations replay are checked once, and kept once if they are kept.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::TraceReplay;
use super::replayed::Replayed;
use super::traces::Stamp;
use crate::base::SettingError;

/// A trace that somebody still uses.
struct Known {
    trace: TraceReplay,
    base_dir: PathBuf,
    /// Stamps of its files, so that a file that was changed is read anew.
    stamps: Vec<Option<Stamp>>,
    replayed: Weak<Replayed>,
}

static KNOWN: Mutex<Vec<Known>> = Mutex::new(Vec::new());

/// What `trace` yields, without a look at its file if a workload with the same trace is in use:
/// points of a sweep and variants share it.
///
/// # Errors
/// As [`TraceReplay::check`].
pub(super) fn read(trace: &TraceReplay, base_dir: &Path) -> Result<Arc<Replayed>, SettingError> {
    let files = [Some(&trace.file), trace.prefixes.as_ref()].into_iter().flatten();
    let stamps: Vec<_> = files.map(|file| Stamp::of(&base_dir.join(file))).collect();
    // A thread that panicked while it held the lock left a whole list behind.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|one| one.replayed.strong_count() > 0);
    let same = known
        .iter()
        .find(|one| one.trace == *trace && one.base_dir == base_dir && one.stamps == stamps);
    if let Some(one) = same
        && let Some(replayed) = one.replayed.upgrade()
        && replayed.failure().is_none()
    {
        return Ok(replayed);
    }
    let replayed = Arc::new(trace.check(base_dir)?);
    known.push(Known {
        trace: trace.clone(),
        base_dir: base_dir.to_owned(),
        stamps,
        replayed: Arc::downgrade(&replayed),
    });
    Ok(replayed)
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
        let read = || read(&trace, folder.path()).unwrap();
        write("0.5,10,3\n");
        let first = read();
        assert!(Arc::ptr_eq(&first, &read()));
        write("0.5,10,3\n1.5,20,4\n");
        assert_eq!(read().count(), 2);
        let other = TraceReplay { time_scale: 2.0, ..trace.clone() };
        let scaled = super::read(&other, folder.path()).unwrap();
        assert_eq!(scaled.first.as_secs_f64(), 1.0);
        write("oops\n");
        assert!(super::read(&trace, folder.path()).is_err());
    }
}
