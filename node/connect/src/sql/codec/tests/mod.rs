//! Every type with its traps, by engine.

#![allow(clippy::unwrap_used)]

mod times;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::sql::shape::Charset;
use crate::sql::value::Datetime;

fn column(declared: &str, kind: ColumnType) -> ColumnShape {
    ColumnShape {
        name: "c".to_owned(),
        declared: declared.to_owned(),
        kind,
        is_nullable: true,
        has_default: false,
        is_generated: false,
        is_numbered: false,
        is_identity_always: false,
        key_trap: None,
    }
}

fn options(engine: Engine) -> Options {
    Options {
        engine,
        zone: None,
        zero_date: ZeroDate::SetAside,
        is_lossy: false,
        form: TimeForm::Text,
    }
}

fn in_madrid(engine: Engine) -> Options {
    Options { zone: Some(TimeZone::get("Europe/Madrid").unwrap()), ..options(engine) }
}

fn lossy(engine: Engine) -> Options {
    Options { is_lossy: true, ..options(engine) }
}

fn codec_of(kind: ColumnType, field: FieldKind, options: Options) -> Codec {
    Codec::new(&column("type", kind), field, options).unwrap()
}

/// The codec that plan would choose.
fn codec(engine: Engine, kind: ColumnType) -> Codec {
    let shape = column("type", kind);
    let field = Codec::infer(&shape, false, &options(engine)).unwrap();
    Codec::new(&shape, field, options(engine)).unwrap()
}

fn string(text: &str) -> Value {
    Value::Str(text.to_owned())
}

const INT4: ColumnType = ColumnType::Integer { min: -2_147_483_648, max: 2_147_483_647 };
const INT8: ColumnType =
    ColumnType::Integer { min: -9_223_372_036_854_775_808, max: 9_223_372_036_854_775_807 };
const UNSIGNED: ColumnType = ColumnType::Integer { min: 0, max: 18_446_744_073_709_551_615 };

fn numeric(all: u32, behind: u32) -> ColumnType {
    ColumnType::Decimal { digits: Some((all, behind)) }
}

fn datetime(digits: u8, has_zone: bool) -> ColumnType {
    ColumnType::DateTime { digits, has_zone }
}

fn text(chars_max: Option<u64>, charset: Charset, is_padded: bool) -> ColumnType {
    ColumnType::Text { chars_max, charset, is_padded }
}

/// Cells and values that become each other.
#[track_caller]
fn pairs(codec: &Codec, pairs: &[(Cell, Value)]) {
    for (cell, value) in pairs {
        assert_eq!(codec.to_value(cell).as_ref(), Ok(value), "{cell:?}");
        assert_eq!(codec.to_cell(value).as_ref(), Ok(cell), "{value:?}");
    }
}

#[track_caller]
fn unreadable(codec: &Codec, cells: &[Cell]) {
    for cell in cells {
        assert!(codec.to_value(cell).is_err(), "{cell:?} is {:?}", codec.to_value(cell));
    }
}

#[track_caller]
fn unwritable(codec: &Codec, values: &[Value]) {
    for value in values {
        assert!(codec.to_cell(value).is_err(), "{value:?} is {:?}", codec.to_cell(value));
    }
}

#[test]
fn whole_numbers_keep_to_their_range() {
    let int4 = codec(Engine::Postgres, INT4);
    pairs(
        &int4,
        &[(Cell::text("-2147483648"), Value::Int(-2_147_483_648)), (Cell::Null, Value::Null)],
    );
    unwritable(
        &int4,
        &[Value::Int(2_147_483_648), Value::Float(1.0), string("1"), Value::Bool(true)],
    );
    // MariaDB's ZEROFILL.
    assert_eq!(codec(Engine::MariaDb, INT4).to_value(&Cell::text("00042")), Ok(Value::Int(42)));

    let unsigned = codec(Engine::MariaDb, UNSIGNED);
    assert_eq!(unsigned.field(), FieldKind::Decimal);
    pairs(&unsigned, &[(Cell::text("18446744073709551615"), string("18446744073709551615"))]);
    assert_eq!(unsigned.to_cell(&string("5.00")), Ok(Cell::text("5")));
    unwritable(&unsigned, &[string("18446744073709551616"), string("-1"), string("0.5")]);
    let refused = Codec::new(
        &column("bigint(20) unsigned", UNSIGNED),
        FieldKind::Integer,
        options(Engine::MariaDb),
    );
    assert!(refused.unwrap_err().contains("use the kind decimal"));
    // AUTO_INCREMENT begins at 1.
    let numbered = ColumnShape { is_numbered: true, ..column("bigint(20) unsigned", UNSIGNED) };
    assert_eq!(Codec::infer(&numbered, true, &options(Engine::MariaDb)), Ok(FieldKind::Integer));
    let numbered = Codec::new(&numbered, FieldKind::Integer, options(Engine::MariaDb)).unwrap();
    unreadable(&numbered, &[Cell::text("9223372036854775808")]);
}

