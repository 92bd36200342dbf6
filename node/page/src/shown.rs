//! How values, numbers and times are shown. Whatever stands in a record is text here: what would act upon a browser, or
//! show a reader something else than what is there, is made visible.

use std::borrow::Cow;

use branchline_node::visible;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use maud::{Markup, html};
use serde_json::Value;

use crate::texts::Texts;

/// Characters of a value in a table. The record shows more.
const CELL_CHARS: usize = 120;
/// Characters of a value where a record is shown. The whole of it is in what is exported.
pub(crate) const VALUE_CHARS: usize = 20_000;
/// Characters of a name or id, with room for a hash.
const NAME_CHARS: usize = 100;

/// A name or an id, on one line.
pub(crate) fn name(text: &str) -> Markup {
    cut(&visible::one_line(text), NAME_CHARS)
}

/// Any text of others, on one line, whole.
pub(crate) fn text(text: &str) -> Markup {
    html! { bdi { (visible::one_line(text)) } }
}

/// A text of several lines, each on its own.
pub(crate) fn lines(text: &str) -> Markup {
    html! { @for line in text.lines() { (visible::one_line(line)) "\n" } }
}

fn cut(text: &str, chars: usize) -> Markup {
    match text.char_indices().nth(chars) {
        None => html! { bdi { (text) } },
        Some((end, _)) => {
            let more = text.len() - end;
            html! { bdi { (text[..end]) } span.more title=(format!("+{more} bytes")) { "…" } }
        }
    }
}

/// A value in a table.
pub(crate) fn cell(value: Option<&Value>) -> Markup {
    value.map_or(html! { span.none { "–" } }, |value| of_value(value, CELL_CHARS))
}

/// A value where there is room for it.
pub(crate) fn value(value: &Value) -> Markup {
    of_value(value, VALUE_CHARS)
}

/// The beginning of a value, as text within an attribute.
pub(crate) fn plain(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    visible::one_line(&text).chars().take(NAME_CHARS).collect()
}

fn of_value(value: &Value, chars: usize) -> Markup {
    match value {
        Value::Null => html! { span.none { "null" } },
        Value::Bool(value) => html! { span.kind { (value) } },
        Value::Number(number) => cut(&number.to_string(), chars),
        Value::String(text) => cut(&visible::one_line(text), chars),
        Value::Array(_) | Value::Object(_) => {
            // Of a large value no more is written than is shown.
            let json = serde_json::to_string(value).unwrap_or_default();
            html! { code { (cut(&visible::one_line(&json), chars)) } }
        }
    }
}

/// Whether values of a column stand to the right in a table: by how the schema declares it, or by what it holds.
pub(crate) fn is_number(declared: Option<&Value>, value: Option<&Value>) -> bool {
    let word = declared.and_then(Value::as_str).and_then(|spec| spec.split(' ').next());
    match word {
        Some(word) => matches!(word, "integer" | "float" | "decimal" | "counter"),
        None => matches!(value, Some(Value::Number(_))),
    }
}

/// A text with a number in its place, by the form that the number has.
pub(crate) fn counted(t: &Texts, text: &str, count: u64) -> String {
    let (one, many) = text.split_once('|').unwrap_or((text, text));
    let form = if count == 1 { one } else { many };
    form.replace("{n}", &number(t, count))
}

/// A count, with its thousands apart.
pub(crate) fn number(t: &Texts, count: u64) -> String {
    grouped(&count.to_string(), t.thousands)
}

/// A sum, as the language writes it. What is no plain number is shown as it is.
pub(crate) fn sum(t: &Texts, digits: &str) -> String {
    let (minus, rest) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let (whole, part) =
        rest.split_once('.').map_or((rest, None), |(whole, part)| (whole, Some(part)));
    let is_plain =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain(whole) || !part.is_none_or(is_plain) {
        return digits.to_owned();
    }
    let whole = grouped(whole, t.thousands);
    match part {
        Some(part) => format!("{minus}{whole}{}{part}", t.decimal),
        None => format!("{minus}{whole}"),
    }
}

fn grouped(digits: &str, between: &str) -> String {
    let mut shown = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push_str(between);
        }
        shown.push(digit);
    }
    shown
}

/// Bytes, by three digits.
pub(crate) fn bytes(count: u64) -> String {
    let (mut value, mut units) = (count as f64, ["B", "KiB", "MiB", "GiB", "TiB"].iter());
    let mut unit = units.next();
    while value >= 1024.0
        && let Some(next) = units.next()
    {
        value /= 1024.0;
        unit = Some(next);
    }
    let digits = if value < 10.0 && count >= 1024 { 1 } else { 0 };
    format!("{value:.digits$} {}", unit.copied().unwrap_or_default())
}

/// Shows times in one zone.
#[derive(Clone)]
pub(crate) struct Clock {
    zone: TimeZone,
    now: Zoned,
}

impl Clock {
    pub(crate) fn new(zone: TimeZone) -> Self {
        let now = Timestamp::now().to_zoned(zone.clone());
        Self { zone, now }
    }

    /// Where this day begins, as a filter of records has it.
    pub(crate) fn day_begins(&self) -> Option<Timestamp> {
        self.now.start_of_day().ok().map(|day| day.timestamp())
    }

