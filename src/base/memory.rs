//! How much memory this process takes, and how much it may.
//!
//! Nothing here makes a result depend on the machine: a run that would take too much ends with a
//! message, instead of being killed without one.

use std::fs;
use std::sync::OnceLock;

/// Share of the memory that may be used before a run is given up: tables double when they grow.
const SHARE: f64 = 0.75;

const MIB: u64 = 1 << 20;

/// More memory is taken than there should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it takes more memory than there is: {used} MiB so far, of {most} MiB")]
pub struct OutOfMemory {
    /// Taken so far, in MiB.
    pub used: u64,
    /// What this process may take, in MiB.
    pub most: u64,
}

/// The limits of this process, in bytes.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Limit of resident memory: the machine's, or that of the process's control group.
    resident: Option<u64>,
    /// Limit of address space: `ulimit -v`.
    addresses: Option<u64>,
}

/// Looks whether memory is running short. It reads a file of a few bytes, so ask once for every
/// thousand of whatever grows, or before something large; where nothing is known it is enough.
///
/// # Errors
/// Most of the memory of the machine, the control group or `ulimit -v` is taken.
pub fn check() -> Result<(), OutOfMemory> {
    check_room_for(0)
}

/// Fails if there is no room for `bytes` more.
///
/// # Errors
/// As [`check`].
pub fn check_room_for(bytes: u64) -> Result<(), OutOfMemory> {
    static LIMITS: OnceLock<Limits> = OnceLock::new();
    let limits = LIMITS.get_or_init(Limits::of_process);
    let Some(Taken { addresses, resident, data }) = taken() else { return Ok(()) };
    // Address space that is only reserved (the heaps of threads) or holds the program is not memory that
    // grows: what it leaves of the limit is there for data.
    let for_data = limits.addresses.map(|most| most.saturating_sub(addresses.saturating_sub(data)));
    for (used, most) in [(resident, limits.resident), (data, for_data)] {
        let Some(most) = most else { continue };
        let used = used.saturating_add(bytes);
        if used as f64 > most as f64 * SHARE {
            return Err(OutOfMemory { used: used / MIB, most: most / MIB });
        }
    }
    Ok(())
}

/// What a process takes, in bytes.
struct Taken {
    /// Address space, whether there is memory behind it or not.
    addresses: u64,
    /// Resident memory.
    resident: u64,
    /// Address space that the process can write to: heap and stacks.
    data: u64,
}

/// What this process takes; `None` where `/proc` does not tell.
fn taken() -> Option<Taken> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: Vec<u64> = statm.split_ascii_whitespace().map_while(|n| n.parse().ok()).collect();
    let &[size, resident, _shared, _text, _library, data, ..] = pages.as_slice() else {
        return None;
    };
    // Pages are of 4 KiB wherever this is likely to run; larger ones make the check late.
    let bytes = |pages: u64| pages.saturating_mul(4096);
    Some(Taken { addresses: bytes(size), resident: bytes(resident), data: bytes(data) })
}

impl Limits {
    fn of_process() -> Limits {
        let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        let group =
            group.iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
        let machine = fs::read_to_string("/proc/meminfo").ok();
        let machine = machine.and_then(|text| {
            let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
            kib.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
        });
        let limits = fs::read_to_string("/proc/self/limits").ok();
        let addresses = limits.and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("Max address space"))?;
            line.split_ascii_whitespace().next()?.parse().ok()
        });
        Limits { resident: [group, machine].into_iter().flatten().min(), addresses }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_little_and_not_for_everything() {
        assert_eq!(check(), Ok(()));
        if taken().is_some() {
            let error = check_room_for(1 << 60).expect_err("an exbibyte").to_string();
            assert!(error.contains("MiB so far, of"), "{error}");
        }
    }
}