#[test]
fn a_sqlite_cell_counts_by_its_class() {
    let integer = codec(Engine::Sqlite, INT8);
    pairs(
        &integer,
        &[(Cell::Integer(5), Value::Int(5)), (Cell::Integer(i64::MIN), Value::Int(i64::MIN))],
    );
    unreadable(
        &integer,
        &[
            Cell::Real(1.5),
            Cell::Real(9_223_372_036_854_775_808.0),
            Cell::text("5"),
            Cell::Bytes(vec![5]),
        ],
    );
    let real = codec(Engine::Sqlite, ColumnType::Float { is_double: true });
    pairs(&real, &[(Cell::Real(0.1), Value::Float(0.1))]);
    assert_eq!(real.to_value(&Cell::Integer(3)), Ok(Value::Float(3.0)));
    unreadable(
        &real,
        &[Cell::Real(f64::INFINITY), Cell::text("0.1"), Cell::Integer((1 << 53) + 1)],
    );
    let boolean = codec(Engine::Sqlite, ColumnType::Boolean);
    pairs(
        &boolean,
        &[(Cell::Integer(0), Value::Bool(false)), (Cell::Integer(1), Value::Bool(true))],
    );
    unreadable(&boolean, &[Cell::text("t"), Cell::Integer(2), Cell::Real(1.0)]);
    let plain = codec(Engine::Sqlite, text(None, Charset::Unicode, false));
    pairs(&plain, &[(Cell::text("1.1\0"), string("1.1\0"))]);
    unreadable(&plain, &[Cell::Bytes(vec![0xff]), Cell::Integer(1)]);
    let bytes = codec(Engine::Sqlite, ColumnType::Bytes { bytes_max: None, padded_to: None });
    pairs(&bytes, &[(Cell::Bytes(vec![]), Value::Bytes(vec![])), (Cell::Null, Value::Null)]);
    unreadable(&bytes, &[Cell::text("x")]);
}

#[test]
fn sqlite_columns_that_change_their_values_are_refused_or_checked() {
    let infer = |declared| {
        Codec::infer(&column(declared, ColumnType::Loose), false, &options(Engine::Sqlite))
    };
    assert!(infer("DECIMAL(10,2)").unwrap_err().contains("TEXT"));
    assert_eq!(infer("UUID"), Ok(FieldKind::String));
    let loose = |field| codec_of(ColumnType::Loose, field, options(Engine::Sqlite));
    pairs(&loose(FieldKind::String), &[(Cell::text("ab"), string("ab"))]);
    unwritable(&loose(FieldKind::String), &[string("00123"), string("1e5"), string(" 5 ")]);
    unreadable(&loose(FieldKind::String), &[Cell::Integer(123), Cell::Real(1.5)]);
    pairs(&loose(FieldKind::Float), &[(Cell::Real(1.5), Value::Float(1.5))]);
    pairs(&loose(FieldKind::Boolean), &[(Cell::Integer(1), Value::Bool(true))]);
    let decimal = |options| {
        Codec::new(&column("DECIMAL(10,2)", ColumnType::Loose), FieldKind::Decimal, options)
    };
    assert!(decimal(options(Engine::Sqlite)).is_err());
    let decimal = decimal(lossy(Engine::Sqlite)).unwrap();
    pairs(&decimal, &[(Cell::Real(1.1), string("1.1"))]);
    assert!(decimal.is_same(&string("1.10"), &string("1.1")));
    // A decimal in TEXT is exact.
    let exact =
        codec_of(text(None, Charset::Unicode, false), FieldKind::Decimal, options(Engine::Sqlite));
    pairs(&exact, &[(Cell::text("123456789012345678.90"), string("123456789012345678.90"))]);
    unreadable(&exact, &[Cell::text("1e5"), Cell::text("abc")]);
    assert!(!exact.is_same(&string("1.10"), &string("1.1")));
}

