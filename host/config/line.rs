//! Finds the line of a position in a text. The text is read once; each position then costs a binary search.

/// The positions at which the lines of a text begin.
#[derive(Debug)]
pub(super) struct LineStarts(Vec<usize>);

impl LineStarts {
    /// Reads the text once.
    pub(super) fn of(text: &str) -> Self {
        let after_feeds = memchr::memchr_iter(b'\n', text.as_bytes()).map(|feed| feed + 1);
        Self(std::iter::once(0).chain(after_feeds).collect())
    }

    /// The number of the line with the byte at `at`, from 1; the last line if `at` is behind the end.
    pub(super) fn line(&self, at: usize) -> usize {
        self.0.partition_point(|start| *start <= at)
    }

    /// The text of a line, with its end.
    pub(super) fn text<'t>(&self, text: &'t str, line: usize) -> &'t str {
        let start = |line: usize| self.0.get(line).copied().unwrap_or(text.len());
        text.get(start(line.saturating_sub(1))..start(line)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_as_by_counting_line_feeds() {
        for text in ["", "\n", "a", "a\n", "\n\na\r\nbc\n\n", "é\nü"] {
            let starts = LineStarts::of(text);
            for at in 0..=text.len() + 2 {
                let counted = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
                assert_eq!(starts.line(at), counted, "{text:?} at {at}");
            }
            let lines: Vec<&str> = (1..=starts.0.len()).map(|line| starts.text(text, line)).collect();
            assert_eq!(lines.concat(), text);
            assert!(lines.iter().rev().skip(1).all(|line| line.ends_with('\n')), "{lines:?}");
            assert_eq!(starts.text(text, starts.0.len() + 1), "");
        }
    }
}
