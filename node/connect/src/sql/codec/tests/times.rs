//! Dates and times.

#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_moment_is_written_as_the_database_writes_it() {
    let postgres = codec(Engine::Postgres, datetime(6, true));
    assert_eq!(postgres.field(), FieldKind::Datetime);
    pairs(
        &postgres,
        &[
            (Cell::text("2024-03-10 00:30:00.123456+00"), string("2024-03-10T00:30:00.123456Z")),
            (Cell::text("2024-03-10 00:30:00+00"), string("2024-03-10T00:30:00Z")),
            (Cell::text("0001-01-01 00:00:00+00"), string("0001-01-01T00:00:00Z")),
        ],
    );
    assert_eq!(
        postgres.to_cell(&string("2024-03-10T01:30:00.120+01:00")),
        Ok(Cell::text("2024-03-10 00:30:00.12+00"))
    );
    assert!(
        postgres.is_same(&string("2024-03-10T00:30:00+00:00"), &string("2024-03-10T00:30:00Z"))
    );
    unreadable(
        &postgres,
        &[
            Cell::text("infinity"),
            Cell::text("-infinity"),
            Cell::text("0044-03-15 12:00:00+00 BC"),
            Cell::text("294276-12-31 23:59:59+00"),
            Cell::text("2024-02-30 00:00:00+00"),
        ],
    );
    unwritable(
        &postgres,
        &[
            string("2024-03-10T00:30:00.1234567Z"),
            string("2024-03-10T00:30:00"),
            string("2024-03-10"),
            Value::Int(0),
        ],
    );

    let mariadb = codec(Engine::MariaDb, datetime(6, false));
    pairs(
        &mariadb,
        &[(Cell::text("2024-03-10 00:30:00.120000"), string("2024-03-10T00:30:00.12"))],
    );
    let seconds = codec(Engine::MariaDb, datetime(0, false));
    pairs(&seconds, &[(Cell::text("2024-03-10 00:30:00"), string("2024-03-10T00:30:00"))]);
    unwritable(&seconds, &[string("2024-03-10T00:30:00.9"), string("2024-03-10T00:30:00Z")]);
    let cut = codec_of(datetime(0, false), FieldKind::Datetime, lossy(Engine::MariaDb));
    assert_eq!(
        cut.to_cell(&string("2024-03-10T00:30:00.9")),
        Ok(Cell::text("2024-03-10 00:30:00"))
    );
    assert!(cut.is_same(&string("2024-03-10T00:30:00.9"), &string("2024-03-10T00:30:00")));

    let timestamp = codec(Engine::MariaDb, datetime(3, true));
    assert_eq!(timestamp.field(), FieldKind::Timestamp);
    pairs(
        &timestamp,
        &[(Cell::text("2024-03-10 00:30:00.123"), Value::Timestamp(1_710_030_600_123))],
    );
    unwritable(&timestamp, &[Value::Timestamp(0), Value::Timestamp(2_147_483_648_000)]);
    let refuse = |kind| {
        Codec::new(&column("datetime", kind), FieldKind::Timestamp, options(Engine::MariaDb))
            .unwrap_err()
    };
    assert!(refuse(datetime(6, true)).contains("use the kind datetime"));
    assert!(refuse(datetime(3, false)).contains("zone ="));
}

#[test]
fn dates_of_zeros_are_null_or_set_aside() {
    let zeros = [
        Cell::text("0000-00-00 00:00:00"),
        Cell::text("2024-00-15 00:00:00"),
        Cell::text("2024-01-00 10:00:00.000"),
    ];
    unreadable(&codec(Engine::MariaDb, datetime(3, false)), &zeros);
    let null = Options { zero_date: ZeroDate::Null, ..options(Engine::MariaDb) };
    let as_null = codec_of(datetime(3, false), FieldKind::Datetime, null.clone());
    assert!(zeros.iter().all(|zero| as_null.to_value(zero) == Ok(Value::Null)));
    let date = codec(Engine::MariaDb, ColumnType::Date);
    pairs(&date, &[(Cell::text("2024-02-29"), string("2024-02-29"))]);
    unreadable(
        &date,
        &[Cell::text("0000-00-00"), Cell::text("2023-02-29"), Cell::text("infinity")],
    );
    let date = codec_of(ColumnType::Date, FieldKind::String, null);
    assert_eq!(date.to_value(&Cell::text("0000-00-00")), Ok(Value::Null));
    unwritable(&date, &[string("0000-00-00"), string("2024-3-1"), string("2024-03-10T00:00:00")]);
}

#[test]
fn a_time_that_the_zone_skips_or_has_twice_is_no_moment() {
    let zoned = |field| codec_of(datetime(3, false), field, in_madrid(Engine::MariaDb));
    let (moment, exact) = (zoned(FieldKind::Timestamp), zoned(FieldKind::Datetime));
    pairs(
        &moment,
        &[
            (Cell::text("2024-03-10 01:30:00.123"), Value::Timestamp(1_710_030_600_123)),
            (Cell::text("2024-07-01 02:00:00.000"), Value::Timestamp(1_719_792_000_000)),
        ],
    );
    let (skipped, twice) =
        (Cell::text("2024-03-31 02:30:00.000"), Cell::text("2024-10-27 02:30:00.000"));
    let misfit = |cell| moment.to_value(cell).unwrap_err().to_string();
    assert!(misfit(&skipped).contains("skip 2024-03-31T02:30:00"), "{}", misfit(&skipped));
    assert!(
        misfit(&twice).contains("Europe/Madrid") && misfit(&twice).contains("twice"),
        "{}",
        misfit(&twice)
    );
    // The kind datetime keeps what the clock showed.
    pairs(
        &exact,
        &[
            (skipped, string("2024-03-31T02:30:00")),
            (twice, string("2024-10-27T02:30:00")),
            (Cell::text("2024-03-10 01:30:00.120"), string("2024-03-10T00:30:00.12Z")),
        ],
    );
    // Either of the two hours, and a clock's time that is no moment, cannot be distinguished from the other later on.
    unwritable(&exact, &[string("2024-10-27T00:30:00Z"), string("2024-10-27T01:30:00Z")]);
    assert!(exact.is_same(&string("2024-03-10T01:30:00"), &string("2024-03-10T00:30:00Z")));
    assert_eq!(
        exact.to_value(&Cell::text("9999-12-31 23:59:59.000")),
        Ok(string("9999-12-31T22:59:59Z"))
    );
}

