//! Faults in plain words.

use super::units::Readable;
use super::{FaultKind, Office, Scenario};

impl Scenario {
    /// What a fault is, for someone who knows the offices and nothing of the program.
    pub fn words(&self, fault: &FaultKind) -> String {
        match fault {
            FaultKind::Split { groups } => {
                let groups: Vec<_> = groups.iter().map(|group| self.list(group)).collect();
                format!("no line between {}", groups.join(" on one side and "))
            }
            FaultKind::Isolate { offices } => match offices.as_slice() {
                [one] => format!("{} has no line to anyone", self.name_of(*one)),
                many => format!("{} have no line to anyone", self.list(many)),
            },
            FaultKind::Cut { links } => format!("cut: the line {}", self.lines(links)),
            FaultKind::OneWay { links } => {
                let deaf = links.iter().map(|(heard, hears)| {
                    let (heard, hears) = (self.name_of(*heard), self.name_of(*hears));
                    format!("{heard} hears nothing from {hears}, which hears {heard}")
                });
                deaf.collect::<Vec<_>>().join("; ")
            }
            FaultKind::Degrade { links, quality } => {
                let lost = f64::from(quality.loss_ppm) / 10_000.0;
                let delay = Readable(quality.latency_ms);
                format!("bad: the line {} ({delay} of delay, {lost:.1}% lost)", self.lines(links))
            }
            FaultKind::Stop { offices } => {
                format!("the node of {} is switched off", self.list(offices))
            }
            FaultKind::Crash { offices } => format!("the power fails at {}", self.list(offices)),
            FaultKind::TornFrame { offices } => {
                format!("the power fails at {} in the middle of a write", self.list(offices))
            }
            FaultKind::BitFlip { offices, bits: 1 } => {
                format!("a bit changes on the disk of {}", self.list(offices))
            }
            FaultKind::BitFlip { offices, bits } => {
                format!("{bits} bits change on the disk of {}", self.list(offices))
            }
            FaultKind::LostTables { offices } => {
                format!("the tables of {} are lost", self.list(offices))
            }
            FaultKind::FullDisk { offices } => {
                format!("the disk of {} is full", self.list(offices))
            }
            FaultKind::ShortRoom { offices } => {
                format!("{} has too little room for what others write", self.list(offices))
            }
            FaultKind::Restore { offices, age_ms } => {
                let age = Readable(*age_ms);
                format!("the disk of {} is replaced by a backup {age} old", self.list(offices))
            }
            FaultKind::Clone { offices } => {
                format!("a copy of the disk of {} runs as a second node", self.list(offices))
            }
            FaultKind::JoinLate { offices } => {
                format!("new in the network: {}", self.list(offices))
            }
            FaultKind::Clock { offices, offset_ms } => {
                let way = if *offset_ms < 0 { "back" } else { "ahead" };
                let by = Readable(offset_ms.unsigned_abs());
                format!("the clock of {} jumps {way} by {by}", self.list(offices))
            }
            FaultKind::Byzantine { offices, .. } => format!("lying: {}", self.list(offices)),
            FaultKind::Revoke { by, offices } => {
                format!("{} shuts {} out", self.name_of(*by), self.list(offices))
            }
            FaultKind::ChangeRole { by, offices, role } => {
                format!("{} makes {} {role}", self.name_of(*by), self.list(offices))
            }
            FaultKind::Rotate { offices } => format!("another key for {}", self.list(offices)),
            FaultKind::Upgrade { offices } => {
                format!("a later program runs at {}", self.list(offices))
            }
        }
    }

    fn name_of(&self, office: Office) -> &str {
        self.offices.get(office).map_or("?", String::as_str)
    }

    /// `a`, `a and b`, `a, b and c`.
    fn list(&self, offices: &[Office]) -> String {
        let names: Vec<_> = offices.iter().map(|office| self.name_of(*office)).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
            Some(_) | None => names.concat(),
        }
    }

    fn lines(&self, links: &[(Office, Office)]) -> String {
        let line =
            |(a, b): &(Office, Office)| format!("{} – {}", self.name_of(*a), self.name_of(*b));
        links.iter().map(line).collect::<Vec<_>>().join(", ")
    }
}
