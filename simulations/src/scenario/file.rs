//! A scenario file as it is written, before names are looked up and limits checked.

use serde::Deserialize;
use toml::Spanned;

use super::fault::{Act, FaultName};
use super::units::{Bandwidth, Ms, Ppm, SignedMs};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) about: Spanned<String>,
    pub(super) offices: Spanned<Offices>,
    pub(super) duration: Spanned<Ms>,
    pub(super) converge_within_rounds: Option<Spanned<u32>>,
    pub(super) topology: Option<Spanned<Topology>>,
    #[serde(default)]
    pub(super) link: Quality,
    #[serde(default)]
    pub(super) clocks: ClocksTable,
    pub(super) workload: Spanned<WorkloadTable>,
    #[serde(default)]
    pub(super) fault: Vec<Spanned<FaultTable>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a number of offices or a list of their names")]
pub(super) enum Offices {
    Count(i64),
    Names(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Topology {
    pub(super) shape: Shape,
    pub(super) hub: Option<Spanned<String>>,
    pub(super) links: Option<Spanned<Vec<Pair>>>,
}

/// Two offices by name.
pub(super) type Pair = [Spanned<String>; 2];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Shape {
    Hub,
    Chain,
    Mesh,
    Ring,
    Links,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quality {
    pub(super) latency: Option<Ms>,
    pub(super) jitter: Option<Ms>,
    pub(super) loss: Option<Ppm>,
    pub(super) bandwidth: Option<Bandwidth>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClocksTable {
    pub(super) skew: Option<Ms>,
    #[serde(default)]
    pub(super) drift_ppm: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkloadTable {
    pub(super) writes_per_hour: Spanned<u32>,
    #[serde(default = "yes")]
    pub(super) schema: bool,
    #[serde(default)]
    pub(super) collection: Vec<Collection>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Collection {
    pub(super) name: Spanned<String>,
    pub(super) records: Spanned<u32>,
    pub(super) hot: Option<Ppm>,
    pub(super) mix: Option<Spanned<MixTable>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MixTable {
    pub(super) registers: u32,
    pub(super) counters: u32,
    pub(super) text: u32,
    pub(super) lists: u32,
    pub(super) deletes: u32,
    pub(super) transactions: u32,
}

/// A fault with every key that some kind takes; which of them this kind takes is checked later.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultTable {
    pub(super) kind: Spanned<NamedFault>,
    #[serde(default = "start")]
    pub(super) at: Spanned<Ms>,
    #[serde(rename = "for")]
    pub(super) lasts: Option<Spanned<Ms>>,
    pub(super) every: Option<Spanned<Ms>>,
    pub(super) offices: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) groups: Option<Spanned<Vec<Vec<Spanned<String>>>>>,
    pub(super) links: Option<Spanned<Vec<Pair>>>,
    pub(super) quality: Option<Spanned<Quality>>,
    pub(super) bits: Option<Spanned<u32>>,
    pub(super) age: Option<Spanned<Ms>>,
    pub(super) offset: Option<Spanned<SignedMs>>,
    pub(super) acts: Option<Spanned<Vec<Act>>>,
    pub(super) by: Option<Spanned<String>>,
    pub(super) role: Option<Spanned<String>>,
    pub(super) kinds: Option<Spanned<Vec<FaultName>>>,
    pub(super) per_day: Option<Spanned<u32>>,
}

fn start() -> Spanned<Ms> {
    Spanned::new(0..0, Ms(0))
}

/// The kind of a fault, or the mixture of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedFault {
    One(FaultName),
    Random,
}

impl<'de> Deserialize<'de> for NamedFault {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = || FaultName::ALL.iter().map(|name| name.as_str()).chain(["random"]);
        if text == "random" {
            return Ok(Self::Random);
        }
        let name = FaultName::ALL.into_iter().find(|name| name.as_str() == text);
        name.map(Self::One).ok_or_else(|| {
            let known: Vec<_> = known().collect();
            serde::de::Error::custom(format_args!(
                "found the kind {text:?}, expected one of {}",
                known.join(", ")
            ))
        })
    }
}