#[test]
fn decimals_are_never_rounded() {
    for engine in [Engine::Postgres, Engine::MariaDb] {
        let price = codec(engine, numeric(12, 2));
        pairs(
            &price,
            &[(Cell::text("1.10"), string("1.10")), (Cell::text("-0.05"), string("-0.05"))],
        );
        assert_eq!(price.to_cell(&string("1.1")), Ok(Cell::text("1.10")));
        assert_eq!(price.to_cell(&string("1.100")), Ok(Cell::text("1.10")));
        assert_eq!(price.to_cell(&string("007")), Ok(Cell::text("7.00")));
        assert_eq!(price.to_cell(&string("-0")), Ok(Cell::text("0.00")));
        assert_eq!(price.to_cell(&Value::Int(3)), Ok(Cell::text("3.00")));
        unwritable(
            &price,
            &[string("1.005"), string("12345678901"), string("x"), Value::Float(1.5)],
        );
        unreadable(&price, &[Cell::text("NaN"), Cell::text("Infinity"), Cell::text("")]);
        assert!(price.is_same(&string("1.1"), &string("1.10")));
        assert!(!price.is_same(&string("1.1"), &string("1.11")));
    }
    let unbounded = codec(Engine::Postgres, ColumnType::Decimal { digits: None });
    pairs(&unbounded, &[(Cell::text("1.10"), string("1.10"))]);
    assert!(!unbounded.is_same(&string("1.1"), &string("1.10")));
    unwritable(&unbounded, &[string(&"9".repeat(39))]);
    unreadable(&unbounded, &[Cell::text(format!("1{}", "0".repeat(38)))]);
    let rounded = codec_of(numeric(5, 2), FieldKind::Decimal, lossy(Engine::Postgres));
    assert_eq!(rounded.to_cell(&string("1.005")), Ok(Cell::text("1.01")));
    assert_eq!(rounded.to_cell(&string("-9.995")), Ok(Cell::text("-10.00")));
    unwritable(&rounded, &[string("999.995")]);
    assert!(rounded.is_same(&string("1.005"), &string("1.01")));
    let refuse = |kind, field| {
        Codec::new(&column("decimal", kind), field, options(Engine::MariaDb)).unwrap_err()
    };
    assert!(refuse(numeric(65, 30), FieldKind::Decimal).contains("65 digits"));
    assert!(refuse(numeric(10, 2), FieldKind::Counter).contains("whole number"));
}

#[test]
fn floats_of_32_bits_are_one_value_however_they_are_written() {
    let single = ColumnType::Float { is_double: false };
    let (postgres, mariadb) =
        (codec(Engine::Postgres, single.clone()), codec(Engine::MariaDb, single));
    assert_eq!(postgres.to_value(&Cell::text("0.1")), Ok(Value::Float(0.1)));
    assert_eq!(mariadb.to_value(&Cell::text("0.10000000149011612")), Ok(Value::Float(0.1)));
    assert_eq!(postgres.to_value(&Cell::text("1.6777216e+07")), Ok(Value::Float(16_777_216.0)));
    assert_eq!(postgres.to_cell(&Value::Float(0.1)), Ok(Cell::text("0.1")));
    unwritable(
        &postgres,
        &[Value::Float(16_777_217.0), Value::Float(1e39), Value::Float(0.1 + 0.2)],
    );
    let double = codec(Engine::Postgres, ColumnType::Float { is_double: true });
    pairs(
        &double,
        &[
            (Cell::text("0.30000000000000004"), Value::Float(0.1 + 0.2)),
            (Cell::text("-0.0"), Value::Float(-0.0)),
        ],
    );
    unreadable(&double, &[Cell::text("NaN"), Cell::text("Infinity"), Cell::text("-Infinity")]);
    unwritable(&double, &[Value::Float(f64::NAN), string("1")]);
    assert!(double.is_same(&Value::Float(0.0), &Value::Float(-0.0)));
}

