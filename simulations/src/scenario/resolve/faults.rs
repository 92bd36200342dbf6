//! What goes wrong: which keys a kind takes, and what they mean.

use std::ops::Range;

use branchline_crdt::membership::Role;
use toml::Spanned;

use super::names::Names;
use super::{quality, within};
use crate::scenario::error::Wrong;
use crate::scenario::fault::{Act, Fault, FaultKind, FaultName, Mixture};
use crate::scenario::file::{self, NamedFault, Pair};
use crate::scenario::units::{Ms, SignedMs};
use crate::scenario::{HOUR_MS, Office};

/// Most faults in a file.
const FAULTS_MAX: usize = 1_000;
/// Most times that one fault begins: a link that flaps every ten seconds for a week.
const REPEATS_MAX: u64 = 100_000;
/// Most random faults in a day.
const PER_DAY_MAX: u32 = 10_000;
/// Most bits flipped at once.
const BITS_MAX: u32 = 1_000;
/// A crashed node is up again after this long if nothing else is said: a restart by the system.
const CRASH_MS: u64 = 10_000;
/// Longest random fault if nothing else is said.
const RANDOM_MS: u64 = HOUR_MS;
/// Random faults in a day if nothing else is said.
const PER_DAY: u32 = 24;

/// All faults of a file.
pub(super) fn faults(
    written: &[Spanned<file::FaultTable>],
    names: &Names,
    links: &[(Office, Office)],
    duration_ms: u64,
) -> Result<(Vec<Fault>, Vec<Mixture>), Wrong> {
    if let Some(first_too_many) = written.get(FAULTS_MAX) {
        let found = written.len();
        let message = format!("found {found} faults, expected {FAULTS_MAX} at the most");
        return Err(Wrong::at(first_too_many.span(), "fault", message));
    }
    let (mut faults, mut mixtures) = (Vec::new(), Vec::new());
    for written in written {
        let reader = Reader { span: written.span(), fault: written.get_ref(), names, links };
        match *reader.fault.kind.get_ref() {
            NamedFault::One(name) => faults.push(reader.fault(name, duration_ms)?),
            NamedFault::Random => mixtures.push(reader.mixture(duration_ms)?),
        }
    }
    Ok((faults, mixtures))
}

/// One fault as written, and what its names refer to.
struct Reader<'a> {
    span: Range<usize>,
    fault: &'a file::FaultTable,
    names: &'a Names,
    links: &'a [(Office, Office)],
}

