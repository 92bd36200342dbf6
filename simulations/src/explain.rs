//! What happened to one record: written where, in which entry, sent to whom, lost where, visible when.

use std::collections::{BTreeMap, BTreeSet};

use crate::scenario::Readable;
use crate::text::{Bytes, Clock};
use crate::trace::{
    Answer, EntryName, EntryStatus, Event, LinkState, RecordName, Source, Step, TraceSink,
};

/// Lines kept: a record that takes more is hot, and its first ten thousand show how it goes.
const LINES_MAX: usize = 10_000;
/// Ids of other records kept, to show some to the one who asked for one that never was.
const OTHERS_MAX: usize = 1_000;
/// Ids of other records shown.
const OTHERS_SHOWN: usize = 8;

/// The story of one record, reported by a run's steps.
#[derive(Clone, Debug)]
pub struct Explanation {
    record: RecordName,
    /// Only what concerns this office.
    site: Option<String>,
    /// What happened to it, and when.
    lines: Vec<(u64, String)>,
    lines_left_out: u64,
    /// Faults: when they begin, when they end, and what to say of them.
    faults: Vec<(u64, u64, String)>,
    /// Every entry that touches the record.
    entries: BTreeMap<EntryName, Way>,
    /// Messages under way that carry one of them: when they left, and what to say of them.
    under_way: BTreeMap<u64, (u64, String)>,
    /// The offices of the scenario.
    offices: Vec<String>,
    others: BTreeSet<RecordName>,
}

/// Where an entry shows, and since when.
#[derive(Clone, Debug, Default)]
struct Way {
    first_ms: u64,
    applied_ms: BTreeMap<String, u64>,
}

impl Explanation {
    /// Of this record, in a scenario with these offices; with `site`, only what concerns that office.
    pub fn of(record: RecordName, offices: Vec<String>, site: Option<String>) -> Self {
        Self {
            record,
            site,
            lines: Vec::new(),
            lines_left_out: 0,
            faults: Vec::new(),
            entries: BTreeMap::new(),
            under_way: BTreeMap::new(),
            offices,
            others: BTreeSet::new(),
        }
    }

    /// The record.
    pub fn record(&self) -> &RecordName {
        &self.record
    }

    /// Whether anyone wrote it, or tried to.
    pub fn is_known(&self) -> bool {
        !self.lines.is_empty() || !self.entries.is_empty()
    }

    /// Some records that were written: those of the same collection if there are any.
    pub fn near(&self) -> Vec<String> {
        let same = self.others.iter().filter(|other| other.collection == self.record.collection);
        let same: Vec<_> = same.take(OTHERS_SHOWN).map(ToString::to_string).collect();
        if !same.is_empty() {
            return same;
        }
        self.others.iter().take(OTHERS_SHOWN).map(ToString::to_string).collect()
    }

