#!/usr/bin/env bash
# Measures whole runs, reading of the scenario and writing of results included: iterations, requests
# and events (steps of the simulation) per second of CPU time, and peak memory. Best of N by CPU time:
# noise only ever adds to it.
#
#   benchmarks/run.sh [--ten-million] [--only PATTERN] [--out DIR] [RUNS]
#
#   RUNS           runs of each (5 by default)
#   --ten-million  one run of 10,000,000 requests too, which writes some gigabytes into $TMPDIR
#   --only         only cases whose name has this shell pattern, such as 'replicas_*'
#   --out          instead of benchmarks/runs/<date>-<processor>
#
# Writes machine.txt (machine, versions, commit), raw.csv (every run) and summary.txt (the best ones,
# and benchmarks/targets.csv beside what was reached) into that folder.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=5 only='*' folder='' ten_million=''
while (($# > 0)); do
    case $1 in
        --ten-million) ten_million=yes ;;
        --only) only=${2:?--only needs a pattern} && shift ;;
        --out) folder=${2:?--out needs a folder} && shift ;;
        [1-9]*) runs=$1 ;;
        *)
            sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
            exit 2
            ;;
    esac
    shift
done

cargo build --release --locked --quiet --bins --example mooncake_trace
program=target/release/vidur-ecs
processor=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)
slug=$(printf '%s' "${processor:-unknown}" | tr -cs '[:alnum:]' '-' | tr '[:upper:]' '[:lower:]' | sed 's/^-//; s/-$//')
folder=${folder:-benchmarks/runs/$(date +%F)-$slug}
mkdir -p "$folder"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

{
    echo "processor  ${processor:-unknown}, $(nproc) cores seen"
    echo "memory     $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
    echo "kernel     $(uname -sr)"
    echo "load       $(cut -d' ' -f1-3 /proc/loadavg) at the start (1, 5, 15 minutes)"
    rustc --version
    "$program" --version
    echo "commit     $(git describe --always --dirty 2>/dev/null || echo unknown)"
} >"$folder/machine.txt"

value() { sed -n "s/^$1 *\([0-9.]*\).*/\1/p" "$scratch/out/run.log"; }

raw=$folder/raw.csv
echo "case,run,iterations,requests,events,cpu_s,wall_s,peak_mib" >"$raw"

# wanted NAME: whether --only lets this case through.
wanted() {
    # shellcheck disable=SC2053 # it is a pattern
    [[ $1 == $only ]] && echo "measuring $1" >&2
}

# measure NAME TIMES SCENARIO [ARGUMENT...]: so many runs of a scenario.
measure() {
    local name=$1 times=$2 scenario=benchmarks/scenarios/$3.ron run wall user system
    shift 3
    wanted "$name" || return 0
    for run in $(seq "$times"); do
        TIMEFORMAT='%R %U %S'
        { time "$program" run "$scenario" --out "$scratch/out" --force --quiet "$@"; } 2>"$scratch/time" || {
            cat "$scratch/time" >&2
            exit 1
        }
        read -r wall user system <"$scratch/time"
        echo "$name,$run,$(value iterations),$(value requests),$(value events),$(add "$user" "$system"),$wall,$(value 'peak memory')" >>"$raw"
        rm -rf "$scratch/out"
    done
}

add() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a + b }'; }

measure closed_qps8_100k "$runs" closed_vllm_conv_qps8_100k
measure measured_qps4_100k "$runs" measured_vllm_conv_qps4_100k
measure saturated_256 "$runs" saturated_256_200
if wanted mooncake_v1_100k; then
    target/release/examples/mooncake_trace 100000 1 >"$scratch/mooncake.jsonl"
    measure mooncake_v1_100k "$runs" mooncake_v1 --set "workload.trace.file=$scratch/mooncake.jsonl"
fi
measure prefix_cache_v1_100k "$runs" prefix_cache_v1
measure replicas_16_1m "$runs" replicas_16
measure replicas_256_1m "$runs" replicas_256
measure closed_qps8_1m "$runs" closed_vllm_conv_qps8_1m
if [[ -n $ten_million ]]; then
    measure closed_qps8_10m 1 closed_vllm_conv_qps8_1m --set workload.requests=10000000
