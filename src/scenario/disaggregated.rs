//! Disaggregated prefill and decode:
//! `disaggregated: (prefill: (...), decode: (...), link: (gb_per_s: 50.0))`.
//!
//! Each side's section is merged into the rest of the scenario, as a model's is under `models`, and
//! what comes out is read like a scenario by itself.

use serde::{Deserialize, Serialize};

use super::cluster::{Cluster, Tie};
use super::combinations::{self, Technique};
use super::document::Document;
use super::plugins;
use super::pool::PoolConfig;
use super::resolve::only_parts;
use super::{kv_offload, lora, speculative};
use crate::base::{Diagnostic, Nanos, SettingError};
use crate::engine::{HandOver, speculation};
use crate::hardware::Parallelism;
use crate::registry::Registry;

/// What a side may have for itself; all else is the same for both.
pub(super) const SIDE_FIELDS: [&str; 4] = ["device", "cluster", "engine", "timing"];

/// What `disaggregated` may hold.
const FIELDS: [&str; 3] = ["prefill", "decode", "link"];

/// The link of each replica.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Gigabytes (10^9 bytes) per second.
    pub gb_per_s: f64,
    /// Microseconds from the start of the last byte to its arrival.
    #[serde(default)]
    pub latency_us: f64,
    /// Whether a layer's keys and values are sent while later layers are computed.
    #[serde(default)]
    pub layer_wise: bool,
}

impl Link {
    /// How requests get to the decode side, which is pool number `to`.
    pub fn hand_over(&self, to: u32, decode: &PoolConfig) -> HandOver {
        // Of all GPUs together; heads that tensor parallelism replicates travel once.
        let whole = Parallelism { tensor: 1, pipeline: 1 };
        let model = &decode.model;
        let drafts = decode.speculative.as_ref().map_or(0, |speculative| {
            speculation::kv_bytes_per_token(&speculative.settings.draft, model, whole)
        });
        HandOver {
            to,
            bytes_per_token: model.kv_bytes_per_token(whole) + drafts,
            bytes_per_second: self.gb_per_s * 1e9,
            latency: Nanos::from_secs_f64(self.latency_us / 1e6),
            layers: if self.layer_wise { model.layers } else { 1 },
        }
    }
}

/// The two sides as they would be alone.
pub(super) struct Sides {
    pub prefill: Document,
    pub decode: Document,
    pub link: Link,
}

/// The sides of a scenario; `None` for one in which every replica does both.
pub(super) fn read(document: &Document) -> Result<Option<Sides>, Box<Diagnostic>> {
    let Some(node) = document.node("disaggregated") else { return Ok(None) };
    if document.node("models").is_some() {
        combinations::check(&[Technique::Disaggregation, Technique::SeveralModels], |_| given())
            .map_err(|error| Box::new(plugins::setting_error(document, "", &error)))?;
    }
    let fields = node.fields();
    for field in fields {
        let key = document.slice(&field.key);
        if !FIELDS.contains(&key) {
            return Err(Box::new(
                Diagnostic::error(format!("`disaggregated` has no `{key}`"))
                    .at(document.place(&field.key), "expected prefill, decode or link"),
            ));
        }
    }
    let Some(link) = document.node("disaggregated.link") else {
        let help = "for example link: (gb_per_s: 50.0, latency_us: 10.0)";
        return Err(refuse(document, "disaggregated", "without a `link`", "one", help));
    };
    let link: Link = document.read(link)?;
    check_link(document, &link)?;
    let side = |name: &str| {
        let Some(field) = fields.iter().find(|field| document.slice(&field.key) == name) else {
            let help = "for example prefill: (cluster: (replicas: 1)), or just `()`";
            let found = format!("without a `{name}`");
            return Err(refuse(document, "disaggregated", &found, "one", help));
        };
        for changed in field.value.fields() {
            let key = document.slice(&changed.key);
            if !SIDE_FIELDS.contains(&key) {
                return Err(Box::new(
                    Diagnostic::error(format!("`{name}` cannot have its own `{key}`"))
                        .at(document.place(&changed.key), "the same for both sides")
                        .help(format!("a side may have its own {}", SIDE_FIELDS.join(", "))),
                ));
            }
        }
        document.merged_with(document, &field.value)
    };
    Ok(Some(Sides { prefill: side("prefill")?, decode: side("decode")?, link }))
}

