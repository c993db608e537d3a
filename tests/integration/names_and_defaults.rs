//! What a scenario may leave out, the names that people write, and settings that change nothing.

use crate::room::Room;

fn scenario(model: &str, device: &str, engine: &str, rest: &str) -> String {
    format!(
        "(model: \"{model}\", device: \"{device}\", engine: (policy: VllmV1(), {engine}), \
         workload: (requests: 3, arrivals: Static, lengths: Fixed(prompt: 50, output: 5)), {rest})"
    )
}

/// Defect 20: the best timing that there is for the model and the device, named in report and
/// check.
#[test]
fn timing_is_the_best_that_there_is() {
    let room = Room::new();
    for (model, device, chosen) in [
        ("Llama-3.1-8B", "RTX-PRO-6000", "Layerwise(), chosen as the best here: "),
        ("Llama-3.1-8B", "H100", "Measured(composition: Full), chosen as the best here: "),
        ("Llama-3.1-8B", "A40", "Roofline(), chosen as the best here: "),
    ] {
        room.write("s.ron", scenario(model, device, "", ""));
        let checked = room.must("check s.ron").out;
        assert!(checked.contains(&format!("timing   {chosen}")), "{checked}");
        let report = room.must("s.ron --force").out;
        let words = report.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(chosen.trim_end()), "{report}");
        assert!(room.read("results/s/summary.json").contains(chosen.trim_end()));
        // What was resolved names it, and gives the same.
        room.must("results/s/scenario.ron --quiet --force --out again");
        assert_eq!(
            room.read("results/s/request_metrics.csv"),
            room.read("again/request_metrics.csv")
        );
    }
    room.write("s.ron", scenario("Llama-3.1-8B", "H100", "", "timing: Mesured()"));
    let refused = room.run("check s.ron");
    for part in ["did you mean `Measured`?", "known here: Formula, Measured, Layerwise, Roofline"] {
        assert!(refused.err.contains(part), "{}", refused.err);
    }
    room.write(
        "s.ron",
        "(model: \"Llama-3.1-8B\", device: \"H100\", engine: (), workload: (requests: 1))",
    );
    assert!(room.run("check s.ron").err.contains("known here: VllmV0, VllmV1"));
}

/// Defect 20: names as people write them.
#[test]
fn models_and_devices_have_many_names() {
    let room = Room::new();
    for (model, device, what) in [
        ("Mistral-7B-Instruct-v0.3", "A100-80GB", "Mistral-7B-v0.3 | 1 x A100-SXM-80G"),
        ("Qwen3-8B", "NVIDIA L40S", "Qwen3-8B | 1 x L40S"),
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            "NVIDIA H100 80GB HBM3",
            "Llama-3.1-8B | 1 x H100-SXM-80G",
        ),
        ("Llama-3.3-70B-Instruct", "NVIDIA B200", "Llama-3.1-70B | 1 x B200-SXM-180G"),
    ] {
        room.write("s.ron", scenario(model, device, "max_model_len: 4096", ""));
        let checked = room.must("check s.ron").out;
        assert!(checked.contains(what), "{checked}");
    }
    room.write("s.ron", scenario("Qwen3-8B", "NVIDIA H100 PCIe", "", ""));
    let refused = room.run("check s.ron");
    assert_eq!(refused.code, 2, "another board is not taken for the one that is known");
    assert!(refused.err.contains("unknown device `NVIDIA H100 PCIe`"), "{}", refused.err);
}

/// A setting that changes nothing in this scenario is said once.
#[test]
fn settings_without_effect_are_said() {
    let room = Room::new();
    for (engine, rest, expected) in [
        (
            "num_gpu_blocks: 1000, gpu_memory_utilization: 0.8",
            "",
            "`engine.gpu_memory_utilization` has no effect",
        ),
        ("allow_long_max_model_len: true", "", "`engine.allow_long_max_model_len` has no effect"),
        ("", "cluster: (network: \"h100_dgx\")", "`cluster.network` has no effect"),
    ] {
        let variants =
            "variants: {\"a\": (), \"b\": (seed: 1)}".replace("(seed: 1)", "(slo: (ttft_ms: 1.0))");
        let engine = format!("max_model_len: 2048, {engine}");
        room.write(
            "s.ron",
            scenario(
                "Qwen3-8B",
                "H100",
                &engine,
                &format!("{rest} {} {variants}", if rest.is_empty() { "" } else { "," }),
            ),
        );
        let said = room.must("check s.ron --quiet").err + &room.must("check s.ron").err;
        assert_eq!(said.matches(expected).count(), 1, "{said}");
    }
    // A plan's own result beside the share that it was made with is what a resolved scenario has.
    room.write(
        "s.ron",
        scenario("Qwen3-8B", "H100", "max_model_len: 2048, gpu_memory_utilization: 0.8", ""),
    );
    room.must("s.ron --quiet");
    assert_eq!(room.must("check results/s/scenario.ron").err, "");
}
