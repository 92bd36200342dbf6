//! Where a field is in a record.

/// The names from the record down to a field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'p> {
    pub(super) above: &'p [String],
    pub(super) name: &'p str,
}

impl Path<'_> {
    pub(super) fn len(self) -> usize {
        self.above.len() + 1
    }

    pub(super) fn to_vec(self) -> Vec<String> {
        let mut names = self.above.to_vec();
        names.push(self.name.to_owned());
        names
    }

    pub(super) fn dotted(self) -> String {
        if self.above.is_empty() {
            self.name.to_owned()
        } else {
            format!("{}.{}", self.above.join("."), self.name)
        }
    }
}
