use std::path::Path;

use clap::Parser;

use crate::import::layerwise::*;
use crate::profile::format::{AllReduceTable, Curve, NetworkTables};
use crate::profile::shipped;
use crate::recorded::shared;

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    options: ImportLayerwiseOptions,
}

fn options(arguments: &[&str], path: &Path) -> ImportLayerwiseOptions {
    let all = ["import", &path.display().to_string()].map(str::to_owned);
    let all = all.into_iter().chain(arguments.iter().map(|argument| (*argument).to_owned()));
    Command::try_parse_from(all).unwrap().options
}

/// What a recorded run was simulated with.
const CHECKED: &str =
    "--checked-against=vLLM 0.19 on the same GPUs: mean E2E and TPOT within 2 %, TTFT within 4 %";

const LLAMA: [&str; 4] = [STRAGGLER[0], STRAGGLER[1], CHECKED, "--checked-with=Llama-3.1-8B:1"];

const QWEN: [&str; 4] = [STRAGGLER[0], STRAGGLER[1], CHECKED, "--checked-with=Qwen3-32B:2"];

const STRAGGLER: [&str; 2] = [
    "--straggler=301,15,0.0616",
    "--straggler-source=steps of a vLLM 0.19 run of Llama-3.1-8B (LLMServingSim 2.0)",
];

/// Name, bundle and options of each shipped profile (see profiles/README.md).
const SHIPPED: [(&str, &str, &[&str]); 5] = [
    ("rtx-pro-6000/layers-llama-3.1-8b", "RTXPRO6000/meta-llama/Llama-3.1-8B/bf16", &LLAMA),
    ("rtx-pro-6000/layers-qwen3-32b", "RTXPRO6000/Qwen/Qwen3-32B/bf16", &QWEN),
    (
        "rtx-pro-6000/layers-qwen3-30b-a3b",
        "RTXPRO6000/Qwen/Qwen3-30B-A3B-Instruct-2507/bf16",
        &STRAGGLER,
    ),
    ("rtx-4090/layers-llama-3.1-8b", "RTX4090/meta-llama/Llama-3.1-8B/bf16", &[]),
    ("rtx-4090/operators", "RTX4090/meta-llama/Llama-3.1-8B/bf16", &["--operators"]),
];

/// Compares with what is shipped; with `UPDATE_PROFILES=1` in the environment writes it anew.
fn compare(name: &str, mut profile: Profile) {
    if std::env::var_os("UPDATE_PROFILES").is_some() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("profiles").join(format!("{name}.ron"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, profile.to_string()).unwrap();
        return;
    }
    let shipped = shipped().iter().find(|shipped| shipped.name == name).unwrap();
    // A later version computes the same tables.
    profile.tool = shipped.load().unwrap().tool;
    assert!(profile.to_string() == shipped.text(), "{name} differs from what is imported");
}

#[test]
fn shipped_profiles_are_what_the_importer_computes() {
    let Some(data) = shared("data/profiles/layerwise") else { return };
    for (name, bundle, arguments) in SHIPPED {
        compare(name, import_layerwise(&options(arguments, &data.join(bundle))).unwrap());
    }
}

