//! Paths seen from another folder, and names that are safe as names of files.

use std::path::{Component, Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

/// `file` as seen from the folder `from`; absolute when the two have nothing in common. Both may
/// be relative to the working folder, and neither needs to exist.
pub fn relative(file: &Path, from: &Path) -> PathBuf {
    let (file, from) = (absolute(file), absolute(from));
    let common = file.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    if common == 0 {
        return file;
    }
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(file.components().skip(common)).collect();
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

/// An absolute path without `.` and `..`. Links are followed as far as the path exists, because
/// `link/..` is not where it seems.
pub fn absolute(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
        && !parent.as_os_str().is_empty()
    {
        return absolute(parent).join(name);
    }
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut clean = PathBuf::new();
    for component in full.components() {
        match component {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

/// Longer names are cut. File systems allow 255 bytes, and hidden names beside a file are longer.
const MAX_NAME_BYTES: usize = 200;

/// Names that are files in a folder of results, and so cannot be a variant's folder there.
const RESERVED: [&str; 10] = [
    "manifest.json",
    "summary.json",
    "seeds.csv",
    "variants.csv",
    "runs.csv",
    "scenario.ron",
    "run.log",
    "request_metrics.csv",
    "batch_metrics.csv",
    "time_series.csv",
];

/// A name as a folder's: letters, digits, `-`, `_`, `.` and `+` stay, but a leading dot does not. A
/// name that is too long for a file system ends with its hash instead.
pub fn file_name(name: &str) -> String {
    let keep = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    let mut safe: String = name.chars().map(|c| if keep(c) { c } else { '_' }).collect();
    if safe.starts_with('.') {
        safe.replace_range(..1, "_");
    }
    if safe.len() > MAX_NAME_BYTES {
        let hash = format!("-{:016x}", xxh3_64(name.as_bytes()));
        safe.truncate(safe.floor_char_boundary(MAX_NAME_BYTES - hash.len()));
        safe.push_str(&hash);
    }
    if safe.is_empty() { "_".to_owned() } else { safe }
}

/// A file's name as a file system has it that does not tell capital letters from small ones.
pub fn folded_file_name(name: &str) -> String {
    file_name(name).to_lowercase()
}

/// The file of a result folder whose place a folder of this name would take.
pub fn reserved_name(name: &str) -> Option<&'static str> {
    let name = folded_file_name(name);
    RESERVED.into_iter().find(|reserved| *reserved == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_one_folder_to_another() {
        for (file, from, expected) in [
            ("/x/a/t.csv", "/x/b/c", "../../a/t.csv"),
            ("/x/a/t.csv", "/x/a", "t.csv"),
            ("a/t.csv", "results/r", "../../a/t.csv"),
            ("./t.csv", ".", "t.csv"),
            ("a/../t.csv", "b", "../t.csv"),
        ] {
            assert_eq!(
                relative(Path::new(file), Path::new(from)),
                Path::new(expected),
                "{file} {from}"
            );
        }
    }

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
        assert!(a != b && a.len() <= MAX_NAME_BYTES && a.starts_with("üü"), "{a} {b}");
        let kept = "x".repeat(MAX_NAME_BYTES);
        assert_eq!(file_name(&kept), kept);
    }

    #[test]
    fn names_of_files_are_reserved() {
        assert_eq!(reserved_name("Summary.json"), Some("summary.json"));
        assert_eq!(reserved_name("summary"), None);
    }
}
