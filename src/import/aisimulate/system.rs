//! One GPU system of the source: its constants, and which version of each table is used.

use crate::import::aisimulate::archive::Archive;
use crate::profile::ProfileError;
use crate::profile::operators::Peak;

/// A system: `h100_sxm`.
pub(super) struct System<'a> {
    archive: &'a Archive,
    name: String,
    constants: String,
}

impl<'a> System<'a> {
    pub(super) fn open(archive: &'a Archive, name: &str) -> Result<System<'a>, ProfileError> {
        let bytes = archive.read(&format!("{name}.yaml"))?;
        let constants = String::from_utf8_lossy(&bytes).into_owned();
        Ok(System { archive, name: name.to_owned(), constants })
    }

    /// What the device can do at best.
    pub(super) fn peak(&self) -> Result<Peak, ProfileError> {
        Ok(Peak {
            bf16_tflops: self.constant("bfloat16_tc_flops")? / 1e12,
            fp8_tflops: self.constant("fp8_tc_flops").unwrap_or(0.0) / 1e12,
            memory_gbps: self.constant("mem_bw")? / 1e9,
            intra_node_gbps: self.constant("intra_node_bw")? / 1e9,
            inter_node_gbps: self.constant("inter_node_bw")? / 1e9,
            gpus_per_node: self.constant("num_gpus_per_node")? as u32,
        })
    }

    /// `key: value` anywhere in the system's file.
    fn text(&self, key: &str) -> Option<&str> {
        self.constants.lines().find_map(|line| {
            let value = line.trim_start().strip_prefix(key)?.strip_prefix(':')?;
            Some(value.split('#').next().unwrap_or(value).trim().trim_matches('\''))
        })
    }

    fn constant(&self, key: &str) -> Result<f64, ProfileError> {
        self.text(key).and_then(|value| value.parse().ok()).ok_or_else(|| {
            ProfileError::NothingMeasured {
                file: format!("{}.yaml", self.name),
                wanted: format!("a number `{key}`"),
            }
        })
    }

    /// The version of NCCL that the system names.
    pub(super) fn nccl_version(&self) -> Option<&str> {
        self.text("nccl_version")
    }

    /// The versions of `engine` that have `table`, oldest first.
    pub(super) fn versions(&self, family: &str, engine: &str, table: &str) -> Vec<String> {
        let folder = format!("data/{}/{family}/{engine}", self.name);
        let mut versions: Vec<String> = self
            .archive
            .list(&folder)
            .into_iter()
            // Builds between releases have no number.
            .filter(|version| version.starts_with(|c: char| c.is_ascii_digit()))
            .filter(|version| {
                self.archive.list(&format!("{folder}/{version}")).iter().any(|name| name == table)
            })
            .collect();
        versions.sort_by_key(|version| order(version));
        versions
    }

    /// The newest of these up to `newest`, or the oldest.
    pub(super) fn version_up_to(
        &self,
        family: &str,
        engine: &str,
        table: &str,
        newest: &str,
    ) -> Option<String> {
        let versions = self.versions(family, engine, table);
        let fits = versions.iter().rev().find(|version| order(version) <= order(newest));
        fits.or(versions.first()).cloned()
    }

    /// Versions from which the source itself fills gaps of `table`.
    pub(super) fn declared_reuse(
        &self,
        family: &str,
        engine: &str,
        version: &str,
        table: &str,
    ) -> Vec<String> {
        let name = format!("data/{}/{family}/{engine}/{version}/reuse.yaml", self.name);
        let Ok(bytes) = self.archive.read(&name) else {
            return Vec::new();
        };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut current = "";
        let mut found = Vec::new();
        for line in text.lines() {
            let line = line.trim().trim_start_matches("- ");
            if let Some(table) = line.strip_prefix("table:") {
                current = table.trim();
            } else if let Some(from) = line.strip_prefix("from_version:")
                && table.strip_suffix(".parquet") == Some(current)
            {
                found.push(from.trim().trim_matches(['"', '\'']).to_owned());
            }
        }
        found
    }

    /// The table's path in the source, and its bytes.
    pub(super) fn table(
        &self,
        family: &str,
        engine: &str,
        version: &str,
        table: &str,
    ) -> Result<(String, Vec<u8>), ProfileError> {
        let name = format!("data/{}/{family}/{engine}/{version}/{table}", self.name);
        let bytes = self.archive.read(&name)?;
        Ok((name, bytes))
    }
}

/// Versions in order: numbers by value, candidates before their release.
fn order(version: &str) -> Vec<u32> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().unwrap_or(u32::MAX))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::order;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(order("0.9.0") < order("0.14.0"));
        assert!(order("1.3.0rc5") < order("1.3.0rc20"));
        assert!(order("0.5.10") < order("0.5.14"));
    }
}
