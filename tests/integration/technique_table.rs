//! The table of techniques that go together, held against scenarios that use two of them at once.

use std::path::Path;

use vidur_ecs::base::Source;
use vidur_ecs::registry::Registry;
use vidur_ecs::scenario::Scenario;
use vidur_ecs::scenario::combinations::{REFUSED, Technique, as_markdown};

/// A small scenario that uses these techniques and nothing else of the table.
fn scenario(used: &[Technique]) -> String {
    let uses = |technique: Technique| used.contains(&technique);
    let mut engine = vec![
        // Planning ahead and pipelines are another matter.
        "policy: VllmV1(async_scheduling: false)".to_owned(),
        format!("enable_prefix_caching: {}", uses(Technique::PrefixCaching)),
    ];
    if uses(Technique::Speculation) {
        engine.push("speculative: (draft: NGram(), k: 2, acceptance: 0.5)".to_owned());
    }
    if uses(Technique::Lora) {
        engine.push("lora: (adapters: 4)".to_owned());
    }
    if uses(Technique::KvGroups) {
        engine.push(
            "num_gpu_blocks: 2000, kv_cache_groups: [Full(block_size: 16), \
             SlidingWindow(block_size: 16, window: 100)]"
                .to_owned(),
        );
    }
    if uses(Technique::KvOffload) || uses(Technique::Swap) {
        engine.push("kv_offload: (host_gib: 1.0, pcie_gb_per_s: 25.0)".to_owned());
    }
    // Host memory needs something that goes there.
    let caches = uses(Technique::PrefixCaching);
    if uses(Technique::Swap) || uses(Technique::KvOffload) && !caches {
        engine.push("preemption_mode: Swap".to_owned());
    }
    if uses(Technique::VidurLengths) {
        engine.push("vidur_lengths: true".to_owned());
    }
    let mut rest = String::new();
    if uses(Technique::Pipelines) {
        rest += "cluster: (pipeline_parallel: 2),\n";
    }
    if uses(Technique::Disaggregation) {
        rest += "disaggregated: (prefill: (), decode: (engine: (enable_prefix_caching: false)), \
                 link: (gb_per_s: 50.0)),\n";
    }
    if uses(Technique::SeveralModels) || uses(Technique::SharedGpus) {
        rest += "models: (a: (engine: (gpu_memory_utilization: 0.4)), \
                 b: (engine: (gpu_memory_utilization: 0.4))),\n";
    }
    if uses(Technique::SharedGpus) {
        rest += "gpus: TimeSliced,\n";
    }
    format!(
        "(model: \"Llama-2-7B\", device: \"A100-SXM-80G\",\n\
         engine: ({}),\n{rest}\
         workload: (requests: 2, arrivals: Static, lengths: Fixed(prompt: 20, output: 3)),\n\
         timing: Formula(base: 0.01))",
        engine.join(", ")
    )
}

fn read(text: &str) -> Result<Scenario, String> {
    let source = Source::new("s.ron", text);
    Scenario::from_source(&source, "s".to_owned(), Path::new("."), &[], &Registry::built_in())
        .map_err(|error| error.render(false))
}

#[test]
fn a_pair_is_refused_exactly_where_the_table_says_so() {
    let mut wrong = Vec::new();
    for (index, &first) in Technique::ALL.iter().enumerate() {
        for &second in &Technique::ALL[index + 1..] {
            let refusal = REFUSED.iter().find(|refusal| {
                [(first, second), (second, first)].contains(&(refusal.refused, refusal.beside))
            });
            let text = scenario(&[first, second]);
            let what = format!("{} and {}", first.label(), second.label());
            match (read(&text), refusal) {
                (Ok(_), None) => {}
                (Ok(_), Some(_)) => wrong.push(format!("{what}: accepted")),
                (Err(message), None) => wrong.push(format!("{what}: {message}\n{text}")),
                (Err(message), Some(refusal)) => {
                    let path = refusal.refused.setting();
                    for part in [path, refusal.help] {
                        if !message.contains(part) {
                            wrong.push(format!("{what}: no `{part}` in {message}"));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn the_document_shows_the_table() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/combinations.md");
    let text = std::fs::read_to_string(file).unwrap();
    let table = as_markdown(&Registry::built_in());
    assert!(text.contains(&table), "docs/combinations.md is to hold this:\n{table}");
}