#[test]
fn booleans_are_nothing_but_two_values() {
    let postgres = codec(Engine::Postgres, ColumnType::Boolean);
    pairs(
        &postgres,
        &[(Cell::text("true"), Value::Bool(true)), (Cell::text("false"), Value::Bool(false))],
    );
    assert_eq!(postgres.to_value(&Cell::text("t")), Ok(Value::Bool(true)));
    let tiny = ColumnType::Integer { min: -128, max: 127 };
    assert_eq!(codec(Engine::MariaDb, tiny.clone()).field(), FieldKind::Integer);
    let declared = codec_of(tiny, FieldKind::Boolean, options(Engine::MariaDb));
    pairs(
        &declared,
        &[(Cell::text("1"), Value::Bool(true)), (Cell::text("0"), Value::Bool(false))],
    );
    unreadable(&declared, &[Cell::text("2"), Cell::text("-1"), Cell::text("127")]);
}

#[test]
fn texts_keep_their_length_characters_and_blanks() {
    let short = codec(Engine::MariaDb, text(Some(3), Charset::BasicPlane, false));
    pairs(
        &short,
        &[
            (Cell::text("äöü"), string("äöü")),
            (Cell::text("a  "), string("a  ")),
            (Cell::text(""), string("")),
        ],
    );
    unwritable(&short, &[string("abcd"), string("\u{1f600}"), Value::Int(1)]);
    let padded = codec(Engine::Postgres, text(Some(4), Charset::UnicodeWithoutNul, true));
    pairs(&padded, &[(Cell::text("ab"), string("ab"))]);
    unwritable(&padded, &[string("ab "), string("a\0b")]);
    let latin = |engine| codec(engine, text(None, Charset::Latin1, false));
    pairs(&latin(Engine::MariaDb), &[(Cell::text("5 €"), string("5 €"))]);
    unwritable(&latin(Engine::MariaDb), &[string("Ω"), string("\u{80}")]);
    unwritable(&latin(Engine::Postgres), &[string("5 €")]);
    let cut =
        codec_of(text(Some(3), Charset::Unicode, true), FieldKind::String, lossy(Engine::MariaDb));
    assert_eq!(cut.to_cell(&string("äb  ")), Ok(Cell::text("äb")));
    assert_eq!(cut.to_cell(&string("äb c")), Ok(Cell::text("äb")));
    // PostgreSQL takes U+0000 in no type.
    unwritable(&codec(Engine::Postgres, ColumnType::Other), &[string("\0")]);
    let large = "x".repeat(VALUE_BYTES_MAX + 1);
    let misfit = codec(Engine::Sqlite, text(None, Charset::Unicode, false))
        .to_value(&Cell::text(large))
        .unwrap_err();
    assert!(
        misfit.found.chars().count() <= 201 && misfit.to_string().contains("1048576 bytes"),
        "{misfit}"
    );
}

#[test]
fn labels_uuids_and_bytes_are_checked() {
    let labels = || ["b".to_owned(), "a".to_owned(), "a,b".to_owned()].to_vec();
    let label = codec(Engine::MariaDb, ColumnType::Enum { labels: labels() });
    pairs(&label, &[(Cell::text("a,b"), string("a,b"))]);
    unwritable(&label, &[string("B"), string(""), string("2")]);
    unreadable(&label, &[Cell::text("")]);
    let set = codec(Engine::MariaDb, ColumnType::Set { labels: labels() });
    pairs(&set, &[(Cell::text("b,a"), string("a,b")), (Cell::text(""), string(""))]);
    assert!(set.is_same(&string("b,a"), &string("a,b")));
    unwritable(&set, &[string("a,x")]);
    let uuid = codec(Engine::Postgres, ColumnType::Uuid);
    let lower = "123e4567-e89b-12d3-a456-42661417400a";
    pairs(&uuid, &[(Cell::text(lower), string(lower))]);
    assert!(uuid.is_same(&string(&lower.to_uppercase()), &string(lower)));
    unwritable(&uuid, &[string("123e4567"), string(&"g".repeat(36))]);
    let binary =
        codec(Engine::MariaDb, ColumnType::Bytes { bytes_max: Some(4), padded_to: Some(4) });
    pairs(&binary, &[(Cell::Bytes(vec![1, 2, 3, 0]), Value::Bytes(vec![1, 2, 3, 0]))]);
    unwritable(&binary, &[Value::Bytes(vec![1]), Value::Bytes(vec![0; 5]), string("AQ==")]);
}

