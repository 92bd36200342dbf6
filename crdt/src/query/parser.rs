//! Reading a filter, or a list of fields: what is read is typed at once.

use super::error::{QueryError, QueryFault, QueryPart};
use super::filter::{Comparison, Condition, Filter, Literal, Node, Test};
use super::lexer::{Token, Word, words};
use super::{FIELDS_MAX, ITEMS_MAX, NESTING_MAX};
use crate::record::Field;
use crate::record::Schema;

/// Words that mean something in a filter; a field of such a name stands in backquotes.
const KEYWORDS: [&str; 11] =
    ["and", "or", "not", "in", "is", "null", "true", "false", "starts", "with", "between"];

impl Filter {
    /// Reads a filter on records of a schema.
    ///
    /// # Errors
    /// [`QueryError`] says what is wrong, and where.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, QueryError> {
        let mut parser = Parser::new(QueryPart::Where, text, schema)?;
        let root = parser.any()?;
        parser.end("\"and\", \"or\" or the end")?;
        Ok(Self { root })
    }
}

/// A field of a list of them.
pub(super) struct Listed {
    pub(super) field: Field,
    /// Where its name stands in the text.
    pub(super) offset: usize,
    /// Whether a minus stands before it.
    pub(super) has_minus: bool,
}

/// Reads fields separated by commas.
pub(super) fn fields(
    part: QueryPart,
    text: &str,
    schema: &Schema,
) -> Result<Vec<Listed>, QueryError> {
    let mut parser = Parser::new(part, text, schema)?;
    let mut fields = Vec::new();
    loop {
        let has_minus = part == QueryPart::Order && parser.takes_symbol("-");
        let offset = parser.offset();
        let field = parser.field("the name of a field")?;
        if fields.len() == FIELDS_MAX {
            return parser.error(offset, QueryFault::TooManyFields);
        }
        fields.push(Listed { field, offset, has_minus });
        if !parser.takes_symbol(",") {
            break;
        }
    }
    parser.end("\",\" or the end")?;
    Ok(fields)
}

struct Parser<'s> {
    part: QueryPart,
    schema: &'s Schema,
    words: Vec<Token>,
    at: usize,
    items: usize,
    depth: usize,
}

impl<'s> Parser<'s> {
    fn new(part: QueryPart, text: &str, schema: &'s Schema) -> Result<Self, QueryError> {
        Ok(Parser { part, schema, words: words(part, text)?, at: 0, items: 0, depth: 0 })
    }

    fn word(&self) -> &Word {
        self.words.get(self.at).map_or(&Word::End, |token| &token.word)
    }

    fn offset(&self) -> usize {
        self.words.get(self.at).map_or(0, |token| token.offset)
    }

    /// The word that is next, which is thereby taken.
    fn take(&mut self) -> Word {
        let word = self.word().clone();
        if word != Word::End {
            self.at += 1;
        }
        word
    }

    fn error<T>(&self, offset: usize, fault: QueryFault) -> Result<T, QueryError> {
        Err(QueryError { part: self.part, offset, fault })
    }

    fn unexpected<T>(&self, expected: &'static str) -> Result<T, QueryError> {
        let found = self.word().describe();
        self.error(self.offset(), QueryFault::Unexpected { expected, found })
    }

    fn takes(&mut self, keyword: &str) -> bool {
        let is_it = self.word().is(keyword);
        self.at += usize::from(is_it);
        is_it
    }

    fn takes_symbol(&mut self, symbol: &str) -> bool {
        let is_it = matches!(self.word(), Word::Symbol(found) if *found == symbol);
        self.at += usize::from(is_it);
        is_it
    }

    fn demand(&mut self, symbol: &str, expected: &'static str) -> Result<(), QueryError> {
        if self.takes_symbol(symbol) { Ok(()) } else { self.unexpected(expected) }
    }

    fn end(&self, expected: &'static str) -> Result<(), QueryError> {
        if *self.word() == Word::End { Ok(()) } else { self.unexpected(expected) }
    }

    fn any(&mut self) -> Result<Node, QueryError> {
        let mut nodes = vec![self.all()?];
        while self.takes("or") {
            nodes.push(self.all()?);
        }
        Ok(one_or(nodes, Node::Any))
    }

    fn all(&mut self) -> Result<Node, QueryError> {
        let mut nodes = vec![self.not()?];
        while self.takes("and") {
            nodes.push(self.not()?);
        }
        Ok(one_or(nodes, Node::All))
    }

    fn not(&mut self) -> Result<Node, QueryError> {
        let offset = self.offset();
        let is_not = self.takes("not");
        if !is_not && !self.takes_symbol("(") {
            return self.test();
        }
        self.depth += 1;
        if self.depth > NESTING_MAX {
            return self.error(offset, QueryFault::TooDeep);
        }
        let node = if is_not {
            Node::Not(Box::new(self.not()?))
        } else {
            let inner = self.any()?;
            self.demand(")", "\"and\", \"or\" or \")\"")?;
            inner
        };
        self.depth -= 1;
        Ok(node)
    }

