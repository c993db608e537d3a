//! Versions of vLLM, and the rules of its scheduler that changed between them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A minor version of vLLM, `0.33` for example. Patch levels follow the rules of their minor
/// version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VllmVersion(u32);

impl VllmVersion {
    /// The oldest version whose rules are known.
    pub const OLDEST: VllmVersion = VllmVersion(10);
    /// The newest one, which is the default.
    pub const NEWEST: VllmVersion = VllmVersion(33);

    /// The version 0.`minor`.
    pub const fn minor(minor: u32) -> VllmVersion {
        VllmVersion(minor)
    }

    /// The rules of its scheduler.
    pub fn rules(self) -> VllmRules {
        let since = |minor: u32| self >= VllmVersion(minor);
        VllmRules {
            lone_request_is_exempt: since(30),
            unhashed_blocks_first: since(23),
            goes_on_past_itself: since(33),
        }
    }
}

impl Default for VllmVersion {
    fn default() -> VllmVersion {
        VllmVersion::NEWEST
    }
}

impl fmt::Display for VllmVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0.{}", self.0)
    }
}

impl From<VllmVersion> for String {
    fn from(version: VllmVersion) -> String {
        version.to_string()
    }
}

impl TryFrom<String> for VllmVersion {
    type Error = String;

    fn try_from(text: String) -> Result<VllmVersion, String> {
        text.parse()
    }
}

impl FromStr for VllmVersion {
    type Err = String;

    /// Reads `0.33` or, with a patch level, `0.33.1`.
    fn from_str(text: &str) -> Result<VllmVersion, String> {
        let mut parts = text.split('.').map(str::parse::<u32>);
        let minor = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(0)), Some(Ok(minor)), None | Some(Ok(_)), None) => Some(VllmVersion(minor)),
            _ => None,
        };
        let known = VllmVersion::OLDEST..=VllmVersion::NEWEST;
        minor.filter(|version| known.contains(version)).ok_or_else(|| {
            format!(
                "unknown vLLM version `{text}`: expected {} to {}, with or without a patch level, \
                 such as \"{}\"",
                known.start(),
                known.end(),
                known.end()
            )
        })
    }
}

/// The rules of vLLM's scheduler that depend on its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VllmRules {
    /// A request that is alone, neither running nor waiting beside another, may use the whole
    /// budget for its prompt, whatever `long_prefill_token_threshold` says (since 0.30).
    pub lone_request_is_exempt: bool,
    /// Blocks that are freed without a hash are reused before all others (since 0.23). Before,
    /// they were used last, like hashed ones.
    pub unhashed_blocks_first: bool,
    /// Under the priority policy, a running request that has to preempt itself does not end the
    /// walk over the running list (since 0.33).
    pub goes_on_past_itself: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_minor_one_with_or_without_a_patch_level() {
        assert_eq!("0.33".parse(), Ok(VllmVersion::NEWEST));
        assert_eq!("0.19.1".parse(), Ok(VllmVersion::minor(19)));
        assert_eq!(VllmVersion::minor(19).to_string(), "0.19");
        for wrong in ["", "0", "1.0", "0.9", "0.34", "0.33.", "0.33.0.1", "0.x", "v0.33", "0.-1"] {
            let error = wrong.parse::<VllmVersion>().unwrap_err();
            assert!(error.contains("expected 0.10 to 0.33"), "{wrong}: {error}");
        }
    }

    #[test]
    fn each_rule_begins_with_its_version() {
        let rules = |minor| VllmVersion::minor(minor).rules();
        let flags = |minor| {
            let VllmRules { lone_request_is_exempt, unhashed_blocks_first, goes_on_past_itself } =
                rules(minor);
            [unhashed_blocks_first, lone_request_is_exempt, goes_on_past_itself]
        };
        assert_eq!(flags(22), [false; 3]);
        assert_eq!(flags(23), [true, false, false]);
        assert_eq!(flags(29), [true, false, false]);
        assert_eq!(flags(30), [true, true, false]);
        assert_eq!(flags(32), [true, true, false]);
        assert_eq!(flags(33), [true; 3]);
    }
}
