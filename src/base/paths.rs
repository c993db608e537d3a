//! Paths seen from another folder, and names that are safe as names of files.

use std::path::{Component, Path, PathBuf};

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
fn absolute(path: &Path) -> PathBuf {
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

/// A name as a folder's: letters, digits, `-`, `_`, `.` and `+` stay, but a leading dot does not.
pub fn file_name(name: &str) -> String {
    let keep = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    let mut safe: String = name.chars().map(|c| if keep(c) { c } else { '_' }).collect();
    if safe.starts_with('.') {
        safe.replace_range(..1, "_");
    }
    if safe.is_empty() { "_".to_owned() } else { safe }
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
}
