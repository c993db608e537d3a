//! A resolved scenario as RON again, and its hash.
//!
//! What all variants have in common stands outside, each section that differs stands whole in
//! every variant: so nothing is left to merge, and reading the text gives the same scenario.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cluster::{Configuration, Tie};
use super::disaggregated::SIDE_FIELDS;
use super::document::{Document, Kind, Node};
use super::model;
use super::pool::PoolConfig;
use super::raw::RawEngine;
use super::scenario::Scenario;
use super::sharing::GpuSharing;
use crate::base::{Diagnostic, Source, paths, ron_options};

/// Lines are broken beyond this width.
const WIDTH: usize = 96;

/// The name of a field and its value as RON.
type Section = (&'static str, String);

/// The resolved text of a scenario.
pub(super) fn write(scenario: &Scenario) -> Result<String, Box<Diagnostic>> {
    let all = scenario.configurations.iter().map(sections).collect::<Result<Vec<_>, _>>()?;
    let mut fields: Vec<String> = vec![format!("name: {}", ron_text(&scenario.name)?)];
    if let Some(title) = &scenario.title {
        fields.push(format!("title: {}", ron_text(title)?));
    }
    let first = all.first().map(Vec::as_slice).unwrap_or_default();
    let in_all = |section: &&Section| all.iter().all(|sections| sections.contains(section));
    let shared: Vec<&Section> = first.iter().filter(in_all).collect();
    fields.extend(shared.iter().map(|(name, value)| format!("{name}: {value}")));
    fields.push(format!("seed: {}", scenario.seeds.start));
    fields.push(format!("seeds: {}", scenario.seeds.end - scenario.seeds.start));
    if scenario.has_variants() {
        let mut variants = Vec::new();
        for (configuration, sections) in scenario.configurations.iter().zip(&all) {
            let own = sections
                .iter()
                .filter(|section| !shared.contains(section))
                .map(|(name, value)| format!("{name}: {value}"));
            let own: Vec<String> = own.collect();
            variants.push(format!("{}: ({})", ron_text(&configuration.name)?, own.join(", ")));
        }
        fields.push(format!("variants: {{{}}}", variants.join(", ")));
    }
    if !scenario.expectations.is_empty() {
        fields.push(format!("expect: {}", ron_text(&scenario.expectations)?));
    }
    fields.push(format!("output: {}", ron_text(&scenario.output)?));
    pretty(&format!("({})", fields.join(", ")))
}

/// The sections of a configuration.
fn sections(c: &Configuration) -> Result<Vec<Section>, Box<Diagnostic>> {
    let mut sections = match &c.cluster.tie {
        Tie::Models(sharing) => {
            let mut sections = models_sections(&c.cluster.pools, sharing)?;
            sections.extend(time_limit(c));
            return Ok(sections);
        }
        Tie::Single => pool_sections(c.cluster.first())?,
        Tie::Disaggregated(_) => side_sections(c)?,
    };
    let slo = sections.iter().position(|section| section.0 == "slo").unwrap_or(sections.len());
    sections.splice(slo..slo, time_limit(c));
    Ok(sections)
}

/// The sections of several models. Each model's section stands whole, so that nothing is left to
/// merge.
fn models_sections(
    pools: &[PoolConfig],
    sharing: &GpuSharing,
) -> Result<Vec<Section>, Box<Diagnostic>> {
    let mut models = Vec::new();
    for one in pools {
        let fields: Vec<String> = pool_sections(one)?
            .into_iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        models.push(format!("{}: ({})", one.served_as, fields.join(", ")));
    }
    let mut gpus = sharing.clone();
    if let GpuSharing::Spatial(shares) = &mut gpus {
        shares.retain(|name, _| pools.iter().any(|one| one.served_as == *name));
    }
    Ok(vec![("models", format!("({})", models.join(", "))), ("gpus", ron_text(&gpus)?)])
}

/// The sections of a scenario whose prefill and decode sides are apart. What both have in common
/// stands outside.
fn side_sections(c: &Configuration) -> Result<Vec<Section>, Box<Diagnostic>> {
    let (mut common, mut parts) = (Vec::new(), Vec::new());
    for (name, side) in c.cluster.named_pools() {
        let (own, rest): (Vec<Section>, Vec<Section>) =
            pool_sections(side)?.into_iter().partition(|section| SIDE_FIELDS.contains(&section.0));
        let own: Vec<String> = own.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        parts.push(format!("{name}: ({})", own.join(", ")));
        common = rest;
    }
    if let Tie::Disaggregated(link) = &c.cluster.tie {
        parts.push(format!("link: {}", ron_text(link)?));
    }
    common.insert(1, ("disaggregated", format!("({})", parts.join(", "))));
    Ok(common)
}

fn time_limit(c: &Configuration) -> Option<Section> {
    c.time_limit_s.map(|limit| ("time_limit_s", format!("{limit:?}")))
}

fn pool_sections(c: &PoolConfig) -> Result<Vec<Section>, Box<Diagnostic>> {
    let (cluster, engine) = (cluster_section(c)?, engine_section(c)?);
    let mut sections = vec![
        ("model", model::to_ron(&c.model, c.model_config.as_deref()).map_err(unwritable)?),
        ("device", ron_text(&c.device.name)?),
        ("cluster", cluster),
        ("engine", engine),
        ("workload", ron_text(&c.workload_spec)?),
        ("timing", c.timing.to_ron()),
    ];
    if !c.model.unmodelled.is_empty() {
        sections.push(("allow_unmodelled", ron_text(&c.model.unmodelled)?));
    }
    if let Some(quantization) = &c.quantization {
        sections.push(("quantization", ron_text(quantization)?));
    }
    if let Some(admission) = &c.admission {
        sections.push(("admission", admission.to_ron()));
    }
    if let Some(slo) = &c.slo {
        sections.push(("slo", ron_text(slo)?));
    }
    Ok(sections)
}

/// The cluster's settings as they were read, with the router.
fn cluster_section(c: &PoolConfig) -> Result<String, Box<Diagnostic>> {
    let router = format!("router: {}", c.router.to_ron());
    Ok(group([inner(&ron_text(&c.cluster_settings)?), &router]))
}

/// The engine's settings as they were read, with every default that depends on other settings and
/// the plug-ins.
fn engine_section(c: &PoolConfig) -> Result<String, Box<Diagnostic>> {
    let settings = RawEngine {
        max_model_len: Some(c.limits.max_model_len),
        // Written outright: a later version's memory plan may differ, the result must not.
        num_gpu_blocks: Some(c.limits.num_blocks),
        enable_prefix_caching: Some(c.prefix_caching),
        kv_offload: c.offload.map(|offload| offload.settings),
        // Below, with its own plug-in.
        speculative: None,
        ..c.engine_settings.clone()
    };
    let policy = format!("policy: {}", c.policy.to_ron());
    let mut drafts = String::new();
    if let Some(speculative) = &c.speculative {
        let settings = ron_text(&speculative.settings)?;
        let settings = settings.strip_suffix(')').unwrap_or(&settings);
        drafts = format!("speculative: {settings}{})", speculative.draft_timing_text());
    }
    Ok(group([&policy, inner(&ron_text(&settings)?), &drafts]))
}

/// What stands between the brackets of a group of fields.
fn inner(text: &str) -> &str {
    text.trim().strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(text)
}

/// A group of these fields; empty parts are left out.
fn group<const N: usize>(parts: [&str; N]) -> String {
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("({})", parts.join(", "))
}

fn ron_text<T: Serialize>(value: &T) -> Result<String, Box<Diagnostic>> {
    ron_options().to_string(value).map_err(unwritable)
}

fn unwritable(error: ron::Error) -> Box<Diagnostic> {
    Box::new(Diagnostic::error(format!("the scenario cannot be written: {error}")))
}

fn read(text: &str) -> Result<Document, Box<Diagnostic>> {
    Document::parse(&Source::new("scenario.ron", text))
}

/// The text, broken into lines.
fn pretty(text: &str) -> Result<String, Box<Diagnostic>> {
    let document = read(text)?;
    let mut out = String::new();
    print(&document, document.root(), 0, 0, &mut out);
    out.push('\n');
    Ok(out)
}

/// Prints a value that starts at column `column` of a line indented by `indent` steps.
fn print(document: &Document, node: &Node, indent: usize, column: usize, out: &mut String) {
    let line = one_line(document, node);
    let fields = node.fields();
    if (indent > 0 && column + line.len() < WIDTH) || (fields.is_empty() && node.items().is_empty())
    {
        out.push_str(&line);
        return;
    }
    let (open, close) = brackets(node);
    out.push_str(name(document, node));
    out.push(open);
    out.push('\n');
    let step = |out: &mut String, n: usize| out.push_str(&"    ".repeat(n));
    for field in fields {
        step(out, indent + 1);
        let key = document.slice(&field.key);
        out.push_str(key);
        out.push_str(": ");
        print(document, &field.value, indent + 1, 4 * (indent + 1) + key.len() + 2, out);
        out.push_str(",\n");
    }
    for item in node.items() {
        step(out, indent + 1);
        print(document, item, indent + 1, 4 * (indent + 1), out);
        out.push_str(",\n");
    }
    step(out, indent);
    out.push(close);
}

fn one_line(document: &Document, node: &Node) -> String {
    if matches!(node.kind, Kind::Scalar | Kind::Unit) {
        return document.slice(&node.span).to_owned();
    }
    let (open, close) = brackets(node);
    let fields = node
        .fields()
        .iter()
        .map(|f| format!("{}: {}", document.slice(&f.key), one_line(document, &f.value)));
    let items = node.items().iter().map(|item| one_line(document, item));
    let parts: Vec<String> = fields.chain(items).collect();
    format!("{}{open}{}{close}", name(document, node), parts.join(", "))
}

fn name<'a>(document: &'a Document, node: &Node) -> &'a str {
    node.name.as_ref().map_or("", |name| document.slice(name))
}

