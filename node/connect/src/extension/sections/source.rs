//! `[[source]]`.

use branchline_node::ConfigError;
use branchline_node::extension::Sections;
use branchline_node::records::check_collection;
use toml::Spanned;

use super::{check_each, named, spanned};
use crate::source::config::{HTTP, SourceConfig};
use crate::source::timing::Timing;
use crate::source::{BadSource, HttpSource};

/// The section.
pub(in crate::extension) const SOURCE: &str = "source";
/// Fields of a record that the source itself writes.
const OWN_FIELDS: [&str; 7] = [
    "external_id",
    "data",
    "status",
    "created_at",
    "last_synced_at",
    "last_updated_at",
    "sync_version",
];

/// The sources, as far as they can be read.
pub(in crate::extension) fn read(sections: &Sections) -> Result<Vec<SourceConfig>, ConfigError> {
    let read = spanned(sections, SOURCE, |error| named(sections, SOURCE, error))?;
    Ok(read.into_iter().map(Spanned::into_inner).collect())
}

/// Refuses sources that cannot be, whatever their providers say. Secrets are not looked at: they may be there only where the
/// node runs.
pub(in crate::extension) fn check(sections: &Sections) -> Result<(), ConfigError> {
    check_each(sections, SOURCE, |config: &SourceConfig| &config.name, check_source)
}

fn check_source(config: &SourceConfig) -> Result<(), String> {
    super::check_name(&config.name)?;
    for (key, collection) in [("collection", &config.collection), ("history", &config.history)] {
        check_collection(collection).map_err(|error| format!("{key}: {error}"))?;
    }
    if config.collection == config.history {
        return Err(format!(
            "collection and history are both {:?}: runs need a collection of their own",
            config.history
        ));
    }
    if let Some(name) = config.fields.keys().find(|name| OWN_FIELDS.contains(&name.as_str())) {
        return Err(format!(
            "fields.{name}: the source writes that field itself; give it another name"
        ));
    }
    Timing::of(config).map_err(|error| error.to_string())?;
    config.retry.check()?;
    config.service().check()?;
    match (config.kind.as_str(), &config.request) {
        (HTTP, _) => HttpSource::check(config).map_err(|error: BadSource| error.to_string()),
        (kind, Some(_)) => Err(format!(
            "its kind is {kind:?}, which takes no [source.request]: its settings are [source.options]"
        )),
        (_, None) => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CRM: &str = include_str!("../../source/config/example.toml");

    fn refused(text: &str) -> String {
        check(&Sections::new("branchline.toml", text)).unwrap_err().to_string()
    }

    #[test]
    fn the_example_is_read_and_sound() {
        let sections = Sections::new("branchline.toml", CRM);
        check(&sections).unwrap();
        let sources = read(&sections).unwrap();
        let [source] = &sources[..] else { panic!("{sources:?}") };
        assert_eq!((source.name.as_str(), source.collection.as_str()), ("crm", "accounts"));
        assert_eq!(source.fields.len(), 1);
    }

    #[test]
    fn what_cannot_be_is_refused_by_line_name_and_key() {
        for (text, parts) in [
            (CRM.replace("collection =", "colection ="), vec!["line 6", "source crm", "colection"]),
            (CRM.replace("\"crm\"", "\"CRM\""), vec!["source CRM", "small letters"]),
            (
                CRM.replace("\"0 2 * * *\"", "\"nightly\""),
                vec!["source crm", "schedule", "nightly"],
            ),
            (CRM.replace("Europe/Madrid", "Europe/Madird"), vec!["Europe/Madird"]),
            (CRM.replace("\"20%\"", "\"much\""), vec!["inactive_guard", "much"]),
            (CRM.replace(".accounts[]", ".accounts["), vec!["request.items", ".accounts["]),
            (
                CRM.replace("?since={since}&limit", "?since={sinse}&limit"),
                vec!["request.url", "{sinse}"],
            ),
            (CRM.replace("rfc3339", "iso"), vec!["since.format", "iso"]),
            (CRM.replace("segment =", "status ="), vec!["fields.status"]),
            (CRM.replace("\"sync_history\"", "\"accounts\""), vec!["accounts", "of their own"]),
            (
                CRM.replace("collection = \"accounts\"", "collection = \"Accounts\""),
                vec!["collection", "Accounts"],
            ),
            (CRM.replace("kind = \"cursor\"", "kind = \"curser\""), vec!["curser"]),
            (format!("{CRM}{CRM}"), vec!["crm is there twice"]),
        ] {
            let error = refused(&text);
            for part in parts {
                assert!(
                    error.contains(part) && error.contains("branchline.toml"),
                    "{part}: {error}"
                );
            }
        }
    }
}
