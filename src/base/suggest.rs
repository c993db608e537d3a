//! "Did you mean ...?"

/// Names have no more bytes. What is longer is not compared with any: that takes its length each
/// time.
pub const LONGEST: usize = 100;

/// The name most like `found`, if one is close enough to be a slip of the pen.
pub fn closest<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if found.len() > LONGEST {
        return None;
    }
    let plain = |s: &str| s.to_lowercase().replace(['-', '_', ' ', '.'], "");
    let found = plain(found);
    names
        .into_iter()
        .map(|name| {
            let candidate = plain(name);
            let mut score = strsim::jaro_winkler(&found, &candidate);
            // One letter too many, too few, wrong or swapped: short words are rated too low.
            if found.len() >= 2 && strsim::osa_distance(&found, &candidate) == 1 {
                score = score.max(0.9);
            }
            if found.len().min(candidate.len()) >= 3
                && (candidate.contains(&found) || found.contains(&candidate))
            {
                score = score.max(0.85);
            }
            (score, name)
        })
        .filter(|(score, _)| *score >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// The help for a wrong name: the closest one, and all that there are.
pub fn help<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let names: Vec<&str> = names.into_iter().collect();
    let mut lines = Vec::new();
    if let Some(name) = closest(found, names.iter().copied()) {
        lines.push(format!("did you mean `{name}`?"));
    }
    if !names.is_empty() && names.len() <= 40 {
        lines.push(format!("known here: {}", names.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_nonsense_is_not() {
        let names = ["max_num_seqs", "max_num_batched_tokens", "watermark"];
        assert_eq!(closest("max_num_seq", names), Some("max_num_seqs"));
        assert_eq!(closest("max_batched_tokens", names), Some("max_num_batched_tokens"));
        assert_eq!(closest("watermrak", names), Some("watermark"));
        assert_eq!(closest("utilization", ["on", "model"]), None);
        assert_eq!(closest("rn", ["run", "check"]), Some("run"));
        assert_eq!(closest("zebra", names), None);
        assert_eq!(closest("llama2-7b", ["Llama-2-7B", "Llama-2-70B"]), Some("Llama-2-7B"));
        assert_eq!(closest("vllm", ["VllmV0", "Orca"]), Some("VllmV0"));
    }
}
