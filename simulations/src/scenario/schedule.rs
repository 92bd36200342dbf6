//! From what a scenario says to what happens when: repetitions unrolled, chances drawn.

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use super::fault::{Fault, FaultKind, FaultName, Mixture};
use super::units::DAY_MS;
use super::{LinkQuality, Office, Scenario};

/// One fault that happens once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// When it begins, in ms since the scenario began.
    pub begins_ms: u64,
    /// When it ends, within the scenario; `None`: it happens at once, or lasts to the end.
    pub ends_ms: Option<u64>,
    /// What.
    pub kind: FaultKind,
}

impl Scenario {
    /// Everything that goes wrong in a run with this seed, in the order of its beginning.
    pub fn occurrences(&self, seed: u64) -> Vec<Occurrence> {
        let mut occurrences: Vec<_> =
            self.faults.iter().flat_map(|fault| self.repeated(fault)).collect();
        let mut random = SmallRng::seed_from_u64(seed);
        for mixture in &self.mixtures {
            self.draw(mixture, &mut random, &mut occurrences);
        }
        // Stable: what begins at the same time keeps the order of the file.
        occurrences.sort_by_key(|occurrence| occurrence.begins_ms);
        occurrences
    }

    fn repeated(&self, fault: &Fault) -> Vec<Occurrence> {
        let occurrence = |begins_ms: u64| Occurrence {
            begins_ms,
            ends_ms: fault
                .for_ms
                .map(|for_ms| begins_ms + for_ms)
                .filter(|ms| *ms < self.duration_ms),
            kind: fault.kind.clone(),
        };
        match fault.every_ms {
            None => vec![occurrence(fault.at_ms)],
            Some(every_ms) => {
                let step = usize::try_from(every_ms.max(1)).unwrap_or(usize::MAX);
                (fault.at_ms..self.duration_ms).step_by(step).map(occurrence).collect()
            }
        }
    }

    fn draw(&self, mixture: &Mixture, random: &mut SmallRng, into: &mut Vec<Occurrence>) {
        let Some(span_ms) = self.duration_ms.checked_sub(mixture.at_ms).filter(|ms| *ms > 0) else {
            return;
        };
        let count = (span_ms * u64::from(mixture.per_day)).div_ceil(DAY_MS);
        for _ in 0..count {
            let begins_ms = mixture.at_ms + random.random_range(0..span_ms);
            let for_ms = random.random_range(0..=mixture.for_ms_max).max(1);
            let Some(name) = pick(&mixture.kinds, random) else { return };
            let Some(kind) = self.draw_kind(name, begins_ms, random) else { continue };
            let ends_ms =
                Some(begins_ms + for_ms).filter(|ms| *ms < self.duration_ms && !name.is_instant());
            into.push(Occurrence { begins_ms, ends_ms, kind });
        }
    }

    /// A fault of this kind somewhere; `None` where the network is too small for it.
    fn draw_kind(&self, name: FaultName, at_ms: u64, random: &mut SmallRng) -> Option<FaultKind> {
        let mut all: Vec<Office> = (0..self.offices.len()).collect();
        all.shuffle(random);
        let offices = vec![*all.first()?];
        let links = vec![pick(&self.links, random)?];
        let kind = match name {
            FaultName::Split => {
                let at = random.random_range(1..all.len().max(2));
                let (one, other) = all.split_at_checked(at)?;
                FaultKind::Split { groups: vec![one.to_vec(), other.to_vec()] }
            }
            FaultName::Isolate => FaultKind::Isolate { offices },
            FaultName::Cut => FaultKind::Cut { links },
            FaultName::OneWay => {
                let turned =
                    links.into_iter().map(|(a, b)| if random.random() { (a, b) } else { (b, a) });
                FaultKind::OneWay { links: turned.collect() }
            }
            FaultName::Degrade => {
                let latency_ms = random.random_range(100..5_000);
                let loss_ppm = random.random_range(0..400_000);
                let quality = LinkQuality {
                    latency_ms,
                    jitter_ms: latency_ms,
                    loss_ppm,
                    bytes_per_second: Some(random.random_range(1_000..100_000)),
                };
                FaultKind::Degrade { links, quality }
            }
            FaultName::Stop => FaultKind::Stop { offices },
            FaultName::Crash => FaultKind::Crash { offices },
            FaultName::TornFrame => FaultKind::TornFrame { offices },
            FaultName::BitFlip => FaultKind::BitFlip { offices, bits: random.random_range(1..=8) },
            FaultName::LostTables => FaultKind::LostTables { offices },
            FaultName::FullDisk => FaultKind::FullDisk { offices },
            FaultName::Restore => {
                FaultKind::Restore { offices, age_ms: random.random_range(0..=at_ms) }
            }
            FaultName::Clone => FaultKind::Clone { offices },
            FaultName::Clock => {
                let year_ms = 365 * DAY_MS as i64;
                FaultKind::Clock { offices, offset_ms: random.random_range(-year_ms..=year_ms) }
            }
            FaultName::JoinLate
            | FaultName::ShortRoom
            | FaultName::Byzantine
            | FaultName::Revoke
            | FaultName::Role
            | FaultName::Rotate
            | FaultName::Upgrade => return None,
        };
        Some(kind)
    }
}

fn pick<T: Copy>(from: &[T], random: &mut SmallRng) -> Option<T> {
    if from.is_empty() { None } else { from.get(random.random_range(0..from.len())).copied() }
}