impl Reader<'_> {
    fn fault(&self, name: FaultName, duration_ms: u64) -> Result<Fault, Wrong> {
        self.only(keys(name))?;
        let at_ms = within(&self.fault.at, "at", 0, duration_ms - 1)?;
        let for_ms = self.fault.lasts.as_ref().map(|ms| within(ms, "for", 1, duration_ms));
        let for_ms = for_ms.transpose()?.or(match name {
            FaultName::Crash | FaultName::TornFrame => Some(CRASH_MS),
            FaultName::Split
            | FaultName::Isolate
            | FaultName::Cut
            | FaultName::OneWay
            | FaultName::Degrade
            | FaultName::Stop
            | FaultName::BitFlip
            | FaultName::LostTables
            | FaultName::FullDisk
            | FaultName::ShortRoom
            | FaultName::Restore
            | FaultName::Clone
            | FaultName::JoinLate
            | FaultName::Clock
            | FaultName::Byzantine
            | FaultName::Revoke
            | FaultName::Role
            | FaultName::Rotate
            | FaultName::Upgrade => None,
        });
        let every_ms = self.fault.every.as_ref();
        let every_ms = every_ms.map(|ms| self.every(ms, for_ms, name, duration_ms)).transpose()?;
        Ok(Fault { at_ms, for_ms, every_ms, kind: self.kind(name, at_ms)? })
    }

    fn every(
        &self,
        every: &Spanned<Ms>,
        for_ms: Option<u64>,
        name: FaultName,
        duration_ms: u64,
    ) -> Result<u64, Wrong> {
        let wrong = |message| Err(Wrong::at(every.span(), "every", message));
        let every_ms = within(every, "every", 1, duration_ms)?;
        match for_ms {
            Some(for_ms) if for_ms >= every_ms => {
                return wrong("found no longer than `for`, expected longer, so that it ends before it begins again".to_owned());
            }
            None if !name.is_instant() => {
                return wrong("found without `for`, expected `for` too: it never ends, so it cannot begin again".to_owned());
            }
            Some(_) | None => {}
        }
        let repeats = duration_ms / every_ms;
        if repeats > REPEATS_MAX {
            return wrong(format!("found {repeats} times, expected {REPEATS_MAX} at the most"));
        }
        Ok(every_ms)
    }

    fn mixture(&self, duration_ms: u64) -> Result<Mixture, Wrong> {
        self.only(&["for", "kinds", "per_day"])?;
        let at_ms = within(&self.fault.at, "at", 0, duration_ms - 1)?;
        let for_ms_max = self.fault.lasts.as_ref().map(|ms| within(ms, "for", 1, duration_ms));
        let kinds = self.fault.kinds.as_ref();
        if let Some(kinds) = kinds {
            let wrong = kinds.get_ref().iter().find(|kind| !Mixture::KINDS.contains(kind));
            let message = match wrong {
                Some(wrong) => {
                    format!("found {wrong}, expected a fault of its own: who does it must be named")
                }
                None if kinds.get_ref().is_empty() => {
                    "found no kind, expected one or more".to_owned()
                }
                None => String::new(),
            };
            if !message.is_empty() {
                return Err(Wrong::at(kinds.span(), "kinds", message));
            }
        }
        let per_day = match &self.fault.per_day {
            None => PER_DAY,
            Some(per_day) => number(per_day, "per_day", PER_DAY_MAX)?,
        };
        Ok(Mixture {
            at_ms,
            for_ms_max: for_ms_max.transpose()?.unwrap_or(RANDOM_MS.min(duration_ms)),
            per_day,
            kinds: kinds.map_or_else(|| Mixture::KINDS.to_vec(), |kinds| kinds.get_ref().clone()),
        })
    }

    fn kind(&self, name: FaultName, at_ms: u64) -> Result<FaultKind, Wrong> {
        let kind = match name {
            FaultName::Split => FaultKind::Split { groups: self.groups()? },
            FaultName::Isolate => FaultKind::Isolate { offices: self.offices()? },
            FaultName::Cut => FaultKind::Cut { links: self.links()? },
            FaultName::OneWay => FaultKind::OneWay { links: self.links()? },
            FaultName::Degrade => {
                let found = self.given(self.fault.quality.as_ref(), "quality")?;
                FaultKind::Degrade { links: self.links()?, quality: quality(found.get_ref()) }
            }
            FaultName::Stop => FaultKind::Stop { offices: self.offices()? },
            FaultName::Crash => FaultKind::Crash { offices: self.offices()? },
            FaultName::TornFrame => FaultKind::TornFrame { offices: self.offices()? },
            FaultName::BitFlip => {
                let bits = self.fault.bits.as_ref().map(|bits| number(bits, "bits", BITS_MAX));
                FaultKind::BitFlip {
                    offices: self.offices()?,
                    bits: bits.transpose()?.unwrap_or(1),
                }
            }
            FaultName::LostTables => FaultKind::LostTables { offices: self.offices()? },
            FaultName::FullDisk => FaultKind::FullDisk { offices: self.offices()? },
            FaultName::ShortRoom => FaultKind::ShortRoom { offices: self.offices()? },
            FaultName::Restore => {
                let age = self.given(self.fault.age.as_ref(), "age")?;
                let age_ms = within(age, "age", 0, at_ms)?;
                FaultKind::Restore { offices: self.offices()?, age_ms }
            }
            FaultName::Clone => FaultKind::Clone { offices: self.offices()? },
            FaultName::JoinLate => {
                let offices = self.offices()?;
                if offices.contains(&0) {
                    let message = "found the first office, expected others: it founds the network";
                    return Err(Wrong::at(self.span.clone(), "offices", message.to_owned()));
                }
                FaultKind::JoinLate { offices }
            }
            FaultName::Clock => {
                let SignedMs(offset_ms) =
                    *self.given(self.fault.offset.as_ref(), "offset")?.get_ref();
                FaultKind::Clock { offices: self.offices()?, offset_ms }
            }
            FaultName::Byzantine => {
                let acts = self.fault.acts.as_ref().map(|acts| acts.get_ref().clone());
                FaultKind::Byzantine {
                    offices: self.offices()?,
                    acts: acts.filter(|acts| !acts.is_empty()).unwrap_or_else(|| Act::ALL.to_vec()),
                }
            }
            FaultName::Revoke => FaultKind::Revoke { by: self.by()?, offices: self.offices()? },
            FaultName::Role => {
                let role = self.given(self.fault.role.as_ref(), "role")?;
                let parsed = role.get_ref().parse::<Role>();
                let role =
                    parsed.map_err(|error| Wrong::at(role.span(), "role", error.to_string()))?;
                FaultKind::ChangeRole { by: self.by()?, offices: self.offices()?, role }
            }
            FaultName::Rotate => FaultKind::Rotate { offices: self.offices()? },
            FaultName::Upgrade => FaultKind::Upgrade { offices: self.offices()? },
        };
        Ok(kind)
    }

    fn by(&self) -> Result<Office, Wrong> {
        self.names.find(self.given(self.fault.by.as_ref(), "by")?, "by")
    }

    /// Refuses keys that the kind does not take.
    fn only(&self, taken: &[&str]) -> Result<(), Wrong> {
        let fault = self.fault;
        let given = [
            ("for", fault.lasts.as_ref().map(Spanned::span)),
            ("every", fault.every.as_ref().map(Spanned::span)),
            ("offices", fault.offices.as_ref().map(Spanned::span)),
            ("groups", fault.groups.as_ref().map(Spanned::span)),
            ("links", fault.links.as_ref().map(Spanned::span)),
            ("quality", fault.quality.as_ref().map(Spanned::span)),
            ("bits", fault.bits.as_ref().map(Spanned::span)),
            ("age", fault.age.as_ref().map(Spanned::span)),
            ("offset", fault.offset.as_ref().map(Spanned::span)),
            ("acts", fault.acts.as_ref().map(Spanned::span)),
            ("by", fault.by.as_ref().map(Spanned::span)),
            ("role", fault.role.as_ref().map(Spanned::span)),
            ("kinds", fault.kinds.as_ref().map(Spanned::span)),
            ("per_day", fault.per_day.as_ref().map(Spanned::span)),
        ];
        for (key, span) in given {
            if let Some(span) = span.filter(|_| !taken.contains(&key)) {
                let message = format!(
                    "not a key of this kind of fault, which takes at, {}",
                    taken.join(", ")
                );
                return Err(Wrong::at(span, key, message));
            }
        }
        Ok(())
    }

    fn given<'b, T>(&self, value: Option<&'b T>, key: &str) -> Result<&'b T, Wrong> {
        let missing = || "found nothing, expected it with this kind of fault".to_owned();
        value.ok_or_else(|| Wrong::at(self.span.clone(), key, missing()))
    }

    fn offices(&self) -> Result<Vec<Office>, Wrong> {
        let offices = self.given(self.fault.offices.as_ref(), "offices")?;
        self.names.find_all(offices.get_ref(), offices.span(), "offices")
    }

    fn groups(&self) -> Result<Vec<Vec<Office>>, Wrong> {
        let groups = self.given(self.fault.groups.as_ref(), "groups")?;
        let range = groups.span();
        let found = groups.get_ref().len();
        if found < 2 {
            let message = format!("found {found}, expected two groups of offices or more");
            return Err(Wrong::at(range, "groups", message));
        }
        // Also refuses an office in two groups.
        let all: Vec<_> = groups.get_ref().concat();
        self.names.find_all(&all, range.clone(), "groups")?;
        let group = |group: &Vec<_>| self.names.find_all(group, range.clone(), "groups");
        groups.get_ref().iter().map(group).collect()
    }

    /// The links named, as written, or every link of the offices named.
    fn links(&self) -> Result<Vec<(Office, Office)>, Wrong> {
        let Some(links) = &self.fault.links else {
            let offices = self.offices()?;
            let touches = |(a, b): &(Office, Office)| offices.contains(a) || offices.contains(b);
            return Ok(self.links.iter().copied().filter(touches).collect());
        };
        if let Some(offices) = &self.fault.offices {
            let message = "found both offices and links, expected one of them".to_owned();
            return Err(Wrong::at(offices.span(), "offices", message));
        }
        if links.get_ref().is_empty() {
            let message = "found no link, expected one or more".to_owned();
            return Err(Wrong::at(links.span(), "links", message));
        }
        links.get_ref().iter().map(|link| self.link(link)).collect()
    }

    fn link(&self, link: &Pair) -> Result<(Office, Office), Wrong> {
        let (a, b) = self.names.pair(link, "links")?;
        if !self.links.contains(&(a.min(b), a.max(b))) {
            let (a, b) = (link[0].get_ref(), link[1].get_ref());
            let message = format!(
                "found {a} and {b}, which are not linked in this topology, expected a link of it"
            );
            return Err(Wrong::at(link[0].span(), "links", message));
        }
        Ok((a, b))
    }
}