/// All-reduce over PCIe was not measured apart; its times were inferred from the steps of a run.
#[test]
fn the_pcie_network_is_what_was_inferred() {
    let Some(case) = shared("data/truth/rtxpro6000-qwen3-32b-tp2/engine.json") else { return };
    let text = std::fs::read_to_string(case).unwrap();
    let engine: serde_json::Value = serde_json::from_str(&text).unwrap();
    let points = engine["allreduce"]["measured_points_KB_us"].as_array().unwrap();
    let bytes = Curve {
        x: points.iter().map(|point| 1000 * point[0].as_u64().unwrap() as u32).collect(),
        us: points.iter().map(|point| point[1].as_f64().unwrap()).collect(),
    };
    let profile = Profile {
        format: FORMAT,
        device: "RTX-PRO-6000".to_owned(),
        tool: format!("vidur-ecs {}", env!("CARGO_PKG_VERSION")),
        checked_against: String::new(),
        checked_with: Vec::new(),
        provenance: vec![Provenance {
            covers: "network".to_owned(),
            device: "2 x RTX PRO 6000, PCIe, inferred:".to_owned(),
            source: "steps of a vLLM 0.19 run of Qwen3-32B, LLMServingSim 2.0".to_owned(),
            files: vec!["bench/examples/RTXPRO6000/Qwen3-32B".to_owned()],
            licence: "MIT".to_owned(),
        }],
        model: None,
        network: Some(NetworkTables {
            name: "rtx_pro_6000_pcie".to_owned(),
            gpus_per_node: 2,
            all_reduce: vec![AllReduceTable { workers: 2, bytes }],
            send_recv: Vec::new(),
        }),
        operators: None,
        layerwise: None,
    };
    compare("rtx-pro-6000/network-rtx_pro_6000_pcie", profile);
}

const META: &str = "vllm_version: 0.19.0\ngpu: NVIDIA RTX 4090\nhardware: RTX4090\n\
    model: meta-llama/Llama-3.1-8B\nvariant: bf16\ntp_degrees: [1]\n\
    engine_effective:\n  block_size: 16\n";

/// A bundle with the given lines of attention.
fn import(meta: &str, attention: &str) -> Result<Profile, ProfileError> {
    let folder = tempfile::tempdir().unwrap();
    let rank = folder.path().join("tp1");
    std::fs::create_dir_all(&rank).unwrap();
    std::fs::write(folder.path().join("meta.yaml"), meta).unwrap();
    let mut dense = "layer,tokens,time_us\n".to_owned();
    for operator in crate::profile::layerwise::TokenOperator::ALL {
        dense += &format!("{0},1,1.00004\n{0},8,2\n", operator.name());
    }
    std::fs::write(rank.join("dense.csv"), dense).unwrap();
    let per_sequence = "layer,sequences,time_us\nlm_head,1,7\nsampler,1,3\n";
    std::fs::write(rank.join("per_sequence.csv"), per_sequence).unwrap();
    let header = "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n";
    std::fs::write(rank.join("attention.csv"), format!("{header}{attention}")).unwrap();
    import_layerwise(&options(&[], folder.path()))
}

const ATTENTION: &str = "0,0,1,16,5\n16,0,0,0,6\n16,0,1,16,7.12349\n";

#[test]
fn times_keep_four_digits() {
    let tables = import(META, ATTENTION).unwrap().layerwise.unwrap();
    let rank = &tables.ranks[0];
    assert_eq!((tables.model.as_str(), rank.tensor_parallel), ("Llama-3.1-8B", 1));
    assert_eq!(rank.attention.slices[2].2[0].2, [7.123]);
    assert_eq!(rank.per_tokens.us.values().next().unwrap(), &[1.0, 2.0]);
    assert!(rank.skew.is_none() && rank.moe.is_none());
}

#[test]
fn errors_say_where() {
    let message = |meta: &str, attention: &str| import(meta, attention).unwrap_err().to_string();
    let text = message(META, "0,0,1,16,x\n");
    assert!(
        text.ends_with("attention.csv:2: `time_us` is `x`, expected a number, 0 or more"),
        "{text}"
    );
    let text = message(META, "0,0,1,16,5\n");
    assert!(text.contains("chunks alone, decoding alone and both together"), "{text}");
    let text = message("gpu: x\n", ATTENTION);
    assert!(text.contains("meta.yaml:1:1: missing field `vllm_version`"), "{text}");
    let text = message(&META.replace("Llama-3.1-8B", "Llama-3.1-8C"), ATTENTION);
    assert_eq!(text, "there is no model `meta-llama/Llama-3.1-8C`; did you mean `Llama-3.1-8B`?");
    assert!(straggler("301,15").is_err() && straggler("301,-1,2").is_err());
}
