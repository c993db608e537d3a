//! Names of files and folders in results.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::manifest::hash_text;

/// Longer names are cut. File systems allow 255 bytes, and hidden names beside are longer.
const MAX_BYTES: usize = 200;

/// Names of a result folder that are files, and so cannot be a variant's.
const RESERVED: [&str; 10] = [
    "summary.json",
    "seeds.csv",
    "variants.csv",
    "runs.csv",
    "scenario.ron",
    "run.log",
    "manifest.json",
    "request_metrics.csv",
    "batch_metrics.csv",
    "time_series.csv",
];

/// A name as a folder's: letters, digits, `-`, `_`, `.` and `+` stay, but a leading dot does not, and a
/// long name ends with its hash instead.
pub fn file_name(name: &str) -> String {
    let keep = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    let mut safe: String = name.chars().map(|c| if keep(c) { c } else { '_' }).collect();
    if safe.starts_with('.') {
        safe.replace_range(..1, "_");
    }
    if safe.len() > MAX_BYTES {
        let hash = &hash_text(name.as_bytes())[..16];
        safe.truncate(safe.floor_char_boundary(MAX_BYTES - hash.len() - 1));
        safe = format!("{safe}-{hash}");
    }
    if safe.is_empty() { "_".to_owned() } else { safe }
}

/// The file of a result folder whose place a folder of this name would take, whatever the case of
/// letters.
pub fn reserved(name: &str) -> Option<&'static str> {
    let name = folded(name);
    RESERVED.into_iter().find(|reserved| *reserved == name)
}

/// The folder's name as a file system sees it that ignores the case of letters.
pub fn folded(name: &str) -> String {
    file_name(name).to_lowercase()
}

/// A hidden name beside `target`, for what is not finished.
pub(super) fn hidden(target: &Path, kind: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".vidur-{kind}"));
    target.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variants_stay_inside() {
        assert_eq!(file_name("../../x"), "_._.._x");
        assert_eq!(file_name("qps 4.0"), "qps_4.0");
        assert_eq!(file_name(""), "_");
    }

    #[test]
    fn long_names_are_cut_and_stay_different() {
        let long = "ü".repeat(300);
        let (a, b) = (file_name(&format!("{long}a")), file_name(&format!("{long}b")));
        assert!(a != b && a.len() <= MAX_BYTES && a.starts_with("üü"), "{a} {b}");
        let kept = "x".repeat(MAX_BYTES);
        assert_eq!(file_name(&kept), kept);
    }

    #[test]
    fn names_of_files_are_reserved() {
        assert_eq!(reserved("Summary.json"), Some("summary.json"));
        assert_eq!(reserved("summary"), None);
        assert_eq!(hidden(Path::new("a/b"), "lock"), Path::new("a/.b.vidur-lock"));
    }
}