/// The keys that a kind takes besides `kind` and `at`.
fn keys(name: FaultName) -> &'static [&'static str] {
    match name {
        FaultName::Split => &["for", "every", "groups"],
        FaultName::Cut | FaultName::OneWay => &["for", "every", "links", "offices"],
        FaultName::Degrade => &["for", "every", "links", "offices", "quality"],
        FaultName::Isolate
        | FaultName::Stop
        | FaultName::Crash
        | FaultName::TornFrame
        | FaultName::FullDisk
        | FaultName::ShortRoom
        | FaultName::Clone => &["for", "every", "offices"],
        FaultName::BitFlip => &["every", "offices", "bits"],
        FaultName::LostTables => &["every", "offices"],
        FaultName::Restore => &["every", "offices", "age"],
        FaultName::JoinLate | FaultName::Rotate | FaultName::Upgrade => &["offices"],
        FaultName::Clock => &["for", "every", "offices", "offset"],
        FaultName::Byzantine => &["for", "every", "offices", "acts"],
        FaultName::Revoke => &["by", "offices"],
        FaultName::Role => &["by", "offices", "role"],
    }
}

/// A number from 1 up to a bound.
fn number(found: &Spanned<u32>, key: &str, max: u32) -> Result<u32, Wrong> {
    let number = *found.get_ref();
    if (1..=max).contains(&number) {
        return Ok(number);
    }
    Err(Wrong::at(found.span(), key, format!("found {number}, expected 1 to {max}")))
}
