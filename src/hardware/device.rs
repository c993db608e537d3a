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

/// The device called `name`, in any case.
pub fn find_device(name: &str) -> Option<&'static DeviceSpec> {
    DEVICES.iter().find(|device| {
        device.name.eq_ignore_ascii_case(name)
            || device.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    })
}

/// The names of all devices, in the order of the list.
pub fn device_names() -> Vec<&'static str> {
    DEVICES.iter().map(|device| device.name).collect()
}

/// The device whose name is nearest to `name`, for "did you mean"; `None` if nothing is near.
pub fn closest_device(name: &str) -> Option<&'static str> {
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
        assert_eq!(closest_device("A100-SMX-80G"), Some("A100-SXM-80G"));
    }
}
