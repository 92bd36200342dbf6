//! Rows that are read together.

/// How many rows are read together at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimits {
    /// Rows.
    pub rows: usize,
    /// Bytes of keys and values: the row that reaches them is still read.
    pub bytes: usize,
}

/// Rows in the order of their keys, in one piece of memory, which serves the next ones too.
#[derive(Clone, Debug, Default)]
pub struct RowPage {
    bytes: Vec<u8>,
    /// Where each row's key ends, and where its value does.
    ends: Vec<(usize, usize)>,
}

impl RowPage {
    /// Takes all rows out, and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Adds a row behind the others.
    pub fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.ends.push((key_end, self.bytes.len()));
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether it has as much as the limits allow.
    #[must_use]
    pub fn is_full(&self, limits: PageLimits) -> bool {
        self.len() >= limits.rows || self.bytes.len() >= limits.bytes
    }

    /// Puts these rows into it instead of its former ones, as many as the limits allow.
    pub fn fill<'r>(
        &mut self,
        rows: impl IntoIterator<Item = (&'r [u8], &'r [u8])>,
        limits: PageLimits,
    ) {
        self.clear();
        let mut rows = rows.into_iter();
        while !self.is_full(limits)
            && let Some((key, value)) = rows.next()
        {
            self.push(key, value);
        }
    }

    /// The rows: key and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let begins = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let rows = begins.zip(&self.ends);
        rows.map(|(begin, (key_end, end))| {
            (&self.bytes[begin..*key_end], &self.bytes[*key_end..*end])
        })
    }

    /// The key of the last row.
    #[must_use]
    pub fn last_key(&self) -> Option<&[u8]> {
        let (key_end, _) = *self.ends.last()?;
        let begin = self.ends.len().checked_sub(2).map_or(0, |before| self.ends[before].1);
        self.bytes.get(begin..key_end)
    }
}