#[test]
fn json_keeps_its_text_or_is_compared_without_its_order() {
    let normalised = codec(Engine::Postgres, ColumnType::Json { is_normalised: true });
    assert!(normalised.is_same(&string(r#"{"b":1,"a":1e2}"#), &string(r#"{"a": 100, "b": 1}"#)));
    assert!(!normalised.is_same(&string("[1]"), &string("[2]")));
    unwritable(&normalised, &[string("{"), string(r#""\u0000""#), string(&"[".repeat(500))]);
    let kept = codec(Engine::MariaDb, ColumnType::Json { is_normalised: false });
    let text = r#"{"b": 1.00, "a": "\u0000", "b": 12345678901234567890.12}"#;
    pairs(&kept, &[(Cell::text(text), string(text))]);
    assert!(!kept.is_same(&string("[1]"), &string("[1 ]")));
    unwritable(&kept, &[string("{'a': 1}"), Value::Map(std::collections::BTreeMap::new())]);
}

#[test]
fn keys_have_one_text_in_ids_whatever_the_database() {
    let same = |codec: Codec, cell: Cell, id: &str| {
        assert_eq!(codec.id_text(&cell).as_deref(), Ok(id));
        assert_eq!(codec.id_cell(id), Ok(cell.clone()));
        let key = codec.key_text(&cell).unwrap();
        assert_eq!(codec.key_cell(&key), Ok(cell));
    };
    same(codec(Engine::Sqlite, INT8), Cell::Integer(-7), "-7");
    same(codec(Engine::Postgres, INT8), Cell::text("-7"), "-7");
    same(codec(Engine::Postgres, numeric(10, 2)), Cell::text("7.50"), "7.5");
    same(codec(Engine::MariaDb, numeric(20, 4)), Cell::text("7.5000"), "7.5");
    same(
        codec(Engine::MariaDb, ColumnType::Bytes { bytes_max: Some(9), padded_to: None }),
        Cell::Bytes(vec![10, 255]),
        "0aff",
    );
    same(
        codec(Engine::Postgres, text(None, Charset::UnicodeWithoutNul, false)),
        Cell::text("é-1"),
        "é-1",
    );
    same(
        codec(Engine::MariaDb, datetime(6, false)),
        Cell::text("2024-03-10 00:30:00.120000"),
        "2024-03-10T00:30:00.12",
    );
    for (kind, id) in [
        (INT8, "007"),
        (INT8, "+7"),
        (numeric(10, 2), "7.50"),
        (ColumnType::Uuid, "123E4567-E89B-12D3-A456-426614174000"),
    ] {
        assert!(codec(Engine::Postgres, kind).id_cell(id).is_err(), "{id}");
    }
    let key =
        |kind, field| check_key(&column("type", kind), field, &options(Engine::Sqlite)).is_ok();
    assert!(
        key(INT8, FieldKind::Integer)
            && key(text(None, Charset::Unicode, false), FieldKind::String)
    );
    assert!(!key(ColumnType::Float { is_double: true }, FieldKind::Float));
    assert!(!key(datetime(9, false), FieldKind::Datetime));
}

#[test]
fn a_misfit_names_column_value_and_what_fits() {
    let misfit = codec(Engine::Postgres, numeric(12, 2)).to_cell(&string("1.005")).unwrap_err();
    assert_eq!(misfit.to_string(), "c is \"1.005\", expected at most 2 digits behind the point");
    let shape = ColumnShape { is_nullable: false, ..column("integer", INT4) };
    let never = Codec::new(&shape, FieldKind::Integer, options(Engine::Postgres)).unwrap();
    assert!(never.to_cell(&Value::Null).unwrap_err().expected.contains("NOT NULL"));
}

#[test]
fn kinds_that_no_cell_can_be_are_refused_by_name() {
    assert!("list".parse::<FieldKind>().unwrap_err().contains("use the kind string"));
    assert!("number".parse::<FieldKind>().unwrap_err().contains("decimal"));
    let refuse = |kind, field| {
        Codec::new(&column("money", kind), field, options(Engine::Postgres)).unwrap_err()
    };
    assert_eq!(
        refuse(ColumnType::Refused { why: "it changes".to_owned() }, FieldKind::String),
        "it changes"
    );
    assert!(refuse(ColumnType::Uuid, FieldKind::Integer).contains("use the kind string"));
    assert!(refuse(text(None, Charset::Unicode, false), FieldKind::Text).contains("NULL"));
    assert!(refuse(INT4, FieldKind::Counter).contains("NOT NULL"));
}

proptest! {
    #[test]
    fn what_fits_a_decimal_column_comes_back_as_the_same_number(
        text in "-?[0-9]{1,12}(\\.[0-9]{1,6})?", all in 1..14_u32, behind in 0..6_u32,
    ) {
        let codec = codec(Engine::Postgres, numeric(all.max(behind), behind));
        if let Ok(cell) = codec.to_cell(&string(&text)) {
            let back = codec.to_value(&cell).unwrap();
            let Value::Str(back) = back else { panic!("{back:?}") };
            prop_assert_eq!(number::Digits::read(&back).unwrap().shortest(), number::Digits::read(&text).unwrap().shortest());
        }
    }

    #[test]
    fn what_a_column_gives_it_takes_back(ms in -62_135_596_800_000_i64..253_402_300_800_000) {
        let of = |kind, options| codec_of(kind, FieldKind::Timestamp, options);
        for codec in [
            of(datetime(3, true), options(Engine::Postgres)), of(datetime(3, false), in_madrid(Engine::MariaDb)),
            of(datetime(3, false), in_madrid(Engine::Sqlite)), of(datetime(3, false), options(Engine::Sqlite)),
            of(ColumnType::Float { is_double: true }, Options { form: TimeForm::Julian, ..options(Engine::Sqlite) }),
        ] {
            if let Ok(cell) = codec.to_cell(&Value::Timestamp(ms)) {
                prop_assert_eq!(codec.to_value(&cell), Ok(Value::Timestamp(ms)), "{:?}", cell);
            }
            // Texts of the kind datetime are those that the node itself writes.
            let exact = Codec { field: FieldKind::Datetime, ..codec };
            if let Ok(cell) = exact.to_cell(&Value::Timestamp(ms)) {
                let Ok(Value::Str(text)) = exact.to_value(&cell) else { panic!("{cell:?}") };
                prop_assert_eq!(text.parse::<Datetime>().map(|time| time.to_string()), Ok(text));
            }
        }
    }

    #[test]
    fn no_cell_makes_a_codec_panic(text in "\\PC{0,20}|[-+0-9 :.TZeE]{0,30}", number in any::<i64>(), float in any::<f64>()) {
        let kinds = [
            INT4, numeric(5, 2), ColumnType::Float { is_double: false }, ColumnType::Boolean, datetime(6, true), ColumnType::Date,
            ColumnType::Time, ColumnType::Uuid, ColumnType::Json { is_normalised: true }, ColumnType::Other,
            ColumnType::DateTime { digits: 9, has_zone: false }, ColumnType::Text { chars_max: Some(5), charset: Charset::Latin1, is_padded: true },
        ];
        for (kind, engine) in kinds.iter().flat_map(|kind| [Engine::Postgres, Engine::MariaDb, Engine::Sqlite].map(|engine| (kind, engine))) {
            // SQLite knows no such types.
            let is_typed = matches!(kind, ColumnType::Decimal { .. } | ColumnType::Json { .. } | ColumnType::Uuid);
            if is_typed && engine == Engine::Sqlite {
                continue;
            }
            let codec = codec(engine, kind.clone());
            for cell in [Cell::text(&text), Cell::Integer(number), Cell::Real(float), Cell::Bytes(text.clone().into_bytes())] {
                if let Ok(value) = codec.to_value(&cell) {
                    // What was read from a column can be written into it, and is the same then.
                    let written = codec.to_cell(&value).map(|cell| codec.to_value(&cell));
                    if let Ok(written) = written {
                        prop_assert!(written.is_ok_and(|written| codec.is_same(&written, &value)), "{:?} of {:?}", value, cell);
                    }
                }
            }
            for value in [string(&text), Value::Int(number), Value::Float(float), Value::Timestamp(number)] {
                let _ = codec.to_cell(&value);
                let _ = codec.is_same(&value, &Value::Null);
            }
        }
    }
}
