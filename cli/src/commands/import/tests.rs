//! Laws of reading: what a correct writer wrote comes back, and no line of anything gets lost or is read twice.

use std::collections::BTreeMap;
use std::path::PathBuf;

use branchline_crdt::record::Kind;
use proptest::prelude::*;
use tempfile::TempDir;

use super::reading::ReadArgs;
use super::source::{Row, Source};

/// A file that is read, and its rows with all fields as text.
struct Read {
    reported: String,
    rows: Vec<Row>,
    _folder: TempDir,
}

fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn read(
    name: &str,
    bytes: &[u8],
    args: &ReadArgs,
    id: &str,
    as_text: bool,
) -> Result<Read, String> {
    let (folder, path) = file(name, bytes);
    let (input, survey) = super::open(&path, args, id).map_err(|error| error.message())?;
    let mut kinds = survey.kinds();
    if as_text {
        kinds.values_mut().for_each(|kind| *kind = Kind::String);
    }
    let mut source = Source::open(&input, &survey, &kinds).map_err(|error| error.message())?;
    let rows = std::iter::from_fn(|| source.next().unwrap()).collect();
    let reported = survey.reading.text(survey.has_decimal_comma());
    Ok(Read { reported, rows, _folder: folder })
}

/// The good records by id, and the lines and reasons of the others.
fn sorted(read: &Read) -> (BTreeMap<String, String>, Vec<(u64, String)>) {
    let (mut good, mut bad) = (BTreeMap::new(), Vec::new());
    for row in &read.rows {
        match &row.record {
            Ok((id, fields)) => {
                good.insert(id.clone(), serde_json::to_string(fields).unwrap());
            }
            Err(error) => bad.push((row.raw.line, error.clone())),
        }
    }
    (good, bad)
}

fn csv(text: &str, id: &str) -> (BTreeMap<String, String>, Vec<(u64, String)>) {
    sorted(&read("a.csv", text.as_bytes(), &ReadArgs::default(), id, false).unwrap())
}

#[test]
fn a_row_that_breaks_the_rules_takes_no_other_with_it() {
    let text = "id,name,qty\n1,\"say \\\"hi\\\" now\",1\n2,\"O\"Brien\",2\n3,\"open quote,3\n4,Salt,4\n5,\"a\" b,5\n6,Tea,6\n";
    let (good, bad) = csv(text, "id");
    assert_eq!(good.keys().collect::<Vec<_>>(), ["4", "6"]);
    let lines: Vec<u64> = bad.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [2, 3, 4, 6], "{bad:?}");
    for ((_, error), part) in
        bad.iter().zip(["backslash", "after the closing", "after the closing", "after"])
    {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_quote_that_is_never_closed_costs_its_own_line() {
    let (good, bad) = csv("id,name\n1,a\n2,\"b\n3,c\n4,\"two\nlines\"\n5,\"\"\n", "id");
    assert_eq!(good.keys().collect::<Vec<_>>(), ["1", "3", "4", "5"]);
    assert_eq!(bad.len(), 1, "{bad:?}");
    assert!(bad[0].0 == 3 && bad[0].1.contains("column 2"), "{bad:?}");
}

#[test]
fn the_lines_of_a_broken_cell_stay_together_and_make_no_record() {
    let (good, bad) = csv("id,a\n1,\"one \"x\nb,\"y\" two\nc,d \"z\"\n2,ok\n", "id");
    assert_eq!(good.keys().collect::<Vec<_>>(), ["2"], "{bad:?}");
    assert_eq!(bad.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3]);
    assert!(bad[1].1.contains("lines 3 to 4"), "{bad:?}");
    // A quoted cell over lines in a row that is too short.
    let (good, bad) = csv("id,a,b\n1,\"one\ntwo\"\n2,x,y\n", "id");
    assert_eq!(good.len(), 1);
    assert_eq!(bad, [(2, "2 columns, expected 3".to_owned())]);
}

#[test]
fn a_cell_that_may_have_swallowed_rows_is_said_to() {
    let doubts = |text: &str| {
        let read = read("a.csv", text.as_bytes(), &ReadArgs::default(), "id", false).unwrap();
        read.rows.into_iter().map(|row| (row.raw.line, row.doubt.is_some())).collect::<Vec<_>>()
    };
    let swallowed = "id,name,n\n1,\"Pipe 5,1\n2,Tea,2\n3,Pipe 5\",3\n4,x,y\n";
    assert_eq!(doubts(swallowed), [(2, true), (5, false)]);
    assert_eq!(doubts("id,name,n\n1,\"two\nlines, no more\",1\n"), [(2, false)]);
}

