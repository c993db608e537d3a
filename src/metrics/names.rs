//! The registry of metrics: every scalar of a run, with its unit and meaning. `list`, the docs, the
//! CSV and JSON files and the checks of expectations all read it, so a name is written once.

use std::sync::LazyLock;

use indexmap::IndexMap;

use super::summary::RunSummary;
use super::unit::Unit;

/// One scalar that every run has, though it may be without a value (such as TPOT when every request
/// has one output token).
#[derive(Clone, Debug)]
pub struct Metric {
    /// Its name as in RON and in the files: `ttft.p99`, `output_throughput`.
    pub name: String,
    /// Unit of its values.
    pub unit: Unit,
    /// What it is, in one line.
    pub about: String,
    /// Whether files leave it out where it is 0 or without a value in every run: it is about
    /// something that most runs do not have.
    pub optional: bool,
}

/// A distribution over requests (or, for ITL, over gaps), with one metric per statistic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    /// The part before the dot.
    pub name: &'static str,
    /// What is distributed.
    pub about: &'static str,
    /// Whether it is left out as in [`Metric::optional`].
    pub optional: bool,
}

/// All families; their values are seconds.
pub(crate) const FAMILIES: &[Family] = &[
    Family { name: "ttft", about: "time to first token: first token - arrival", optional: false },
    Family {
        name: "tpot",
        about: "time per output token: (last - first token) / (n - 1), n > 1",
        optional: false,
    },
    Family {
        name: "itl",
        about: "inter-token latency: gaps between tokens, pooled",
        optional: false,
    },
    Family { name: "e2e", about: "end-to-end latency: last token - arrival", optional: false },
    Family { name: "queue", about: "queue time: first scheduled - arrival", optional: false },
    Family { name: "ntpot", about: "normalised latency: e2e / n", optional: false },
    Family { name: "vidur_tpot", about: "Vidur's TPOT: (last - first token) / n", optional: false },
    Family {
        name: "execution",
        about: "execution time, summed over iterations and stages",
        optional: false,
    },
    Family {
        name: "kv_transfer",
        about: "KV transfer: end of prefill until the content is where it is decoded (disaggregation)",
        optional: true,
    },
];

/// The statistics of every family, with their meaning.
pub(crate) const STATISTICS: &[(&str, &str)] = &[
    ("mean", "mean"),
    ("std", "standard deviation (population)"),
    ("p50", "median"),
    ("p90", "90th percentile"),
    ("p95", "95th percentile"),
    ("p99", "99th percentile"),
    ("max", "largest"),
];

