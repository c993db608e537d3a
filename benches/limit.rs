//! How far the simulation is from a plain loop over plain structs on the same Poisson load:
//!
//! ```sh
//! cargo bench --bench limit -- 5
//! ```
//!
//! Runs both in turns, 100,000 requests each, and prints the CPU time of the best of so many turns
//! (5 unless given): noise only ever adds to it. A shared machine is slower for seconds at a time,
//! so that the two bests may be of different moments: the ratio is the median of the ratios within
//! a turn.

mod plain_loop;
// The other bench uses the rest.
#[allow(dead_code)]
mod whole;

use vidur_ecs::output::cpu_seconds;
use whole::Poisson;

/// CPU time is told to 10 ms: several runs together make that small.
const RUNS: u32 = 5;

fn main() {
    // Cargo adds `--bench`.
    let turns = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(5_u32).max(1);
    let poisson = Poisson::new(100_000);
    let (mut plain, mut simulation) = (f64::INFINITY, f64::INFINITY);
    let mut ratios = Vec::new();
    for _ in 0..turns {
        let limit = seconds(|| poisson.plain().batches);
        let whole = seconds(|| poisson.simulation().batches);
        ratios.push(whole / limit);
        (plain, simulation) = (plain.min(limit), simulation.min(whole));
    }
    let batches = poisson.plain().batches;
    for (name, seconds) in [("plain structs", plain), ("simulation", simulation)] {
        let rate = batches as f64 / seconds;
        println!("{name:<16}{seconds:.3} s CPU  {rate:.0} iterations/s");
    }
    ratios.sort_by(f64::total_cmp);
    let of_turns: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    println!("{:<16}{}", "of each turn", of_turns.join(" "));
    println!("{:<16}{:.2}", "ratio", ratios[ratios.len() / 2]);
}

/// The CPU time of a run.
///
/// # Panics
/// On a system that does not tell it.
fn seconds(run: impl Fn() -> u64) -> f64 {
    let now = || cpu_seconds().expect("/proc tells the CPU time");
    let before = now();
    for _ in 0..RUNS {
        std::hint::black_box(run());
    }
    (now() - before) / f64::from(RUNS)
}
