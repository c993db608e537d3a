//! Lists of modules, as configs write them: names, parts of names, wildcards, regular expressions.

use std::collections::HashSet;

use regex::Regex;

/// What the layers of a model may be called from outside.
const PREFIXES: [&str; 4] = ["", "model.", "model.language_model.", "language_model.model."];

/// A list of modules.
#[derive(Debug, Default)]
pub(super) struct Modules {
    /// Names, or whole parts of names: `model.layers.0.mlp.gate`, `gate`, `self_attn.q_proj`.
    names: HashSet<String>,
    /// Names with wildcards: `model.layers.*.self_attn`, `*.attn.*`.
    globs: Vec<Regex>,
    /// `re:.*mlp.*`.
    expressions: Vec<Regex>,
}

impl Modules {
    /// The modules that `entries` name.
    ///
    /// # Errors
    /// The entry that is no regular expression.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Modules, &'a str> {
        let mut modules = Modules::default();
        for entry in entries {
            modules.add(entry).ok_or(entry)?;
        }
        Ok(modules)
    }

    fn add(&mut self, entry: &str) -> Option<()> {
        if let Some(expression) = entry.strip_prefix("re:") {
            // As Python's `re.match`: from the start of the name on.
            self.expressions.push(Regex::new(&format!("^(?:{expression})")).ok()?);
            return Some(());
        }
        let own = bare(entry);
        if own.contains('*') {
            let pattern = regex::escape(own).replace("\\*", ".*");
            // A folder stands for what is in it.
            self.globs.push(Regex::new(&format!("^{pattern}(?:\\..*)?$")).ok()?);
        } else {
            self.names.insert(own.to_owned());
        }
        Some(())
    }

    /// Whether a module is among them; `name` starts with `layers.` within a layer.
    pub fn contain(&self, name: &str) -> bool {
        self.has_part(name)
            || self.globs.iter().any(|glob| glob.is_match(name))
            || self.expressions.iter().any(|expression| {
                PREFIXES.iter().any(|prefix| expression.is_match(&format!("{prefix}{name}")))
            })
    }

    /// Whether a run of whole parts of the name is listed.
    fn has_part(&self, name: &str) -> bool {
        let mut starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
        !self.names.is_empty()
            && starts.any(|start| {
                let rest = &name[start..];
                let ends = rest.match_indices('.').map(|(at, _)| at);
                ends.chain([rest.len()]).any(|end| self.names.contains(&rest[..end]))
            })
    }
}

/// A module's name without what is outside of the language model.
pub(super) fn bare(name: &str) -> &str {
    if let Some(at) = name.find("layers.")
        && (at == 0 || name.as_bytes()[at - 1] == b'.')
        // A vision tower has layers, too.
        && !["visual", "vision", "audio"].iter().any(|part| name[..at].contains(part))
    {
        return &name[at..];
    }
    let ends = ["lm_head", "embed_tokens"];
    ends.into_iter().find(|end| name.rsplit('.').next() == Some(*end)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parts_wildcards_and_expressions_are_found() {
        for (entry, yes, no) in [
            ("model.layers.0.mlp.gate", "layers.0.mlp.gate", "layers.0.mlp.gate_proj"),
            ("gate", "layers.7.mlp.gate", "layers.7.mlp.gate_proj"),
            ("model.layers.*.self_attn", "layers.3.self_attn.q_proj", "layers.3.mlp.up_proj"),
            ("model.layers.1*", "layers.10.self_attn.q_proj", "layers.2.self_attn.q_proj"),
            ("*.attn.*", "layers.0.attn.wq", "layers.0.ffn.w1"),
            ("re:.*self_attn.*", "layers.0.self_attn.k_proj", "layers.0.mlp.up_proj"),
            ("re:model.layers.0.mlp", "layers.0.mlp.up_proj", "layers.1.mlp.up_proj"),
            ("re:.*mlp\\.(gate|up)_proj$", "layers.0.mlp.up_proj", "layers.0.mlp.down_proj"),
            ("language_model.lm_head", "lm_head", "layers.0.head"),
            (
                "mlp.experts",
                "layers.4.mlp.experts.0.up_proj",
                "layers.4.mlp.shared_experts.up_proj",
            ),
            ("vision_tower.layers.0.mlp", "vision_tower.layers.0.mlp", "layers.0.mlp"),
        ] {
            let modules = Modules::new([entry]).unwrap();
            assert!(modules.contain(yes), "{entry}: {yes}");
            assert!(!modules.contain(no), "{entry}: {no}");
        }
        assert_eq!(Modules::new(["re:("]).unwrap_err(), "re:(");
    }
}
