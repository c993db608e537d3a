//! The keys of a `config.json`: looked up by name, complained of in their place, and remembered, so
//! that a key which nobody has asked for is noticed.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::base::{Diagnostic, JsonDocument, Place, shortened};

/// Where multimodal models keep their language model.
const TEXT_SECTIONS: [&str; 4] = ["text_config", "llm_config", "language_config", "language_model"];
/// What is asked for of a number.
pub(in crate::hardware::model) const WHOLE: &str = "a whole number, 1 or more";

/// What a config says that is not simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::hardware::model) struct Unmodelled {
    /// The key, with dots between sections: `quantization_config.ignore`.
    pub key: String,
    /// Why.
    pub why: String,
    /// Where.
    pub place: Option<Place>,
}

/// The keys of a config, or of a section of one.
pub(in crate::hardware::model) struct Keys<'a> {
    document: &'a JsonDocument,
    /// The section of the language model, if it has one of its own.
    section: Option<&'static str>,
    understood: RefCell<BTreeSet<String>>,
    unmodelled: RefCell<Vec<Unmodelled>>,
    /// Class defaults: what absent keys stand for.
    defaults: &'static [(&'static str, u32)],
    /// Class defaults of all sizes: wrappers leave out of the language model what is like them.
    sizes: &'static [(&'static str, u32)],
}

impl<'a> Keys<'a> {
    pub fn new(document: &'a JsonDocument) -> Keys<'a> {
        let root = document.value();
        let own = ["num_hidden_layers", "n_layer", "num_layers"];
        let section = TEXT_SECTIONS
            .into_iter()
            .find(|name| root.get(name).is_some_and(Value::is_object))
            .filter(|_| own.iter().all(|key| root.get(key).is_none()));
        Keys {
            document,
            section,
            understood: RefCell::default(),
            unmodelled: RefCell::default(),
            defaults: &[],
            sizes: &[],
        }
    }

    /// What absent keys stand for from here on.
    pub fn set_defaults(&mut self, defaults: &'static [(&'static str, u32)]) {
        self.defaults = defaults;
    }

    /// What they stand for in the section of a language model.
    pub fn set_sizes(&mut self, sizes: &'static [(&'static str, u32)]) {
        self.sizes = if self.section.is_some() { sizes } else { &[] };
    }

    /// Says that keys are understood before they are asked for.
    pub fn understands(&self, keys: &[&str]) {
        self.understood.borrow_mut().extend(keys.iter().map(|key| (*key).to_owned()));
    }

    /// The value at `key`, unless it is null: the language model's own first.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.understood.borrow_mut().insert(key.to_owned());
        self.peek(key)
    }

    /// A key's value, without saying that the key is understood.
    pub fn peek(&self, key: &str) -> Option<&'a Value> {
        let root = self.document.value();
        let inner = self.section.and_then(|section| root.get(section)?.get(key));
        inner.or_else(|| root.get(key)).filter(|value| !value.is_null())
    }

    /// Whether the key is there, with a value or with null.
    pub fn is_written(&self, key: &str) -> bool {
        let root = self.document.value();
        let inner = self.section.and_then(|section| root.get(section)?.get(key));
        inner.or_else(|| root.get(key)).is_some()
    }

    /// The value of the outermost section.
    pub fn outer(&self, key: &str) -> Option<&'a Value> {
        self.document.value().get(key)
    }

    pub fn place(&self, key: &str) -> Place {
        let mut path: Vec<&str> = key.split('.').collect();
        let root = self.document.value();
        if let Some(section) = self.section
            && root.get(section).is_some_and(|inner| inner.get(path[0]).is_some())
        {
            path.insert(0, section);
        }
        self.document.place(&path)
    }

    /// A flag.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Value::as_bool)
    }

    /// A text.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key).and_then(Value::as_str)
    }

    /// The first of `keys` that is there, or its class default.
    pub fn optional(&self, keys: &[&str]) -> Result<Option<u32>, Box<Diagnostic>> {
        for key in keys {
            if let Some(value) = self.get(key) {
                // A number for each layer, the same for all.
                let alike = value.as_array().filter(|all| all.iter().all(|one| one == &all[0]));
                let value = alike.and_then(|all| all.first()).unwrap_or(value);
                let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
                return match number.filter(|number| *number > 0) {
                    Some(number) => Ok(Some(number)),
                    None => Err(self.wrong(key, WHOLE)),
                };
            }
        }
        let mut defaults = self.defaults.iter().chain(self.sizes);
        let default = defaults.find(|(key, _)| keys.contains(key));
        Ok(default.map(|(_, number)| *number))
    }

    pub fn required(&self, keys: &[&str]) -> Result<u32, Box<Diagnostic>> {
        match self.optional(keys)? {
            Some(number) => Ok(number),
            None => Err(self.wrong(keys[0], WHOLE)),
        }
    }

    /// The key of `keys` that the config has, or the first.
    pub fn written<'k>(&self, keys: &[&'k str]) -> &'k str {
        keys.iter().find(|key| self.peek(key).is_some()).unwrap_or(&keys[0])
    }

    /// A complaint about the value at `key`.
    pub fn wrong(&self, key: &str, expected: &str) -> Box<Diagnostic> {
        let value = key.split('.').try_fold(None, |section: Option<&Value>, key| match section {
            None => self.peek(key).map(Some),
            Some(section) => section.get(key).map(Some),
        });
        let found = value.flatten().map_or_else(|| "missing".to_owned(), shortened);
        let title = format!("`{key}` is {found}, expected {expected}");
        Box::new(Diagnostic::error(title).at(self.place(key), format!("expected {expected}")))
    }

    /// Notes that what `key` says is not simulated.
    pub fn not_modelled(&self, key: &str, why: impl Into<String>) {
        self.not_modelled_at(key, why, self.place(key));
    }

    /// The refusal of a key of another file.
    pub fn not_modelled_at(&self, key: &str, why: impl Into<String>, place: Place) {
        self.understood.borrow_mut().insert(key.to_owned());
        let mut all = self.unmodelled.borrow_mut();
        if all.iter().all(|known| known.key != key) {
            all.push(Unmodelled { key: key.to_owned(), why: why.into(), place: Some(place) });
        }
    }

    /// What was noted, in order.
    pub fn take_unmodelled(&self) -> Vec<Unmodelled> {
        self.unmodelled.take()
    }

    /// The keys that nobody has asked for, those of the language model first, with their values.
    pub fn rest(&self) -> Vec<(&'a str, &'a Value)> {
        let root = self.document.value();
        let inner = self.section.and_then(|section| root.get(section)?.as_object());
        let understood = self.understood.borrow();
        let of = |keys: Option<&'a Map<String, Value>>| {
            let keys = keys.into_iter().flatten();
            keys.map(|(key, value)| (key.as_str(), value)).collect::<Vec<_>>()
        };
        let mut all = of(inner);
        all.extend(of(root.as_object()).into_iter().filter(|(key, _)| Some(*key) != self.section));
        all.retain(|(key, _)| !understood.contains(*key));
        all
    }
}
