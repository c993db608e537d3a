//! The plug-ins that a scenario names: `policy: Name(settings)`, through the registry.

use super::document::{Document, Kind, Node};
use crate::base::text::cut;
use crate::base::{Diagnostic, FragmentError, SettingError, suggest};
use crate::registry::Entry;

/// Reads the plug-in at `path`, or `default` (a name) where the scenario names none.
pub(super) fn read<T: ?Sized>(
    document: &Document,
    path: &str,
    entries: &[Entry<T>],
    default: Option<&str>,
) -> Result<Box<T>, Box<Diagnostic>> {
    let find = |name: &str| entries.iter().find(|entry| entry.name == name);
    let kind = path.rsplit('.').next().unwrap_or(path);
    let Some(node) = document.node(path) else {
        let entry = default.and_then(find).ok_or_else(|| {
            let place = document.place(&document.locate_nearest(path));
            Diagnostic::error(format!("field `{kind}` is missing"))
                .at(place, format!("needs `{kind}: ...`"))
                .helps(suggest::help("", entries.iter().map(|entry| entry.name)))
        })?;
        return (entry.parse)("").map_err(|error| Box::new(Diagnostic::error(error.to_string())));
    };
    let Some(name) = &node.name else {
        return Err(Box::new(
            Diagnostic::error(format!(
                "expected the name of a {kind}, found `{}`",
                cut(document.slice(&node.span))
            ))
            .at(document.place(&node.span), "expected a name, with settings in parentheses")
            .helps(suggest::help("", entries.iter().map(|e| e.name))),
        ));
    };
    let written = document.slice(name);
    let Some(entry) = find(written) else {
        return Err(Box::new(
            Diagnostic::error(format!("unknown {kind} `{}`", cut(written)))
                .at(document.place(name), format!("no {kind} has this name"))
                .helps(suggest::help(written, entries.iter().map(|e| e.name))),
        ));
    };
    let settings = settings_of(document, node);
    (entry.parse)(document.slice(&settings.span)).map_err(|error| {
        Box::new(
            explain(document, &settings, &error).note(format!("in the settings of `{written}`")),
        )
    })
}

/// The part of `Name(settings)` behind the name; empty for a bare name.
fn settings_of(document: &Document, node: &Node) -> Node {
    let start = match (&node.kind, &node.name) {
        (Kind::Unit, _) | (_, None) => node.span.end,
        // Only blanks and comments stand between name and parenthesis; a comment may hold one.
        (_, Some(name)) => document.body_start(name.end),
    };
    Node { span: start..node.span.end, name: None, kind: node.kind.clone() }
}

fn explain(document: &Document, settings: &Node, error: &FragmentError) -> Diagnostic {
    match error {
        FragmentError::Ron(error) => document.explain(settings, error),
        FragmentError::UnknownSetting { found, known } => {
            let place = settings
                .field(document.text(), found)
                .map_or(settings.span.clone(), |f| f.key.clone());
            Diagnostic::error(format!("unknown field `{}`", cut(found)))
                .at(document.place(&place), "there is no such field here")
                .helps(suggest::help(found, known.iter().map(String::as_str)))
        }
    }
}

/// A complaint about a setting, in its place. `base` is the path of what was checked.
pub(super) fn setting_error(document: &Document, base: &str, error: &SettingError) -> Diagnostic {
    let path = match (base, error.path.as_str()) {
        ("", path) => path.to_owned(),
        (base, "") => base.to_owned(),
        (base, path) => format!("{base}.{path}"),
    };
    let place = document.place(&document.locate_nearest(&path));
    let diagnostic =
        Diagnostic::error(format!("`{path}` is {}, expected {}", error.found, error.expected))
            .at(place, format!("expected {}", error.expected));
    match &error.help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}
