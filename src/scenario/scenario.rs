//! A scenario that is ready to run.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cluster::Configuration;
use super::document::{Document, Node};
use super::raw::{COMMON_FIELDS, OutputSettings};
use super::resolve::{Common, LoadContext, resolve};
use super::{plugins, resolved_text, without_effect};
use crate::base::diagnostic::DOES_NOT_FIT;
use crate::base::paths::{folded_file_name, reserved_name};
use crate::base::{Diagnostic, Place, Source, input};
use crate::metrics::{Expectation, Misfit, expect};
use crate::registry::Registry;
use crate::timing::SharedTables;

/// A checked scenario: its configurations, and what holds for all of them.
pub struct Scenario {
    /// What results are called: the file's stem, unless the scenario says otherwise.
    pub name: String,
    /// One line about it.
    pub title: Option<String>,
    /// The folder that relative paths start from.
    pub base_dir: PathBuf,
    /// One, or one per variant in the file's order.
    pub configurations: Vec<Configuration>,
    /// Variants that do not fit in memory, and so are not among the configurations.
    pub misfits: Vec<Misfit>,
    /// Seeds, one run each.
    pub seeds: Range<u64>,
    /// What the scenario claims about its results.
    pub expectations: Vec<Expectation>,
    /// What is written.
    pub output: OutputSettings,
    /// Whether every iteration is a step of its own. It is no setting of the file: the results
    /// are the same without, only sooner there.
    pub exact_steps: bool,
    /// Whether `run.log` lists what happens to each request. It is no setting of the file either.
    pub log_events: bool,
    /// What the user should know.
    pub warnings: Vec<Diagnostic>,
    resolved: String,
}

