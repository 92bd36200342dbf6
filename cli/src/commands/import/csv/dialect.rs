//! What separates the columns of a CSV input, and on which line its header stands.

use super::cells::{Cells, Progress, RowParser, one_line};
use crate::commands::import::ids;
use crate::commands::import::input::lines::Line;

/// What may separate columns where nothing is asked for, the most usual first.
const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];
/// Lines by which the dialect is recognised.
pub(crate) const SAMPLE_LINES: usize = 200;
/// Lines above a header, such as titles, that are recognised.
const TITLES_MAX: usize = 40;

/// What separates columns, and how many lines stand above the header row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) delimiter: char,
    pub(crate) skip: u64,
}

/// A header row that was found.
struct DialectFound {
    dialect: Dialect,
    columns: usize,
    /// Of a thousand rows behind it, how many have as many cells.
    like_it: usize,
}

/// Recognises the dialect of an input by its first lines. The header is the row that has the columns of the id, so
/// titles above it are recognised where they are shorter than it and the rows below are not.
pub(crate) fn recognise(
    sample: &[Line],
    delimiter: Option<char>,
    skip: Option<u64>,
    id: &str,
) -> Dialect {
    let of_excel = sample.first().and_then(|line| excel_separator(&line.text));
    let (asked, above) = match (delimiter, of_excel) {
        (None, Some(separator)) => (Some(separator), 1),
        (asked, Some(_)) => (asked, 1),
        (asked, None) => (asked, 0),
    };
    let delimiters = asked.map_or(DELIMITERS.to_vec(), |delimiter| vec![delimiter]);
    let starts = match skip {
        Some(skip) => skip..skip + 1,
        None => above..above + TITLES_MAX as u64 + 1,
    };
    let mut best: Option<DialectFound> = None;
    for delimiter in delimiters.iter().copied() {
        for skip in starts.clone() {
            let Some(found) = header_at(sample, Dialect { delimiter, skip }, above, id) else {
                continue;
            };
            let key = |found: &DialectFound| (found.columns > 1, found.like_it, found.columns);
            if best.as_ref().is_none_or(|best| key(&found) > key(best)) {
                best = Some(found);
            }
            break;
        }
    }
    let by_shape = || {
        let skip = skip.unwrap_or(above);
        let columns = |delimiter: char| {
            let first = sample.iter().skip(skip_of(skip)).find(|line| !line.text.trim().is_empty());
            first.map_or(0, |line| line.text.matches(delimiter).count())
        };
        // The first of those with most columns.
        let delimiter =
            delimiters.iter().copied().rev().max_by_key(|delimiter| columns(*delimiter));
        Dialect { delimiter: delimiter.unwrap_or(DELIMITERS[0]), skip }
    };
    best.map_or_else(by_shape, |best| best.dialect)
}

fn skip_of(skip: u64) -> usize {
    usize::try_from(skip).unwrap_or(usize::MAX)
}

/// `sep=;`, which says to Excel what separates columns.
fn excel_separator(text: &str) -> Option<char> {
    let text = text.trim_end_matches([',', ';', '\t']).trim_matches('"');
    let separator =
        text.get(..4).filter(|word| word.eq_ignore_ascii_case("sep=")).map(|_| &text[4..]);
    let mut rest = separator?.chars();
    rest.next().filter(|_| rest.next().is_none())
}

