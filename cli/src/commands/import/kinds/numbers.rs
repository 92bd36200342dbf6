//! How a column writes its numbers: which mark stands before the fraction, and what separates thousands.
//!
//! A column is read otherwise than plainly only where all of its numbers can be read in one way alone: `1.234,56` has a
//! decimal comma, `1,234` may mean two numbers and stays text.

use clap::ValueEnum;

/// What stands before the fraction of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DecimalMark {
    /// 1234.56
    #[value(name = ".", alias = "point")]
    Point,
    /// 1234,56
    #[value(name = ",", alias = "comma")]
    Comma,
}

/// What stands between thousands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    None,
    /// The mark that does not stand before the fraction.
    OtherMark,
    Space,
    Apostrophe,
}

/// A way to write numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) mark: DecimalMark,
    group: Group,
}

const PLAIN: Style = Style { mark: DecimalMark::Point, group: Group::None };

/// All styles, the simplest first.
const STYLES: [Style; 8] = {
    use DecimalMark::{Comma, Point};
    use Group::{Apostrophe, None, OtherMark, Space};
    [
        PLAIN,
        Style { mark: Comma, group: None },
        Style { mark: Point, group: OtherMark },
        Style { mark: Comma, group: OtherMark },
        Style { mark: Point, group: Apostrophe },
        Style { mark: Comma, group: Apostrophe },
        Style { mark: Point, group: Space },
        Style { mark: Comma, group: Space },
    ]
};

/// Separators of one number at most; with three digits between them it is beyond any amount.
const SEPARATORS_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Separator {
    Point,
    Comma,
    Space,
    Apostrophe,
}

impl Separator {
    fn of(c: char) -> Option<Self> {
        match c {
            '.' => Some(Self::Point),
            ',' => Some(Self::Comma),
            ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}' => Some(Self::Space),
            '\'' | '\u{2019}' => Some(Self::Apostrophe),
            _ => None,
        }
    }
}

/// A text of digits and separators, with a minus before it perhaps.
struct Digits {
    /// Each separator with the number of digits behind it.
    parts: Vec<(Separator, usize)>,
    /// How many digits there are before the first separator.
    first: usize,
    begins_with_zero: bool,
}

impl Digits {
    fn read(cell: &str) -> Option<Self> {
        let unsigned = cell.strip_prefix('-').unwrap_or(cell);
        let mut digits =
            Self { parts: Vec::new(), first: 0, begins_with_zero: unsigned.starts_with('0') };
        for c in unsigned.chars() {
            let run = digits.parts.last_mut().map_or(&mut digits.first, |(_, run)| run);
            if c.is_ascii_digit() {
                *run += 1;
            } else if *run > 0 && digits.parts.len() < SEPARATORS_MAX {
                digits.parts.push((Separator::of(c)?, 0));
            } else {
                return None;
            }
        }
        let last = digits.parts.last().map_or(digits.first, |(_, run)| *run);
        // Leading zeros are of codes, not of numbers.
        let is_code = digits.begins_with_zero && digits.first > 1;
        (last > 0 && !is_code).then_some(digits)
    }
}

/// How one text reads in one style.
struct NumberReading {
    has_fraction: bool,
    has_groups: bool,
}

impl Style {
    fn mark(self) -> Separator {
        match self.mark {
            DecimalMark::Point => Separator::Point,
            DecimalMark::Comma => Separator::Comma,
        }
    }

    fn group(self) -> Option<Separator> {
        match (self.group, self.mark) {
            (Group::None, _) => None,
            (Group::OtherMark, DecimalMark::Point) => Some(Separator::Comma),
            (Group::OtherMark, DecimalMark::Comma) => Some(Separator::Point),
            (Group::Space, _) => Some(Separator::Space),
            (Group::Apostrophe, _) => Some(Separator::Apostrophe),
        }
    }

    fn read(self, digits: &Digits) -> Option<NumberReading> {
        let has_fraction = digits.parts.last().is_some_and(|(last, _)| *last == self.mark());
        let groups = &digits.parts[..digits.parts.len() - usize::from(has_fraction)];
        let has_groups = !groups.is_empty();
        let are_thousands =
            groups.iter().all(|(separator, run)| Some(*separator) == self.group() && *run == 3);
        let is_right =
            !has_groups || are_thousands && digits.first <= 3 && !digits.begins_with_zero;
        is_right.then_some(NumberReading { has_fraction, has_groups })
    }

