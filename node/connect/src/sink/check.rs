//! Judges a `[[sink]]` as far as that needs neither records nor the service.

use super::config::SinkConfig;
use super::group::shape::Shape;
use super::sinks::HTTP;
use super::weaviate::WEAVIATE;
use crate::jobs::duration;
use crate::jobs::jq::Filter;
use crate::jobs::template::Template;

/// Longest name of a sink: it is part of a file's and a collection's name.
const NAME_BYTES_MAX: usize = 48;
/// Longest of what a sink may push at once without being asked about: more than any office has.
const ASK_OVER_MAX: u64 = 1 << 40;

/// What is wrong with a sink.
///
/// # Errors
/// A text that says what was found and what was expected.
pub fn check(config: &SinkConfig) -> Result<(), String> {
    let SinkConfig { name, .. } = config;
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) {
        return Err(format!(
            "its name is {name:?}: expected 1 to {NAME_BYTES_MAX} small letters, digits, - and _"
        ));
    }
    if config.kind == WEAVIATE {
        return check_weaviate(config);
    }
    if config.url.is_some()
        || config.batch.is_some()
        || !config.objects.is_empty()
        || !config.edges.is_empty()
    {
        return Err(format!(
            "url, batch, [[sink.object]] and [[sink.edge]] are of kind {WEAVIATE:?}, and its kind is {:?}",
            config.kind
        ));
    }
    if config.translate.trim().is_empty() {
        return Err("it has no translate: say what an object is made of (jq)".to_owned());
    }
    Filter::compile(&config.translate).map_err(|error| format!("translate: {error}"))?;
    Shape::of(config)?;
    config.service().check()?;
    config.retry.check()?;
    if config.ask_over > ASK_OVER_MAX {
        return Err(format!("ask_over is {}: expected at most {ASK_OVER_MAX}", config.ask_over));
    }
    match config.kind.as_str() {
        HTTP => check_http(config),
        _ => Ok(()),
    }
}

fn check_weaviate(config: &SinkConfig) -> Result<(), String> {
    let is_other = !config.collection.is_empty()
        || !config.translate.is_empty()
        || !config.related.is_empty()
        || config.filter.is_some()
        || config.watch.is_some()
        || config.create.is_some()
        || config.update.is_some()
        || config.delete.is_some()
        || config.initialise.is_some()
        || config.read.is_some();
    if is_other {
        return Err(format!(
            "its kind is {WEAVIATE:?}, whose collections and translate stand in [[sink.object]]: it takes no collection, \
             translate, related, where, watch, [sink.create], [sink.update], [sink.delete], [sink.initialise] and [sink.read] of its own"
        ));
    }
    config.service().check()?;
    config.retry.check()?;
    config.weaviate().check()
}

fn check_http(config: &SinkConfig) -> Result<(), String> {
    let Some(create) = &config.create else {
        return Err("it has no [sink.create]: say how an object is created".to_owned());
    };
    let one_of = |place: &str, found: &str, expected: &[&str]| {
        if expected.contains(&found) {
            Ok(())
        } else {
            Err(format!("{place}: method is {found:?}, expected one of {}", expected.join(", ")))
        }
    };
    one_of("[sink.create]", &create.method, &["POST", "PUT"])?;
    let mut urls = vec![("[sink.create] url", create.url.as_str())];
    urls.extend(create.lookup.as_deref().map(|url| ("[sink.create] lookup", url)));
    let expressions = [("remote_id", &create.remote_id), ("lookup_id", &create.lookup_id)];
    for (key, text) in expressions {
        if let Some(text) = text {
            Filter::compile(text).map_err(|error| format!("[sink.create] {key}: {error}"))?;
        }
    }
    if create.remote_id.is_none() && create.method != "PUT" {
        return Err(
            "[sink.create]: remote_id is missing: say where the answer has the object's id (jq)"
                .to_owned(),
        );
    }
    match (&create.lookup, create.lookup_id.as_ref().or(create.remote_id.as_ref())) {
        (Some(_), None) => {
            return Err("[sink.create]: lookup has no lookup_id: say where the answer has the object's id (jq)".to_owned());
        }
        (None, _) if create.lookup_id.is_some() => {
            return Err("[sink.create]: lookup_id is given without lookup: say where an object is looked for".to_owned());
        }
        _ => {}
    }
    if let Some(update) = &config.update {
        one_of("[sink.update]", &update.method, &["PUT", "PATCH", "POST"])?;
        urls.push(("[sink.update] url", &update.url));
    }
    if let Some(delete) = &config.delete {
        one_of("[sink.delete]", &delete.method, &["DELETE", "PATCH", "PUT", "POST"])?;
        urls.push(("[sink.delete] url", &delete.url));
        if let Some(body) = &delete.body {
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(body);
            parsed.map_err(|error| format!("[sink.delete] body is not JSON: {error}"))?;
        } else if delete.method != "DELETE" {
            return Err(format!(
                "[sink.delete]: {} without a body would change nothing: say for example body = '{{\"archived\": true}}'",
                delete.method
            ));
        }
    }
    urls.extend(config.initialise.as_ref().map(|get| ("[sink.initialise] url", get.url.as_str())));
    if let Some(read) = &config.read {
        urls.push(("[sink.read] url", &read.url));
        let object = read.object.as_deref().map(Filter::compile).transpose();
        object.map_err(|error| format!("[sink.read] object: {error}"))?;
    }
    urls.into_iter().try_for_each(|(place, url)| check_url(place, url))
}

