//! From a file as written to a scenario: names looked up, limits checked.

mod faults;
mod names;
mod topology;

use branchline_crdt::record::check_collection;
use toml::Spanned;

use super::error::{ScenarioError, Wrong};
use super::file::{self, File};
use super::units::Ms;
use super::{Clocks, CollectionWork, LinkQuality, Mix, Scenario, Workload};
use names::Names;

/// Longest scenario file in bytes; the longest one shipped has 2 KB.
const FILE_BYTES_MAX: usize = 256 * 1024;
/// Longest scenario in ms: a year of virtual time already takes a while.
const DURATION_MS_MAX: u64 = 366 * super::DAY_MS;
/// Most writes an hour at one office: 28 a second, more than people and tills make.
const WRITES_PER_HOUR_MAX: u32 = 100_000;
/// Most records of a collection, so that a run fits in memory.
const RECORDS_MAX: u32 = 1_000_000;
/// Most collections.
const COLLECTIONS_MAX: usize = 100;
/// Greatest weight of a mix.
const WEIGHT_MAX: u32 = 1_000_000;
/// A clock that gains a tenth is broken, not drifting.
const DRIFT_PPM_MAX: u32 = 100_000;

pub(super) fn resolve(name: &str, text: &str) -> Result<Scenario, ScenarioError> {
    resolve_text(name, text).map_err(|wrong| wrong.with_text(name, text))
}

fn resolve_text(name: &str, text: &str) -> Result<Scenario, Wrong> {
    if text.len() > FILE_BYTES_MAX {
        let found = text.len();
        let message = format!("found {found} bytes, expected {FILE_BYTES_MAX} at the most");
        return Err(Wrong { range: None, key: None, message });
    }
    let file: File = toml::from_str(text)?;
    if file.about.get_ref().trim().is_empty() {
        let message = "found nothing, expected what the scenario is about".to_owned();
        return Err(Wrong::at(file.about.span(), "about", message));
    }
    let names = Names::of(&file.offices)?;
    let links = topology::links(&names, file.topology.as_ref(), file.offices.span())?;
    let duration_ms = within(&file.duration, "duration", 1, DURATION_MS_MAX)?;
    let (faults, mixtures) = faults::faults(&file.fault, &names, &links, duration_ms)?;
    let rounds = file.converge_within_rounds.as_ref();
    if let Some(rounds) = rounds.filter(|rounds| *rounds.get_ref() == 0) {
        let message = "found 0, expected a number of rounds from 1 upwards".to_owned();
        return Err(Wrong::at(rounds.span(), "converge_within_rounds", message));
    }
    if file.clocks.drift_ppm > DRIFT_PPM_MAX {
        let message =
            format!("found {}, expected {DRIFT_PPM_MAX} at the most", file.clocks.drift_ppm);
        return Err(Wrong { range: None, key: Some("clocks.drift_ppm".to_owned()), message });
    }
    Ok(Scenario {
        name: name.to_owned(),
        about: file.about.into_inner().trim().to_owned(),
        links,
        quality: quality(&file.link),
        clocks: Clocks {
            skew_ms_max: file.clocks.skew.map_or(0, |Ms(ms)| ms),
            drift_ppm_max: file.clocks.drift_ppm,
        },
        workload: workload(&file.workload)?,
        duration_ms,
        faults,
        mixtures,
        converge_within_rounds: rounds.map(|rounds| *rounds.get_ref()),
        offices: names.into_inner(),
    })
}

/// A quality as written; what is not given is as on a good day.
fn quality(quality: &file::Quality) -> LinkQuality {
    let usual = LinkQuality::default();
    LinkQuality {
        latency_ms: quality.latency.map_or(usual.latency_ms, |ms| ms.0),
        jitter_ms: quality.jitter.map_or(usual.jitter_ms, |ms| ms.0),
        loss_ppm: quality.loss.map_or(usual.loss_ppm, |ppm| ppm.0),
        bytes_per_second: quality.bandwidth.map(|bandwidth| bandwidth.0),
    }
}

fn workload(workload: &Spanned<file::WorkloadTable>) -> Result<Workload, Wrong> {
    let span = workload.span();
    let workload = workload.get_ref();
    let writes = &workload.writes_per_hour;
    if *writes.get_ref() > WRITES_PER_HOUR_MAX {
        let message =
            format!("found {}, expected {WRITES_PER_HOUR_MAX} at the most", writes.get_ref());
        return Err(Wrong::at(writes.span(), "writes_per_hour", message));
    }
    if workload.collection.is_empty() || workload.collection.len() > COLLECTIONS_MAX {
        let found = workload.collection.len();
        let message = format!(
            "found {found} collections, expected 1 to {COLLECTIONS_MAX}: add [[workload.collection]]"
        );
        return Err(Wrong::at(span, "workload.collection", message));
    }
    let mut collections: Vec<CollectionWork> = Vec::new();
    for written in &workload.collection {
        let collection = collection(written, workload.schema)?;
        if collections.iter().any(|other| other.name == collection.name) {
            let message =
                format!("found {:?} twice, expected each collection once", collection.name);
            return Err(Wrong::at(written.name.span(), "name", message));
        }
        collections.push(collection);
    }
    Ok(Workload { writes_per_hour: *writes.get_ref(), schema: workload.schema, collections })
}

fn collection(written: &file::Collection, schema: bool) -> Result<CollectionWork, Wrong> {
    let name = written.name.get_ref();
    check_collection(name)
        .map_err(|error| Wrong::at(written.name.span(), "name", error.to_string()))?;
    if name.starts_with('_') {
        let message =
            format!("found {name:?}, expected a name that is not reserved by a leading _");
        return Err(Wrong::at(written.name.span(), "name", message));
    }
    let records = *written.records.get_ref();
    if records == 0 || records > RECORDS_MAX {
        let message = format!("found {records}, expected 1 to {RECORDS_MAX}");
        return Err(Wrong::at(written.records.span(), "records", message));
    }
    let hot_ppm = written.hot.map_or(0, |ppm| ppm.0);
    let mix = match &written.mix {
        None => Mix::default(),
        Some(mix) => self::mix(mix, schema)?,
    };
    Ok(CollectionWork { name: name.clone(), records, hot_ppm, mix })
}

fn mix(written: &Spanned<file::MixTable>, schema: bool) -> Result<Mix, Wrong> {
    let file::MixTable { registers, counters, text, lists, deletes, transactions } =
        *written.get_ref();
    let mix = Mix { registers, counters, text, lists, deletes, transactions };
    let wrong = |message: &str| Err(Wrong::at(written.span(), "mix", message.to_owned()));
    if mix.sum() == 0 {
        return wrong("found no weight above 0, expected at least one, such as { registers = 1 }");
    }
    if [registers, counters, text, lists, deletes, transactions].iter().any(|w| *w > WEIGHT_MAX) {
        return wrong("found a weight above 1000000, expected 1000000 at the most");
    }
    if text > 0 && !schema {
        return wrong("found text without a schema, expected `schema = true` in [workload]");
    }
    Ok(mix)
}

/// A duration between two bounds.
fn within(found: &Spanned<Ms>, key: &str, min_ms: u64, max_ms: u64) -> Result<u64, Wrong> {
    let Ms(ms) = *found.get_ref();
    if (min_ms..=max_ms).contains(&ms) {
        return Ok(ms);
    }
    let (ms, min, max) = (super::Readable(ms), super::Readable(min_ms), super::Readable(max_ms));
    Err(Wrong::at(found.span(), key, format!("found {ms}, expected {min} to {max}")))
}