#[test]
fn sqlite_has_times_in_many_forms() {
    let codec = codec(Engine::Sqlite, datetime(9, false));
    for (text, value) in [
        ("2024-03-10 00:30:00", "2024-03-10T00:30:00"),
        ("2024-03-10 00:30", "2024-03-10T00:30:00"),
        ("2024-03-10", "2024-03-10T00:00:00"),
        ("2024-03-10T00:30:00.5Z", "2024-03-10T00:30:00.5Z"),
        ("2024-03-10 00:30:00.123456789-07:00", "2024-03-10T07:30:00.123456789Z"),
        ("2024-03-10 00:30:00+00:00", "2024-03-10T00:30:00Z"),
        ("2024-03-10 00:30:00 +0100", "2024-03-09T23:30:00Z"),
    ] {
        assert_eq!(codec.to_value(&Cell::text(text)), Ok(string(value)), "{text}");
    }
    pairs(
        &codec,
        &[
            (
                Cell::text("2024-03-10 00:30:00.123456789+00:00"),
                string("2024-03-10T00:30:00.123456789Z"),
            ),
            (Cell::text("2024-03-10 00:30:00.5"), string("2024-03-10T00:30:00.5")),
        ],
    );
    unreadable(
        &codec,
        &[
            Cell::Integer(2024),
            Cell::Real(2_460_000.5),
            Cell::text("yesterday"),
            Cell::text("2024-03-10 24:00:00"),
            Cell::text("2024-03-10 00:30:60"),
            Cell::text("2024-03-10 00:30:00.1234567890"),
            Cell::text("2024-03-10 00:30:00 CET"),
        ],
    );
    let moment = |options| {
        codec_of(datetime(9, true), FieldKind::Timestamp, Options { is_lossy: true, ..options })
    };
    assert!(moment(options(Engine::Sqlite)).to_value(&Cell::text("2024-03-10 00:30:00")).is_err());
    let in_zone = moment(in_madrid(Engine::Sqlite)).to_value(&Cell::text("2024-03-10 01:30:00"));
    assert_eq!(in_zone, Ok(Value::Timestamp(1_710_030_600_000)));
}

#[test]
fn times_as_numbers_are_read_where_that_is_declared() {
    let form =
        |kind, field, form| codec_of(kind, field, Options { form, ..options(Engine::Sqlite) });
    pairs(
        &form(INT8, FieldKind::Timestamp, TimeForm::Unix),
        &[(Cell::Integer(1_710_030_600), Value::Timestamp(1_710_030_600_000))],
    );
    unwritable(
        &form(INT8, FieldKind::Timestamp, TimeForm::Unix),
        &[Value::Timestamp(1_710_030_600_001)],
    );
    pairs(
        &form(INT8, FieldKind::Timestamp, TimeForm::UnixMs),
        &[(Cell::Integer(-1), Value::Timestamp(-1))],
    );
    let real = ColumnType::Float { is_double: true };
    pairs(
        &form(real.clone(), FieldKind::Datetime, TimeForm::Unix),
        &[
            (Cell::Real(1_710_030_600.123_456), string("2024-03-10T00:30:00.123456Z")),
            (Cell::Real(-0.5), string("1969-12-31T23:59:59.5Z")),
        ],
    );
    unwritable(
        &form(real.clone(), FieldKind::Datetime, TimeForm::Unix),
        &[string("2024-03-10T00:30:00.123456789Z"), string("2024-03-10T00:30:00")],
    );
    pairs(
        &form(real, FieldKind::Timestamp, TimeForm::Julian),
        &[
            (Cell::Real(2_440_587.5), Value::Timestamp(0)),
            (Cell::Real(2_460_379.520_833_333_5), Value::Timestamp(1_710_030_600_000)),
        ],
    );
    let refused =
        Codec::new(&column("INTEGER", INT8), FieldKind::Timestamp, options(Engine::Sqlite));
    assert!(refused.unwrap_err().contains("form = \"unix\""));
}

#[test]
fn times_of_day_have_the_range_of_their_database() {
    let time = |engine, declared| {
        Codec::new(&column(declared, ColumnType::Time), FieldKind::String, options(engine)).unwrap()
    };
    let mariadb = time(Engine::MariaDb, "time(3)");
    assert_eq!(mariadb.to_value(&Cell::text("-838:59:59.100")), Ok(string("-838:59:59.1")));
    assert!(mariadb.is_same(&string("10:00:00.100"), &string("10:00:00.1")));
    unwritable(
        &mariadb,
        &[string("839:00:00"), string("10:00:00.1234"), string("10:60:00"), string("10:00")],
    );
    let postgres = time(Engine::Postgres, "time without time zone");
    pairs(
        &postgres,
        &[
            (Cell::text("24:00:00"), string("24:00:00")),
            (Cell::text("10:00:00.123456"), string("10:00:00.123456")),
        ],
    );
    unwritable(&postgres, &[string("24:00:01"), string("-01:00:00"), string("100:00:00")]);
}