fn check_url(place: &str, url: &str) -> Result<(), String> {
    let is_web = url.starts_with("https://") || url.starts_with("http://") || url.starts_with("${");
    if !is_web {
        return Err(format!("{place} is {url:?}: expected https://… or http://…"));
    }
    // References to secrets are no places: they are completed when the sink begins.
    Template::parse(&without_secrets(url)).map(drop).map_err(|error| format!("{place}: {error}"))
}

fn without_secrets(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        plain.push_str(before);
        rest = behind.split_once('}').map_or("", |(_, behind)| behind);
    }
    plain.push_str(rest);
    plain
}

/// What a person should know of a sink before it works.
#[must_use]
pub fn remarks(config: &SinkConfig) -> Vec<String> {
    let mut remarks = Vec::new();
    if config.kind == HTTP
        && let Some(create) = &config.create
    {
        if create.lookup.is_none() && create.method != "PUT" {
            remarks.push(
                "without lookup, an object whose creation was cut off is sent again with the same Idempotency-Key: a service \
                 that does not know such keys may have it twice"
                    .to_owned(),
            );
        }
        if config.update.is_none() {
            remarks.push("without [sink.update] objects are created and never changed".to_owned());
        }
        if config.read.is_none() {
            remarks.push(
                "without [sink.read] changes that others make at the service go unnoticed: `sink verify` reads objects back"
                    .to_owned(),
            );
        }
        if config.delete.is_none() {
            remarks
                .push("without [sink.delete] what is deleted here stays at the service".to_owned());
        }
    }
    remarks.push(format!(
        "a change of the configuration that would push more than {} items asks for --yes (ask_over)",
        config.ask_over
    ));
    let pause = duration::text(config.retry.max_delay);
    remarks.push(format!(
        "an item that is refused is tried {} times, at most {pause} apart, and then waits for a change or `requeue`",
        config.retry.attempts
    ));
    remarks
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::sink::config::ReadConfig;
    use crate::sink::group::shape::tests::example;

    #[test]
    fn the_example_is_possible_and_what_is_not_is_refused_by_its_place() {
        check(&example()).unwrap();
        let with = |change: &dyn Fn(&mut SinkConfig)| {
            let mut config = example();
            change(&mut config);
            check(&config).unwrap_err()
        };
        for (found, part) in [
            (with(&|of| of.name = "Net Suite".to_owned()), "\"Net Suite\""),
            (with(&|of| of.translate = " ".to_owned()), "no translate"),
            (with(&|of| of.translate = ".a | now".to_owned()), "translate: "),
            (with(&|of| of.create = None), "no [sink.create]"),
            (with(&|of| of.create.as_mut().unwrap().method = "GET".to_owned()), "\"GET\""),
            (with(&|of| of.create.as_mut().unwrap().remote_id = None), "remote_id is missing"),
            (with(&|of| of.create.as_mut().unwrap().lookup = None), "without lookup"),
            (with(&|of| of.create.as_mut().unwrap().url = "ftp://x".to_owned()), "ftp://x"),
            (
                with(&|of| of.update.as_mut().unwrap().url = "https://x/{".to_owned()),
                "[sink.update] url",
            ),
            (with(&|of| of.delete.as_mut().unwrap().method = "PATCH".to_owned()), "archived"),
            (with(&|of| of.delete.as_mut().unwrap().body = Some("{".to_owned())), "not JSON"),
            (
                with(&|of| {
                    let (url, headers) = ("https://x/{remote_id}".to_owned(), Default::default());
                    of.read = Some(ReadConfig { url, headers, object: Some(".a[".to_owned()) });
                }),
                "[sink.read] object",
            ),
            (with(&|of| of.rate = Some("fast".to_owned())), "rate: "),
            (with(&|of| of.retry.attempts = 0), "attempts is 0"),
        ] {
            assert!(found.contains(part), "{part}: {found}");
        }
    }

    #[test]
    fn a_service_that_cannot_be_asked_is_remarked_on() {
        let mut config = example();
        assert!(!remarks(&config).iter().any(|remark| remark.contains("Idempotency-Key")));
        let create = config.create.as_mut().unwrap();
        (create.lookup, create.lookup_id) = (None, None);
        assert!(remarks(&config).iter().any(|remark| remark.contains("Idempotency-Key")));
    }
}
