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

/// What this process has taken, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    /// Address space.
    addresses: u64,
    /// The part of it that is memory as soon as it is written to: the heap, large tables, stacks.
    /// The rest is the program itself, and what the allocator reserves for each thread: 64 MiB, 128
    /// while the thread starts.
    writable: u64,
    /// Memory that was written to or read.
    resident: u64,
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
    match Taken::now() {
        Some(taken) => Limits::of_process().check(taken, bytes),
        None => Ok(()),
    }
}

/// How many threads the address space allows; at least one.
#[cfg(feature = "cli")]
pub fn most_threads() -> usize {
    // What a thread may need beside the tables of what it simulates: what the allocator reserves
    // for it while it starts, and its stack.
    const THREAD_ADDRESSES: u64 = 192 * MIB;
    let most = Limits::of_process().addresses.map(|most| most / THREAD_ADDRESSES);
    most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)).max(1)
}

impl Taken {
    /// What this process takes; `None` where `/proc` does not tell.
    fn now() -> Option<Taken> {
        Taken::of(&fs::read_to_string("/proc/self/statm").ok()?)
    }

    fn of(statm: &str) -> Option<Taken> {
        // Pages are of 4 KiB wherever this is likely to run; larger ones make the check late.
        let bytes = |pages: &str| pages.parse::<u64>().ok()?.checked_mul(4096);
        let fields: Vec<Option<u64>> = statm.split_ascii_whitespace().map(bytes).collect();
        let [addresses, resident, _, _, _, writable, ..] = fields.as_slice() else { return None };
        Some(Taken { addresses: (*addresses)?, writable: (*writable)?, resident: (*resident)? })
    }
}

impl Limits {
    /// The limits of this process. They are read once.
    fn of_process() -> Limits {
        static LIMITS: OnceLock<Limits> = OnceLock::new();
        *LIMITS.get_or_init(Limits::read)
    }

    /// Whether `bytes` more may be taken.
    fn check(&self, taken: Taken, bytes: u64) -> Result<(), OutOfMemory> {
        // Addresses that hold no memory cannot be taken for it, and need none.
        let fixed = taken.addresses.saturating_sub(taken.writable);
        let addresses = self.addresses.map(|most| most.saturating_sub(fixed));
        for (used, most) in [(taken.resident, self.resident), (taken.writable, addresses)] {
            let Some(most) = most else { continue };
            let used = used.saturating_add(bytes);
            if used as f64 > most as f64 * SHARE {
                return Err(OutOfMemory { used: used / MIB, most: most / MIB });
            }
        }
        Ok(())
    }

    fn read() -> Limits {
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
        if Taken::now().is_some() {
            let error = check_room_for(1 << 60).expect_err("an exbibyte").to_string();
            assert!(error.contains("MiB so far, of"), "{error}");
        }
    }

    #[cfg(feature = "cli")]
    #[test]
    fn there_is_always_room_for_a_thread() {
        assert!(most_threads() >= 1);
    }

    /// A program of 20 MiB with three threads, just started, under `ulimit -v 400000`.
    #[test]
    fn reserved_addresses_are_no_memory() {
        let limits = Limits { resident: None, addresses: Some(400_000 * 1024) };
        let mib = |mib: u64| mib * MIB / 4096;
        let statm = |all: u64, writable: u64| {
            format!("{} 5642 3010 2204 0 {} 0\n", mib(all), mib(writable))
        };
        let check = |text: String, bytes| limits.check(Taken::of(&text).unwrap(), bytes);
        assert_eq!(check(statm(296, 18), 0), Ok(()));
        // 112 MiB are left for tables, a quarter of which is kept for those that double.
        assert_eq!(check(statm(376, 98), 0), Err(OutOfMemory { used: 98, most: 112 }));
        assert!(
            check(statm(296, 18), 60 * MIB).is_ok() && check(statm(296, 18), 80 * MIB).is_err()
        );
        assert_eq!(Taken::of("1 2 3"), None);
    }
}
