//! The records that all jobs write: sales of a chain of shops.
//!
//! 10 scalar fields, some 208 bytes of JSON. A record's number alone decides what is in it. Names of people and places,
//! products, prices, moments and receipts are drawn at random, each from a range of natural size, so that records pack
//! as real ones do: a thousand in one entry take some 48 bytes each, ids and all.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use branchline_node::api::ImportLine;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

/// The collection that holds them.
pub(crate) const COLLECTION: &str = "sales";

const SEED: u64 = 0x5a1e5;
const BRANCHES: [&str; 12] = [
    "Yangon",
    "Mandalay",
    "Naypyitaw",
    "Bago",
    "Mawlamyine",
    "Taunggyi",
    "Pathein",
    "Monywa",
    "Sittwe",
    "Meiktila",
    "Myeik",
    "Lashio",
];
const PAYMENTS: [&str; 4] = ["cash", "card", "wallet", "invoice"];
const SYLLABLES: [&str; 24] = [
    "aung", "kyaw", "min", "thu", "zaw", "htet", "nay", "lin", "moe", "su", "khin", "myat", "phyo",
    "win", "thida", "hla", "soe", "ye", "naing", "ei", "cho", "tun", "san", "wai",
];
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKLMNPQRSTUVWX";

/// How records are called: what follows what on disk depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ids {
    /// One after the other.
    Sequential,
    /// Random UUIDs, version 4.
    Uuid4,
    /// UUIDs that begin with the moment, version 7: ten in each millisecond.
    Uuid7,
    /// So many sites that each count for themselves, and have their turns.
    Sites(usize),
    /// Branch, day and receipt, as people write them down.
    Natural,
}

static IDS: OnceLock<Ids> = OnceLock::new();

impl Ids {
    /// Calls all records of this process so. Once only, before the first of them.
    pub(crate) fn set(self) {
        assert!(IDS.set(self).is_ok(), "records have their names already");
    }
}

impl FromStr for Ids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("sites:").map(str::parse)) {
            ("sequential", _) => Ok(Self::Sequential),
            ("uuid4", _) => Ok(Self::Uuid4),
            ("uuid7", _) => Ok(Self::Uuid7),
            ("natural", _) => Ok(Self::Natural),
            (_, Some(Ok(sites))) if sites > 0 => Ok(Self::Sites(sites)),
            _ => Err("expected sequential, uuid4, uuid7, sites:N or natural".to_owned()),
        }
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequential => f.write_str("sequential"),
            Self::Uuid4 => f.write_str("uuid4"),
            Self::Uuid7 => f.write_str("uuid7"),
            Self::Sites(sites) => write!(f, "sites:{sites}"),
            Self::Natural => f.write_str("natural"),
        }
    }
}

/// The id of a record.
pub(crate) fn id(number: usize) -> String {
    let mut random = SmallRng::seed_from_u64(!SEED ^ number as u64);
    let uuid = |high: u64, low: u64| {
        let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0xffff);
        format!("{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff)
    };
    let variant = |low: u64| (low & !(0b11 << 62)) | (0b10 << 62);
    match IDS.get().unwrap_or(&Ids::Sequential) {
        Ids::Sequential => format!("S-{number:08}"),
        Ids::Uuid4 => {
            let (high, low) = (random.random::<u64>(), random.random());
            uuid((high & !0xf000) | 0x4000, variant(low))
        }
        Ids::Uuid7 => {
            let moment_ms = 1_790_000_000_000 + number as u64 / 10;
            let (high, low) = (random.random::<u64>() & 0x0fff, random.random());
            uuid((moment_ms << 16) | 0x7000 | high, variant(low))
        }
        Ids::Sites(sites) => format!("shop-{:03}-{:08}", number % sites, number / sites),
        Ids::Natural => {
            let branch = BRANCHES[random.random_range(0..BRANCHES.len())];
            let (month, day) = (random.random_range(1..=12), random.random_range(1..=28));
            format!("{branch}.2026-{month:02}-{day:02}.{number:06}")
        }
    }
}

/// The fields of a record.
pub(crate) fn fields(number: usize) -> Map<String, Value> {
    let mut random = SmallRng::seed_from_u64(SEED ^ number as u64);
    let mut pick = |end: usize| random.random_range(0..end);
    let mut name = String::new();
    for part in 0..3 {
        let syllable = SYLLABLES[pick(SYLLABLES.len())];
        match part {
            0 => name.push_str(&capital(syllable)),
            1 => name.push_str(syllable),
            _ => name.push_str(&format!(" {}", capital(syllable))),
        }
    }
    let receipt: String = (0..10).map(|_| char::from(DIGITS[pick(DIGITS.len())])).collect();
    let quantity = pick(12) + 1;
    let price_cents = 45 + pick(20_000);
    let seconds = pick(24 * 60 * 60);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fields = json!({
        "branch": BRANCHES[pick(BRANCHES.len())],
        "customer": name,
        "product": format!("P-{:05}", pick(30_000)),
        "unit_price": format!("{}.{:02}", price_cents / 100, price_cents % 100),
        "quantity": quantity,
        "total_cents": quantity * price_cents,
        "sold": format!("2026-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", pick(12) + 1, pick(28) + 1),
        "payment": PAYMENTS[pick(PAYMENTS.len())],
        "member": pick(2) == 0,
        "receipt": receipt,
    });
    let Value::Object(fields) = fields else { unreachable!("a record is an object") };
    fields
}

fn capital(word: &str) -> String {
    word[..1].to_uppercase() + &word[1..]
}

/// The fields as the body of a PUT.
pub(crate) fn body(number: usize) -> Vec<u8> {
    Value::Object(fields(number)).to_string().into_bytes()
}

/// Records as JSON lines for the import path of the API.
pub(crate) fn lines(numbers: std::ops::Range<usize>) -> Vec<u8> {
    let mut lines = Vec::new();
    for number in numbers {
        let line = ImportLine { id: id(number), fields: fields(number) };
        serde_json::to_writer(&mut lines, &line).expect("JSON");
        lines.push(b'\n');
    }
    lines
}

/// Splits `0..records` into batches.
pub(crate) fn batches(
    records: usize,
    batch: usize,
) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..records).step_by(batch).map(move |first| first..(first + batch).min(records))
}