impl Scenario {
    /// Reads and checks a scenario file. `settings` are `--set` arguments, each `path=value`; they
    /// hold in every variant.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn load(
        path: &Path,
        settings: &[String],
        registry: &Registry,
    ) -> Result<Scenario, Box<Diagnostic>> {
        let (source, name, base_dir) = source_of(path)?;
        Scenario::from_source(&source, name, base_dir, settings, registry)
    }

    /// Reads and checks a scenario's text. `base_dir` is the folder that its relative paths start
    /// from.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn from_source(
        source: &Arc<Source>,
        name: String,
        base_dir: &Path,
        settings: &[String],
        registry: &Registry,
    ) -> Result<Scenario, Box<Diagnostic>> {
        let tables = SharedTables::default();
        Scenario::with_tables(
            source,
            name,
            base_dir,
            settings,
            LoadContext { registry, tables: &tables },
        )
    }

    /// Reads and checks a scenario's text, sharing what other scenarios with the same `tables` have
    /// read and built.
    ///
    /// # Errors
    /// As [`Scenario::load`].
    pub fn with_tables(
        source: &Arc<Source>,
        name: String,
        base_dir: &Path,
        settings: &[String],
        shared: LoadContext<'_>,
    ) -> Result<Scenario, Box<Diagnostic>> {
        let base = settings
            .iter()
            .try_fold(Document::parse(source)?, |d, setting| d.with_setting(setting))?;
        let mut warnings = Vec::new();
        let mut said = BTreeSet::new();
        let mut resolved = Vec::new();
        let mut misfits = Vec::new();
        let mut first_misfit = None;
        let variants = Variants::of(&base, settings)?;
        for (index, variant) in variants.names.iter().enumerate() {
            let mut noticed = Vec::new();
            let note = |diagnostic: Diagnostic| match variant.as_str() {
                "" => diagnostic,
                name => diagnostic.note(format!("in variant `{name}`")),
            };
            let document = variants.document(index)?;
            let result =
                resolve(variant, &document, base_dir, shared, &mut noticed).map_err(|error| {
                    // What is wrong with the whole scenario is not about this variant.
                    let everywhere = variants.other(index).is_some_and(|(name, document)| {
                        resolve(name, &document, base_dir, shared, &mut Vec::new()).err().as_ref()
                            == Some(&error)
                    });
                    if everywhere { error } else { Box::new(note(*error)) }
                });
            match result {
                Ok(one) => resolved.push(one),
                Err(error) if error.exit_code == DOES_NOT_FIT => {
                    misfits.push(Misfit { name: variant.clone(), why: error.in_one_line() });
                    first_misfit.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
            // What is true of several variants is said once.
            for warning in noticed {
                if said.insert(warning.title.clone()) {
                    warnings.push(note(warning));
                }
            }
        }
        let (configurations, mut commons): (Vec<Configuration>, Vec<Common>) =
            resolved.into_iter().unzip();
        // All are equal: variants cannot change what is common. There is at least one.
        let Some(common) = commons.pop() else {
            let none = || Box::new(Diagnostic::error("the scenario has no configuration"));
            return Err(first_misfit.unwrap_or_else(none));
        };
        check_expectations(&base, &common.expect, &configurations, &misfits)?;
        warnings.extend(without_effect::warnings(&base, &configurations));
        let mut scenario = Scenario {
            name: common.name.unwrap_or(name),
            title: common.title,
            base_dir: base_dir.to_owned(),
            configurations,
            misfits,
            seeds: common.seed..common.seed + u64::from(common.seeds),
            expectations: common.expect,
            output: common.output,
            exact_steps: false,
            log_events: false,
            warnings,
            resolved: String::new(),
        };
        scenario.resolved = resolved_text::write(&scenario)?;
        Ok(scenario)
    }

    /// What is to be said of each variant that does not fit in memory.
    pub fn left_out(&self) -> impl Iterator<Item = String> {
        self.misfits
            .iter()
            .map(|Misfit { name, why }| format!("variant `{name}` is left out: {why}"))
    }

    /// Whether it has variants.
    pub fn has_variants(&self) -> bool {
        self.configurations.iter().any(|configuration| !configuration.name.is_empty())
    }

    /// The scenario with every default filled in, as RON. Running it gives the identical result.
    /// Paths in it are relative to [`Scenario::base_dir`].
    pub fn resolved_text(&self) -> &str {
        &self.resolved
    }

    /// The scenario with all defaults for a file in `folder`: relative paths lead from there to the
    /// same files.
    ///
    /// # Errors
    /// The text could not be read again, which would be a bug.
    pub fn resolved_text_in(&self, folder: &Path) -> Result<String, Box<Diagnostic>> {
        resolved_text::rebased(&self.resolved, &self.base_dir, folder)
    }

    /// The files that the scenario names: traces, profiles, descriptions of models. Some may not be
    /// there, if a plug-in does not need them.
    pub fn input_files(&self) -> Vec<PathBuf> {
        let files = resolved_text::files(&self.resolved);
        files.into_iter().map(|file| self.base_dir.join(file)).collect()
    }

    /// A hash of the resolved scenario that is the same on every machine and wherever the
    /// scenario and its files lie.
    pub fn hash(&self) -> String {
        resolved_text::hash(&self.resolved)
    }
}

/// A scenario file's text, the name it gives and the folder of its relative paths.
pub(super) fn source_of(path: &Path) -> Result<(Arc<Source>, String, &Path), Box<Diagnostic>> {
    let text = read_text(path)?;
    let source = Source::new(path.display().to_string(), text);
    let base_dir = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name =
        path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    Ok((source, name, base_dir))
}

/// Reads a scenario file as text.
fn read_text(path: &Path) -> Result<String, Box<Diagnostic>> {
    let cannot = |reason: String| {
        Box::new(Diagnostic::error(format!("cannot read {}: {reason}", path.display())))
    };
    let bytes = input::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let error = cannot("there is no such file".to_owned());
            Box::new((*error).help("`vidur-ecs list` shows the scenarios in ./scenarios"))
        }
        _ => cannot(error.to_string()),
    })?;
    // Some editors begin a file with a byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes).to_vec();
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let good = String::from_utf8_lossy(good).into_owned();
        let end = good.len();
        let place = Place { source: Source::new(path.display().to_string(), good), span: end..end };
        Box::new(
            Diagnostic::error("the file is not UTF-8 text").at(place, "not UTF-8 from here on"),
        )
    })
}

/// The variants of a scenario. Their documents are made one at a time: together they would take the
/// scenario's length times their number.
struct Variants<'a> {
    /// What all variants change: the scenario without them.
    common: Cow<'a, Document>,
    base: &'a Document,
    settings: &'a [String],
    /// One without a name if the scenario has no variants.
    names: Vec<String>,
    /// The values of the variants, in the same order.
    nodes: Vec<&'a Node>,
}