fn brackets(node: &Node) -> (char, char) {
    match node.kind {
        Kind::List(_) => ('[', ']'),
        Kind::Map(_) => ('{', '}'),
        _ => ('(', ')'),
    }
}

/// Replaces every path: the text of a field called `file` or `prefixes`, that of a `profile` or
/// `network` which ends in `.ron` and so is no name, and the one in `HuggingFace(...)`. By
/// convention, of the built-in plug-ins and of users', such fields are paths relative to the
/// scenario, and no others.
fn map_files(text: &str, change: impl Fn(&Path) -> String) -> Result<String, Box<Diagnostic>> {
    let document = read(text)?;
    let is_path = |key: &str, value: &str| match key {
        "file" | "prefixes" => value.starts_with('"'),
        "profile" | "network" => value.ends_with(".ron\""),
        _ => false,
    };
    let mut files = Vec::new();
    document.root().walk(&mut |node| {
        if name(&document, node) == "HuggingFace" {
            files.extend(node.items().iter().map(|item| item.span.clone()));
        }
        let named = node
            .fields()
            .iter()
            .filter(|field| is_path(document.slice(&field.key), document.slice(&field.value.span)));
        files.extend(named.map(|field| field.value.span.clone()));
    });
    files.sort_by_key(|span| span.start);
    let mut out = String::new();
    let mut end = 0;
    for span in files {
        let Ok(file) = ron::from_str::<String>(document.slice(&span)) else { continue };
        out.push_str(&text[end..span.start]);
        out.push_str(&ron_text(&change(Path::new(&file)))?);
        end = span.end;
    }
    out.push_str(&text[end..]);
    Ok(out)
}

/// Every path in the text.
pub(super) fn files(text: &str) -> Vec<PathBuf> {
    let found = std::cell::RefCell::new(Vec::new());
    let note = |file: &Path| {
        found.borrow_mut().push(file.to_owned());
        String::new()
    };
    // A text that cannot be read again has none.
    let _ = map_files(text, note);
    found.into_inner()
}

/// The text with its relative paths leading from `folder` to where they led from `base_dir`.
pub(super) fn rebased(
    text: &str,
    base_dir: &Path,
    folder: &Path,
) -> Result<String, Box<Diagnostic>> {
    map_files(text, |file| {
        let moved = if file.is_absolute() {
            file.to_owned()
        } else {
            paths::relative(&base_dir.join(file), folder)
        };
        moved.to_string_lossy().replace('\\', "/")
    })
}

/// FNV-1a of the text, with file names in the place of paths.
pub(super) fn hash(text: &str) -> String {
    let name = |file: &Path| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = map_files(text, name).unwrap_or_else(|_| text.to_owned());
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
