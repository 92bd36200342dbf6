//! What is to be done when: writes, faults, samples.

use std::collections::BTreeMap;

use rand::RngExt;

use super::{Ending, FaultKind, LOOKS, Run, SAMPLES, SiteIndex, hostile, random};

/// A liar tells a lie this often, on average half as long.
const LIE_MS_MAX: u64 = 10 * 60_000;
/// The stranger knocks this often.
const KNOCKS: u64 = 6;
/// How long a node is off after a crash for which the scenario gives no time.
const OFF_MS: u64 = 10_000;

/// Something to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// Someone writes at an office, and will again.
    Write(SiteIndex),
    /// A copy is made of the disks that an occurrence will put back.
    Backup(usize),
    /// An occurrence begins.
    Begin(usize),
    /// An occurrence ends.
    End(usize),
    /// A liar lies, and will again.
    Lie(usize),
    /// The stranger knocks.
    Knock,
    /// Let the checkers look at all offices.
    Look,
    /// Say how all offices stand.
    Sample,
}

/// Actions by time; those of one time in the order in which they were planned.
#[derive(Default)]
pub(super) struct Agenda {
    actions: BTreeMap<(u64, u64), Action>,
    count: u64,
}

impl Agenda {
    pub(super) fn plan(&mut self, at_ms: u64, action: Action) {
        self.count += 1;
        self.actions.insert((at_ms, self.count), action);
    }

    /// The next action before `end_ms`.
    pub(super) fn next(&mut self, end_ms: u64) -> Option<(u64, Action)> {
        let (&(at_ms, number), _) = self.actions.first_key_value()?;
        if at_ms >= end_ms {
            return None;
        }
        self.actions.remove(&(at_ms, number)).map(|action| (at_ms, action))
    }
}

impl Run<'_> {
    /// Plans all that is known from the start.
    pub(super) fn plan(&mut self) {
        let duration_ms = self.scenario.duration_ms;
        if self.scenario.workload.writes_per_hour > 0 {
            for office in 0..self.scenario.offices.len() {
                let at_ms = self.workload.pause_ms(office);
                self.agenda.plan(at_ms, Action::Write(office));
            }
        }
        for (index, occurrence) in self.occurrences.iter().enumerate() {
            let begins_ms = occurrence.begins_ms;
            if let FaultKind::Restore { age_ms, .. } = occurrence.kind {
                self.agenda.plan(begins_ms.saturating_sub(age_ms), Action::Backup(index));
            }
            self.agenda.plan(begins_ms, Action::Begin(index));
            let ends_ms = match occurrence.kind {
                FaultKind::Crash { .. } | FaultKind::TornFrame { .. } => {
                    Some(occurrence.ends_ms.unwrap_or(begins_ms + OFF_MS))
                }
                _ => occurrence.ends_ms,
            };
            if let Some(ends_ms) = ends_ms {
                self.agenda.plan(ends_ms, Action::End(index));
            }
        }
        for look in 1..=LOOKS {
            self.agenda.plan(duration_ms * look / (LOOKS + 1), Action::Look);
        }
        for sample in 1..=SAMPLES {
            self.agenda.plan(duration_ms * sample / (SAMPLES + 1), Action::Sample);
        }
        let mut draw = random::concern(self.seed, "knocks", &[]);
        for _ in 0..KNOCKS {
            self.agenda.plan(draw.random_range(0..duration_ms.max(1)), Action::Knock);
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        let now_ms = self.now_ms();
        match action {
            Action::Write(office) => {
                self.write(office);
                let pause_ms = self.workload.pause_ms(office);
                // A copy of a disk is thrown away at some time.
                if self.is_there(office) {
                    self.agenda.plan(now_ms + pause_ms, Action::Write(office));
                }
            }
            Action::Backup(index) => {
                let offices = self.occurrences[index].kind.offices();
                let disks = offices.iter().filter_map(|office| self.world.backup(*office));
                self.backups.insert(index, disks.collect());
            }
            Action::Begin(index) => {
                self.begin(index);
                self.report_links();
            }
            Action::End(index) => {
                self.end(index);
                self.report_links();
            }
            Action::Lie(index) => {
                let Some(mut liar) = self.liars.remove(&index) else { return };
                liar.lie(&mut self.world);
                self.liars.insert(index, liar);
                let pause_ms = self.random.random_range(1..LIE_MS_MAX);
                self.agenda.plan(now_ms + pause_ms, Action::Lie(index));
            }
            Action::Knock => {
                let office = self.random.random_range(0..2);
                hostile::knock(&mut self.world, self.stranger, office, &mut self.random);
                self.leak();
            }
            Action::Look => self.look(),
            Action::Sample => self.sample(),
        }
    }

    fn is_there(&self, office: SiteIndex) -> bool {
        office < self.scenario.offices.len()
            || self.clones.values().flatten().any(|clone| *clone == office)
    }

    /// Stops a node and starts it again, for faults that need it off for a moment.
    pub(super) fn with_node_off(&mut self, office: SiteIndex, change: impl FnOnce(&mut Self)) {
        let was_up = self.world.replica(office).is_some();
        self.world.stop(office, Ending::Killed);
        change(self);
        if was_up {
            self.world.start(office);
        }
    }
}
