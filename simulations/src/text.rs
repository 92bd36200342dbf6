//! Numbers as people read them.

use std::fmt;

/// A count with its thousands apart: `12,345`.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// A count of a thing: `1 write`, `12,345 writes`.
pub fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", Count(number)),
    }
}

/// A number of bytes in the unit that suits it: `812 B`, `4.1 KB`, `23 MB`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        let mut unit = "B";
        for greater in ["KB", "MB", "GB", "TB"] {
            if value < 1_000.0 {
                break;
            }
            value /= 1_000.0;
            unit = greater;
        }
        match unit {
            "B" => f.pad(&format!("{} B", self.0)),
            _ if value < 9.95 => f.pad(&format!("{value:.1} {unit}")),
            _ => f.pad(&format!("{value:.0} {unit}")),
        }
    }
}

/// A point in virtual time: `06:00:00.000`, `3 d 06:00:00.040`.
#[derive(Clone, Copy, Debug)]
pub struct Clock(pub u64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ms) = (self.0 / 1_000, self.0 % 1_000);
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        if days > 0 {
            write!(f, "{days} d ")?;
        }
        write!(f, "{:02}:{:02}:{:02}.{ms:03}", hours % 24, minutes % 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        let texts: Vec<_> = [0, 999, 1_000, 1_234_567].map(|n| Count(n).to_string()).into();
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(counted(1, "write"), "1 write");
        assert_eq!(counted(2_000, "write"), "2,000 writes");
    }

    #[test]
    fn bytes_are_shown_in_a_unit_that_suits_them() {
        let texts: Vec<_> = [0, 999, 1_000, 9_960, 23_400_000].map(|n| Bytes(n).to_string()).into();
        assert_eq!(texts, ["0 B", "999 B", "1.0 KB", "10 KB", "23 MB"]);
    }

    #[test]
    fn points_in_time_tell_the_day_once_there_is_one() {
        assert_eq!(Clock(21_600_000).to_string(), "06:00:00.000");
        assert_eq!(Clock(3 * 86_400_000 + 3_661_040).to_string(), "3 d 01:01:01.040");
    }
}
