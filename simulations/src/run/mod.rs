//! One run of a scenario, in two phases: faults and work, while nothing may go wrong; then the faults end, and all must
//! come into step within a bounded number of sync rounds.
//!
//! - [`Run::new`]: the offices, all members but those that join late.
//! - `agenda`: what is to be done when: writes, faults, samples.
//! - `faults`: how each kind of fault begins and ends.
//! - `figures`: what is counted.

mod agenda;
mod faults;
mod figures;
mod links;

use std::collections::{BTreeMap, BTreeSet};

use branchline_crdt::membership::Role;
use branchline_crdt::record::Edit;
use branchline_crdt::replica::{Decision, Input, WriteError};
use branchline_crdt::verified;
use rand::RngExt;
use rand::rngs::SmallRng;

use crate::check::{self, Check, Report, Scene, convergence, wall_clock};
use crate::hostile::{self, Liar};
use crate::invariant::Invariant;
use crate::oracle::{Oracle, Reply};
use crate::outcome::{Outcome, Violation};
use crate::sabotage::{self, Sabotage};
use crate::scenario::{Fault, FaultKind, FaultName, Occurrence, Scenario};
use crate::store::OfficeDisk;
use crate::trace::{Answer, Event, NoTrace, Step, TraceSink};
use crate::tracer::Tracer;
use crate::workload::{GONE, OfficeWork};
use crate::world::{EPOCH_MS, Ending, Observation, SiteIndex, WallClock, World, random};

use agenda::{Action, Agenda};
use figures::Counters;

/// Looks of the checkers at every office, over the time of the faults: they read all that it shows.
const LOOKS: u64 = 12;
/// Samples of how every office stands, over the same time: enough to draw it.
const SAMPLES: u64 = 400;
/// How often people look whether all are in step, once the faults are over.
const LOOK_MS: u64 = 500;
/// Once in step, what is still under way comes to rest before the last look: receipts, proofs of forks.
const REST_MS: u64 = 2 * convergence::ROUND_MS;

/// Runs a scenario. The same scenario and seed give the same trace and outcome.
pub fn run(scenario: &Scenario, seed: u64, trace: &mut dyn TraceSink) -> Outcome {
    run_sabotaged(scenario, seed, trace, None)
}

/// Runs a scenario in which one thing is wrong that the product never does.
pub fn run_sabotaged(
    scenario: &Scenario,
    seed: u64,
    trace: &mut dyn TraceSink,
    sabotage: Option<Sabotage>,
) -> Outcome {
    // Each signature comes to every office, and to checkers besides.
    verified::remembered(|| run_both(scenario, seed, trace, sabotage))
}

/// The run, and where its clocks are wrong, another one with right clocks.
fn run_both(
    scenario: &Scenario,
    seed: u64,
    trace: &mut dyn TraceSink,
    sabotage: Option<Sabotage>,
) -> Outcome {
    let (mut outcome, world) = Run::new(scenario, seed, trace, sabotage).finish();
    if let Some(right) = wall_clock::with_right_clocks(scenario) {
        let mut unseen = NoTrace;
        let mut again = Run::new(&right, seed, &mut unseen, sabotage);
        // Only what shows in the end is taken of it. What its checkers find is not, and they change nothing.
        again.checks.clear();
        let (_, expected) = again.finish();
        let shown = wall_clock::shown(scenario, &world);
        let expected = wall_clock::shown(&right, &expected);
        *outcome.checks.entry(Invariant::WallClock).or_default() += 1;
        if let Some(what) = wall_clock::difference(&shown, &expected) {
            let (at_ms, invariant) = (outcome.figures.simulated_ms, Invariant::WallClock);
            let violation = Violation { at_ms, invariant, site: None, what };
            let event = Event::Violation { invariant, site: None, what: violation.what.clone() };
            trace.step(&Step { at_ms, event });
            outcome.violate(violation);
        }
    }
    outcome
}

struct Run<'a> {
    scenario: &'a Scenario,
    seed: u64,
    sabotage: Option<Sabotage>,
    world: World,
    /// When the scenario began, in the world's time.
    begin_ms: u64,
    agenda: Agenda,
    occurrences: Vec<Occurrence>,
    workload: OfficeWork,
    oracle: Oracle,
    checks: Vec<Box<dyn Check>>,
    report: Report,
    tracer: Tracer,
    trace: &'a mut dyn TraceSink,
    outcome: Outcome,
    counters: Counters,
    stranger: SiteIndex,
    /// Faults under way, by the number of their occurrence.
    liars: BTreeMap<usize, Liar>,
    liar_offices: Vec<SiteIndex>,
    clones: BTreeMap<usize, Vec<SiteIndex>>,
    backups: BTreeMap<usize, Vec<OfficeDisk>>,
    /// Offices whose disks kill them at their next write.
    dying: BTreeSet<SiteIndex>,
    random: SmallRng,
    forgetful: Option<OfficeDisk>,
    groups: Vec<Vec<SiteIndex>>,
    converged: bool,
    /// What each link carried when that was reported last.
    links_reported: BTreeMap<(SiteIndex, SiteIndex), links::Carried>,
}

