//! The records that all jobs write: sales of a chain of shops.
//!
//! 10 scalar fields, some 208 bytes of JSON. A record's number alone decides what is in it. Names of people and places,
//! products, prices, moments and receipts are drawn at random, each from a range of natural size, so that records pack
//! as real ones do: a thousand in one entry take some 48 bytes each, ids and all.

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

/// The id of a record.
pub(crate) fn id(number: usize) -> String {
    format!("S-{number:08}")
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
