//! The invariants, one file for each, checked by what a world shows and not by what its replicas say of themselves.
//!
//! A checker sees every observation, is asked at regular times to look at one office, and once at the end to look at
//! all. It counts what it checked: an invariant that was never checked is reported so. 2 and 11 are judged over whole runs
//! ([`convergence`], [`wall_clock`]).

pub mod bounds;
pub mod causal_order;
pub mod confinement;
pub mod convergence;
pub mod deletion;
pub mod digests;
pub mod durability;
pub mod feed;
pub mod one_content;
pub mod provenance;
mod revocation;
pub mod wall_clock;

use std::collections::BTreeMap;

use crate::invariant::Invariant;
use crate::oracle::Oracle;
use crate::outcome::Violation;
use crate::world::{Observation, SiteIndex, World};

/// What there is to look at.
pub struct Scene<'a> {
    /// The world.
    pub world: &'a World,
    /// What was written, with the answers.
    pub oracle: &'a Oracle,
    /// The stranger that knocks at the network.
    pub stranger: SiteIndex,
    /// The offices that must come into step with each other, once all faults are over.
    pub groups: &'a [Vec<SiteIndex>],
    /// Whether they have.
    pub converged: bool,
    /// Members that lied.
    pub liars: &'a [SiteIndex],
    /// Seed of the run, for checkers that look at a sample.
    pub seed: u64,
}

/// What checkers found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How often each invariant was checked.
    pub checks: BTreeMap<Invariant, u64>,
    /// Where one did not hold, since they were taken last.
    pub violations: Vec<Violation>,
    /// Virtual time since the scenario began, in ms.
    pub at_ms: u64,
}

impl Report {
    /// Counts a check.
    pub fn checked(&mut self, invariant: Invariant) {
        *self.checks.entry(invariant).or_default() += 1;
    }

    /// Counts a check; if it did not hold, says where and what was found and expected.
    pub fn expect(
        &mut self,
        invariant: Invariant,
        holds: bool,
        site: Option<&str>,
        what: impl FnOnce() -> String,
    ) {
        self.checked(invariant);
        if !holds {
            let (at_ms, site) = (self.at_ms, site.map(str::to_owned));
            self.violations.push(Violation { at_ms, invariant, site, what: what() });
        }
    }
}

/// One invariant's checker.
pub trait Check {
    /// Something happened.
    fn observe(&mut self, observation: &Observation, scene: &Scene<'_>, report: &mut Report) {
        let _ = (observation, scene, report);
    }

    /// An office's journal has grown or its node has started, and all that came of it at that moment is over.
    fn changed(&mut self, office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
        let _ = (office, scene, report);
    }

    /// Look at one running office, in the middle of it all.
    fn sample(&mut self, office: SiteIndex, scene: &Scene<'_>, report: &mut Report) {
        let _ = (office, scene, report);
    }

    /// Look at all, after the faults.
    fn finish(&mut self, scene: &Scene<'_>, report: &mut Report) {
        let _ = (scene, report);
    }
}

/// All checkers that look at single moments.
pub fn all() -> Vec<Box<dyn Check>> {
    vec![
        Box::new(digests::EqualDigests::default()),
        Box::new(durability::Durability::default()),
        Box::new(causal_order::CausalOrder::default()),
        Box::new(one_content::OneContent::default()),
        Box::new(deletion::Deletion::default()),
        Box::new(provenance::Provenance),
        Box::new(revocation::Revocation),
        Box::new(confinement::Confinement),
        Box::new(feed::Feed::default()),
        Box::new(bounds::Bounds),
    ]
}
