//! Model, cluster and engine of a Vidur config.

use super::Writer;
use super::config::Config;
use crate::base::diagnostic::{DOES_NOT_FIT, Diagnostic};
use crate::base::suggest;
use crate::hardware::memory::{VidurDevice, smallest_help, vidur_plan};
use crate::hardware::model::ModelSpec;
use crate::hardware::{DeviceSpec, Parallelism, device_names, find_device, model};
use crate::profile::shipped_network;

const REPLICA: &str = "cluster_config.replica_config";
const SCHEDULER: &str = "cluster_config.replica_scheduler_config";

/// What a config says about the engine.
pub(super) struct Engine {
    model: &'static ModelSpec,
    device: &'static DeviceSpec,
    vidur_model: String,
    vidur_device: String,
    network: String,
    parallel: Parallelism,
    replicas: u32,
    router: &'static str,
    policy: String,
    policy_remark: &'static str,
    block_size: u32,
    num_blocks: u32,
    blocks_remark: String,
    max_model_len: u32,
    utilization: f64,
}

impl Engine {
    pub fn read(config: &Config, out: &mut Writer) -> Result<Engine, Box<Diagnostic>> {
        let at = |field: &str| format!("{REPLICA}.{field}");
        let vidur_model = config.text(&at("model_name"))?.to_owned();
        let model =
            model::find(&vidur_model).ok_or_else(|| {
                let error = config.error(&at("model_name"), "a model that is built in");
                Box::new((*error).helps(
                    model::closest(&vidur_model).map(|near| format!("did you mean `{near}`?")),
                ))
            })?;
        check_shape(config, model)?;
        let vidur_device = config.text(&at("device"))?.to_owned();
        let device = find_device(&vidur_device).ok_or_else(|| {
            let error = config.error(&at("device"), "a device that is built in");
            Box::new((*error).helps(suggest::help(&vidur_device, device_names())))
        })?;
        let parallel = Parallelism {
            tensor: config.count(&at("tensor_parallel_size"))?,
            pipeline: config.count(&at("num_pipeline_stages"))?,
        };
        if let Err(error) = parallel.check(model) {
            let field = if error.path.ends_with("tensor_parallel") {
                "tensor_parallel_size"
            } else {
                "num_pipeline_stages"
            };
            return Err(config.error(&at(field), &error.expected));
        }
        let margin = config.number(&at("memory_margin_fraction"))?;
        if !(0.0..1.0).contains(&margin) {
            return Err(config.error(&at("memory_margin_fraction"), "at least 0 and below 1"));
        }
        let block_size = config.at_least_one(&format!("{SCHEDULER}.block_size"))?;
        let max_model_len = max_tokens(config)?;
        let memory = config.number(&at("device_config.total_memory_gb"))?;
        let device_of_vidur = VidurDevice { name: &vidur_device, total_memory_gb: memory };
        let plan = vidur_plan(model, device_of_vidur, parallel, margin, block_size, max_model_len);
        let given = config.optional_count(&format!("{SCHEDULER}.num_blocks"))?.filter(|&n| n > 0);
        let (num_blocks, blocks_remark) = match (given, &plan) {
            (Some(blocks), _) => (blocks, "as configured".to_owned()),
            (None, Ok(plan)) => (
                plan.num_blocks,
                format!(
                    "Vidur's memory planner: {} requests of {max_model_len} tokens per stage",
                    plan.max_batch_size
                ),
            ),
            (None, Err(error)) => {
                let fits = |parallel| {
                    vidur_plan(model, device_of_vidur, parallel, margin, block_size, max_model_len)
                        .is_ok()
                };
                let diagnostic = Diagnostic::error(error.to_string());
                let help = smallest_help(model, parallel, fits);
                return Err(Box::new(diagnostic.help(help).exit(DOES_NOT_FIT)));
            }
        };
        // Vidur's planner bounds the batches of Orca and FasterTransformer even if the blocks are
        // given.
        let planned_batch = plan.map_or(u32::MAX, |plan| plan.max_batch_size);
        let (policy, policy_remark) = policy(config, planned_batch)?;
        Ok(Engine {
            model,
            device,
            network: config.text(&at("network_device"))?.to_owned(),
            parallel,
            replicas: config.at_least_one("cluster_config.num_replicas")?,
            router: router(config, out)?,
            policy,
            policy_remark,
            block_size,
            num_blocks,
            blocks_remark,
            max_model_len,
            // 1 - 0.1 is 0.9 in floating point, but 1 - 0.3 is not 0.7.
            utilization: ((1.0 - margin) * 1e9).round() / 1e9,
            vidur_model,
            vidur_device,
        })
    }

