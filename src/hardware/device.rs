//! GPUs known by name.

/// What a GPU has to offer.
///
/// Compute and bandwidth are the data sheet's; memory is what CUDA reports as total on such a
/// device (`torch.cuda.get_device_properties(0).total_memory`), which is what engines plan with,
/// and less than the number in the product's name. It varies by some 0.1 GiB with the driver.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceSpec {
    /// The name users write: `A100-SXM-80G`.
    pub name: &'static str,
    /// Total memory in GiB, as reported by CUDA.
    pub memory_gib: f64,
    /// Peak dense fp16/bf16 throughput with fp32 accumulation, in 10^12 FLOP/s.
    pub fp16_tflops: f64,
    /// Peak memory bandwidth, in 10^9 bytes/s.
    pub hbm_gbps: f64,
    /// Bandwidth from one GPU to the others of its node, one way, in 10^9 bytes/s: NVLink, or PCIe
    /// where there is none.
    pub link_gbps: f64,
    /// Whether tensor cores multiply 8-bit floats.
    pub fp8: bool,
    /// Where the memory figure comes from, or that it is an estimate.
    pub memory_source: &'static str,
    /// Other names, Vidur's first.
    aliases: &'static [&'static str],
    /// Network that profiles assume where a scenario names none.
    pub default_network: Option<&'static str>,
}

impl DeviceSpec {
    /// The name of the device's folder in Vidur's data: `a100`.
    pub fn vidur_name(&self) -> String {
        self.aliases.first().unwrap_or(&self.name).to_ascii_lowercase()
    }
}

const REPORTED: &str = "total capacity as PyTorch users report it; not measured by this project";
const ESTIMATE: &str = "estimate: nominal size less the driver's share on similar devices";

static DEVICES: &[DeviceSpec] = &[
    DeviceSpec {
        name: "A100-SXM-80G",
        memory_gib: 79.25,
        fp16_tflops: 312.0,
        hbm_gbps: 2039.0,
        link_gbps: 300.0,
        fp8: false,
        memory_source: REPORTED,
        aliases: &["a100", "A100-80G", "A100"],
        default_network: Some("a100_pairwise_nvlink"),
    },
    DeviceSpec {
        name: "A100-SXM-40G",
        memory_gib: 39.39,
        fp16_tflops: 312.0,
        hbm_gbps: 1555.0,
        link_gbps: 300.0,
        fp8: false,
        memory_source: REPORTED,
        aliases: &["A100-40G"],
        default_network: Some("a100_pairwise_nvlink"),
    },
    DeviceSpec {
        name: "A40",
        memory_gib: 44.35,
        fp16_tflops: 149.7,
        hbm_gbps: 696.0,
        link_gbps: 32.0,
        fp8: false,
        memory_source: REPORTED,
        aliases: &[],
        default_network: None,
    },
    DeviceSpec {
        name: "H100-SXM-80G",
        memory_gib: 79.11,
        fp16_tflops: 989.4,
        hbm_gbps: 3352.0,
        link_gbps: 450.0,
        fp8: true,
        memory_source: REPORTED,
        aliases: &["h100", "H100-80G", "H100"],
        default_network: Some("h100_dgx"),
    },
    DeviceSpec {
        name: "H200-SXM-141G",
        memory_gib: 139.8,
        fp16_tflops: 989.4,
        hbm_gbps: 4800.0,
        link_gbps: 450.0,
        fp8: true,
        memory_source: REPORTED,
        aliases: &["H200"],
        default_network: None,
    },
    DeviceSpec {
        name: "B200-SXM-180G",
        memory_gib: 178.3,
        fp16_tflops: 2250.0,
        hbm_gbps: 7700.0,
        link_gbps: 900.0,
        fp8: true,
        memory_source: REPORTED,
        aliases: &["B200"],
        default_network: None,
    },
    DeviceSpec {
        name: "L40S",
        memory_gib: 44.4,
        fp16_tflops: 362.1,
        hbm_gbps: 864.0,
        link_gbps: 32.0,
        fp8: true,
        memory_source: REPORTED,
        aliases: &[],
        default_network: None,
    },
    DeviceSpec {
        name: "RTX-4090",
        memory_gib: 23.6,
        fp16_tflops: 165.2,
        hbm_gbps: 1008.0,
        link_gbps: 32.0,
        fp8: true,
        memory_source: REPORTED,
        aliases: &["RTX4090"],
        default_network: None,
    },
    DeviceSpec {
        name: "RTX-PRO-6000",
        memory_gib: 95.0,
        fp16_tflops: 503.8,
        hbm_gbps: 1792.0,
        link_gbps: 64.0,
        fp8: true,
        memory_source: ESTIMATE,
        aliases: &["RTXPRO6000"],
        default_network: Some("rtx_pro_6000_pcie"),
    },
];

