//! What a person should know of a source before it works.

use super::config::{HTTP, PageConfig, RequestConfig, SourceConfig};

/// Parts of names of moments at which an object came to be, and not at which it changed.
const BIRTHS: [&str; 4] = ["creat", "insert", "added", "born"];

/// What a person should know of a source before it works.
#[must_use]
pub fn remarks(config: &SourceConfig) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(request) = config.request.as_ref().filter(|_| config.kind == HTTP) {
        remarks.extend(of_request(config, request));
    }
    if config.deleted.is_none() && config.full_schedule.is_none() {
        remarks.push(
            "what the provider deletes is found by full runs alone: [source.deleted] says what is deleted, full_schedule when \
             all is listed"
                .to_owned(),
        );
    }
    if config.schedule.is_none() && config.full_schedule.is_none() {
        remarks.push(format!("it runs on demand: `branchline source run {}`", config.name));
    }
    remarks.push(format!(
        "a full run that would make more than {} of the active records inactive fails, and `--accept` is a person's word that it is \
         right (inactive_guard)",
        config.inactive_guard
    ));
    remarks
}

fn of_request(config: &SourceConfig, request: &RequestConfig) -> Vec<String> {
    let mut remarks = Vec::new();
    let asked = [Some(&request.url), request.body.as_ref()].into_iter().flatten();
    let mut asked = asked.filter(|text| text.contains("{since}")).peekable();
    let full = match &config.full_schedule {
        Some(_) => "its full runs find them",
        None => "only full runs find them, and it has no full_schedule",
    };
    if asked.peek().is_none() {
        remarks.push("its request has no {since}: each run reads the whole list".to_owned());
    } else if let Some(name) = asked.find_map(|text| since_of(text).filter(|name| is_birth(name))) {
        remarks.push(format!(
            "{name} asks for what was created since: changes of older objects are missed, {full}; ask by when objects were changed"
        ));
    }
    match request.updated_at.as_deref() {
        None => remarks.push(
            "without updated_at, a record that was deleted is not active again when the provider lists it: nothing says that it \
             came later"
                .to_owned(),
        ),
        Some(text) if is_birth(text) && !text.contains("//") => remarks.push(format!(
            "updated_at is {text}, when an object was created: give when it was changed, with the other behind it for those \
             that were never changed: `.updated_at // {text}`"
        )),
        Some(_) => {}
    }
    if let Some(PageConfig::Number { reread, .. } | PageConfig::Offset { reread, .. }) =
        &request.page
    {
        let what = match reread {
            true => "each page before is read once more for that",
            false => "reread = true reads each page before once more for that",
        };
        remarks.push(format!(
            "pages that are counted slide while objects are deleted: {what}; prefer a cursor where the provider has one"
        ));
    }
    remarks
}

/// The parameter, or the field, that `{since}` is given to.
fn since_of(text: &str) -> Option<&str> {
    let before = text.split("{since}").next()?.trim_end_matches(['=', ':', '"', ' ', '>']);
    let begin = before.rfind(['?', '&', '"', '{', ',', ' ', '/']).map_or(0, |at| at + 1);
    before.get(begin..).filter(|name| !name.is_empty())
}

fn is_birth(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    BIRTHS.iter().any(|birth| text.contains(birth))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config() -> SourceConfig {
        let text = include_str!("config/example.toml");
        let all: toml::Table = toml::from_str(text).unwrap();
        all["source"][0].clone().try_into().unwrap()
    }

    fn has(config: &SourceConfig, part: &str) -> bool {
        remarks(config).iter().any(|remark| remark.contains(part))
    }

    #[test]
    fn c4_a_source_that_asks_by_when_objects_were_created_is_warned_of() {
        let good = config();
        assert!(!has(&good, "created"), "{:?}", remarks(&good));
        let with = |change: &dyn Fn(&mut RequestConfig)| {
            let mut config = config();
            change(config.request.as_mut().unwrap());
            config
        };
        let by = with(&|of| of.updated_at = Some(".created_at".to_owned()));
        assert!(has(&by, "`.updated_at // .created_at`"), "{:?}", remarks(&by));
        let both = with(&|of| of.updated_at = Some(".updated_at // .created_at".to_owned()));
        assert!(!has(&both, "when an object was created"), "{:?}", remarks(&both));
        for (url, name) in [
            ("https://x/a?limit=1&createdAfter={since}", "createdAfter asks"),
            ("https://x/a?date_created>={since}", "date_created asks"),
        ] {
            let asked = with(&|of| of.url = url.to_owned());
            assert!(
                has(&asked, name) && has(&asked, "full runs find them"),
                "{:?}",
                remarks(&asked)
            );
        }
        let body = with(&|of| {
            of.url = "https://x/a".to_owned();
            of.body = Some(r#"{"filter": {"created_since": "{since}"}}"#.to_owned());
        });
        assert!(has(&body, "created_since asks"), "{:?}", remarks(&body));
    }

    #[test]
    fn what_a_source_cannot_find_is_remarked_on() {
        let mut config = config();
        config.full_schedule = None;
        config.deleted = None;
        let request = config.request.as_mut().unwrap();
        request.url = "https://x/a".to_owned();
        request.updated_at = None;
        let (param, reread) = ("offset".to_owned(), false);
        request.page = Some(PageConfig::Offset { param, reread });
        for part in
            ["no {since}", "without updated_at", "[source.deleted]", "slide", "inactive_guard"]
        {
            assert!(has(&config, part), "{part}: {:?}", remarks(&config));
        }
    }
}
