//! `[[sink]]`.

use branchline_node::ConfigError;
use branchline_node::extension::Sections;
use toml::Spanned;

use super::{check_each, named, spanned};
use crate::sink::check;
use crate::sink::config::SinkConfig;

/// The section.
pub(in crate::extension) const SINK: &str = "sink";

/// The sinks, as far as they can be read.
pub(in crate::extension) fn read(sections: &Sections) -> Result<Vec<SinkConfig>, ConfigError> {
    let read = spanned(sections, SINK, |error| named(sections, SINK, error))?;
    Ok(read.into_iter().map(Spanned::into_inner).collect())
}

/// Refuses sinks that cannot be, whatever records and services hold. Secrets are not looked at: they may be there only where
/// the node runs.
pub(in crate::extension) fn check(sections: &Sections) -> Result<(), ConfigError> {
    check_each(sections, SINK, |config: &SinkConfig| &config.name, check::check)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../sink/config/example.toml");

    fn refused(text: &str) -> String {
        check(&Sections::new("branchline.toml", text)).unwrap_err().to_string()
    }

    #[test]
    fn a_sink_is_read_as_the_example_says() {
        let sections = Sections::new("branchline.toml", EXAMPLE);
        check(&sections).unwrap();
        let sinks = read(&sections).unwrap();
        let [sink] = &sinks[..] else { panic!("{sinks:?}") };
        assert_eq!(
            (sink.name.as_str(), sink.related.len(), sink.retry.attempts),
            ("netsuite", 4, 15)
        );
        assert!(read(&Sections::default()).unwrap().is_empty());
    }

    #[test]
    fn an_unknown_key_is_refused_by_line_and_sink() {
        let error = refused(&EXAMPLE.replace("rate = ", "rat = "));
        for part in ["branchline.toml", "line 15", "sink netsuite", "rat"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let error = refused(&EXAMPLE.replace("remote_id = ", "remoteid = "));
        assert!(error.contains("line 22") && error.contains("remoteid"), "{error}");
        let error = refused(&EXAMPLE.replace("by = \"order_id\" },", "bye = \"order_id\" },"));
        assert!(error.contains("bye"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (text, part) in [
            (EXAMPLE.replace("\"netsuite\"", "\"Net\""), "\"Net\""),
            (EXAMPLE.replace("{ ref: ", "{ ref "), "translate"),
            (EXAMPLE.replace("\"5/s\"", "\"5\""), "rate"),
            (format!("{EXAMPLE}{EXAMPLE}"), "netsuite is there twice"),
        ] {
            let error = refused(&text);
            assert!(error.contains(part) && error.contains("sink "), "{part}: {error}");
        }
    }
}
