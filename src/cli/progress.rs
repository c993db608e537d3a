//! The progress bar, on a terminal only.

use std::time::Duration;

use crate::base::text::printable;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over `requests`, or a counter where their number is not known. indicatif draws nothing
/// when standard error is no terminal.
pub(super) fn bar(name: &str, requests: Option<u64>, quiet: bool) -> ProgressBar {
    if quiet {
        return ProgressBar::hidden();
    }
    let template = match requests {
        Some(_) => "{prefix} {bar:40} {pos}/{len} requests, {eta} left",
        None => "{prefix} {spinner} {pos} requests, {elapsed}",
    };
    let bar = ProgressBar::with_draw_target(requests, ProgressDrawTarget::stderr());
    // The templates are constants; should one not parse, the default look does.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(printable(name).into_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