impl<'a> Run<'a> {
    fn new(
        scenario: &'a Scenario,
        seed: u64,
        trace: &'a mut dyn TraceSink,
        sabotage: Option<Sabotage>,
    ) -> Self {
        let names: Vec<_> = scenario.offices.iter().map(String::as_str).collect();
        let mut world = World::found(seed, &names);
        let occurrences = scenario.occurrences(seed);
        let joins_late = |office: SiteIndex| {
            let is_join = |o: &&Occurrence| o.kind.name() == FaultName::JoinLate;
            occurrences.iter().filter(is_join).any(|o| o.kind.offices().contains(&office))
        };
        for office in (1..names.len()).filter(|office| !joins_late(*office)) {
            world.link(0, office);
            world.join(0, office, Role::Writer);
            world.unlink(0, office);
        }
        let stranger = world.add_office("stranger");
        for (a, b) in scenario.links.iter().copied().chain([(0, stranger), (1, stranger)]) {
            world.link_with(a, b, scenario.quality);
        }
        let begin_ms = world.time_ms();
        let mut run = Self {
            scenario,
            seed,
            sabotage,
            begin_ms,
            agenda: Agenda::default(),
            workload: OfficeWork::new(scenario, seed),
            oracle: Oracle::default(),
            checks: check::all(),
            report: Report::default(),
            tracer: Tracer::default(),
            trace,
            outcome: Outcome::default(),
            counters: Counters::default(),
            stranger,
            liars: BTreeMap::new(),
            liar_offices: Vec::new(),
            clones: BTreeMap::new(),
            backups: BTreeMap::new(),
            dying: BTreeSet::new(),
            random: random::concern(seed, "faults", &[]),
            forgetful: None,
            groups: convergence::groups(&(0..names.len()).collect::<Vec<_>>(), &scenario.links),
            converged: false,
            links_reported: BTreeMap::new(),
            occurrences,
            world,
        };
        for office in 0..=names.len() {
            let (site, name) = (run.world.site_id(office), run.world.name(office).to_owned());
            run.tracer.meet(site, &name);
        }
        run.set_clocks();
        run.world.observe();
        run.begin_sabotage();
        run.settle();
        run.report_links();
        run.plan();
        run
    }

    fn set_clocks(&mut self) {
        let clocks = self.scenario.clocks;
        for office in 0..self.scenario.offices.len() {
            let mut draw = random::concern(self.seed, "clock", &[office as u64]);
            let skew = clocks.skew_ms_max as i64;
            let drift = i64::from(clocks.drift_ppm_max);
            let offset_ms = draw.random_range(-skew..=skew);
            let drift_ppm = draw.random_range(-drift..=drift);
            self.world.set_clock(office, WallClock { offset_ms, drift_ppm });
        }
    }

    fn finish(mut self) -> (Outcome, World) {
        if self.scenario.workload.schema {
            let schemas = self.workload.schemas();
            self.world.transact(0, None, schemas).ok();
            self.settle();
        }
        while let Some((at_ms, action)) = self.agenda.next(self.scenario.duration_ms) {
            self.run_to(at_ms);
            self.act(action);
            self.settle();
        }
        self.run_to(self.scenario.duration_ms);
        self.heal();
        self.report_links();
        self.converge();
        self.end_sabotage();
        let mut checks = std::mem::take(&mut self.checks);
        self.with_scene(|scene, report| {
            checks.iter_mut().for_each(|check| check.finish(scene, report))
        });
        self.take_violations();
        self.close()
    }

    /// Virtual time since the scenario began.
    fn now_ms(&self) -> u64 {
        self.world.time_ms() - self.begin_ms
    }

    fn run_to(&mut self, at_ms: u64) {
        while self.world.step(self.begin_ms + at_ms) {
            self.settle();
        }
    }

    fn report(&mut self, event: Event) {
        if self.trace.is_on() {
            self.trace.step(&Step { at_ms: self.now_ms(), event });
        }
    }