    fn test(&mut self) -> Result<Node, QueryError> {
        self.count()?;
        let field = self.field("a field, \"not\" or \"(\"")?;
        let offset = self.offset();
        let (condition, is_not) = match self.take() {
            Word::Symbol("=") => (self.comparison(&field, Comparison::Equal)?, false),
            Word::Symbol("!=") => (self.comparison(&field, Comparison::Equal)?, true),
            Word::Symbol("<") => (self.comparison(&field, Comparison::Less)?, false),
            Word::Symbol("<=") => (self.comparison(&field, Comparison::LessOrEqual)?, false),
            Word::Symbol(">") => (self.comparison(&field, Comparison::Greater)?, false),
            Word::Symbol(">=") => (self.comparison(&field, Comparison::GreaterOrEqual)?, false),
            word if word.is("in") => (self.list(&field)?, false),
            word if word.is("starts") => (self.prefix(&field, offset)?, false),
            word if word.is("is") => {
                let is_not = self.takes("not");
                if !self.takes("null") {
                    return self.unexpected("\"null\"");
                }
                (Condition::IsNull, is_not)
            }
            word @ (Word::Bare(_)
            | Word::Path(_)
            | Word::Str(_)
            | Word::Number(_)
            | Word::Symbol(_)
            | Word::End) => {
                let expected = "one of = != < <= > >=, in, starts with, is null";
                let found = word.describe();
                return self.error(offset, QueryFault::Unexpected { expected, found });
            }
        };
        let test = Node::Test(Test { field, condition });
        Ok(if is_not { Node::Not(Box::new(test)) } else { test })
    }

    fn count(&mut self) -> Result<(), QueryError> {
        self.items += 1;
        match self.items {
            ..=ITEMS_MAX => Ok(()),
            _ => self.error(self.offset(), QueryFault::TooManyItems),
        }
    }

    fn field(&mut self, expected: &'static str) -> Result<Field, QueryError> {
        let path = match self.word() {
            Word::Path(path) => path.clone(),
            Word::Bare(name) => {
                if KEYWORDS.into_iter().any(|keyword| name.eq_ignore_ascii_case(keyword)) {
                    return self.unexpected(expected);
                }
                name.clone()
            }
            Word::Str(_) | Word::Number(_) | Word::Symbol(_) | Word::End => {
                return self.unexpected(expected);
            }
        };
        self.at += 1;
        Ok(Field::new(path, self.schema))
    }

    fn comparison(
        &mut self,
        field: &Field,
        comparison: Comparison,
    ) -> Result<Condition, QueryError> {
        let offset = self.offset();
        let of = self.word().describe();
        let literal = self.literal(field)?;
        match (comparison, literal) {
            (Comparison::Equal, Literal::Null) => Ok(Condition::IsNull),
            (Comparison::Equal, literal) => Ok(Condition::Compare(comparison, literal)),
            (_, Literal::Null | Literal::Bool(_)) => {
                let test = "what is greater or less";
                self.error(offset, QueryFault::Test { test, of })
            }
            (_, literal) => Ok(Condition::Compare(comparison, literal)),
        }
    }

    fn list(&mut self, field: &Field) -> Result<Condition, QueryError> {
        self.demand("(", "\"(\" and values")?;
        let mut literals = Vec::new();
        loop {
            self.count()?;
            literals.push(self.literal(field)?);
            if !self.takes_symbol(",") {
                break;
            }
        }
        self.demand(")", "\",\" or \")\"")?;
        Ok(Condition::In(literals))
    }

    fn prefix(&mut self, field: &Field, offset: usize) -> Result<Condition, QueryError> {
        if !self.takes("with") {
            return self.unexpected("\"with\"");
        }
        if let Some(kind) = field.kind.filter(|kind| !Literal::is_text(*kind)) {
            let of = format!("{:?}, which is declared as {kind}", field.path);
            return self.error(offset, QueryFault::Test { test: "starts with", of });
        }
        match self.word() {
            Word::Str(text) => {
                let text = text.clone();
                self.at += 1;
                Ok(Condition::StartsWith(text))
            }
            Word::Bare(_) | Word::Path(_) | Word::Number(_) | Word::Symbol(_) | Word::End => {
                self.unexpected("a string in quotes")
            }
        }
    }

    fn literal(&mut self, field: &Field) -> Result<Literal, QueryError> {
        const EXPECTED: &str = "a value: a string in quotes, a number, true, false or null";
        let offset = self.offset();
        let word = self.word().clone();
        let Some(made) = Literal::of(&word, field.kind) else { return self.unexpected(EXPECTED) };
        self.at += 1;
        made.or_else(|kind| {
            let (path, found) = (field.path.clone(), word.describe());
            let expected = Literal::fitting(kind);
            self.error(offset, QueryFault::Literal { path, kind, expected, found })
        })
    }
}

fn one_or(mut nodes: Vec<Node>, many: impl Fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(node) if nodes.is_empty() => node,
        Some(node) => {
            nodes.push(node);
            many(nodes)
        }
        None => many(nodes),
    }
}
