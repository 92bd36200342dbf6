//! Texts, labels, UUIDs, dates, times of day, bytes.

use super::civil::{self, CivilFault};
use super::number::Digits;
use super::{Codec, FieldKind, Misfit, ZeroDate};
use crate::sql::cell::Cell;
use crate::sql::database::Engine;
use crate::sql::shape::{Charset, ColumnType};
use crate::sql::value::{DECIMAL_DIGITS_MAX, Value};

/// What Windows' code page 1252, which MariaDB calls latin1, has beside Latin 1.
const WINDOWS_1252: &str = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ";

impl Codec {
    pub(super) fn text_to_value(&self, cell: &Cell) -> Result<Value, Misfit> {
        if let ColumnType::Bytes { .. } = &self.kind {
            return match cell {
                Cell::Bytes(bytes) => Ok(Value::Bytes(bytes.clone())),
                Cell::Null | Cell::Integer(_) | Cell::Real(_) | Cell::Text(_) => {
                    Err(self.misfit(cell, "a blob"))
                }
            };
        }
        let Cell::Text(text) = cell else {
            let expected = match cell {
                Cell::Bytes(_) => "text in UTF-8",
                _ => "text",
            };
            return Err(self.misfit(cell, expected));
        };
        match &self.kind {
            ColumnType::Text { .. } if self.field == FieldKind::Decimal => {
                self.check_decimal(text, cell)?;
                Ok(Value::Str(text.clone()))
            }
            ColumnType::Text { .. } if self.field == FieldKind::Text => {
                Ok(Value::Text(text.clone()))
            }
            ColumnType::Date => match civil::read_date(text) {
                Ok(date) => Ok(Value::Str(date.to_string())),
                Err(CivilFault::Zero) if self.options.zero_date == ZeroDate::Null => {
                    Ok(Value::Null)
                }
                Err(CivilFault::Expected(expected)) if self.is_sqlite() => {
                    let expected = format!(
                        "{expected}; where it holds times as well, say kind = \"datetime\""
                    );
                    Err(self.misfit(cell, &expected))
                }
                Err(fault) => Err(self.date_misfit(cell, fault)),
            },
            ColumnType::Time => Ok(Value::Str(civil::without_zeros(text).to_owned())),
            ColumnType::Uuid => self.uuid(text, cell).map(Value::Str),
            ColumnType::Enum { labels } => {
                if labels.contains(text) {
                    Ok(Value::Str(text.clone()))
                } else {
                    Err(self.misfit(cell, &one_of(labels)))
                }
            }
            ColumnType::Set { labels } => {
                let mut found = self.labels_in(text, labels, cell)?;
                found.sort_unstable();
                Ok(Value::Str(found.join(",")))
            }
            _ => Ok(Value::Str(text.clone())),
        }
    }

    pub(super) fn text_to_cell(&self, value: &Value) -> Result<Cell, Misfit> {
        if let ColumnType::Bytes { bytes_max, padded_to } = &self.kind {
            return self.bytes_to_cell(value, *bytes_max, *padded_to);
        }
        let (Value::Str(text) | Value::Text(text)) = value else {
            return Err(self.misfit(value, "a string"));
        };
        match &self.kind {
            ColumnType::Text { chars_max, charset, is_padded } => {
                if self.field == FieldKind::Decimal {
                    self.check_decimal(text, value)?;
                }
                self.check_charset(text, *charset, value)?;
                self.fit_text(text, *chars_max, *is_padded, value)
            }
            ColumnType::Date => match civil::read_date(text) {
                Ok(date) => Ok(Cell::Text(date.to_string())),
                Err(_) => {
                    Err(self.misfit(value, "a date like 2024-03-10, of the years 0001 to 9999"))
                }
            },
            ColumnType::Time => self.time_of_day_to_cell(text, value),
            ColumnType::Uuid => self.uuid(text, value).map(Cell::Text),
            ColumnType::Enum { labels } => {
                if labels.contains(text) {
                    Ok(Cell::text(text))
                } else {
                    Err(self.misfit(value, &one_of(labels)))
                }
            }
            ColumnType::Set { labels } => {
                let mut found = self.labels_in(text, labels, value)?;
                let place = |label: &&str| labels.iter().position(|known| known == label);
                found.sort_unstable_by_key(place);
                Ok(Cell::Text(found.join(",")))
            }
            _ => Ok(Cell::text(text)),
        }
    }

    fn bytes_to_cell(
        &self,
        value: &Value,
        bytes_max: Option<u64>,
        padded_to: Option<u64>,
    ) -> Result<Cell, Misfit> {
        let Value::Bytes(bytes) = value else { return Err(self.misfit(value, "bytes")) };
        let length = bytes.len() as u64;
        if let Some(padded_to) = padded_to.filter(|padded_to| *padded_to != length) {
            let expected = format!("{padded_to} bytes, to which the column fills up with zeros");
            return Err(self.misfit(value, &expected));
        }
        match bytes_max {
            Some(bytes_max) if length > bytes_max => {
                Err(self.misfit(value, &format!("at most {bytes_max} bytes")))
            }
            Some(_) | None => Ok(Cell::Bytes(bytes.clone())),
        }
    }

