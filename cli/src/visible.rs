//! Where people read: text of other sites is made visible on its way there.

use std::io::{self, IsTerminal, Write};

pub(crate) use branchline_node::visible::{lines, one_line};

/// Writes bytes as they are, but not to a terminal.
pub(crate) fn at_terminal(out: impl Write + IsTerminal + 'static) -> Box<dyn Write> {
    if out.is_terminal() { Box::new(Visible::new(out)) } else { Box::new(out) }
}

/// A terminal, or another place where people read: lines are made visible on their way there.
pub(crate) struct Visible<W: Write> {
    inner: W,
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
}

impl<W: Write> Visible<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, begun: Vec::new() }
    }

    fn show(&mut self, bytes: usize) -> io::Result<()> {
        let rest = self.begun.split_off(bytes);
        let whole = std::mem::replace(&mut self.begun, rest);
        self.inner.write_all(lines(&String::from_utf8_lossy(&whole)).as_bytes())
    }
}

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        if let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') {
            self.show(end + 1)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.show(self.begun.len())?;
        self.inner.flush()
    }
}

impl<W: Write> Drop for Visible<W> {
    fn drop(&mut self) {
        // Anyone who cares flushes.
        let _ = self.flush();
    }
}

/// Where log lines go: each is one line, whatever a peer has put into it.
pub(crate) struct LogLines;

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = one_line(text.trim_end_matches('\n'));
        io::stderr().lock().write_all(format!("{text}\n").as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_of_a_text_show_as_the_whole(text in any::<String>(), cut in any::<prop::sample::Index>()) {
            let mut shown = Vec::new();
            let mut visible = Visible::new(&mut shown);
            let (before, after) = text.as_bytes().split_at(cut.index(text.len() + 1));
            visible.write_all(before).unwrap();
            visible.write_all(after).unwrap();
            drop(visible);
            prop_assert_eq!(String::from_utf8(shown).unwrap(), lines(&text));
        }
    }
}