const SCALARS: &[(&str, Unit, &str)] = {
    use Unit::{Count, Number, RequestsPerSecond, Seconds, Share, TokensPerSecond};
    &[
        ("duration", Seconds, "what rates divide by: the run, or its statistics window"),
        ("arrived", Count, "requests that arrived"),
        ("finished", Count, "requests that finished"),
        ("rejected", Count, "requests refused with a reason"),
        ("unfinished", Count, "requests still waiting or running when the time limit came"),
        ("counted", Count, "finished requests that the statistics count (window)"),
        ("offered_rate", RequestsPerSecond, "arrivals: (arrived - 1) / (last - first arrival)"),
        ("input_tokens", Count, "prompt tokens of counted requests"),
        ("output_tokens", Count, "output tokens of counted requests"),
        ("prompt_tokens_mean", Number, "prompt tokens per counted request"),
        ("output_tokens_mean", Number, "output tokens per counted request"),
        ("request_throughput", RequestsPerSecond, "counted requests per second"),
        ("output_throughput", TokensPerSecond, "output tokens per second"),
        ("total_token_throughput", TokensPerSecond, "prompt and output tokens per second"),
        ("goodput", RequestsPerSecond, "requests per second that meet every SLO"),
        ("slo_attainment", Share, "share of requests that meet every SLO; rejected ones do not"),
        ("slo_attainment_ttft", Share, "share of requests that meet the TTFT limit"),
        ("slo_attainment_tpot", Share, "share of requests that meet the TPOT limit"),
        ("slo_attainment_e2e", Share, "share of requests that meet the E2E limit"),
        ("kv_blocks", Count, "KV blocks of all replicas together"),
        ("kv_allocated_mean", Share, "allocated KV blocks, mean over time"),
        ("kv_allocated_peak", Share, "allocated KV blocks, peak"),
        ("kv_used_over_allocated", Share, "tokens held / token slots allocated, over time"),
        ("kv_waste_per_request", Number, "token slots allocated but empty, per running request"),
        ("prefix_hit_rate", Share, "prompt tokens from the prefix cache, of counted requests"),
        ("running_mean", Number, "requests that hold KV blocks, mean over time"),
        ("running_peak", Count, "requests that hold KV blocks, peak"),
        ("waiting_mean", Number, "requests in waiting queues, mean over time"),
        ("waiting_peak", Count, "requests in waiting queues, peak"),
        ("preemptions", Count, "preemptions by recomputation"),
        ("preemptions_per_1000", Number, "preemptions per 1000 requests that arrived"),
        ("preemptions_max", Count, "most preemptions of one request"),
        ("mfu", Share, "model FLOPs utilisation, of the dense peak (10^12 per TFLOP)"),
        ("busy_fraction", Share, "time in which a stage runs a batch"),
        ("busy_attention_prefill", Share, "attention over prompts, of the busy time"),
        ("busy_attention_decode", Share, "attention of decodes, of the busy time"),
        ("busy_communication", Share, "communication, of the busy time"),
        ("busy_other", Share, "GEMM and everything else, of the busy time"),
        ("busy_with_prefill", Share, "batches that hold a prompt or chunk, of the busy time"),
        ("busy_measured", Share, "measured operators and set overheads, of the busy time"),
        ("busy_transferred", Share, "operators scaled from other shapes or data sheets, of it"),
        ("busy_extrapolated", Share, "operators beyond their measurements, of the busy time"),
        ("batch_iterations", Count, "batches (iterations) run"),
        ("batch_size_mean", Number, "requests per batch"),
        ("batch_tokens_mean", Number, "tokens per batch"),
        ("acceptance_rate", Share, "drafts accepted, of those verified (speculative decoding)"),
        ("tokens_per_step", Number, "tokens per step of a decoding request that speculates"),
        ("speculative_speedup", Number, "decoding against the same batches without drafts"),
    ]
};

/// The scalars that are about requests.
const OF_REQUESTS: &[&str] = &[
    "duration",
    "arrived",
    "finished",
    "rejected",
    "not_admitted",
    "unfinished",
    "counted",
    "offered_rate",
    "input_tokens",
    "output_tokens",
    "prompt_tokens_mean",
    "output_tokens_mean",
    "request_throughput",
    "output_throughput",
    "total_token_throughput",
    "goodput",
    "slo_attainment",
    "slo_attainment_ttft",
    "slo_attainment_tpot",
    "slo_attainment_e2e",
    "prefix_hit_rate",
    "preemptions",
    "preemptions_per_1000",
    "preemptions_max",
];

/// What only some runs have.
const OPTIONAL: &[(&str, Unit, &str)] = {
    use Unit::{Count, RequestsPerSecond, Seconds, Share, TokensPerSecond};
    &[
        ("not_admitted", Count, "of the rejected requests, those that admission control refused"),
        ("adapter_loads", Count, "LoRA adapters copied into a slot of a GPU"),
        ("adapter_fetches", Count, "of these, those that had to be read from disk before"),
        ("adapter_hit_rate", Share, "admissions that found their adapter in a slot"),
        ("adapter_load_time", Seconds, "time for which steps waited for adapters"),
        ("adapter_compute_time", Seconds, "time of the adapters' matrix products"),
        ("host_kv_blocks", Count, "KV blocks that host memory holds, of all replicas (offload)"),
        ("host_kv_peak", Share, "KV blocks in host memory, peak"),
        ("host_hit_rate", Share, "prompt tokens copied from host memory, of counted requests"),
        ("reloaded_tokens", Count, "prompt tokens copied from host memory, of all requests"),
        ("swap_outs", Count, "preemptions by swapping to host memory"),
        ("swap_ins", Count, "swapped requests that came back"),
        ("swap_fallbacks", Count, "preemptions by recomputation as host memory was full"),
        ("bytes_to_host", Count, "KV bytes copied to host memory, over all GPUs"),
        ("bytes_from_host", Count, "KV bytes copied from host memory, over all GPUs"),
        ("host_copy_wait", Seconds, "time by which copies made iterations longer"),
        ("window_duration", Seconds, "from the first to the last arrival that counts (the window)"),
        ("window_arrived", Count, "requests that arrived in the window"),
        ("window_finished", Count, "requests that finished in the window, counted or not"),
        ("window_input_tokens", Count, "prompt tokens of requests whose first token came in it"),
        ("window_output_tokens", Count, "output tokens produced in the window"),
        ("window_arrival_rate", RequestsPerSecond, "arrivals per second in the window"),
        ("window_request_throughput", RequestsPerSecond, "requests finished per second in it"),
        ("window_output_throughput", TokensPerSecond, "output tokens per second in the window"),
        ("window_total_token_throughput", TokensPerSecond, "prompt and output tokens, likewise"),
        ("window_goodput", RequestsPerSecond, "arrivals per second in it that meet every SLO"),
    ]
};