    /// A time in RFC 3339, in the office's zone, with UTC where a pointer rests on it. What is no time is shown as it is.
    pub(crate) fn time(&self, rfc3339: &str) -> Markup {
        let Ok(moment) = rfc3339.parse::<Timestamp>() else {
            return html! { (text(rfc3339)) };
        };
        let local = moment.to_zoned(self.zone.clone());
        let shown = if local.date() == self.now.date() {
            local.strftime("%H:%M:%S").to_string()
        } else {
            local.strftime("%Y-%m-%d %H:%M").to_string()
        };
        let utc = moment.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        html! { time datetime=(moment) title=(utc) { (shown) } }
    }

    /// The same of one that may not be known.
    pub(crate) fn time_or_none(&self, rfc3339: Option<&str>) -> Markup {
        rfc3339.map_or(html! { span.none { "–" } }, |time| self.time(time))
    }

    /// How long ago a time was, with the time where a pointer rests on it.
    pub(crate) fn ago(&self, t: &Texts, rfc3339: &str) -> Markup {
        let Ok(moment) = rfc3339.parse::<Timestamp>() else { return html! { "?" } };
        let seconds = self.now.timestamp().duration_since(moment).as_secs().max(0);
        let seconds = u64::try_from(seconds).unwrap_or_default();
        let (text, count) = match seconds {
            ..120 => (t.seconds_n, seconds),
            120..7_200 => (t.minutes_n, seconds / 60),
            7_200..172_800 => (t.hours_n, seconds / 3_600),
            _ => (t.days_n, seconds / 86_400),
        };
        html! { time datetime=(moment) title=(moment.strftime("%Y-%m-%d %H:%M:%S UTC")) { (counted(t, text, count)) } }
    }

    /// This moment, as it stands on paper.
    pub(crate) fn moment(&self) -> String {
        self.now.strftime("%Y-%m-%d %H:%M (%Q)").to_string()
    }

    /// A time within a sentence.
    pub(crate) fn in_words(&self, rfc3339: &str) -> Cow<'static, str> {
        let Ok(moment) = rfc3339.parse::<Timestamp>() else { return "?".into() };
        let local = moment.to_zoned(self.zone.clone());
        let shown = if local.date() == self.now.date() {
            local.strftime("%H:%M")
        } else {
            local.strftime("%Y-%m-%d %H:%M")
        };
        shown.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_would_act_upon_a_browser_or_mislead_a_reader_is_text() {
        for (given, expected) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload=\"x", "&quot; onload=&quot;x"),
            ("gpj.\u{202e}exe", "gpj.\\u202eexe"),
            ("a\0b\x1b[2J", "a\\u0000b\\u001b[2J"),
        ] {
            let shown = cell(Some(&json!(given))).into_string();
            assert_eq!(shown, format!("<bdi>{expected}</bdi>"));
            let shown = cell(Some(&json!({ given: [given] }))).into_string();
            assert!(!shown.contains('\u{202e}') && !shown.contains("<script"), "{shown}");
        }
    }

    #[test]
    fn large_values_are_cut_and_say_so() {
        let shown = cell(Some(&json!("ü".repeat(2_000_000)))).into_string();
        assert!(shown.len() < 1_000 && shown.contains("+3999760 bytes"), "{}", shown.len());
    }

    #[test]
    fn numbers_and_bytes_read_well() {
        let t = crate::texts::choose(Some("es"), &axum::http::HeaderMap::new());
        for (digits, expected) in
            [("-1668.15", "-1.668,15"), ("7", "7"), ("1e20", "1e20"), ("", "")]
        {
            assert_eq!(sum(t, digits), expected);
        }
        assert_eq!(grouped("1234567", "\u{202f}"), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped("123", ","), "123");
        for (count, expected) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (734_003_200, "700 MiB")]
        {
            assert_eq!(bytes(count), expected);
        }
    }

    #[test]
    fn times_are_the_offices_and_utc_is_beside_them() {
        let zone = TimeZone::get("Europe/Vienna").unwrap_or(TimeZone::UTC);
        let shown = Clock::new(zone).time("2001-07-01T12:00:00.000Z").into_string();
        assert!(shown.contains("2001-07-01 14:00"), "{shown}");
        assert!(shown.contains("2001-07-01 12:00:00 UTC"), "{shown}");
        let t = crate::texts::choose(Some("en"), &axum::http::HeaderMap::new());
        let clock = Clock::new(TimeZone::UTC);
        let before = |seconds: i64| {
            let moment = clock.now.timestamp().as_second() - seconds;
            let moment = Timestamp::from_second(moment).unwrap_or_default().to_string();
            clock.ago(t, &moment).into_string()
        };
        for (seconds, expected) in [(90, ">90 s<"), (600, ">10 min<"), (86_400, ">24 h<")] {
            assert!(before(seconds).contains(expected), "{}", before(seconds));
        }
        assert!(before(-60).contains(">0 s<"), "a clock that is ahead");
        let shown = Clock::new(TimeZone::UTC).time("<b>").into_string();
        assert_eq!(shown, "<bdi>&lt;b&gt;</bdi>");
    }
}