fn check_link(document: &Document, link: &Link) -> Result<(), Box<Diagnostic>> {
    if !(1e-3..=1e6).contains(&link.gb_per_s) {
        let path = "disaggregated.link.gb_per_s";
        let (found, help) = (link.gb_per_s.to_string(), "NVLink has hundreds, a 400 Gb/s NIC 50");
        return Err(refuse(document, path, &found, "GB/s from 0.001 to 1e6", help));
    }
    if !(0.0..=1e7).contains(&link.latency_us) {
        let path = "disaggregated.link.latency_us";
        let found = link.latency_us.to_string();
        return Err(refuse(document, path, &found, "microseconds from 0 to 1e7", "10 is usual"));
    }
    Ok(())
}

/// Puts the sides together, if they go together.
pub(super) fn join(
    sides: &Sides,
    prefill: PoolConfig,
    mut decode: PoolConfig,
    registry: &Registry,
) -> Result<Cluster, Box<Diagnostic>> {
    let documents = [("prefill", &sides.prefill), ("decode", &sides.decode)];
    for ((name, document), side) in documents.into_iter().zip([&prefill, &decode]) {
        if !side.model.keeps_every_token() {
            let error = only_parts("disaggregated", &side.model);
            return Err(Box::new(plugins::setting_error(document, "", &error)));
        }
        let mut used = vec![Technique::Disaggregation];
        used.extend(side.limits.vidur_lengths.then_some(Technique::VidurLengths));
        used.extend(side.kv_groups.as_ref().map(|_| Technique::KvGroups));
        combinations::check(&used, |_| "true".to_owned())
            .and_then(|()| combinations::check_policy(&used, side.policy.as_ref(), registry))
            .map_err(|error| {
                let complaint = plugins::setting_error(document, "", &error);
                Box::new(complaint.note(format!("on the {name} side")))
            })?;
    }
    let document = &sides.decode;
    let (here, there) = (decode.limits.block_size, prefill.limits.block_size);
    if here != there {
        let expected = format!("{there}, as on the prefill side");
        let help = "blocks are transferred unchanged";
        return Err(refuse(document, "engine.block_size", &here.to_string(), &expected, help));
    }
    if decode.api_overhead_ms != prefill.api_overhead_ms {
        let found = decode.api_overhead_ms.to_string();
        let expected = format!("{}, as on the prefill side", prefill.api_overhead_ms);
        let help = "a request passes the API once";
        return Err(refuse(document, "engine.api_overhead_ms", &found, &expected, help));
    }
    let wanted = document.node("engine.enable_prefix_caching").is_some() && decode.prefix_caching;
    if wanted {
        let path = "engine.enable_prefix_caching";
        let help = "set it for `prefill` only: nothing is looked up on the decode side";
        return Err(refuse(document, path, "true for decode", "false there", help));
    }
    decode.prefix_caching = false;
    let complain = |error: SettingError| {
        let complaint = plugins::setting_error(document, "", &error);
        Box::new(complaint.note("on the decode side"))
    };
    let explicit = document.node("engine.kv_offload.reload").is_some();
    kv_offload::without_prefixes(&mut decode, explicit).map_err(complain)?;
    lora::same_adapters(prefill.lora.as_ref(), decode.lora.as_ref()).map_err(complain)?;
    speculative::goes_with_sides(prefill.speculative.as_ref(), decode.speculative.as_ref())
        .map_err(complain)?;
    Ok(Cluster { pools: vec![prefill, decode], tie: Tie::Disaggregated(sides.link) })
}

fn given() -> String {
    "given".to_owned()
}

fn refuse(
    document: &Document,
    path: &str,
    found: &str,
    expected: &str,
    help: &str,
) -> Box<Diagnostic> {
    let error = SettingError::new(path, found, expected).help(help);
    Box::new(plugins::setting_error(document, "", &error))
}