static REGISTRY: LazyLock<IndexMap<String, Metric>> = LazyLock::new(|| {
    let families = FAMILIES.iter().flat_map(|family| {
        STATISTICS.iter().map(|(statistic, meaning)| Metric {
            name: format!("{}.{statistic}", family.name),
            unit: Unit::Seconds,
            about: format!("{meaning} of {}", family.about),
            optional: family.optional,
        })
    });
    let scalar = |&(name, unit, about): &(&str, Unit, &str), optional| Metric {
        name: name.to_owned(),
        unit,
        about: about.to_owned(),
        optional,
    };
    let scalars = SCALARS.iter().map(|one| scalar(one, false));
    let optional = OPTIONAL.iter().map(|one| scalar(one, true));
    families.chain(scalars).chain(optional).map(|metric| (metric.name.clone(), metric)).collect()
});

/// All metrics in their fixed order: the families, then the scalars.
pub fn all() -> impl ExactSizeIterator<Item = &'static Metric> {
    REGISTRY.values()
}

/// The metrics that files show of these runs.
pub(crate) fn shown(runs: &[&RunSummary]) -> Vec<&'static Metric> {
    all().filter(|metric| is_shown(metric, runs)).collect()
}

/// Whether files show it of these runs. A family is shown as a whole, by its mean.
pub(crate) fn is_shown(metric: &Metric, runs: &[&RunSummary]) -> bool {
    let there = |name: &str| runs.iter().any(|run| run.get(name).is_some_and(|value| value != 0.0));
    match metric.name.split_once('.') {
        _ if !metric.optional => true,
        Some((family, _)) => there(&format!("{family}.mean")),
        None => there(&metric.name),
    }
}

/// Whether files show the metric of that name of these runs.
pub(crate) fn is_shown_by(name: &str, runs: &[&RunSummary]) -> bool {
    find(name).is_some_and(|metric| is_shown(metric, runs))
}

/// The metric of that exact name.
pub fn find(name: &str) -> Option<&'static Metric> {
    REGISTRY.get(name)
}

/// Whether it has a value for each class of requests: it is about requests, not about engines.
#[doc(hidden)]
pub fn is_of_classes(name: &str) -> bool {
    let family = name.split_once('.').map(|(family, _)| family);
    match family {
        Some(family) => family != "itl",
        None => OF_REQUESTS.contains(&name),
    }
}

/// Its place in the order of [`all`].
pub(super) fn index(name: &str) -> Option<usize> {
    REGISTRY.get_index_of(name)
}

/// The known name most like `name`, for "did you mean"; `None` when nothing is near.
pub(crate) fn closest(name: &str) -> Option<&'static str> {
    if name.len() > crate::base::suggest::LONGEST {
        return None;
    }
    let wanted = name.to_ascii_lowercase();
    all()
        .map(|metric| (strsim::jaro_winkler(&wanted, &metric.name), metric.name.as_str()))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let scalars = SCALARS.len() + OPTIONAL.len();
        assert_eq!(all().len(), FAMILIES.len() * STATISTICS.len() + scalars);
        assert_eq!(find("ttft.p99").map(|m| m.unit), Some(Unit::Seconds));
        assert!(find("ttft.p98").is_none());
        assert!(find("ttft").is_none());
    }

    #[test]
    fn suggests_the_nearest() {
        assert_eq!(closest("ttft.mena"), Some("ttft.mean"));
        assert_eq!(closest("TTFT.P99"), Some("ttft.p99"));
        assert_eq!(closest("output_troughput"), Some("output_throughput"));
        assert_eq!(closest("kv_used_over_alocated"), Some("kv_used_over_allocated"));
        assert_eq!(closest("zzzz"), None);
    }
}