/// The device called `name`: our name, or what people and drivers write (`A100-80GB`,
/// `NVIDIA H100 80GB HBM3`), in any case.
pub fn find_device(name: &str) -> Option<&'static DeviceSpec> {
    let called = |device: &&DeviceSpec| {
        let mut names = device.aliases.iter().copied().chain([device.name]);
        names.any(|own| own.eq_ignore_ascii_case(name))
    };
    DEVICES.iter().find(called).or_else(|| by_words(name))
}

/// The device that all words of `name` are about; words that tell no devices apart are left out.
fn by_words(name: &str) -> Option<&'static DeviceSpec> {
    const IDLE: [&str; 11] = [
        "NVIDIA",
        "GEFORCE",
        "TESLA",
        "BLACKWELL",
        "SERVER",
        "WORKSTATION",
        "EDITION",
        "TENSOR",
        "CORE",
        "GPU",
        "GEN",
    ];
    const MEMORIES: [&str; 4] = ["HBM2", "HBM2E", "HBM3", "HBM3E"];
    let upper = name.to_ascii_uppercase();
    let words: Vec<&str> = upper
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty() && !IDLE.contains(word) && !MEMORIES.contains(word))
        .collect();
    if words.is_empty() {
        return None;
    }
    let of = |device: &DeviceSpec| {
        let own = device.name.to_ascii_uppercase();
        let own: Vec<&str> = own.split('-').collect();
        let known = |word: &str| match gigabytes(word) {
            // Vendors round: an H200 has 141 GB, a B200 180, 183 or 192.
            Some(size) => (size / device.memory_gib - 1.0).abs() < 0.09,
            // SXM4 and SXM5 are sockets of the same board.
            None => own
                .iter()
                .any(|own| *own == word || *own == word.trim_end_matches(char::is_numeric)),
        };
        // The first part of a name, or all of one with a number of its own (`RTX 4090`), must be
        // there.
        let model = if own[0] == "RTX" { &own[..] } else { &own[..1] };
        words.iter().all(|word| known(word)) && model.iter().all(|own| words.contains(own))
    };
    DEVICES.iter().find(|device| of(device))
}

/// `80GB` or `80G`.
fn gigabytes(word: &str) -> Option<f64> {
    word.trim_end_matches('B').strip_suffix('G')?.parse().ok()
}

/// The names of all devices, in the order of the list.
pub fn device_names() -> Vec<&'static str> {
    DEVICES.iter().map(|device| device.name).collect()
}

/// The device whose name is nearest to `name`, for "did you mean"; `None` if nothing is near.
#[cfg(feature = "cli")]
pub fn closest_device(name: &str) -> Option<&'static str> {
    if name.len() > crate::base::suggest::LONGEST {
        return None;
    }
    let name = name.to_ascii_lowercase();
    DEVICES
        .iter()
        .map(|d| (strsim::jaro_winkler(&name, &d.name.to_ascii_lowercase()), d.name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.75)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_by_any_name() {
        assert_eq!(find_device("a100").map(|d| d.name), Some("A100-SXM-80G"));
        assert_eq!(find_device("h100-sxm-80g").map(|d| d.name), Some("H100-SXM-80G"));
        assert_eq!(find_device("V100"), None);
        for (written, name) in [
            ("A100-80GB", Some("A100-SXM-80G")),
            ("NVIDIA A100-SXM4-80GB", Some("A100-SXM-80G")),
            ("NVIDIA A100-SXM4-40GB", Some("A100-SXM-40G")),
            ("NVIDIA H100 80GB HBM3", Some("H100-SXM-80G")),
            ("H100 SXM5", Some("H100-SXM-80G")),
            ("NVIDIA H200", Some("H200-SXM-141G")),
            ("H200-141GB", Some("H200-SXM-141G")),
            ("NVIDIA B200", Some("B200-SXM-180G")),
            ("B200-192GB", Some("B200-SXM-180G")),
            ("NVIDIA L40S", Some("L40S")),
            ("l40s-48gb", Some("L40S")),
            ("NVIDIA GeForce RTX 4090", Some("RTX-4090")),
            ("NVIDIA RTX PRO 6000 Blackwell Server Edition", Some("RTX-PRO-6000")),
            // Other boards: not one of ours.
            ("NVIDIA H100 PCIe", None),
            ("NVIDIA A100-PCIE-80GB", None),
            ("NVIDIA H100 NVL", None),
            ("H100 96GB", None),
            ("RTX 6000", None),
            ("80GB", None),
            ("NVIDIA", None),
            ("", None),
        ] {
            assert_eq!(find_device(written).map(|d| d.name), name, "{written}");
        }
        assert_eq!(closest_device("A100-SMX-80G"), Some("A100-SXM-80G"));
    }
}
