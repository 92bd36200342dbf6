//! How the cells of a column are read.

use std::borrow::Cow;

use branchline_crdt::record::Kind;
use serde_json::Value;

use super::booleans::{Booleans, boolean};
use super::infer::{Guess, Inferred, of_cell};
use super::numbers::{DecimalMark, Numbers, Style, Verdict};

/// What is known of a column so far.
#[derive(Clone, Debug)]
pub(crate) struct ColumnGuess {
    guess: Guess,
    numbers: Numbers,
    booleans: Booleans,
    is_empty: bool,
}

/// How a column is read.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// What its values say that it is.
    pub(crate) kind: Kind,
    /// How its numbers are written, if not plainly.
    pub(crate) style: Option<Style>,
    /// A number of it that may mean two.
    pub(crate) ambiguous: Option<String>,
    /// Whether it has no value.
    pub(crate) is_empty: bool,
}

impl ColumnGuess {
    pub(crate) fn new() -> Self {
        Self {
            guess: Guess::new(),
            numbers: Numbers::new(),
            booleans: Booleans::new(),
            is_empty: true,
        }
    }

    /// Takes one cell into account.
    pub(crate) fn observe(&mut self, cell: &str) {
        self.is_empty &= cell.is_empty();
        self.guess.observe(cell);
        self.numbers.observe(cell);
        self.booleans.observe(cell);
    }

    /// Takes a text into account that is there and empty.
    pub(crate) fn observe_empty_text(&mut self) {
        self.is_empty = false;
        self.guess.observe_text("");
        // No number, and neither yes nor no.
        self.numbers.observe("\"");
        self.booleans.observe("\"");
    }

    fn column(&self, asked: Option<DecimalMark>) -> Column {
        let plain = match self.guess.kind() {
            Kind::String if self.booleans.are_all() => Kind::Boolean,
            kind => kind,
        };
        // Plain numbers may be none with the mark that is asked for, as 2.50 with a comma.
        let is_number = matches!(plain, Kind::Integer | Kind::Decimal | Kind::Float);
        let unread = if is_number { Kind::String } else { plain };
        let (kind, style, ambiguous) = match self.numbers.verdict(asked) {
            Verdict::Plain if asked == Some(DecimalMark::Comma) && plain != Kind::Integer => {
                (unread, None, None)
            }
            Verdict::Plain => (plain, None, None),
            Verdict::Styled { style, has_fraction } => {
                let kind =
                    match (self.numbers.are_all(), has_fraction || !self.numbers.are_integers()) {
                        (false, _) => unread,
                        (true, false) => Kind::Integer,
                        (true, true) => Kind::Decimal,
                    };
                (kind, Some(style), None)
            }
            Verdict::Ambiguous { example } => {
                (unread, None, self.numbers.are_all().then_some(example))
            }
        };
        Column { kind, style, ambiguous, is_empty: self.is_empty }
    }
}

/// Decides how each column is read. `delimiter`: what separates them, which is a semicolon where commas stand in numbers.
pub(crate) fn columns(
    guesses: &[ColumnGuess],
    asked: Option<DecimalMark>,
    delimiter: char,
) -> Vec<Column> {
    let mut columns: Vec<Column> = guesses.iter().map(|guess| guess.column(asked)).collect();
    let has_comma = columns.iter().any(Column::has_decimal_comma);
    let has_point = columns.iter().zip(guesses).any(|(column, guess)| {
        column.kind == Kind::Decimal && column.style.is_none() && !guess.numbers.may_be_thousands()
    });
    if (has_comma || delimiter == ';' && !has_point) && asked.is_none() {
        // 1.234 may be a thousand and more.
        for (column, guess) in columns.iter_mut().zip(guesses) {
            if column.kind == Kind::Decimal
                && column.style.is_none()
                && guess.numbers.may_be_thousands()
            {
                column.kind = Kind::String;
                column.ambiguous = Some(guess.numbers.example());
            }
        }
    }
    columns
}

impl Column {
    pub(crate) fn has_decimal_comma(&self) -> bool {
        self.style.is_some_and(|style| style.mark == DecimalMark::Comma)
    }

    /// What its values say of its kind.
    pub(crate) fn inferred(&self) -> Inferred {
        if self.is_empty { Inferred::Nothing } else { Inferred::Kind(self.kind) }
    }

