//! One small config of each family against what HuggingFace transformers 5.24 (Apache-2.0) makes of
//! it: `truth.json` has, for configs of our own, the parameters of the text part of the model that
//! transformers instantiates, those of them that a token meets, and the rows of its projections to
//! keys and values over all layers, of which `sliding` in layers with a window.

use std::path::Path;

use serde_json::Value;

use crate::hardware::model::ModelSpec;

#[test]
fn small_models_are_what_transformers_makes_of_them() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("truth.json")).unwrap();
    assert!(rows.len() > 100, "{}", rows.len());
    for row in &rows {
        let config = row["config"].to_string();
        let spec = ModelSpec::from_hf_text(&config, Path::new("config.json"))
            .unwrap_or_else(|refused| panic!("{config}: {refused}"));
        let found = (Some(spec.params()), Some(spec.active_params()));
        assert_eq!(found, (row["parameters"].as_u64(), row["active"].as_u64()), "{config}");
        let (full, sliding) = (spec.kv_elements_full(), spec.kv_elements_sliding());
        if let Some(kv) = row["kv"].as_u64() {
            assert_eq!(full + sliding, kv, "{config}");
        }
        if let Some(windowed) = row["sliding"].as_u64() {
            assert_eq!(sliding, windowed, "{config}");
        }
    }
}

/// A key that nobody knows is refused in every family, and so are keys that shape other families'
/// layers.
#[test]
fn no_family_takes_a_key_that_it_does_not_understand() {
    let rows: Vec<Value> = serde_json::from_str(include_str!("truth.json")).unwrap();
    for row in &rows {
        for (key, value) in [
            ("mystery_width", Value::from(3)),
            ("block_configs", serde_json::json!([{}])),
            ("use_cla", Value::from(true)),
        ] {
            let mut config = row["config"].clone();
            config[key] = value;
            let read = ModelSpec::from_hf_text(&config.to_string(), Path::new("config.json"));
            let text = read.map(|_| ()).unwrap_err().to_string();
            assert!(text.contains(&format!("`{key}`")), "{config}: {text}");
        }
    }
}

/// LLaVA's configs leave out what its language model's class has by default; a config that is no
/// wrapper has to say it.
#[test]
fn a_wrapper_leaves_out_what_the_class_knows() {
    let read = |config: &str| ModelSpec::from_hf_text(config, Path::new("config.json"));
    let vicuna = r#"{"model_type": "llava", "text_config": {"model_type": "llama",
        "max_position_embeddings": 4096, "vocab_size": 32064}}"#;
    // Vicuna-7B with 64 more rows in both tables.
    assert_eq!(read(vicuna).unwrap().params(), 6_738_415_616 + 2 * 64 * 4096);
    let mistral = r#"{"model_type": "llava_next", "text_config": {"model_type": "mistral",
        "sliding_window": null, "max_position_embeddings": 32768, "vocab_size": 32064}}"#;
    let spec = read(mistral).unwrap();
    assert_eq!((spec.params(), spec.kv_elements_full()), (7_241_732_096 + 2 * 64 * 4096, 65536));
    let text = read(r#"{"model_type": "llama", "vocab_size": 32064}"#).unwrap_err();
    assert!(text.title.contains("`hidden_size` is missing"), "{text}");
}
