//! Types of properties. All of them are made before the first object that has them: left to itself the server guesses, and a
//! type never changes.

use serde_json::Value as Json;

/// A property's type, as far as this sink makes properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(&'static str);

const KINDS: [&str; 13] = [
    "text",
    "number",
    "int",
    "boolean",
    "date",
    "uuid",
    "blob",
    "text[]",
    "number[]",
    "int[]",
    "boolean[]",
    "date[]",
    "uuid[]",
];

impl Kind {
    /// Reads a type's name.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let found = KINDS.iter().find(|kind| **kind == text);
        found.map(|kind| Self(kind)).ok_or_else(|| {
            format!(
                "{text:?} is not a type that can be created here: expected one of {}",
                KINDS.join(", ")
            )
        })
    }

    /// As Weaviate writes it.
    pub(super) fn as_str(self) -> &'static str {
        self.0
    }

    /// The type that takes what is like this value, whatever comes next: a number may be one with decimals, a text a time
    /// only by accident. `Ok(None)`: it does not say.
    pub(super) fn of(value: &Json) -> Result<Option<Self>, String> {
        match value {
            Json::Null => Ok(None),
            Json::Bool(_) => Ok(Some(Self("boolean"))),
            Json::Number(_) => Ok(Some(Self("number"))),
            Json::String(_) => Ok(Some(Self("text"))),
            Json::Object(_) => {
                Err("an object within an object has no type: let translate make plain values of it"
                    .to_owned())
            }
            Json::Array(values) => {
                let mut kind = None;
                for value in values {
                    let of_value = match value {
                        Json::Bool(_) => Self("boolean[]"),
                        Json::Number(_) => Self("number[]"),
                        Json::String(_) => Self("text[]"),
                        Json::Null | Json::Array(_) | Json::Object(_) => {
                            return Err(
                                "a list holds more than texts, numbers or booleans".to_owned()
                            );
                        }
                    };
                    if kind.is_some_and(|kind| kind != of_value) {
                        return Err("a list holds values of several types".to_owned());
                    }
                    kind = Some(of_value);
                }
                Ok(kind)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_type_takes_what_is_like_the_first_value() {
        for (value, kind) in [
            (json!("2026-01-01T00:00:00Z"), Some("text")),
            (json!(1), Some("number")),
            (json!(12.5), Some("number")),
            (json!(true), Some("boolean")),
            (json!(["a", "b"]), Some("text[]")),
            (json!([1, 2.5]), Some("number[]")),
            (json!([]), None),
            (json!(null), None),
        ] {
            assert_eq!(Kind::of(&value).unwrap().map(Kind::as_str), kind, "{value}");
        }
        for value in [json!({ "a": 1 }), json!([1, "a"]), json!([[1]]), json!([null])] {
            Kind::of(&value).unwrap_err();
        }
        assert_eq!(Kind::parse("date").unwrap().as_str(), "date");
        assert!(Kind::parse("string").unwrap_err().contains("expected one of text"));
    }
}