    /// Reads a cell as a value of this kind, which is the schema's where that has one.
    pub(crate) fn value(&self, name: &str, kind: Kind, cell: &str) -> Result<Value, String> {
        let cell = match kind {
            Kind::Integer | Kind::Counter | Kind::Float | Kind::Decimal => {
                self.style.and_then(|style| style.plain(cell)).map_or(Cow::from(cell), Cow::from)
            }
            Kind::Boolean => match boolean(cell) {
                Some(true) => "true".into(),
                Some(false) => "false".into(),
                None => cell.into(),
            },
            Kind::String
            | Kind::Text
            | Kind::Timestamp
            | Kind::Datetime
            | Kind::Bytes
            | Kind::List
            | Kind::Map => cell.into(),
        };
        let is_number = matches!(kind, Kind::Integer | Kind::Counter | Kind::Float | Kind::Decimal);
        if is_number && self.ambiguous.is_some() && cell.contains('.') {
            let thousands = cell.replace('.', "");
            return Err(format!(
                "{name} is {cell:?}, which may be {cell} or {thousands}; --decimal says what stands before a fraction"
            ));
        }
        of_cell(name, kind, &cell).map_err(|error| match &self.ambiguous {
            Some(_) => format!("{error}; --decimal says which is the decimal mark"),
            None => error,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn column(cells: &[&str], asked: Option<DecimalMark>) -> Column {
        let mut guess = ColumnGuess::new();
        cells.iter().for_each(|cell| guess.observe(cell));
        columns(&[guess], asked, ',').remove(0)
    }

    #[test]
    fn a_column_is_read_as_its_values_are_written() {
        for (cells, kind) in [
            (&["173,90", "7", ""][..], Kind::Decimal),
            (&["1'234.50"], Kind::Decimal),
            (&["1.234,00", "2"], Kind::Decimal),
            (&["TRUE", "false"], Kind::Boolean),
            (&["yes", "NO"], Kind::Boolean),
            (&["no"], Kind::String),
            (&["1,234"], Kind::String),
            (&["1,50", "n/a"], Kind::String),
            (&["2.50"], Kind::Decimal),
            (&["7"], Kind::Integer),
        ] {
            assert_eq!(column(cells, None).kind, kind, "{cells:?}");
        }
        assert_eq!(column(&["1,234"], Some(DecimalMark::Point)).kind, Kind::Integer);
        assert_eq!(column(&["1,234"], Some(DecimalMark::Comma)).kind, Kind::Decimal);
        assert_eq!(column(&["2.50"], Some(DecimalMark::Comma)).kind, Kind::String);
        assert_eq!(column(&["7"], Some(DecimalMark::Comma)).kind, Kind::Integer);
    }

    #[test]
    fn beside_decimal_commas_a_point_may_separate_thousands() {
        let mut guesses = [ColumnGuess::new(), ColumnGuess::new()];
        guesses[0].observe("1,5");
        guesses[1].observe("1.234");
        let found = columns(&guesses, None, ',');
        assert_eq!(found[1].kind, Kind::String);
        assert_eq!(found[1].ambiguous.as_deref(), Some("1.234"));
        guesses[1].observe("1.5");
        assert_eq!(columns(&guesses, None, ',')[1].kind, Kind::Decimal);
    }

    #[test]
    fn between_semicolons_a_point_may_separate_thousands_unless_another_number_shows_it_does_not() {
        let mut guesses = [ColumnGuess::new(), ColumnGuess::new()];
        guesses[0].observe("7");
        guesses[1].observe("2.000");
        assert_eq!(columns(&guesses, None, ',')[1].kind, Kind::Decimal);
        let found = columns(&guesses, None, ';');
        let refused = found[1].value("price", Kind::Decimal, "2.000").unwrap_err();
        assert!(refused.contains("2.000 or 2000; --decimal"), "{refused}");
        assert_eq!(found[1].value("price", Kind::Decimal, "7"), Ok(json!("7")));
        let asked = columns(&guesses, Some(DecimalMark::Comma), ';');
        assert_eq!(asked[1].value("price", Kind::Decimal, "2.000"), Ok(json!("2000")));
        guesses[0].observe("3.5");
        assert_eq!(columns(&guesses, None, ';')[1].kind, Kind::Decimal);
    }

    #[test]
    fn values_are_exact_and_wrong_ones_named_as_they_stand() {
        let prices = column(&["1.234,50", "x"], None);
        assert_eq!(prices.value("price", Kind::Decimal, "1.234,50"), Ok(json!("1234.50")));
        assert_eq!(prices.value("stock", Kind::Counter, "1.234"), Ok(json!(1234)));
        assert!(prices.value("price", Kind::Decimal, "x").unwrap_err().contains("\"x\""));
        assert_eq!(prices.value("name", Kind::String, "1.234,50"), Ok(json!("1.234,50")));
        let doubtful = column(&["1,234"], None);
        assert!(doubtful.value("price", Kind::Decimal, "1,234").unwrap_err().contains("--decimal"));
        assert_eq!(doubtful.value("on", Kind::Boolean, "Yes"), Ok(json!(true)));
    }
}
