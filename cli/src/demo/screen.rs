//! What the demo prints: acts, lines and small tables.

use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, Instant};

use branchline_crdt::ids::SiteId;

/// Where the demo prints.
pub(super) struct Screen<'a> {
    out: &'a mut dyn Write,
    is_coloured: bool,
    acts: u32,
}

/// How a line looks where there is colour. Its words say the same without.
#[derive(Clone, Copy)]
enum Look {
    Plain,
    Good,
    Notable,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Notable => "\x1b[33m",
        }
    }
}

const TITLE: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

/// Whether stdout shows colour, and nobody asked for none (<https://no-color.org>).
pub(super) fn stdout_is_coloured() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !is_refused
}

impl<'a> Screen<'a> {
    pub(super) fn new(out: &'a mut dyn Write, is_coloured: bool) -> Self {
        Self { out, is_coloured, acts: 0 }
    }

    /// A title.
    pub(super) fn title(&mut self, text: &str) -> io::Result<()> {
        self.painted(TITLE, text)
    }

    /// Begins the next act.
    pub(super) fn act(&mut self, title: &str) -> io::Result<()> {
        self.acts += 1;
        writeln!(self.out)?;
        self.title(&format!("{}. {title}", self.acts))
    }

    fn line(&mut self, look: Look, text: &str) -> io::Result<()> {
        self.painted(look.code(), &format!("   {text}"))
    }

    /// A claim that was checked.
    pub(super) fn good(&mut self, text: &str) -> io::Result<()> {
        self.line(Look::Good, &format!("ok: {text}"))
    }

    /// A plain line.
    pub(super) fn plain(&mut self, text: &str) -> io::Result<()> {
        self.line(Look::Plain, text)
    }

    /// A line that deserves attention.
    pub(super) fn notable(&mut self, text: &str) -> io::Result<()> {
        self.line(Look::Notable, text)
    }

    /// A table: the first column to the left, the others to the right.
    pub(super) fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let header = header.iter().map(|&title| title.to_owned()).collect::<Vec<_>>();
        let lines = || std::iter::once(&header).chain(rows);
        let width = |column: usize| {
            let cells = lines().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..header.len()).map(width).collect();
        for line in lines() {
            let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            let text = cells.collect::<Vec<_>>().join("   ");
            self.plain(&text)?;
        }
        Ok(())
    }

    fn painted(&mut self, code: &str, text: &str) -> io::Result<()> {
        if self.is_coloured && !code.is_empty() {
            writeln!(self.out, "{code}{text}{RESET}")?;
        } else {
            writeln!(self.out, "{text}")?;
        }
        self.out.flush()
    }
}

/// The time since `started`, for people.
pub(super) fn since(started: Instant) -> String {
    let elapsed = started.elapsed();
    if elapsed < Duration::from_secs(1) {
        format!("{} ms", elapsed.as_millis())
    } else {
        format!("{:.1} s", elapsed.as_secs_f64())
    }
}

/// The beginning of a hash in hex: enough to compare by eye.
pub(super) fn short(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

/// The end of a site's id; all begin alike.
pub(super) fn short_site(site: SiteId) -> String {
    let site = site.to_string();
    let end = site.len().saturating_sub(8);
    format!("..{}", site.get(end..).unwrap_or(&site))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn printed(is_coloured: bool) -> String {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, is_coloured);
        screen.act("An act").unwrap();
        screen.good("all is well").unwrap();
        let rows = [vec!["north".to_owned(), "7".to_owned()], vec!["x".into(), "1234567".into()]];
        screen.table(&["office", "stock"], &rows).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn without_colour_it_is_plain_text_in_columns() {
        let expected = "\n1. An act\n   ok: all is well\n   office     stock\n   north          7\n   \
                        x        1234567\n";
        assert_eq!(printed(false), expected);
    }

    #[test]
    fn colour_adds_no_words() {
        let coloured = printed(true);
        let mut plain = coloured.clone();
        for code in [TITLE, Look::Good.code(), RESET] {
            plain = plain.replace(code, "");
        }
        assert_ne!(coloured, plain);
        assert_eq!(plain, printed(false));
    }
}
