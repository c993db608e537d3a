//! The profiles that are part of the program.

use super::{Profile, ProfileError};

/// A profile that is part of the program.
#[derive(Clone, Copy, Debug)]
pub struct Shipped {
    /// The name scenarios use: the path under `profiles/` without its ending.
    pub name: &'static str,
    text: &'static str,
}

macro_rules! shipped_profiles {
    ($($name:literal),* $(,)?) => {
        &[$(Shipped {
            name: $name,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/", $name, ".ron")),
        }),*]
    };
}

static SHIPPED: &[Shipped] = shipped_profiles![
    "a100-sxm-80g/llama-2-7b",
    "a100-sxm-80g/llama-2-70b",
    "a100-sxm-80g/network-a100_pairwise_nvlink",
    "a100-sxm-80g/network-a100_dgx",
    "a100-sxm-80g/operators",
    "h100-sxm-80g/llama-2-7b",
    "h100-sxm-80g/network-h100_pairwise_nvlink",
    "h100-sxm-80g/network-h100_dgx",
    "h100-sxm-80g/operators",
    "h200-sxm-141g/operators",
    "b200-sxm-180g/operators",
    "l40s/operators",
    "rtx-pro-6000/operators",
    "rtx-pro-6000/layers-llama-3.1-8b",
    "rtx-pro-6000/layers-qwen3-32b",
    "rtx-pro-6000/layers-qwen3-30b-a3b",
    "rtx-pro-6000/network-rtx_pro_6000_pcie",
    "rtx-4090/layers-llama-3.1-8b",
    "rtx-4090/operators",
];

/// The profiles that are part of the program.
pub fn shipped() -> &'static [Shipped] {
    SHIPPED
}

/// The shipped operator tables of `device`; `None` if there are none.
pub fn shipped_operators(device: &str) -> Option<&'static Shipped> {
    let name = format!("{}/operators", device.to_ascii_lowercase());
    SHIPPED.iter().find(|shipped| shipped.name == name)
}

/// The shipped network that scenarios call `name`: `a100_dgx`.
pub fn shipped_network(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.network() == Some(name))
}

impl Shipped {
    /// What scenarios call the network, if this is one's profile.
    pub fn network(&self) -> Option<&'static str> {
        self.name.rsplit_once("/network-").map(|(_, network)| network)
    }

    /// One line on what it holds, and where it comes from.
    pub fn about(&self) -> &'static str {
        // The writer puts it into the first line, as a comment.
        self.text.lines().next().map_or("", |line| line.trim_start_matches("//").trim())
    }

    /// The profile's text.
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// Reads the profile (a few milliseconds).
    ///
    /// # Errors
    /// None for the profiles of a released program: a test reads them all.
    pub fn load(&self) -> Result<Profile, ProfileError> {
        Profile::parse(self.text, &format!("profiles/{}.ron", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_read_and_written_back_unchanged() {
        for profile in shipped() {
            let read = profile.load().unwrap();
            assert_eq!(read.to_string(), profile.text(), "{}", profile.name);
            assert_eq!(read.operators.as_ref().map_or(Ok(()), |o| o.check_rows()), Ok(()));
            assert!(profile.text().len() < 1_100_000, "{} is too large", profile.name);
        }
    }

    #[test]
    fn each_says_what_it_holds() {
        let about = shipped()[0].about();
        assert_eq!(
            about,
            "Llama-2-7B, TP 1 on A100-SXM-80G: A100 GEMM (Vidur) + A800 attention (Frontier)"
        );
    }
}
