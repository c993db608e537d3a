#!/usr/bin/env bash
# Measures whole runs: iterations per second of CPU time and peak memory, best of N.
#
#   benchmarks/run.sh [RUNS]     (5 runs each by default)
#
# Writes benchmarks/runs/<date>-<processor>/{machine.txt,raw.csv,summary.txt}.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:-5}
cargo build --release --locked --quiet
program=target/release/vidur-ecs
processor=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)
slug=$(printf '%s' "${processor:-unknown}" | tr -cs '[:alnum:]' '-' | tr '[:upper:]' '[:lower:]' | sed 's/^-//; s/-$//')
folder=benchmarks/runs/$(date +%F)-$slug
mkdir -p "$folder"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

{
    echo "processor  ${processor:-unknown}, $(nproc) cores seen"
    echo "memory     $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
    echo "kernel     $(uname -sr)"
    rustc --version
    "$program" --version
    echo "commit     $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
} >"$folder/machine.txt"

value() { sed -n "s/^$1 *\([0-9.]*\).*/\1/p" "$scratch/out/run.log"; }

echo "scenario,run,iterations,cpu_s,wall_s,peak_mib" >"$folder/raw.csv"
for scenario in benchmarks/scenarios/*.ron; do
    name=$(basename "$scenario" .ron)
    for run in $(seq "$runs"); do
        "$program" run "$scenario" --out "$scratch/out" --force --quiet
        echo "$name,$run,$(value iterations),$(value 'CPU time'),$(value 'wall time'),$(value 'peak memory')" >>"$folder/raw.csv"
    done
done

# Best of the runs by CPU time: noise only ever adds to it.
awk -F, 'NR > 1 {
        if (!($1 in cpu) || $4 < cpu[$1]) { cpu[$1] = $4; iterations[$1] = $3 }
        if ($6 > peak[$1]) peak[$1] = $6
    }
    END {
        for (name in cpu)
            printf "%-40s %10d iterations  %8.2f s CPU  %9.0f iterations/s  %7.1f MiB\n",
                name, iterations[name], cpu[name], iterations[name] / cpu[name], peak[name]
    }' "$folder/raw.csv" | sort | tee "$folder/summary.txt"
echo "wrote $folder"
