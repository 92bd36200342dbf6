//! Columns of `TRUE` and `FALSE`, or of `yes` and `no`.

/// What all values of one column have in common so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Booleans {
    true_false: bool,
    yes_no: bool,
    any: bool,
    yes: bool,
    no: bool,
}

impl Booleans {
    pub(crate) fn new() -> Self {
        Self { true_false: true, yes_no: true, any: false, yes: false, no: false }
    }

    /// Takes one cell into account; empty ones say nothing.
    pub(crate) fn observe(&mut self, cell: &str) {
        if cell.is_empty() {
            return;
        }
        self.any = true;
        let is = |text: &str| cell.eq_ignore_ascii_case(text);
        self.true_false &= is("true") || is("false");
        let (yes, no) = (is("yes"), is("no"));
        self.yes_no &= yes || no;
        self.yes |= yes;
        self.no |= no;
    }

    /// Whether the column has booleans. A column of `NO` alone may be of countries, so both must be there.
    pub(crate) fn are_all(self) -> bool {
        self.any && (self.true_false || self.yes_no && self.yes && self.no)
    }
}

/// Reads a boolean.
pub(crate) fn boolean(cell: &str) -> Option<bool> {
    let is = |text: &str| cell.eq_ignore_ascii_case(text);
    if is("true") || is("yes") {
        Some(true)
    } else if is("false") || is("no") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_has_booleans_where_all_of_it_is_so() {
        for (cells, expected) in [
            (&["TRUE", "False", "", "true"][..], true),
            (&["TRUE"], true),
            (&["yes", "No", "NO"], true),
            (&["NO", "NO"], false),
            (&["yes", "TRUE"], false),
            (&["yes", "no", "perhaps"], false),
            (&["1", "0"], false),
            (&[""], false),
        ] {
            let mut booleans = Booleans::new();
            cells.iter().for_each(|cell| booleans.observe(cell));
            assert_eq!(booleans.are_all(), expected, "{cells:?}");
        }
    }
}
