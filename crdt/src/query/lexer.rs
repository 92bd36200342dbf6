//! The words of a query.

use super::TEXT_BYTES_MAX;
use super::error::{QueryError, QueryFault, QueryPart};
use crate::record::Number;
use crate::record::{DECIMAL_DIGITS_MAX, WrittenNumber, check_user_field};

/// A word, and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) offset: usize,
    pub(super) word: Word,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// A bare name without dots, in any case: a keyword, or a field.
    Bare(String),
    /// A field that can be nothing else.
    Path(String),
    Str(String),
    /// `-?digits(.digits)?`, perhaps with a power of ten behind an `e`.
    Number(String),
    Symbol(&'static str),
    End,
}

impl Word {
    /// What it is, for people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Bare(name) | Self::Path(name) => format!("{name:?}"),
            Self::Str(text) => format!("the string {text:?}"),
            Self::Number(text) => format!("the number {text}"),
            Self::Symbol(symbol) => format!("{symbol:?}"),
            Self::End => "the end".to_owned(),
        }
    }

    /// Whether it is this keyword.
    pub(super) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Bare(name) if name.eq_ignore_ascii_case(keyword))
    }
}

/// Longer ones first.
const SYMBOLS: [&str; 10] = ["!=", "<=", ">=", "=", "<", ">", "(", ")", ",", "-"];

/// Splits a text into its words.
pub(super) fn words(part: QueryPart, text: &str) -> Result<Vec<Token>, QueryError> {
    if text.len() > TEXT_BYTES_MAX {
        let fault = QueryFault::TooLong { found: text.len() };
        return Err(QueryError { part, offset: TEXT_BYTES_MAX, fault });
    }
    let mut lexer = Lexer { part, text, at: 0 };
    let mut words = Vec::new();
    loop {
        let token = lexer.next()?;
        let is_end = token.word == Word::End;
        words.push(token);
        if is_end {
            return Ok(words);
        }
    }
}

struct Lexer<'t> {
    part: QueryPart,
    text: &'t str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error<T>(&self, offset: usize, fault: QueryFault) -> Result<T, QueryError> {
        Err(QueryError { part: self.part, offset, fault })
    }

    /// Takes characters as long as they are such.
    fn take(&mut self, is_such: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let end = rest.find(|c| !is_such(c)).unwrap_or(rest.len());
        let taken = rest[..end].to_owned();
        self.at += end;
        taken
    }

    fn next(&mut self) -> Result<Token, QueryError> {
        self.take(char::is_whitespace);
        let offset = self.at;
        let word = match self.peek() {
            None => Word::End,
            Some(quote @ ('\'' | '"')) => Word::Str(self.quoted(quote)?),
            Some('0'..='9') => self.number()?,
            Some('-') if self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                self.number()?
            }
            Some(c) if c == '`' || is_name_start(c) => self.name()?,
            Some(found) => self.symbol(found)?,
        };
        Ok(Token { offset, word })
    }

    fn symbol(&mut self, found: char) -> Result<Word, QueryError> {
        match SYMBOLS.into_iter().find(|symbol| self.rest().starts_with(symbol)) {
            Some(symbol) => {
                self.at += symbol.len();
                Ok(Word::Symbol(symbol))
            }
            None => self.error(self.at, QueryFault::Character { found }),
        }
    }

    /// Takes what stands in quotes, where a doubled quote is one.
    fn quoted(&mut self, quote: char) -> Result<String, QueryError> {
        let offset = self.at;
        let mut text = String::new();
        loop {
            self.at += quote.len_utf8();
            text.push_str(&self.take(|c| c != quote));
            if self.peek().is_none() {
                return self.error(offset, QueryFault::Unclosed { quote });
            }
            self.at += quote.len_utf8();
            match self.peek() {
                Some(next) if next == quote => text.push(quote),
                Some(_) | None => return Ok(text),
            }
        }
    }

    fn number(&mut self) -> Result<Word, QueryError> {
        let offset = self.at;
        let mut text = String::new();
        if self.peek() == Some('-') {
            text.push('-');
            self.at += 1;
        }
        text.push_str(&self.take(|c| c.is_ascii_digit()));
        if self.peek() == Some('.') {
            self.at += 1;
            let fraction = self.take(|c| c.is_ascii_digit());
            if fraction.is_empty() {
                return self.unexpected("digits after the point");
            }
            text.push('.');
            text.push_str(&fraction);
        }
        if text.bytes().filter(u8::is_ascii_digit).count() > DECIMAL_DIGITS_MAX {
            return self.error(offset, QueryFault::Digits);
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.at += 1;
            text.push('e');
            if let Some(sign @ ('+' | '-')) = self.peek() {
                self.at += 1;
                text.push(sign);
            }
            let power = self.take(|c| c.is_ascii_digit());
            if power.is_empty() {
                return self.unexpected("digits of the power of ten");
            }
            text.push_str(&power);
        }
        if self.peek().is_some_and(|c| is_name_start(c) || c == '.') {
            return self.unexpected("the end of the number");
        }
        let number = WrittenNumber::read(&text).and_then(|written| Number::of_written(&written));
        if number.is_none() {
            return self.error(offset, QueryFault::Power);
        }
        Ok(Word::Number(text))
    }

    fn unexpected<T>(&self, expected: &'static str) -> Result<T, QueryError> {
        let found = self.peek().map_or("the end".to_owned(), |c| format!("{c:?}"));
        self.error(self.at, QueryFault::Unexpected { expected, found })
    }

    /// Takes the dotted path of a field, or a keyword.
    fn name(&mut self) -> Result<Word, QueryError> {
        let offset = self.at;
        let mut path = String::new();
        let mut is_bare = true;
        loop {
            match self.peek() {
                Some('`') => {
                    is_bare = false;
                    path.push_str(&self.quoted('`')?);
                }
                Some(c) if is_name_start(c) => path.push_str(&self.take(is_in_name)),
                Some(_) | None => return self.unexpected("the name of a field"),
            }
            if self.peek() != Some('.') {
                break;
            }
            is_bare = false;
            path.push('.');
            self.at += 1;
        }
        match path.split('.').try_for_each(check_user_field) {
            Ok(()) if is_bare => Ok(Word::Bare(path)),
            Ok(()) => Ok(Word::Path(path)),
            Err(error) => self.error(offset, QueryFault::Name(error)),
        }
    }
}

fn is_name_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}
