//! The profiles that a scenario's settings name.

use super::settings::LayerwiseSettings;
use crate::profile::layerwise::LayerShape;
use crate::profile::{self, Profile};
use crate::scenario::SettingError;
use crate::timing::TimingContext;
use crate::timing::measured::settings::{load, shipped_names, unreadable};

/// The layers of the scenario's model on its device.
pub(super) fn profile(
    settings: &LayerwiseSettings,
    context: &TimingContext,
) -> Result<Profile, SettingError> {
    let wanted = format!("layers of {} on {}", context.model.name, context.device.name);
    let quantised = context.model.weight_dtype_bytes < context.model.dtype_bytes;
    let fits = |profile: &Profile| {
        profile.device == context.device.name
            && profile.layerwise.as_ref().is_some_and(|l| {
                let halves = ["bf16", "fp16"].contains(&l.variant.as_str());
                l.shape == LayerShape::of(context.model) && !(quantised && halves)
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
        let profile =
            shipped.load().map_err(|error| unreadable("profile", shipped.name, &error))?;
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

/// The network's tables, if something between GPUs takes time that the settings do not give.
pub(super) fn network(
    settings: &LayerwiseSettings,
    context: &TimingContext,
) -> Result<Option<Profile>, SettingError> {
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
        Some(shipped) => shipped.load().map_err(|error| unreadable("network", name, &error))?,
        None => load("network", name, context)?,
    };
    match source.network {
        Some(_) => Ok(Some(source)),
        None => Err(SettingError::new("network", format!("`{name}`"), "a network's profile")
            .help(format!("it holds {}", source.about()))),
    }
}