    /// Writes a number of this style plainly; `None`: it is none.
    pub(crate) fn plain(self, cell: &str) -> Option<String> {
        self.read(&Digits::read(cell)?)?;
        let plain = cell.chars().filter_map(|c| match Separator::of(c) {
            None => Some(c),
            Some(separator) => (separator == self.mark()).then_some('.'),
        });
        Some(plain.collect())
    }
}

/// What the numbers of a column have in common so far.
#[derive(Clone, Debug)]
pub(crate) struct Numbers {
    /// Styles in which all of them can be read, a bit for each.
    fitting: u8,
    /// Styles in which one of them has a fraction, and thousands.
    with_fraction: u8,
    with_groups: u8,
    /// Whether all of them are integers of 64 bits where they have no fraction.
    are_integers: bool,
    any: bool,
    /// Whether there is a cell that is no number in any style.
    others: bool,
    /// The first that is not plain.
    example: Option<String>,
}

/// How a column's numbers are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As they stand, if they are numbers.
    Plain,
    /// In this style; `has_fraction`: one of them has one.
    Styled { style: Style, has_fraction: bool },
    /// The example may mean two numbers.
    Ambiguous { example: String },
}

impl Numbers {
    pub(crate) fn new() -> Self {
        Self {
            fitting: u8::MAX,
            with_fraction: 0,
            with_groups: 0,
            are_integers: true,
            any: false,
            others: false,
            example: None,
        }
    }

    /// Takes one cell into account; empty ones say nothing.
    pub(crate) fn observe(&mut self, cell: &str) {
        if cell.is_empty() {
            return;
        }
        let Some(digits) = Digits::read(cell) else {
            self.others = true;
            return;
        };
        self.any = true;
        let mut fitting = u8::MAX;
        if !digits.parts.is_empty() {
            for (index, style) in STYLES.iter().enumerate() {
                match style.read(&digits) {
                    None => fitting &= !(1 << index),
                    Some(NumberReading { has_fraction, has_groups }) => {
                        self.with_fraction |= u8::from(has_fraction) << index;
                        self.with_groups |= u8::from(has_groups) << index;
                    }
                }
            }
            if self.example.is_none() && fitting != 0 {
                self.example = Some(cell.to_owned());
            }
        }
        if fitting == 0 {
            // `12.03.2025`
            self.others = true;
            return;
        }
        self.fitting &= fitting;
        if self.are_integers {
            let whole: String = cell.chars().filter(|c| Separator::of(*c).is_none()).collect();
            self.are_integers =
                whole.parse::<i64>().is_ok_and(|number| number.to_string() == whole);
        }
    }

    /// Whether all cells are numbers in some style.
    pub(crate) fn are_all(&self) -> bool {
        self.any && !self.others
    }

    pub(crate) fn are_integers(&self) -> bool {
        self.are_integers
    }

    /// Decides how the column is read: with the mark that is asked for, else as it can be read in one way alone.
    pub(crate) fn verdict(&self, asked: Option<DecimalMark>) -> Verdict {
        let has = |bits: u8, index: usize| bits & 1 << index != 0;
        let possible = STYLES.into_iter().enumerate().filter(|(index, style)| {
            has(self.fitting, *index) && asked.is_none_or(|mark| style.mark == mark)
        });
        let possible: Vec<(usize, Style)> = possible.collect();
        let is_plain = |index: usize| !has(self.with_fraction | self.with_groups, index);
        if !self.any || possible.iter().any(|(index, style)| *style == PLAIN || is_plain(*index)) {
            return Verdict::Plain;
        }
        // Groups of digits without a fraction anywhere may be codes, such as telephone numbers.
        let certain = |index: usize, style: Style| {
            !has(self.with_groups, index)
                || has(self.with_fraction, index)
                || asked.is_some() && style.group != Group::Space
        };
        let mut certain = possible.iter().filter(|(index, style)| certain(*index, *style));
        let first = certain.next();
        let ambiguous = || Verdict::Ambiguous { example: self.example.clone().unwrap_or_default() };
        match first {
            Some((index, style)) if certain.all(|(_, other)| other.mark == style.mark) => {
                // `1,234` is 1.234 or 1234: a second reading is a doubt even if it alone would not do.
                let others = possible.iter().any(|(_, other)| other.mark != style.mark);
                if others {
                    ambiguous()
                } else {
                    Verdict::Styled { style: *style, has_fraction: has(self.with_fraction, *index) }
                }
            }
            Some(_) => ambiguous(),
            None if possible.is_empty() => Verdict::Plain,
            None => ambiguous(),
        }
    }