/// The header row behind so many lines, if it has the columns of the id.
fn header_at(sample: &[Line], dialect: Dialect, above: u64, id: &str) -> Option<DialectFound> {
    let Dialect { delimiter, skip } = dialect;
    let index = skip_of(skip);
    let (header, lines) = row_at(sample, index, delimiter)?;
    let names: Vec<String> = header.cells.iter().map(|cell| column_name(cell)).collect();
    let wanted = ids::columns(id, names.iter().map(String::as_str));
    if !wanted.iter().all(|name| names.contains(name)) {
        return None;
    }
    let columns = names.len();
    let (mut rows, mut like_it) = (0, 0);
    let mut next = index + lines;
    while let Some((row, lines)) = row_at(sample, next, delimiter) {
        if row.cells.iter().any(|cell| !cell.is_empty()) {
            rows += 1;
            like_it += usize::from(row.cells.len() == columns);
        }
        next += lines;
    }
    let titles = sample.get(skip_of(above)..index).unwrap_or_default();
    let filled = |cells: &[String]| cells.iter().filter(|cell| !cell.trim().is_empty()).count();
    let are_titles = titles.iter().all(|line| {
        one_line(&line.text, delimiter)
            .map_or(true, |row| filled(&row.cells) < filled(&header.cells))
    });
    if !titles.is_empty() && (!are_titles || columns == 1 || like_it * 2 < rows) {
        return None;
    }
    let like_it = (like_it * 1000).checked_div(rows).unwrap_or(1000);
    Some(DialectFound { dialect, columns, like_it })
}

/// A row of the sample and how many lines it has; one that breaks the rules is one line without cells.
fn row_at(sample: &[Line], index: usize, delimiter: char) -> Option<(Cells, usize)> {
    sample.get(index)?;
    let mut parser = RowParser::new(delimiter);
    for (count, line) in (1..).zip(&sample[index..]) {
        match parser.line(&line.text, line.end) {
            Ok(Progress::Done) => return Some((parser.into_cells(), count)),
            Ok(Progress::Open) => {}
            Err(_) => break,
        }
    }
    Some((Cells::default(), 1))
}

/// The field that a header cell names: a line end within it is a space, for names have no line ends.
pub(crate) fn column_name(cell: &str) -> String {
    cell.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(text: &str) -> Vec<Line> {
        let line = |(number, text): (u64, &str)| {
            let (text, bytes) = (text.to_owned(), text.as_bytes().to_vec());
            Line { number, bytes, text, end: "\n", is_text: true }
        };
        (1..).zip(text.lines()).map(line).collect()
    }

    fn dialect(text: &str) -> (char, u64) {
        let Dialect { delimiter, skip } = recognise(&sample(text), None, None, "id");
        (delimiter, skip)
    }

    #[test]
    fn the_header_tells_what_separates_columns() {
        for (text, delimiter) in [
            ("id,name\n1,a;b\n", ','),
            ("Date;Amount;id\n2025-03-30;173,90;7\n", ';'),
            ("name\tid\na,b;c\t1\n", '\t'),
            ("id|name\n1|a,b\n", '|'),
            ("id\n1\n2\n", ','),
            ("id,\"unit;\nprice\"\n1,2\n", ','),
            // No column of the id: by the shape of the first row, for what is reported of it.
            ("sku;name\n1;2\n", ';'),
            ("", ','),
        ] {
            assert_eq!(dialect(text), (delimiter, 0), "{text}");
        }
    }

    #[test]
    fn titles_are_recognised_where_they_are_unmistakable() {
        for (text, skip) in [
            ("Sales report\nMarch 2025\n\nid,name\n1,a\n", 3),
            ("Sales report;;\nid;name;x\n1;a;2\n", 1),
            ("sep=;\nid;name\n1;a\n", 1),
            // A row that names the id is no header where the lines above look like rows.
            ("sku,name\n1,id\n2,b\n", 0),
            ("Report\nid\n1\n", 0),
        ] {
            assert_eq!(dialect(text).1, skip, "{text}");
        }
    }

    #[test]
    fn what_is_asked_for_goes_before_what_is_recognised() {
        let lines = sample("a;b\nid,x;y\n1,2;3\n");
        assert_eq!(recognise(&lines, Some(';'), None, "id").delimiter, ';');
        let found = recognise(&lines, None, Some(1), "id");
        assert_eq!((found.delimiter, found.skip), (',', 1));
    }
}
