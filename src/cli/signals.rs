//! What happens when the user or the system ends the program: nothing unfinished is left, and a
//! message says so.

/// Listens to SIGINT, SIGTERM and SIGHUP from now on, except for those that whoever started the
/// program has told it to ignore (as `nohup` does). A second one ends the program at once.
#[cfg(unix)]
pub(super) fn listen() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    let ignored = ignored();
    let wanted: Vec<i32> = [SIGINT, SIGTERM, SIGHUP]
        .into_iter()
        .filter(|signal| ignored & (1 << (signal - 1)) == 0)
        .collect();
    // Without this the system's own way of ending the program stays: no reason to fail.
    let Ok(mut signals) = signal_hook::iterator::Signals::new(&wanted) else { return };
    let stopping = Arc::new(AtomicBool::new(false));
    for &signal in &wanted {
        // In this order: the first one sets the flag, and a second one finds it set.
        let _ = signal_hook::flag::register_conditional_shutdown(
            signal,
            exit_code(signal),
            stopping.clone(),
        );
        let _ = signal_hook::flag::register(signal, stopping.clone());
    }
    let listener = std::thread::Builder::new().name("signals".to_owned());
    let _ = listener.spawn(move || {
        if let Some(signal) = signals.forever().next() {
            stop(signal);
        }
    });
}

#[cfg(not(unix))]
pub(super) fn listen() {}

/// What shells report of a program that a signal has ended.
#[cfg(unix)]
fn exit_code(signal: i32) -> i32 {
    128 + signal
}

#[cfg(unix)]
fn stop(signal: i32) -> ! {
    use super::failure::complain;
    use crate::output::abandon_all;
    use std::io::IsTerminal;

    let unfinished = abandon_all();
    let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
    let shown: Vec<String> = unfinished.iter().take(3).map(|t| t.display().to_string()).collect();
    let what = match (shown.as_slice(), unfinished.len()) {
        ([], _) => String::new(),
        (shown, all) if all > shown.len() => {
            format!("; nothing was written to {} and {} more", shown.join(", "), all - shown.len())
        }
        (shown, _) => format!("; nothing was written to {}", shown.join(", ")),
    };
    // A progress bar may stand on the line.
    let clear = if std::io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
    complain(&format!("{clear}stopped by {name}{what}"));
    std::process::exit(exit_code(signal))
}

/// The signals that are ignored, one bit each, where the system tells.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