impl<'a> Variants<'a> {
    fn of(base: &'a Document, settings: &'a [String]) -> Result<Variants<'a>, Box<Diagnostic>> {
        let node = base.node("variants");
        let names = node.map_or(Ok(Vec::new()), |node| variant_names(base, node))?;
        let Some(node) = node.filter(|_| !names.is_empty()) else {
            let (names, nodes) = (vec![String::new()], Vec::new());
            return Ok(Variants { common: Cow::Borrowed(base), base, settings, names, nodes });
        };
        let nodes: Vec<&Node> = node.fields().iter().map(|field| &field.value).collect();
        for changed in nodes.iter().flat_map(|node| node.fields()) {
            let key = base.slice(&changed.key);
            if COMMON_FIELDS.contains(&key) {
                return Err(Box::new(
                    Diagnostic::error(format!("a variant cannot change `{key}`"))
                        .at(base.place(&changed.key), "the same for all variants")
                        .help("move it out of `variants`"),
                ));
            }
        }
        let common = Cow::Owned(base.without_field("variants")?);
        Ok(Variants { common, base, settings, names, nodes })
    }

    /// The whole document of a variant.
    fn document(&self, index: usize) -> Result<Cow<'_, Document>, Box<Diagnostic>> {
        let Some(node) = self.nodes.get(index) else { return Ok(Cow::Borrowed(self.base)) };
        let mut document = self.common.merged_with(self.base, node)?;
        // What the command line says holds for variants too, over what they say themselves.
        for setting in self.settings {
            let common = COMMON_FIELDS.iter().any(|name| {
                setting.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', '=', '[']))
            });
            if !common {
                document = document.with_setting(setting)?;
            }
        }
        Ok(Cow::Owned(document))
    }

    /// Another variant than that, if there is one.
    fn other(&self, index: usize) -> Option<(&str, Cow<'_, Document>)> {
        let other = (0..self.names.len()).find(|&other| other != index)?;
        Some((&self.names[other], self.document(other).ok()?))
    }
}

/// The variants' names, checked. What is no map of groups is left for the reader of types.
fn variant_names(base: &Document, node: &Node) -> Result<Vec<String>, Box<Diagnostic>> {
    let mut names: Vec<String> = Vec::new();
    let (mut known, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for field in node.fields() {
        let error = |title: String, label: &str| {
            Box::new(Diagnostic::error(title).at(base.place(&field.key), label))
        };
        let key = base.slice(&field.key);
        let Ok(name) = ron::from_str::<String>(key) else {
            return Err(error(
                format!("a variant's name needs quotes, `{key}` has none"),
                "expected \"name\"",
            ));
        };
        if name.is_empty() {
            return Err(error("a variant without a name".to_owned(), "expected a name"));
        }
        if !known.insert(name.clone()) {
            return Err(error(format!("two variants are called `{name}`"), "the second one"));
        }
        // Also where the case of letters means nothing, so that a scenario runs everywhere or
        // nowhere.
        if !folders.insert(folded_file_name(&name)) {
            return Err(error(
                format!("variant `{name}` would write into another variant's folder"),
                "this name is too similar",
            ));
        }
        if let Some(file) = reserved_name(&name) {
            return Err(error(
                format!(
                    "a variant cannot be called `{name}`: its folder would take the place of {file}"
                ),
                "expected another name",
            ));
        }
        if !matches!(field.value.kind, super::document::Kind::Struct(_))
            || field.value.name.is_some()
        {
            return Err(Box::new(
                Diagnostic::error(format!("variant `{name}` is not a group of fields"))
                    .at(base.place(&field.value.span), "expected `( field: value, ... )`"),
            ));
        }
        names.push(name);
    }
    Ok(names)
}

fn check_expectations(
    base: &Document,
    expectations: &[Expectation],
    configurations: &[Configuration],
    misfits: &[Misfit],
) -> Result<(), Box<Diagnostic>> {
    let names = configurations.iter().map(|c| c.name.as_str());
    let names: Vec<&str> = names
        .filter(|name| !name.is_empty())
        .chain(misfits.iter().map(|misfit| misfit.name.as_str()))
        .collect();
    let mut models: Vec<&str> = Vec::new();
    for (name, _) in configurations.iter().flat_map(|c| c.cluster.named_pools()) {
        if !models.contains(&name) {
            models.push(name);
        }
    }
    let mut classes: Vec<String> = Vec::new();
    for name in configurations.iter().flat_map(|c| c.cluster.class_names()) {
        if !classes.contains(&name) {
            classes.push(name);
        }
    }
    let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
    match expect::check_all(expectations, &names, &models, &classes).first() {
        Some(error) => Err(Box::new(plugins::setting_error(base, "", error))),
        None => Ok(()),
    }
}