    fn with_scene(&mut self, look: impl FnOnce(&Scene<'_>, &mut Report)) {
        let scene = Scene {
            world: &self.world,
            oracle: &self.oracle,
            stranger: self.stranger,
            groups: &self.groups,
            converged: self.converged,
            liars: &self.liar_offices,
            seed: self.seed,
        };
        self.report.at_ms = self.world.time_ms() - self.begin_ms;
        look(&scene, &mut self.report);
    }

    /// Lets checkers and the trace see what has happened.
    fn settle(&mut self) {
        let observations = self.world.take_observations();
        if observations.is_empty() {
            return;
        }
        let mut changed = BTreeSet::new();
        for observation in &observations {
            self.counters.count(observation);
            if self.trace.is_on() {
                for event in self.tracer.steps(observation, &self.world) {
                    self.report(event);
                }
            }
            if let Observation::Started { office, .. } | Observation::Stored { office, .. } =
                observation
            {
                changed.insert(*office);
            }
        }
        let mut checks = std::mem::take(&mut self.checks);
        self.with_scene(|scene, report| {
            for check in &mut checks {
                observations
                    .iter()
                    .for_each(|observation| check.observe(observation, scene, report));
                changed.iter().for_each(|office| check.changed(*office, scene, report));
            }
        });
        self.checks = checks;
        self.take_violations();
    }

    /// Lets the checkers look at every office.
    fn look(&mut self) {
        let mut checks = std::mem::take(&mut self.checks);
        for office in 0..self.world.office_count() {
            if office != self.stranger && self.world.replica(office).is_some() {
                self.with_scene(|scene, report| {
                    checks.iter_mut().for_each(|check| check.sample(office, scene, report));
                });
            }
        }
        self.checks = checks;
        self.take_violations();
    }

    /// Reports how every office stands. Unless somebody reads it, that is not gathered: only the figures' part.
    fn sample(&mut self) {
        for office in 0..self.scenario.offices.len() {
            if self.trace.is_on() {
                let event = self.counters.sample(office, &self.world);
                self.report(event);
            } else {
                self.counters.backlog(office, &self.world);
            }
        }
    }

    fn take_violations(&mut self) {
        for violation in std::mem::take(&mut self.report.violations) {
            let Violation { invariant, site, what, .. } = violation.clone();
            self.report(Event::Violation { invariant, site, what });
            self.outcome.violate(violation);
        }
    }

    /// Someone writes at an office.
    fn write(&mut self, office: SiteIndex) {
        let is_clock_right = self.world.wall_ms(office) == EPOCH_MS + self.world.time_ms() as i64;
        let follows_clock = self.sabotage == Some(Sabotage::FollowWallClock);
        let is_member = |world: &World| {
            world.replica(office).is_some_and(|replica| replica.realms().role().is_some())
        };
        if !is_member(&self.world) || (follows_clock && !is_clock_right) {
            return;
        }
        let Some(planned) = self.workload.plan(office, &self.world) else { return };
        if self.sabotage == Some(Sabotage::ForgetAcknowledged) {
            self.forgetful = self.world.backup(office);
        }
        let result = self.world.try_transact(office, None, planned.edits.clone());
        let reported = match &result {
            Some(Ok(_)) => Reply::Acknowledged,
            None | Some(Err(WriteError::Unwritable { .. })) => Reply::Unknown,
            Some(Err(_)) => Reply::Refused,
        };
        self.counters.wrote(reported);
        let (records, what) = (planned.records(), planned.what.clone());
        self.oracle.wrote(office, planned, reported);
        if self.trace.is_on() {
            let answer = match &result {
                Some(Ok(_)) => Answer::Acknowledged(None),
                Some(Err(error)) => Answer::Refused(error.to_string()),
                None => Answer::Refused("the node died over it".to_owned()),
            };
            let site = self.world.name(office).to_owned();
            self.report(Event::Write { site, records, what, answer });
        }
    }

    /// The faults end, and all must come into step.
    fn converge(&mut self) {
        self.report(Event::Healed);
        let rounds_max = convergence::rounds_max(self.scenario, &self.world);
        let healed_ms = self.now_ms();
        let deadline_ms = healed_ms + u64::from(rounds_max) * convergence::ROUND_MS;
        let in_step = |run: &Self| run.groups.iter().all(|group| run.world.are_in_step(group));
        self.leave_out_revoked();
        while !in_step(self) && self.now_ms() < deadline_ms {
            self.run_to(self.now_ms() + LOOK_MS);
            self.leave_out_revoked();
        }
        let took_ms = self.now_ms() - healed_ms;
        let rounds = u32::try_from(took_ms.div_ceil(convergence::ROUND_MS)).unwrap_or(u32::MAX);
        if in_step(self) {
            self.report(Event::Converged { rounds });
            self.sample();
        }
        self.run_to(self.now_ms() + REST_MS);
        self.converged = in_step(self);
        self.outcome.figures.converge_rounds_max = rounds_max;
        if self.converged {
            self.outcome.figures.converge_ms = Some(took_ms);
            self.outcome.figures.converge_rounds = Some(rounds);
        }
        let (converged, what) = (self.converged, self.who_is_behind());
        self.with_scene(|_, report| {
            report.expect(Invariant::Convergence, converged, None, || {
                format!(
                    "not all offices are in step {rounds_max} sync rounds after the faults: {what}"
                )
            });
        });
        self.look();
        self.sample();
    }

    /// Offices that the first one, which nobody can shut out, knows to be out need not come into step, and pass nothing
    /// on: they were revoked, or took a key that another one stands before.
    fn leave_out_revoked(&mut self) {
        let Some(members) = self.world.replica(0).and_then(|replica| replica.realms().members())
        else {
            return;
        };
        let is_out = |office: &SiteIndex| {
            let site = self.world.site_id(*office);
            members.ever(&site).is_some() && members.get(&site).is_none()
        };
        let offices: Vec<_> = (0..self.scenario.offices.len()).filter(|o| !is_out(o)).collect();
        let links = self.scenario.links.iter().copied();
        let links: Vec<_> = links.filter(|(a, b)| !is_out(a) && !is_out(b)).collect();
        self.groups = convergence::groups(&offices, &links);
    }

    /// What keeps the offices from being in step, in words.
    fn who_is_behind(&self) -> String {
        let mut words = Vec::new();
        for office in self.groups.iter().flatten() {
            let name = self.world.name(*office);
            words.push(match self.world.replica(*office) {
                None => format!("{name} is down"),
                Some(replica) => {
                    let entries = replica.status().entries;
                    let damaged = self.world.damaged_count(*office);
                    match damaged {
                        0 => format!("{name} holds {entries} entries"),
                        _ => format!("{name} holds {entries} entries, {damaged} damaged places"),
                    }
                }
            });
        }
        words.join(", ")
    }

    fn begin_sabotage(&mut self) {
        match self.sabotage {
            Some(Sabotage::SwallowLog) => {
                let site = self.world.site_id(1);
                self.world.tamper(sabotage::swallow_log(2, site));
            }
            Some(Sabotage::SwapFrames) => {
                if let Some(store) = self.world.store_mut(2) {
                    store.swap_frames();
                }
            }
            Some(Sabotage::FloodPeers) => {
                let site =
                    |n: u64| branchline_crdt::ids::SiteId(random::hash(self.seed, "flood", &[n]));
                let inputs = (0..100).map(|n| Input::PeerUp(site(n))).collect();
                self.world.inputs(1, inputs);
            }
            Some(
                Sabotage::AlterDigest
                | Sabotage::ForgetAcknowledged
                | Sabotage::Resurrect
                | Sabotage::AlterValue
                | Sabotage::KeepRevoked
                | Sabotage::LeaveOut
                | Sabotage::LoseBranch
                | Sabotage::Leak
                | Sabotage::FollowWallClock,
            )
            | None => {}
        }
    }

    fn end_sabotage(&mut self) {
        match self.sabotage {
            Some(Sabotage::AlterDigest) => sabotage::alter_digest(&mut self.world, 1),
            Some(Sabotage::AlterValue) => sabotage::alter_value(&mut self.world, 1),
            Some(Sabotage::LeaveOut) => sabotage::leave_out(&mut self.world, 1),
            Some(Sabotage::KeepRevoked) => sabotage::keep_revoked(&mut self.world, 1),
            Some(Sabotage::LoseBranch) => sabotage::lose_branch(&mut self.world, 1),
            Some(
                Sabotage::SwallowLog
                | Sabotage::ForgetAcknowledged
                | Sabotage::SwapFrames
                | Sabotage::Resurrect
                | Sabotage::Leak
                | Sabotage::FloodPeers
                | Sabotage::FollowWallClock,
            )
            | None => {}
        }
    }

    /// Figures and the world as it is in the end.
    fn close(mut self) -> (Outcome, World) {
        self.outcome.checks = std::mem::take(&mut self.report.checks);
        self.outcome.figures.simulated_ms = self.now_ms();
        self.counters.finish(self.scenario, &self.world, &mut self.outcome.figures);
        (self.outcome, self.world)
    }
}
