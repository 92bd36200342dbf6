//! How much JSON means in memory, before it is read: `[1,1,1` takes two bytes a value there and some fifty here.

use crate::api::error::{ApiError, Code};

/// Most values in one body. A transaction has far fewer, since each is an operation; this leaves room for an import of
/// thousands of wide rows.
pub(crate) const VALUES_MAX: usize = 1 << 19;

/// Refuses a body with too many values.
pub(crate) fn check(json: &[u8]) -> Result<(), ApiError> {
    match count(json) {
        ..=VALUES_MAX => Ok(()),
        found => {
            let message = format!("the body has {found} values, at most {VALUES_MAX} are possible");
            Err(ApiError::new(Code::BodyTooLarge, message).hint("write less at a time"))
        }
    }
}

/// Each value follows a bracket, a brace, a comma or a line end, or begins the body.
fn count(json: &[u8]) -> usize {
    let (mut count, mut in_string, mut is_escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            // No string goes beyond a line.
            b'\n' => {
                in_string = false;
                count += 1;
            }
            b'[' | b'{' | b',' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_strings() {
        for (json, expected) in [
            ("", 1),
            ("7", 1),
            ("[1,2,3]", 4),
            (r#"{"a,[{":"b,[\",{","c":{}}"#, 4),
            ("{\"id\":1}\n{\"id\":2}", 4),
            ("\"\n[1,2", 4),
        ] {
            assert_eq!(count(json.as_bytes()), expected, "{json}");
        }
    }

    #[test]
    fn a_body_of_many_values_is_refused_and_one_of_many_bytes_is_not() {
        let many = format!("[{}1]", "1,".repeat(VALUES_MAX));
        assert_eq!(check(many.as_bytes()).unwrap_err().code, Code::BodyTooLarge);
        let long = format!("[\"{}\"]", "1,".repeat(VALUES_MAX));
        assert!(check(long.as_bytes()).is_ok());
    }
}