    pub fn title(&self) -> String {
        let name = self.policy.split('(').next().unwrap_or_default();
        format!("{} on {}, {name}", self.model.name, self.device.name)
    }

    /// Writes model, device, cluster and engine. `closed_form`: execution times are given by one.
    pub fn write(&self, closed_form: bool, out: &mut Writer) {
        out.remarked(&format!("    model: {:?},", self.model.name), &self.vidur_model);
        out.remarked(&format!("    device: {:?},", self.device.name), &self.vidur_device);
        out.line("    cluster: (");
        out.line(&format!("        replicas: {},", self.replicas));
        out.line(&format!("        tensor_parallel: {},", self.parallel.tensor));
        out.line(&format!("        pipeline_parallel: {},", self.parallel.pipeline));
        out.line(&format!("        router: {},", self.router));
        // Vidur always names one. It is left out where nothing depends on it and it has no times.
        let one_gpu = self.parallel.gpus() == 1;
        if !(closed_form || one_gpu && shipped_network(&self.network).is_none()) {
            out.line(&format!("        network: {:?},", self.network));
        }
        out.line("    ),");
        out.line("    engine: (");
        if !self.policy_remark.is_empty() {
            out.line(&format!("        // {}", self.policy_remark));
        }
        out.line(&format!("        policy: {},", self.policy));
        out.remarked(
            &format!("        max_model_len: {},", self.max_model_len),
            "Vidur's max_tokens",
        );
        if self.max_model_len > self.model.max_position {
            out.line("        allow_long_max_model_len: true,  // Vidur does not check the model's limit");
        }
        out.remarked(
            "        vidur_lengths: true,",
            "lengths are not checked; reservations are whole blocks",
        );
        out.line(&format!("        gpu_memory_utilization: {:?},", self.utilization));
        out.line(&format!("        block_size: {},", self.block_size));
        out.remarked(&format!("        num_gpu_blocks: {},", self.num_blocks), &self.blocks_remark);
        out.line("    ),");
    }
}

/// The longest request that Vidur plans for.
fn max_tokens(config: &Config) -> Result<u32, Box<Diagnostic>> {
    const PATHS: [&str; 2] = [
        "request_generator_config.max_tokens",
        "request_generator_config.length_generator_config.max_tokens",
    ];
    for path in PATHS {
        match config.optional_count(path)? {
            Some(0) => return Err(config.error(path, "at least 1")),
            Some(tokens) => return Ok(tokens),
            None => {}
        }
    }
    Err(config.error(PATHS[0], "a number of tokens"))
}

/// A config may describe a model that bears a known name but has another shape.
fn check_shape(config: &Config, model: &ModelSpec) -> Result<(), Box<Diagnostic>> {
    let shape = [
        ("num_layers", model.layers),
        ("num_q_heads", model.q_heads),
        ("num_kv_heads", model.kv_heads),
        ("embedding_dim", model.hidden),
        ("mlp_hidden_dim", model.intermediate),
    ];
    for (field, ours) in shape {
        let path = format!("{REPLICA}.model_config.{field}");
        if config.optional_count(&path)?.is_some_and(|theirs| theirs != ours) {
            return Err(config.error(&path, &format!("{ours}, as {} has", model.name)));
        }
    }
    Ok(())
}

