//! What a run came to: a verdict for each invariant, and figures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::invariant::Invariant;
use crate::scenario::{FaultName, Readable};
use crate::text::counted;
use crate::trace::MessageKind;

/// One place where an invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Virtual time since the scenario began, in ms.
    pub at_ms: u64,
    /// Which invariant.
    pub invariant: Invariant,
    /// Where, if at one office.
    pub site: Option<String>,
    /// What was found and what was expected.
    pub what: String,
}

/// What one office had and did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFigures {
    /// Bytes that came in.
    pub bytes_in: u64,
    /// Bytes that went out.
    pub bytes_out: u64,
    /// Most entries by which it was behind at a sample.
    pub backlog_max: u64,
    /// Size of its journal at the end, in bytes.
    pub journal_bytes: u64,
    /// Size of its tables at the end, in bytes.
    pub rows_bytes: u64,
    /// How often its node started.
    pub starts: u32,
}

/// Messages of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageFigures {
    /// Sent.
    pub sent: u64,
    /// Lost among them.
    pub lost: u64,
    /// Bytes sent.
    pub bytes: u64,
}

/// What a run took, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Virtual time of the whole run, in ms.
    pub simulated_ms: u64,
    /// Writes that were acknowledged.
    pub writes_acknowledged: u64,
    /// Writes that were refused.
    pub writes_refused: u64,
    /// Entries of the main space that honest offices hold at the end.
    pub entries: u64,
    /// Messages by kind.
    pub messages: BTreeMap<MessageKind, MessageFigures>,
    /// Faults injected, by kind.
    pub faults: BTreeMap<FaultName, u64>,
    /// Virtual time from the end of the faults until all were in step, in ms; `None`: they never were.
    pub converge_ms: Option<u64>,
    /// The same in sync rounds.
    pub converge_rounds: Option<u32>,
    /// The bound on those rounds.
    pub converge_rounds_max: u32,
    /// Each office, by name.
    pub sites: BTreeMap<String, SiteFigures>,
}

impl Figures {
    /// Says when all offices were in step again: one text for the summary of a run and for its page.
    pub fn in_step_again(&self) -> String {
        match (self.converge_ms, self.converge_rounds) {
            (Some(0), _) => "at once, when the faults ended".to_owned(),
            (Some(ms), rounds) => {
                let rounds = counted(u64::from(rounds.unwrap_or_default()), "round");
                let max = self.converge_rounds_max;
                format!(
                    "{} after the faults ended ({rounds} of syncing, {max} allowed)",
                    Readable(ms)
                )
            }
            (None, _) => format!("never, within {} rounds of syncing", self.converge_rounds_max),
        }
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How often each invariant was checked; one that is not named was not checked in this run.
    pub checks: BTreeMap<Invariant, u64>,
    /// Where an invariant did not hold, in order: the first of each invariant, and others up to [`VIOLATIONS_KEPT`].
    pub violations: Vec<Violation>,
    /// All violations, kept or not.
    pub violations_count: u64,
    /// What it took.
    pub figures: Figures,
}

/// Violations kept of one run: the first ones show the story.
pub const VIOLATIONS_KEPT: usize = 100;

impl Outcome {
    /// Whether every invariant held.
    pub fn held(&self) -> bool {
        self.violations_count == 0
    }

    /// Counts a violation, and keeps it while there is room or it is the first of its invariant.
    pub fn violate(&mut self, violation: Violation) {
        self.violations_count += 1;
        let known = self.violations.iter().any(|kept| kept.invariant == violation.invariant);
        if self.violations.len() < VIOLATIONS_KEPT || !known {
            self.violations.push(violation);
        }
    }

    /// The invariants, each with how often it was checked and its first violation.
    pub fn verdicts(&self) -> impl Iterator<Item = Verdict<'_>> {
        Invariant::ALL.into_iter().map(|invariant| Verdict {
            invariant,
            checks: self.checks.get(&invariant).copied().unwrap_or_default(),
            violation: self.violations.iter().find(|violation| violation.invariant == invariant),
        })
    }
}

/// How one invariant fared.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'a> {
    /// The invariant.
    pub invariant: Invariant,
    /// How often it was checked; 0: not in this run.
    pub checks: u64,
    /// The first place where it did not hold.
    pub violation: Option<&'a Violation>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_tell_checked_from_unchecked_and_bound_what_is_kept() {
        let mut outcome = Outcome::default();
        outcome.checks.insert(Invariant::EqualDigests, 12);
        assert!(outcome.held());
        for at_ms in 0..VIOLATIONS_KEPT as u64 + 5 {
            let invariant = Invariant::Durability;
            outcome.violate(Violation { at_ms, invariant, site: None, what: String::new() });
        }
        assert!(!outcome.held());
        assert_eq!(outcome.violations.len(), VIOLATIONS_KEPT);
        let (invariant, what) = (Invariant::WallClock, String::new());
        outcome.violate(Violation { at_ms: 900, invariant, site: None, what });
        assert_eq!(outcome.violations_count, VIOLATIONS_KEPT as u64 + 6);
        let verdicts: Vec<_> = outcome.verdicts().collect();
        assert_eq!(verdicts.len(), 11);
        assert_eq!(verdicts[0].checks, 12);
        assert_eq!(verdicts[2].violation.map(|violation| violation.at_ms), Some(0));
        assert_eq!(verdicts[10].invariant.number(), 11);
        assert_eq!(verdicts[10].violation.map(|violation| violation.at_ms), Some(900));
    }
}
