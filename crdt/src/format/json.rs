//! Reading JSON whose numbers keep all their digits.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde_json::{Map, Value};

/// Reads a part that is flattened into what surrounds it (`#[serde(flatten, deserialize_with = "...")]`).
///
/// serde keeps such parts in a buffer of its own until it knows where they belong, and that buffer takes a number of any
/// length for a map. JSON values do not.
///
/// # Errors
/// That of the part.
pub fn flattened<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let fields = Map::<String, Value>::deserialize(deserializer)?;
    T::deserialize(Value::Object(fields)).map_err(D::Error::custom)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outer {
        number: u64,
        #[serde(flatten, deserialize_with = "flattened")]
        inner: Inner,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "kind")]
    enum Inner {
        Change { seq: u64, fields: Map<String, Value> },
    }

    #[test]
    fn flattened_parts_keep_the_digits_of_their_numbers() {
        let text = r#"{"number":1,"kind":"Change","seq":2,"fields":{"a":1234567890123456.780}}"#;
        let Outer { number, inner: Inner::Change { seq, fields } } =
            serde_json::from_str(text).unwrap();
        assert_eq!(
            (number, seq, fields["a"].to_string()),
            (1, 2, "1234567890123456.780".to_owned())
        );
    }
}