fn router(config: &Config, out: &mut Writer) -> Result<&'static str, Box<Diagnostic>> {
    const PATH: &str = "cluster_config.global_scheduler_config.name";
    match config.text(PATH)? {
        "round_robin" => Ok("RoundRobin"),
        "lor" => Ok("VidurLor"),
        "random" => {
            out.warn(Diagnostic::warning(
                "router `random`: Vidur draws replicas from Python's generator, so single requests go elsewhere here",
            ));
            Ok("Random")
        }
        _ => Err(config.error(PATH, "`round_robin`, `random` or `lor`")),
    }
}

/// The policy and a remark on it.
fn policy(config: &Config, planned_batch: u32) -> Result<(String, &'static str), Box<Diagnostic>> {
    let at = |field: &str| format!("{SCHEDULER}.{field}");
    let name = config.text(&at("name"))?;
    let cap = config.at_least_one(&at("batch_size_cap"))?;
    let watermark = || config.number(&at("watermark_blocks_fraction"));
    let batched = || config.count(&at("max_tokens_in_batch"));
    let planned =
        "max_num_seqs: the smaller of batch_size_cap and what Vidur's memory planner finds";
    Ok(match name {
        "vllm" => (
            format!(
                "VllmV0(max_num_seqs: {cap}, max_num_batched_tokens: {}, watermark: {:?}, vidur_spare_block: true, vidur_idle: true)",
                batched()?,
                watermark()?
            ),
            "",
        ),
        "sarathi" => (
            format!(
                "Sarathi(max_num_seqs: {cap}, chunk_size: {}, watermark: {:?}, vidur_spare_block: true, vidur_partial_restart: true, vidur_batch_cap: true)",
                config.count(&at("chunk_size"))?,
                watermark()?
            ),
            "",
        ),
        "orca" => {
            (format!("Orca(max_num_seqs: {}, reserve: Max)", cap.min(planned_batch)), planned)
        }
        "faster_transformer" => {
            (format!("FasterTransformer(max_num_seqs: {})", cap.min(planned_batch)), planned)
        }
        "lightllm" => (
            format!(
                "LightLlm(max_num_seqs: {cap}, max_num_batched_tokens: {}, max_waiting_iters: {})",
                batched()?,
                config.count(&at("max_waiting_iters"))?
            ),
            "",
        ),
        _ => {
            return Err(config.error(
                &at("name"),
                "`vllm`, `sarathi`, `orca`, `faster_transformer` or `lightllm`",
            ));
        }
    })
}

/// The measured times, with the settings of Vidur's predictor.
pub(super) fn write_measured(config: &Config, out: &mut Writer) -> Result<(), Box<Diagnostic>> {
    let at = |field: &str| format!("execution_time_predictor_config.{field}");
    if !matches!(config.text(&at("name"))?, "random_forrest" | "linear_regression") {
        return Err(config.error(&at("name"), "`random_forrest` or `linear_regression`"));
    }
    if !config.flag(&at("skip_cpu_overhead_modeling"), true)? {
        let error = config.error(&at("skip_cpu_overhead_modeling"), "true");
        return Err(Box::new(
            (*error).help("the CPU overheads that Vidur would read were never published"),
        ));
    }
    out.line("    timing: Measured(");
    out.line("        composition: Vidur,");
    let granularity = at("kv_cache_prediction_granularity");
    match config.optional_count(&granularity)? {
        Some(0) => return Err(config.error(&granularity, "at least 1")),
        Some(tokens) => out.line(&format!("        kv_granularity: {tokens},")),
        None => {}
    }
    for field in [
        "attention_decode_batching_overhead_fraction",
        "attention_prefill_batching_overhead_fraction",
        "nccl_cpu_launch_overhead_ms",
        "nccl_cpu_skew_overhead_per_device_ms",
    ] {
        if let Some(value) = config.optional_number(&at(field))? {
            out.line(&format!("        {field}: {value:?},"));
        }
    }
    out.line("    ),");
    Ok(())
}