    /// The story in lines, then for each entry where it shows.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{}, step by step", self.record)];
        let mut last_ms = None;
        for (at_ms, text) in self.reported() {
            let time = Some(at_ms).filter(|at_ms| last_ms != Some(*at_ms));
            let time = time.map(|at_ms| Clock(at_ms).to_string()).unwrap_or_default();
            lines.push(format!("  {time:>18}  {text}"));
            last_ms = Some(at_ms);
        }
        if self.lines_left_out > 0 {
            lines.push(format!("  … and {} more lines; --site shows fewer", self.lines_left_out));
        }
        lines.push(String::new());
        lines.push("Where each change shows".to_owned());
        for (entry, way) in &self.entries {
            lines.push(format!("  {entry}, since {}", Clock(way.first_ms)));
            lines.push(format!("      {}", self.visible(way)));
        }
        lines
    }

    /// The lines in order, with the faults that could touch the record: those that last into its time.
    fn reported(&self) -> Vec<(u64, &str)> {
        let first_ms = self.lines.first().map_or(0, |(at_ms, _)| *at_ms);
        let last_ms = self.lines.last().map_or(0, |(at_ms, _)| *at_ms);
        let touches = |(begins_ms, ends_ms, _): &&(u64, u64, String)| {
            *ends_ms >= first_ms && *begins_ms <= last_ms
        };
        let faults = self.faults.iter().filter(touches);
        let mut reported: Vec<_> = faults.map(|(at_ms, _, text)| (*at_ms, text.as_str())).collect();
        reported.extend(self.lines.iter().map(|(at_ms, text)| (*at_ms, text.as_str())));
        reported.sort_by_key(|(at_ms, _)| *at_ms);
        reported
    }

    fn visible(&self, way: &Way) -> String {
        let is_asked = |site: &&String| self.site.as_ref().is_none_or(|asked| asked == *site);
        let asked = || self.offices.iter().filter(is_asked);
        let mut shown: Vec<_> =
            asked().filter_map(|site| way.applied_ms.get(site).map(|ms| (*ms, site))).collect();
        shown.sort();
        let mut parts: Vec<_> = shown
            .into_iter()
            .map(|(ms, site)| match ms.saturating_sub(way.first_ms) {
                0 => format!("{site} at once"),
                later => format!("{site} after {}", Readable(later)),
            })
            .collect();
        let missing: Vec<_> =
            asked().filter(|site| !way.applied_ms.contains_key(*site)).cloned().collect();
        if !missing.is_empty() {
            parts.push(format!("never at {}", missing.join(", ")));
        }
        parts.join("; ")
    }

    fn concerns<'a>(&self, sites: impl IntoIterator<Item = &'a String>) -> bool {
        match &self.site {
            None => true,
            Some(asked) => sites.into_iter().any(|site| site == asked),
        }
    }

    fn say(&mut self, at_ms: u64, text: String) {
        if self.lines.len() < LINES_MAX {
            self.lines.push((at_ms, text));
        } else {
            self.lines_left_out += 1;
        }
    }

    /// What happens to an office matters once the record exists.
    fn say_of_site(&mut self, at_ms: u64, site: &String, text: String) {
        if self.is_known() && self.concerns([site]) {
            self.say(at_ms, text);
        }
    }

    /// The entries of a message that touch the record.
    fn ours(&self, entries: &[EntryName]) -> Vec<String> {
        let ours = entries.iter().filter(|entry| self.entries.contains_key(*entry));
        ours.map(ToString::to_string).collect()
    }

    fn wrote(&mut self, at_ms: u64, site: &String, what: &str, answer: &Answer) {
        if let Answer::Acknowledged(Some(entry)) = answer {
            let new = || Way { first_ms: at_ms, applied_ms: BTreeMap::new() };
            self.entries.entry(entry.clone()).or_insert_with(new);
        }
        if self.concerns([site]) {
            let answered = match answer {
                Answer::Acknowledged(Some(entry)) => format!("acknowledged in {entry}"),
                Answer::Acknowledged(None) => "acknowledged".to_owned(),
                Answer::Refused(reason) => format!("refused: {reason}"),
            };
            self.say(at_ms, format!("{site} writes {what}: {answered}"));
        }
    }

    fn held(
        &mut self,
        at_ms: u64,
        site: &String,
        entry: &EntryName,
        status: EntryStatus,
        from: &Source,
    ) {
        let Some(way) = self.entries.get_mut(entry) else { return };
        if status == EntryStatus::Applied {
            way.applied_ms.entry(site.clone()).or_insert(at_ms);
        }
        if !self.concerns([site]) {
            return;
        }
        let came = match from {
            Source::Own => "written there".to_owned(),
            Source::Replay => "read from its own journal".to_owned(),
            Source::Peer(peer) => format!("from {peer}"),
        };
        let became = match status {
            EntryStatus::Applied => "visible",
            EntryStatus::Void => "kept but void, so it shows nowhere,",
            EntryStatus::Held => "kept, not understood,",
        };
        self.say(at_ms, format!("{entry} is {became} at {site}, {came}"));
    }
}

