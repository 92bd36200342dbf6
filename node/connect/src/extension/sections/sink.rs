//! `[[sink]]`.

use branchline_node::ConfigError;
use branchline_node::extension::Sections;
use serde::Deserialize;
use toml::Spanned;

use super::{last_before, name_of};
use crate::sink::check;
use crate::sink::config::SinkConfig;

/// The section.
pub(in crate::extension) const SINK: &str = "sink";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    #[serde(default)]
    sink: Vec<Spanned<SinkConfig>>,
}

/// The same, of which nothing is known but where it stands.
#[derive(Deserialize)]
struct Places {
    #[serde(default)]
    sink: Vec<Spanned<Place>>,
}

#[derive(Deserialize)]
struct Place {
    name: Option<toml::Value>,
}

/// The sinks, as far as they can be read.
pub(in crate::extension) fn read(sections: &Sections) -> Result<Vec<SinkConfig>, ConfigError> {
    Ok(spanned(sections)?.into_iter().map(Spanned::into_inner).collect())
}

fn spanned(sections: &Sections) -> Result<Vec<Spanned<SinkConfig>>, ConfigError> {
    match sections.read::<Own>(&[SINK]) {
        Ok(own) => Ok(own.sink),
        Err(ConfigError::Parse { path, source }) => {
            Err(named(sections, &source).unwrap_or(ConfigError::Parse { path, source }))
        }
        Err(error) => Err(error),
    }
}

/// The error, with the sink that it is about; `None`: that cannot be said.
fn named(sections: &Sections, error: &toml::de::Error) -> Option<ConfigError> {
    let place = error.span()?;
    let places: Places = sections.read(&[SINK]).ok()?;
    let sink = last_before(&places.sink, &place)?;
    Some(sections.refuse(place, format!("sink {}: {}", name_of(&sink.name), error.message())))
}

/// Refuses sinks that cannot be, whatever records and services hold. Secrets are not looked at: they may be there only where
/// the node runs.
pub(in crate::extension) fn check(sections: &Sections) -> Result<(), ConfigError> {
    let mut names: Vec<String> = Vec::new();
    for spanned in spanned(sections)? {
        let span = spanned.span();
        let config = spanned.into_inner();
        let name = config.name.clone();
        let refuse =
            |what: String| Err(sections.refuse(span.clone(), format!("sink {name}{what}")));
        if let Err(what) = check::check(&config) {
            return refuse(format!(": {what}"));
        }
        if names.contains(&name) {
            return refuse(" is there twice: call one of them otherwise".to_owned());
        }
        names.push(name);
    }
    Ok(())
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