    fn fit_text(
        &self,
        text: &str,
        chars_max: Option<u64>,
        is_padded: bool,
        value: &Value,
    ) -> Result<Cell, Misfit> {
        let is_lossy = self.options.is_lossy;
        let mut fitted = text;
        if is_padded && text.ends_with(' ') {
            if !is_lossy {
                return Err(self.misfit(value, "no blank at the end, the column does not keep it"));
            }
            fitted = text.trim_end_matches(' ');
        }
        let Some(chars_max) = chars_max else { return Ok(Cell::text(fitted)) };
        let most = usize::try_from(chars_max).unwrap_or(usize::MAX);
        match fitted.char_indices().nth(most) {
            None => Ok(Cell::text(fitted)),
            Some((end, _)) if is_lossy => {
                let cut = fitted.get(..end).unwrap_or_default();
                Ok(Cell::text(if is_padded { cut.trim_end_matches(' ') } else { cut }))
            }
            Some(_) => Err(self.misfit(value, &format!("at most {chars_max} characters"))),
        }
    }

    fn check_charset(&self, text: &str, charset: Charset, value: &Value) -> Result<(), Misfit> {
        let is_mariadb = self.options.engine == Engine::MariaDb;
        let fits = |c: char| match charset {
            Charset::Unicode => true,
            Charset::UnicodeWithoutNul => c != '\0',
            Charset::BasicPlane => c <= '\u{ffff}',
            Charset::Latin1 if is_mariadb => {
                matches!(c, '\0'..='\u{7f}' | '\u{a0}'..='\u{ff}') || WINDOWS_1252.contains(c)
            }
            Charset::Latin1 => c <= '\u{ff}',
            Charset::Ascii => c.is_ascii(),
        };
        let name = match charset {
            Charset::Unicode | Charset::UnicodeWithoutNul => "Unicode without U+0000",
            Charset::BasicPlane => "utf8mb3, which ends at U+FFFF",
            Charset::Latin1 => "Latin 1",
            Charset::Ascii => "ASCII",
        };
        match text.chars().find(|c| !fits(*c)) {
            None => Ok(()),
            Some(found) => {
                Err(self.misfit(value, &format!("characters of {name}, and {found:?} is none")))
            }
        }
    }

    fn check_decimal(&self, text: &str, found: impl super::misfit::Shown) -> Result<(), Misfit> {
        let is_decimal = Digits::read(text).is_some()
            && text.bytes().filter(u8::is_ascii_digit).count() <= DECIMAL_DIGITS_MAX;
        if is_decimal {
            Ok(())
        } else {
            Err(self.misfit(found, "a decimal like -12.50 of at most 38 digits"))
        }
    }

    /// A UUID in lower case.
    fn uuid(&self, text: &str, found: impl super::misfit::Shown) -> Result<String, Misfit> {
        let is_uuid = text.len() == 36
            && text.bytes().enumerate().all(|(n, byte)| match n {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if is_uuid {
            Ok(text.to_ascii_lowercase())
        } else {
            Err(self.misfit(found, "a UUID like 123e4567-e89b-12d3-a456-426614174000"))
        }
    }

    /// The labels of a set, each once.
    fn labels_in<'t>(
        &self,
        text: &'t str,
        labels: &[String],
        found: impl super::misfit::Shown,
    ) -> Result<Vec<&'t str>, Misfit> {
        let mut chosen: Vec<&str> = Vec::new();
        for label in text.split(',').filter(|_| !text.is_empty()) {
            if !labels.iter().any(|known| known == label) {
                return Err(self.misfit(found, &format!("some of {}", labels.join(", "))));
            }
            if !chosen.contains(&label) {
                chosen.push(label);
            }
        }
        Ok(chosen)
    }

    /// `-838:59:59.999999` on MariaDB, `24:00:00` on PostgreSQL.
    fn time_of_day_to_cell(&self, text: &str, value: &Value) -> Result<Cell, Misfit> {
        let shortest = civil::without_zeros(text);
        let (clock, fraction) = shortest.split_once('.').unwrap_or((shortest, ""));
        let unsigned = clock.strip_prefix('-').unwrap_or(clock);
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let number = |text: &str| if is_digits(text) { text.parse::<u32>().ok() } else { None };
        let parts: Option<Vec<u32>> = unsigned.split(':').map(number).collect();
        let Some([hours, minutes @ 0..=59, seconds @ 0..=59]) = parts.as_deref() else {
            return Err(self.misfit(value, "a time like 23:59:59"));
        };
        let is_midnight = *minutes == 0 && *seconds == 0 && fraction.is_empty();
        let is_plain = clock.len() == 8;
        let (fits, range) = match self.options.engine {
            Engine::MariaDb => (*hours <= 838 && unsigned.len() >= 8, "-838:59:59 to 838:59:59"),
            Engine::Postgres => {
                (is_plain && (*hours < 24 || (*hours == 24 && is_midnight)), "00:00:00 to 24:00:00")
            }
            Engine::Sqlite => (is_plain && *hours < 24, "00:00:00 to 23:59:59"),
        };
        if !fits || !is_digits(fraction) {
            return Err(self.misfit(value, range));
        }
        let digits = self.second_digits();
        if fraction.len() <= digits {
            return Ok(Cell::text(shortest));
        }
        if self.options.is_lossy {
            let cut = format!("{clock}.{}", fraction.get(..digits).unwrap_or_default());
            Ok(Cell::text(civil::without_zeros(&cut)))
        } else {
            Err(self.misfit(value, &format!("at most {digits} digits of a second")))
        }
    }

    /// Digits of a second that a time of day keeps: those of `time(3)`, else what the database has by itself.
    fn second_digits(&self) -> usize {
        let declared = self.declared.split_once('(').and_then(|(_, behind)| behind.split_once(')'));
        let declared = declared.and_then(|(digits, _)| digits.trim().parse().ok());
        declared.unwrap_or(match self.options.engine {
            Engine::Postgres => 6,
            Engine::MariaDb => 0,
            Engine::Sqlite => 9,
        })
    }
}

fn one_of(labels: &[String]) -> String {
    format!("one of {}", labels.join(", "))
}