impl TraceSink for Explanation {
    fn step(&mut self, step: &Step) {
        let at_ms = step.at_ms;
        match &step.event {
            Event::Write { site, records, what, answer } => {
                if records.contains(&self.record) {
                    self.wrote(at_ms, site, what, answer);
                } else if self.others.len() < OTHERS_MAX {
                    self.others.extend(records.iter().cloned());
                }
            }
            Event::FirstSeen { entry, records } => {
                if records.contains(&self.record) && !self.entries.contains_key(entry) {
                    let way = Way { first_ms: at_ms, applied_ms: BTreeMap::new() };
                    self.entries.insert(entry.clone(), way);
                }
            }
            Event::Sent { message, from, to, kind, bytes, entries } => {
                let ours = self.ours(entries);
                if !ours.is_empty() && self.concerns([from, to]) {
                    let (kind, bytes, ours) = (kind.as_str(), Bytes(*bytes), ours.join(", "));
                    let text = format!("{from} to {to}: {ours} by {kind} of {bytes}");
                    self.under_way.insert(*message, (at_ms, text));
                }
            }
            Event::Delivered { message } => {
                if let Some((sent_ms, text)) = self.under_way.remove(message) {
                    let took = Readable(at_ms.saturating_sub(sent_ms));
                    self.say(at_ms, format!("{text}, arrived after {took}"));
                }
            }
            Event::Lost { message, reason } => {
                if let Some((_, text)) = self.under_way.remove(message) {
                    self.say(at_ms, format!("{text}, LOST: {reason}"));
                }
            }
            Event::Held { site, entry, status, from } => {
                self.held(at_ms, site, entry, *status, from)
            }
            Event::Fault { kind, sites, what, for_ms } => {
                // Those before the record, too: they explain what it meets.
                if self.concerns(sites) && self.faults.len() < LINES_MAX {
                    let lasts = for_ms.map(|ms| format!(", for {}", Readable(ms)));
                    let text = format!("fault {kind}: {what}{}", lasts.unwrap_or_default());
                    let ends_ms = at_ms.saturating_add(for_ms.unwrap_or(0));
                    self.faults.push((at_ms, ends_ms, text));
                }
            }
            Event::Link { a, b, state } => {
                let state = match state {
                    LinkState::Up => format!("the link {a} - {b} is up"),
                    LinkState::Down => format!("the link {a} - {b} is down"),
                    LinkState::OneWay => format!("the link {a} - {b} passes only what {a} sends"),
                };
                if self.is_known() && self.site.is_some() && self.concerns([a, b]) {
                    self.say(at_ms, state);
                }
            }
            Event::Started { site, start } => {
                self.say_of_site(at_ms, site, format!("{site} starts (start {start})"));
            }
            Event::Stopped { site, crashed, bytes_lost } => {
                let text = match crashed {
                    true => {
                        format!("{site} crashes, {} not on its drive are lost", Bytes(*bytes_lost))
                    }
                    false => format!("{site} is switched off"),
                };
                self.say_of_site(at_ms, site, text);
            }
            Event::Restored { site, age_ms } => {
                let text =
                    format!("the disk of {site} is replaced by a copy {} old", Readable(*age_ms));
                self.say_of_site(at_ms, site, text);
            }
            Event::Cloned { site } => {
                self.say_of_site(at_ms, site, format!("a copy of the disk of {site} runs as well"));
            }
            Event::Healed => {
                if self.is_known() {
                    self.say(at_ms, "the faults are over".to_owned());
                }
            }
            Event::Converged { .. } => {
                if self.is_known() {
                    self.say(at_ms, "all offices are in step".to_owned());
                }
            }
            Event::Violation { invariant, site, what } => {
                if self.is_known() && self.concerns(site) {
                    self.say(at_ms, format!("PROMISE {} IS BROKEN: {what}", invariant.number()));
                }
            }
            Event::LinkQuality { .. } | Event::Notice { .. } | Event::Sample { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::FaultName;
    use crate::trace::MessageKind;

    fn entry(seq: u64) -> EntryName {
        EntryName { author: "south".to_owned(), life: 1, seq, hash: "ab12cd34".to_owned() }
    }

    fn record(id: &str) -> RecordName {
        RecordName { collection: "products".to_owned(), id: id.to_owned() }
    }

    /// South writes while it is cut off; one message is lost, the next arrives.
    fn reported(site: Option<&str>, asked: &str) -> Explanation {
        let (head, north, south) = ("head".to_owned(), "north".to_owned(), "south".to_owned());
        let offices = vec![head.clone(), north.clone(), south.clone()];
        let mut explanation = Explanation::of(record(asked), offices, site.map(str::to_owned));
        let mut report = |at_ms, event| explanation.step(&Step { at_ms, event });
        let what = "south is cut off".to_owned();
        let (kind, sites) = (FaultName::Isolate, vec![south.clone()]);
        report(500, Event::Fault { kind, sites, what, for_ms: Some(2_000) });
        let write = |id, answer| Event::Write {
            site: south.clone(),
            records: vec![record(id)],
            what: "price 3".to_owned(),
            answer,
        };
        report(1_000, write("tea", Answer::Acknowledged(Some(entry(1)))));
        report(1_000, Event::FirstSeen { entry: entry(1), records: vec![record("tea")] });
        let held = |site: &String, from| Event::Held {
            site: site.clone(),
            entry: entry(1),
            status: EntryStatus::Applied,
            from,
        };
        report(1_000, held(&south, Source::Own));
        report(1_100, write("rice", Answer::Refused("the disk is full".to_owned())));
        let sent = |message, to: &String, entries| Event::Sent {
            message,
            from: south.clone(),
            to: to.clone(),
            kind: MessageKind::Answer,
            bytes: 900,
            entries,
        };
        report(1_200, sent(1, &head, vec![entry(1)]));
        report(1_240, Event::Lost { message: 1, reason: "the link is cut".to_owned() });
        report(3_000, sent(2, &head, vec![entry(1), entry(2)]));
        report(3_000, sent(3, &north, vec![entry(2)]));
        report(3_040, Event::Delivered { message: 2 });
        report(3_040, Event::Delivered { message: 3 });
        report(3_040, held(&head, Source::Peer(south.clone())));
        explanation
    }

    #[test]
    fn a_record_is_followed_from_the_write_to_where_it_shows() {
        let text = reported(None, "tea").lines().join("\n");
        let expected = "\
products/tea, step by step
        00:00:00.500  fault isolate: south is cut off, for 2 s
        00:00:01.000  south writes price 3: acknowledged in south.1#1 (ab12cd34)
                      south.1#1 (ab12cd34) is visible at south, written there
        00:00:01.240  south to head: south.1#1 (ab12cd34) by answer of 900 B, LOST: the link is cut
        00:00:03.040  south to head: south.1#1 (ab12cd34) by answer of 900 B, arrived after 40 ms
                      south.1#1 (ab12cd34) is visible at head, from south

Where each change shows
  south.1#1 (ab12cd34), since 00:00:01.000
      south at once; head after 2 s; never at north";
        assert_eq!(text, expected);
    }

    #[test]
    fn one_office_is_told_of_alone() {
        let lines = reported(Some("north"), "tea").lines();
        assert!(!lines.iter().any(|line| line.contains("south to head")), "{lines:#?}");
        assert_eq!(lines.last().unwrap().trim(), "never at north");
    }

    #[test]
    fn refused_writes_are_told_and_unknown_records_are_known_to_be() {
        let lines = reported(None, "rice").lines();
        assert!(lines.iter().any(|line| line.contains("refused: the disk is full")), "{lines:#?}");
        let unknown = reported(None, "coffee");
        assert!(!unknown.is_known());
        assert_eq!(unknown.near(), ["products/rice", "products/tea"]);
    }
}
