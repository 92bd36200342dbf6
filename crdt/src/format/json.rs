//! Reading JSON whose numbers keep all their digits.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};
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

/// Reads a JSON text of which no object has one name twice: the parser alone would silently take the last. The error names it,
/// with line and column.
///
/// # Errors
/// What is wrong, and where.
pub fn read<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice::<NamedOnce>(json)?;
    serde_json::from_slice(json)
}

/// Any JSON value whose names differ.
struct NamedOnce;

impl<'de> Deserialize<'de> for NamedOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor)
    }
}

struct OnceVisitor;

/// A name, where it lies if it has no escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = NamedOnce;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<NamedOnce, A::Error> {
        let mut names: BTreeSet<Name<'de>> = BTreeSet::new();
        while let Some(name) = fields.next_key::<Name<'de>>()? {
            if names.contains(&name) {
                return Err(A::Error::custom(format!("the name {:?} is there twice", name.0)));
            }
            names.insert(name);
            fields.next_value::<NamedOnce>()?;
        }
        Ok(NamedOnce)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<NamedOnce, A::Error> {
        while values.next_element::<NamedOnce>()?.is_some() {}
        Ok(NamedOnce)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<NamedOnce, E> {
        Ok(NamedOnce)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<NamedOnce, E> {
        Ok(NamedOnce)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<NamedOnce, E> {
        Ok(NamedOnce)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<NamedOnce, E> {
        Ok(NamedOnce)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<NamedOnce, E> {
        Ok(NamedOnce)
    }

    fn visit_unit<E: Error>(self) -> Result<NamedOnce, E> {
        Ok(NamedOnce)
    }
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
    fn a_name_that_is_there_twice_is_found_wherever_it_stands() {
        for good in [
            r#"{"a":1,"b":{"a":2},"c":[{"a":1.5},{"a":1e400}]}"#,
            r#"[{"a":null},{"a":true},"a",-3]"#,
            "12345678901234567890123.5",
        ] {
            read::<Value>(good.as_bytes()).unwrap();
        }
        for bad in
            [r#"{"a":1,"a":1}"#, r#"{"m":{"x":1,"x":2}}"#, r#"[1,{"l":[{"a":1,"\u0061":2}]}]"#]
        {
            let error = read::<Value>(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("is there twice at line 1 column"), "{bad}: {error}");
        }
        assert!(read::<Value>(b"{").is_err());
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
