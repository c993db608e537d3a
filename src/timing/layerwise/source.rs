//! The profiles that a scenario's settings name.

use std::sync::Arc;

use super::settings::LayerwiseSettings;
use crate::base::SettingError;
use crate::hardware::model::ModelSpec;
use crate::profile;
use crate::profile::Profile;
use crate::profile::layerwise::LayerShape;
use crate::timing::TimingContext;
use crate::timing::measured::settings::{load, shipped_names, shipped_profile};

/// The layers of the scenario's model on its device.
pub(super) fn profile(
    settings: &LayerwiseSettings,
    context: &TimingContext,
) -> Result<Arc<Profile>, SettingError> {
    let wanted = format!("layers of {} on {}", context.model.label(), context.device.name);
    if !context.model.is_uniform() {
        return Err(SettingError::new(
            "",
            "layers of different kinds",
            "layers that are all alike",
        )
        .help("use Measured(composition: Full) or Roofline()"));
    }
    let fits = |profile: &Profile| {
        profile.device == context.device.name
            && profile.layerwise.as_ref().is_some_and(|l| {
                l.shape == LayerShape::of(context.model) && stored_as(&l.variant, context.model)
            })
    };
    if let Some(name) = &settings.profile {
        let profile = load("profile", name, context)?;
        return match fits(&profile) {
            true => Ok(profile),
            false => Err(SettingError::new("profile", format!("`{name}`"), wanted)
                .help(format!("it holds {}", profile.about()))),
        };
    }
    let folder = format!("{}/layers-", context.device.name.to_ascii_lowercase());
    for shipped in profile::shipped().iter().filter(|s| s.name.starts_with(&folder)) {
        let profile = shipped_profile("profile", shipped, context)?;
        if fits(&profile) {
            return Ok(profile);
        }
    }
    let help = format!(
        "no profile of them is shipped ({}); name a file written by `vidur-ecs profile import \
         layerwise`, or use another kind of timing",
        shipped_names()
    );
    Err(SettingError::new("profile", "missing", wanted).help(help))
}

/// Whether layers of `variant` are those of `model`'s number formats: `bf16`, `fp8`, and another
/// one of the KV cache after `-kv`. Without it the name `fp8` leaves open which the cache had.
fn stored_as(variant: &str, model: &ModelSpec) -> bool {
    let (weights, kv_cache) = variant.split_once("-kv").unwrap_or((variant, ""));
    let bits =
        |name: &str| ["fp8", "int8", "int4", "mxfp4"].into_iter().find(|b| name.starts_with(b));
    let wanted = |quantized: bool, label: &str| quantized.then(|| bits(label)).flatten();
    let of_model = wanted(model.weights.quantized(), &model.weights.label());
    let of_cache = wanted(model.kv_cache.quantized(), model.kv_cache.label());
    let open = kv_cache.is_empty() && bits(weights).is_some();
    bits(weights) == of_model && (bits(kv_cache) == of_cache || (open && of_cache == bits(weights)))
}

/// The network's tables, if something between GPUs takes time that the settings do not give.
pub(super) fn network(
    settings: &LayerwiseSettings,
    context: &TimingContext,
) -> Result<Option<Arc<Profile>>, SettingError> {
    let parallel = context.parallel;
    let reduces = parallel.tensor > 1 && settings.all_reduce.is_none();
    let sends = parallel.pipeline > 1 && settings.send_recv.is_none();
    if !reduces && !sends {
        return Ok(None);
    }
    let named = settings.network.as_deref().or(context.network).or(context.device.default_network);
    let Some(name) = named else {
        let (setting, what) =
            if reduces { ("all_reduce", "all-reduce") } else { ("send_recv", "transfers") };
        let expected = format!("{setting}: (latency_us: .., gbps: ..), or the name of a network");
        return Err(SettingError::new(setting, "missing", expected)
            .help(format!("{what} are in no layerwise profile; {}", shipped_names())));
    };
    let source = match profile::shipped_network(name) {
        Some(shipped) => shipped_profile("network", shipped, context)?,
        None => load("network", name, context)?,
    };
    match source.network {
        Some(_) => Ok(Some(source)),
        None => Err(SettingError::new("network", format!("`{name}`"), "a network's profile")
            .help(format!("it holds {}", source.about()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::model::{Groups, KvCache, Weights, find};

    #[test]
    fn a_bundle_is_of_its_number_formats() {
        let int4 = Weights::Int4(Groups { size: Some(128), zero_points: false });
        for (variant, weights, kv_cache, fits) in [
            ("bf16", Weights::Half, KvCache::Fp16, true),
            ("bf16", Weights::Half, KvCache::Fp8, false),
            ("bf16", Weights::Fp8, KvCache::Fp16, false),
            ("bf16-kvfp8", Weights::Half, KvCache::Fp8, true),
            ("bf16-kvfp8", Weights::Half, KvCache::Fp16, false),
            ("fp8", Weights::Fp8, KvCache::Fp16, true),
            ("fp8", Weights::Fp8, KvCache::Fp8, true),
            ("fp8", Weights::Half, KvCache::Fp16, false),
            ("fp8", int4, KvCache::Fp16, false),
            ("fp8-kvbf16", Weights::Fp8, KvCache::Fp8, false),
            ("int4", int4, KvCache::Fp16, true),
        ] {
            let model = ModelSpec { weights, kv_cache, ..find("Llama-3.1-8B").unwrap().clone() };
            assert_eq!(stored_as(variant, &model), fits, "{variant} for {}", model.label());
        }
    }
}