#[test]
fn what_programs_write_around_a_table_is_known() {
    for (text, ids) in [
        // Blank lines, rows of delimiters, the end mark of DOS, a trailing delimiter in every line.
        ("id,a\n\n1,x\n  \n,\n2,y\n\u{1a}", &["1", "2"][..]),
        ("id;a;\n1;x;\n2;y\n", &["1", "2"]),
        ("sep=;\r\nid;a\r\n1;x\r\n", &["1"]),
        ("id\ta\n1\tx\n", &["1"]),
        ("id,a\r1,x\r2,y\r", &["1", "2"]),
        ("Report\n\nid,a\n1,x\n", &["1"]),
        (" id , a\n1,x\n", &["1"]),
    ] {
        let (good, bad) = csv(text, "id");
        assert_eq!(good.keys().collect::<Vec<_>>(), ids, "{text:?} {bad:?}");
        assert_eq!(bad, [], "{text:?}");
    }
    for (text, part) in [
        ("id,,a\n1,x,2\n", "column 2 has values and no name"),
        ("id,a,a\n1,x,2\n", "second one named \"a\""),
        ("id,a.b\n1,x\n", "no '.'"),
        ("sku,a\n1,x\n", "no column \"id\""),
        ("id,\"a\n1,x\n", "is not closed"),
        ("\n\n", "no header row"),
    ] {
        let error =
            read("a.csv", text.as_bytes(), &ReadArgs::default(), "id", false).err().unwrap();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn any_number_of_empty_rows_is_passed_over() {
    let (good, bad) = csv(&format!("id,a\n1,x\n{}2,y\n", ",\n".repeat(100_000)), "id");
    assert_eq!((good.len(), bad.len()), (2, 0));
}

#[test]
fn a_header_cell_with_a_line_end_names_a_field() {
    let (good, _) = csv("id,\"unit\nprice\"\n1,2.5\n2,3\n", "id");
    assert_eq!(good["1"], r#"{"id":1,"unit price":"2.5"}"#);
    let (good, _) = csv("\"unit, price\",id\n2.5,1\n", "id");
    assert_eq!(good.len(), 1);
    let (good, _) = csv("\"unit, price\",id\n2.5,1\n", "\"unit, price\",id");
    assert_eq!(good.keys().collect::<Vec<_>>(), ["2.5,1"]);
}

#[test]
fn european_files_are_recognised_and_said_to_be() {
    let text = "Date;Amount;Total;Paid;id\r\n2025-03-30;173,90;1.234,50;TRUE;7\r\n2025-03-31;5;12;FALSE;8\r\n";
    let (bytes, _, _) = encoding_rs::WINDOWS_1252.encode(text);
    let read = read("a.csv", &bytes, &ReadArgs::default(), "id", false).unwrap();
    assert_eq!(read.reported, "semicolon-separated, decimal comma, UTF-8");
    let (good, bad) = sorted(&read);
    assert_eq!(
        good["7"],
        r#"{"Date":"2025-03-30","Amount":"173.90","Total":"1234.50","Paid":true,"id":7}"#
    );
    assert_eq!(bad, []);
}

#[test]
fn json_is_read_in_lines_arrays_and_pretty_printed() {
    let expected = BTreeMap::from([("1".to_owned(), r#"{"id":"1","a":"é"}"#.to_owned())]);
    for text in [
        "{\"id\":\"1\",\"a\":\"é\"}\n",
        "[{\"id\":\"1\",\"a\":\"é\"}]",
        "{\n \"id\": \"1\",\n \"a\": \"é\"\n}\n",
    ] {
        let utf_16: Vec<u8> =
            format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        // The content tells where the name does not.
        for (name, bytes) in
            [("a.json", text.as_bytes()), ("pipe", text.as_bytes()), ("a.jsonl", &utf_16)]
        {
            let (good, bad) =
                sorted(&read(name, bytes, &ReadArgs::default(), "id", false).unwrap());
            assert_eq!(good, expected, "{name} {text}");
            assert_eq!(bad, []);
        }
    }
}

/// How a table is written.
#[derive(Clone, Debug)]
struct WrittenTable {
    delimiter: u8,
    quotes: csv::QuoteStyle,
    terminator: csv::Terminator,
    encoding: &'static str,
    rows: BTreeMap<String, [String; 2]>,
}

fn written() -> impl Strategy<Value = WrittenTable> {
    let cell = "[ab1,;|\t\"\\\\\r\n .'éüß-]{0,6}";
    let rows = prop::collection::btree_map("[ab1,;|\"\\\\ .é]{1,4}", [cell, cell], 1..6);
    let quotes = prop::sample::select(vec![
        csv::QuoteStyle::Necessary,
        csv::QuoteStyle::Always,
        csv::QuoteStyle::NonNumeric,
    ]);
    let ends =
        vec![csv::Terminator::CRLF, csv::Terminator::Any(b'\n'), csv::Terminator::Any(b'\r')];
    let encodings = vec!["utf-8", "utf-8 with a mark", "utf-16le", "utf-16be", "windows-1252"];
    let parts = (
        prop::sample::select(b",;\t|".to_vec()),
        quotes,
        prop::sample::select(ends),
        prop::sample::select(encodings),
        rows,
    );
    parts.prop_map(|(delimiter, quotes, terminator, encoding, rows)| WrittenTable {
        delimiter,
        quotes,
        terminator,
        encoding,
        rows,
    })
}

impl WrittenTable {
    fn bytes(&self) -> Vec<u8> {
        let mut writer = csv::WriterBuilder::new()
            .delimiter(self.delimiter)
            .quote_style(self.quotes)
            .terminator(self.terminator)
            .from_writer(Vec::new());
        writer.write_record(["a", "id", "b"]).unwrap();
        for (id, [a, b]) in &self.rows {
            writer.write_record([a, id, b]).unwrap();
        }
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        match self.encoding {
            "utf-8" => text.into_bytes(),
            "utf-8 with a mark" => format!("\u{feff}{text}").into_bytes(),
            "utf-16le" => {
                format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
            }
            "utf-16be" => {
                format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect()
            }
            _ => encoding_rs::WINDOWS_1252.encode(&text).0.into_owned(),
        }
    }

    /// Lines that end with a carriage return are known by it alone.
    fn is_possible(&self) -> bool {
        let has_feed = || self.rows.values().flatten().any(|cell| cell.contains('\n'));
        !matches!(self.terminator, csv::Terminator::Any(b'\r')) || !has_feed()
    }
}

proptest! {
    #[test]
    fn what_a_correct_writer_wrote_comes_back(written in written()) {
        prop_assume!(written.is_possible());
        let read = read("a.csv", &written.bytes(), &ReadArgs::default(), "id", true);
        let read = read.map_err(TestCaseError::fail)?;
        let mut found = BTreeMap::new();
        for row in read.rows {
            let (id, fields) = row.record.map_err(TestCaseError::fail)?;
            let cell = |name: &str| fields.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
            found.insert(id, [cell("a"), cell("b")]);
        }
        prop_assert_eq!(found, written.rows);
    }

    #[test]
    fn every_line_of_a_table_is_read_or_set_aside_once(
        body in "[ab1,\"\\\\\r\n \u{0}é;]{0,60}", damage in prop::collection::vec((0..60usize, any::<u8>()), 0..3)
    ) {
        let mut bytes = format!("id,a\n{body}").into_bytes();
        for (at, byte) in damage {
            if let Some(place) = bytes.get_mut(5 + at) {
                *place = byte;
            }
        }
        let args = ReadArgs { encoding: Some(super::input::encoding::Encoding::UTF_8), delimiter: Some(','), ..ReadArgs::default() };
        let read = read("a.csv", &bytes, &args, "id", true).map_err(TestCaseError::fail)?;
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let mut next = 2;
        for row in &read.rows {
            let (first, count) = (row.raw.line, row.raw.lines);
            prop_assert!(first >= next, "line {} is read twice", first);
            prop_assert_eq!(&lines[first as usize - 1..(first + count) as usize - 1].concat(), &row.raw.bytes);
            is_empty(&lines[next as usize - 1..first as usize - 1])?;
            next = first + count;
        }
        is_empty(&lines[next as usize - 1..])?;
    }

    #[test]
    fn every_byte_of_json_is_read_or_set_aside_once(text in "[\\[\\]{}\":,1a\n \\\\]{0,60}") {
        let (_folder, path) = file("a.json", text.as_bytes());
        let read = super::open(&path, &ReadArgs::default(), "id");
        prop_assume!(read.is_ok());
        let (input, survey) = read.map_err(|error| TestCaseError::fail(error.message()))?;
        let kinds = survey.kinds();
        let mut source = Source::open(&input, &survey, &kinds).map_err(|error| TestCaseError::fail(error.message()))?;
        let mut rest = text.as_str();
        while let Some(row) = source.next().map_err(|error| TestCaseError::fail(error.message()))? {
            let bytes = String::from_utf8(row.raw.bytes).unwrap();
            let at = rest.find(&bytes);
            prop_assert!(at.is_some(), "{:?} is not in {:?}", bytes, rest);
            let (between, behind) = rest.split_at(at.unwrap_or_default());
            prop_assert!(between.chars().all(|c| c.is_whitespace() || "[],".contains(c)), "{:?}", between);
            rest = &behind[bytes.len()..];
        }
        prop_assert!(rest.chars().all(|c| c.is_whitespace() || "[],".contains(c)), "{:?}", rest);
    }
}

/// What is neither read nor set aside has no value in it.
fn is_empty(lines: &[&[u8]]) -> Result<(), TestCaseError> {
    for line in lines {
        let has_nothing = line.iter().all(|byte| b",\"\r\n \x1a\x0b\x0c\t".contains(byte));
        prop_assert!(has_nothing, "{:?} was passed over", String::from_utf8_lossy(line));
    }
    Ok(())
}