fi
measure exact_steps_64 "$runs" exact_steps_64 --exact-steps

# From a cold start: 100 requests, the reading of profiles included.
measure start_formula "$runs" start_100
measure start_vidur "$runs" start_100 --set 'timing=Measured(composition: Vidur)'
measure start_full "$runs" start_100 --set 'timing=Measured(composition: Full)'
measure start_roofline "$runs" start_100 --set 'timing=Roofline()'
measure start_vidur_70b "$runs" start_100 --set 'timing=Measured(composition: Vidur)' \
    --set model=Llama-2-70B --set cluster.tensor_parallel=2 --set cluster.pipeline_parallel=2
measure start_full_h100 "$runs" start_100 --set 'timing=Measured(composition: Full)' \
    --set device=H100-SXM-80G
measure start_layerwise "$runs" start_100 --set 'timing=Layerwise()' \
    --set model=Llama-3.1-8B --set device=RTX-PRO-6000

# How far the simulation is from a plain loop over the same requests.
ratio=''
if wanted limit; then
    cargo bench --locked --quiet --bench limit -- "$runs" | tee "$folder/limit.txt"
    ratio=$(sed -n 's/^ratio *//p' "$folder/limit.txt")
fi

awk -F, -v ratio="$ratio" '
    FNR == 1 { file++; next }
    file == 1 {
        if (!($1 in cpu)) names[++count] = $1
        if (!($1 in cpu) || $6 < cpu[$1]) {
            cpu[$1] = $6; iterations[$1] = $3; requests[$1] = $4; events[$1] = $5
        }
        if ($8 > peak[$1]) peak[$1] = $8
        next
    }
    { targets[++wanted] = $0 }
    # Enough for a process of no measurable CPU time.
    function rate(what, name) { return what / (cpu[name] > 0.001 ? cpu[name] : 0.001) }
    function reached(name, quantity) {
        if (quantity == "ratio") return ratio
        if (quantity == "peak_of_1m") return peak["closed_qps8_1m"] > 0 ? peak[name] / peak["closed_qps8_1m"] : ""
        if (quantity == "cost_of_16") return cpu["replicas_16_1m"] > 0 ? cpu[name] / cpu["replicas_16_1m"] : ""
        if (quantity == "cpu_ms") return 1000 * cpu[name]
        if (quantity == "cpu_s") return cpu[name]
        if (quantity == "peak_mib") return peak[name]
        if (quantity == "iterations/s") return rate(iterations[name], name)
        if (quantity == "requests/s") return rate(requests[name], name)
        if (quantity == "events/s") return rate(events[name], name)
        return ""
    }
    END {
        row = "%-22s %11s %9s %9s %9s %13s %11s %11s %9s\n"
        printf row, "best of runs", "iterations", "requests", "events", "CPU s", "iterations/s", "requests/s", "events/s", "peak MiB"
        for (i = 1; i <= count; i++) {
            name = names[i]
            printf row, name, iterations[name], requests[name], events[name], sprintf("%.3f", cpu[name]),
                sprintf("%.0f", rate(iterations[name], name)), sprintf("%.0f", rate(requests[name], name)),
                sprintf("%.0f", rate(events[name], name)), sprintf("%.1f", peak[name])
        }
        if (ratio != "") printf "%-22s %.2f times the CPU time of a plain loop\n", "limit", ratio
        printf "\n%-22s %-14s %13s %16s\n", "target of", "", "reached", "target"
        for (i = 1; i <= wanted; i++) {
            split(targets[i], t, ",")
            if (!(t[1] in cpu) && !(t[1] == "limit" && ratio != "")) continue
            value = reached(t[1], t[2])
            if (value == "") continue
            met = t[3] == "at_least" ? value + 0 >= t[4] + 0 : value + 0 <= t[4] + 0
            printf "%-22s %-14s %13s %16s  %s\n", t[1], t[2], sprintf(value >= 100 ? "%.0f" : "%.2f", value),
                (t[3] == "at_least" ? ">= " : "<= ") t[4], met ? "met" : "NOT MET"
        }
    }' "$raw" benchmarks/targets.csv | tee "$folder/summary.txt"
echo "wrote $folder"
