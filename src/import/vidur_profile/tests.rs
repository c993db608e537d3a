//! The importer against the public measurements, and against files made to be wrong.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::import::vidur_profile::{ImportVidurOptions, import_vidur};
use crate::profile::{ProfileError, shipped};
use crate::recorded::shared;

/// The options as a user would write them.
fn options(arguments: &[&str], path: &Path) -> ImportVidurOptions {
    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: ImportVidurOptions,
    }
    let path = path.to_str().unwrap();
    Command::parse_from(["import", path].into_iter().chain(arguments.iter().copied())).options
}

/// The commands that computed the shipped profiles (see profiles/README.md).
const SHIPPED: [(&str, &[&str]); 7] = [
    (
        "a100-sxm-80g/llama-2-7b",
        &[
            "--model=Llama-2-7B",
            "--attention-source=Frontier",
            "--attention-device=A800",
            "--checked-against=Vidur (mean E2E within 1 %); real A100 engine: none",
            "--checked-with=Llama-2-7B:1",
        ],
    ),
    ("a100-sxm-80g/llama-2-70b", &["--model=Llama-2-70B"]),
    ("a100-sxm-80g/network-a100_pairwise_nvlink", &["--network=a100_pairwise_nvlink"]),
    ("a100-sxm-80g/network-a100_dgx", &["--network=a100_dgx"]),
    (
        "h100-sxm-80g/llama-2-7b",
        &[
            "--device=H100-SXM-80G",
            "--model=Llama-2-7B",
            "--attention-operators=h100-sxm-80g/operators",
        ],
    ),
    (
        "h100-sxm-80g/network-h100_pairwise_nvlink",
        &["--device=H100-SXM-80G", "--network=h100_pairwise_nvlink"],
    ),
    ("h100-sxm-80g/network-h100_dgx", &["--device=H100-SXM-80G", "--network=h100_dgx"]),
];

/// With `UPDATE_PROFILES=1` in the environment the shipped files are written anew.
#[test]
fn shipped_profiles_are_what_the_importer_computes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(data) = shared("data/profiles/vidur") else { return };
    for (name, arguments) in &SHIPPED {
        let shipped = shipped().iter().find(|profile| profile.name == *name).unwrap();
        let mut profile = import_vidur(&options(arguments, &data)).unwrap();
        if std::env::var_os("UPDATE_PROFILES").is_some() {
            let path = root.join("profiles").join(format!("{name}.ron"));
            std::fs::write(&path, profile.to_string()).unwrap();
            continue;
        }
        // A later version computes the same tables.
        profile.tool = shipped.load().unwrap().tool;
        assert!(profile.to_string() == shipped.text(), "{name} differs from what is imported");
    }
}

const MLP_HEADER: &str = "time_stats.input_layernorm.median,time_stats.attn_pre_proj.median,\
    time_stats.attn_rope.median,time_stats.attn_post_proj.median,\
    time_stats.post_attention_layernorm.median,time_stats.mlp_up_proj.median,\
    time_stats.mlp_act.median,time_stats.mlp_down_proj.median,time_stats.add.median,n_head,\
    n_kv_head,n_embd,n_expanded_embd,vocab_size,use_gated_mlp,num_tokens,\
    num_tensor_parallel_workers\n";
const MLP_ROW: &str = "0.001,0.002,0.003,0.004,0.005,0.006,0.007,0.008,0.009,32,32,4096,11008,";
const ATTENTION_HEADER: &str = "time_stats.attn_prefill.median,time_stats.attn_decode.median,\
    n_embd,n_q_head,n_kv_head,block_size,num_tensor_parallel_workers,batch_size,\
    prefill_chunk_size,kv_cache_size,attention_backend\n";

/// Imports Llama-2-7B from two files with the given rows.
fn import(mlp: &str, attention: &str) -> Result<crate::profile::Profile, ProfileError> {
    let folder = tempfile::tempdir().unwrap();
    let place: PathBuf = folder.path().join("compute/a100/meta-llama/Llama-2-7b-hf");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("mlp.csv"), format!("{MLP_HEADER}{mlp}")).unwrap();
    fs::write(place.join("attention.csv"), format!("{ATTENTION_HEADER}{attention}")).unwrap();
    import_vidur(&options(&["--model=Llama-2-7B"], folder.path()))
}

#[test]
fn rows_of_other_models_and_block_sizes_are_left_out() {
    let mlp =
        format!("{MLP_ROW}32768,True,8,1\n{MLP_ROW}50000,True,16,1\n{MLP_ROW}32768,True,8,4\n");
    let attention = "0.05,0,4096,32,32,16,1,1,64,0,AttentionBackend.FLASHINFER\n\
                     0,0.02,4096,32,32,16,1,2,0,32,AttentionBackend.FLASHINFER\n\
                     0,0.03,4096,32,32,1,1,2,0,32,AttentionBackend.FLASHINFER\n";
    let model = import(&mlp, attention).unwrap().model.unwrap();
    assert_eq!(model.ranks.len(), 1, "attention was measured for one degree only");
    let rank = &model.ranks[0];
    assert_eq!(rank.per_tokens.tokens, [8]);
    assert_eq!(rank.attention.kernel, "FLASHINFER");
    assert_eq!(rank.attention.decode.rows[0].us, [20.0]);
    assert_eq!(rank.attention.prefill.rows[0].us, [50.0]);
}

#[test]
fn errors_name_file_and_line() {
    let good_mlp = format!("{MLP_ROW}32768,True,8,1\n");
    let message = |mlp: &str, attention: &str| import(mlp, attention).unwrap_err().to_string();

    let text = message(&format!("{good_mlp}{MLP_ROW}32768,True,x,1\n"), "");
    assert!(text.ends_with("mlp.csv:3: `num_tokens` is `x`, expected a whole number"), "{text}");
    let text = message(&format!("{MLP_ROW}32768,True\n"), "");
    assert!(text.ends_with("mlp.csv:2: 15 fields were found, expected 17"), "{text}");
    let text = message(&format!("{MLP_ROW}1,True,8,1\n"), "");
    assert!(text.contains("mlp.csv: no row has n_head = 32"), "{text}");
    let text = message(&good_mlp, "-1,0,4096,32,32,16,1,1,64,0,A\n");
    assert!(text.contains("attention.csv:2: `time_stats.attn_prefill.median` is `-1`"), "{text}");
    let text = message(&good_mlp, "0.1,0,4096,32,32,16,1,1,64,0,A\n");
    assert!(text.contains("no row has num_tensor_parallel_workers = 1"), "{text}");
}

#[test]
fn options_that_name_nothing_known_are_refused() {
    let nowhere = Path::new("/nonexistent");
    let message = |arguments: &[&str]| import_vidur(&options(arguments, nowhere)).unwrap_err();
    assert_eq!(
        message(&["--model=Lama-2-7B"]).to_string(),
        "there is no model `Lama-2-7B`; did you mean `Llama-2-7B`?"
    );
    let text = message(&["--model=Llama-2-7B"]).to_string();
    assert!(text.starts_with("cannot read /nonexistent/compute/a100/"), "{text}");
    assert!(
        message(&["--network=x", "--device=a1000"]).to_string().starts_with("there is no device")
    );
}