    /// Whether plain numbers of this column, such as `1.234`, would be others with a decimal comma.
    pub(crate) fn may_be_thousands(&self) -> bool {
        let comma = STYLES.iter().position(|style| {
            *style == Style { mark: DecimalMark::Comma, group: Group::OtherMark }
        });
        comma.is_some_and(|index| (self.fitting & self.with_groups) & 1 << index != 0)
    }

    pub(crate) fn example(&self) -> String {
        self.example.clone().unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn verdict(cells: &[&str], asked: Option<DecimalMark>) -> Verdict {
        let mut numbers = Numbers::new();
        cells.iter().for_each(|cell| numbers.observe(cell));
        numbers.verdict(asked)
    }

    /// What the cells are read as; `None`: they are ambiguous.
    fn read(cells: &[&str], asked: Option<DecimalMark>) -> Option<Vec<String>> {
        match verdict(cells, asked) {
            Verdict::Plain => Some(cells.iter().map(|cell| (*cell).to_owned()).collect()),
            Verdict::Styled { style, .. } => {
                Some(cells.iter().map(|cell| style.plain(cell).unwrap()).collect())
            }
            Verdict::Ambiguous { .. } => None,
        }
    }

    #[test]
    fn a_column_that_can_be_read_in_one_way_is_read_so() {
        for (cells, plain) in [
            (&["173,90", "7"][..], &["173.90", "7"][..]),
            (&["0,250", "1,500"], &["0.250", "1.500"]),
            (&["-1.234,56", "1.234"], &["-1234.56", "1234"]),
            (&["1.234.567,8"], &["1234567.8"]),
            (&["1 234,56", "12\u{a0}345,6", "1\u{202f}234,0"], &["1234.56", "12345.6", "1234.0"]),
            (&["1'234.56", "1\u{2019}234.50"], &["1234.56", "1234.50"]),
            (&["1'234,56"], &["1234.56"]),
            (&["1,234.56", "1,234"], &["1234.56", "1234"]),
            (&["1,234", "12.5"], &["1234", "12.5"]),
            (&["1234,567"], &["1234.567"]),
            (&["1.5", "2"], &["1.5", "2"]),
            (&["1.234"], &["1.234"]),
            (&["1234", "-5"], &["1234", "-5"]),
        ] {
            assert_eq!(read(cells, None).unwrap(), plain, "{cells:?}");
        }
    }

    #[test]
    fn what_may_mean_two_numbers_or_a_code_is_not_guessed() {
        for cells in [
            &["1,234"][..],
            &["1,234", "12,345"],
            &["1,234,567"],
            &["555 123 456"],
            &["1'234"],
            &["100.200.300"],
        ] {
            assert!(matches!(verdict(cells, None), Verdict::Ambiguous { .. }), "{cells:?}");
        }
        // No numbers in any style, or in none that all of them have.
        for cells in [
            &["12.03.2025"][..],
            &["007,5"],
            &["1,50", "2.50"],
            &["1,2,3"],
            &["a"],
            &["1,"],
            &[",5"],
        ] {
            assert_eq!(verdict(cells, None), Verdict::Plain, "{cells:?}");
        }
    }

    #[test]
    fn the_mark_that_is_asked_for_decides() {
        let (comma, point) = (Some(DecimalMark::Comma), Some(DecimalMark::Point));
        assert_eq!(read(&["1,234"], comma).unwrap(), ["1.234"]);
        assert_eq!(read(&["1,234", "1,234,567"], point).unwrap(), ["1234", "1234567"]);
        assert_eq!(read(&["1.234"], comma).unwrap(), ["1234"]);
        assert_eq!(read(&["1.234"], point).unwrap(), ["1.234"]);
        assert_eq!(read(&["1'234"], comma).unwrap(), ["1234"]);
        assert_eq!(read(&["555 123 456"], comma), None);
    }
}
