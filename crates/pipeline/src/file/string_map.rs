//! Maps a position in a string's content to its position in the file.

/// Maps byte offsets of a TOML string's content to byte offsets of the text that holds it.
///
/// The SQL stands inside a TOML string; its errors are reported where a person's editor finds them,
/// so quotes, the trimmed first newline and escapes have to be accounted for.
#[derive(Debug)]
pub(crate) struct StringMap {
    /// Offset in `written` of each byte of the content, and one past the end.
    offsets: Vec<usize>,
}

impl StringMap {
    /// `written` is the string as it stands in the text, quotes included; `content` is what it says.
    /// A string without quotes (a value set from a shell) maps to itself.
    pub(crate) fn new(written: &str, content: &str) -> Self {
        let offsets = if written == content { Some((0..=content.len()).collect()) } else { walk(written, content) };
        // A form of string that the walk does not know still reports its own place.
        Self { offsets: offsets.unwrap_or_else(|| vec![0; content.len() + 1]) }
    }

    /// The offset in the written text of byte `offset` of the content.
    pub(crate) fn offset(&self, offset: usize) -> usize {
        self.offsets.get(offset).or(self.offsets.last()).copied().unwrap_or_default()
    }
}

fn walk(written: &str, content: &str) -> Option<Vec<usize>> {
    let (quotes, escapes) = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quotes| written.starts_with(quotes) && written.len() >= 2 * quotes.len())
        .map(|quotes| (quotes.len(), quotes.starts_with('"')))?;
    let end = written.len() - quotes;
    let mut at = quotes;
    if quotes == 3 {
        at += if written[at..].starts_with("\r\n") { 2 } else { usize::from(written[at..].starts_with('\n')) };
    }
    let mut offsets = Vec::with_capacity(content.len() + 1);
    let mut decoded = content.chars().peekable();
    while at < end {
        let rest = &written[at..end];
        let mut chars = rest.chars();
        let c = chars.next()?;
        let (length, produces) = if c == '\\' && escapes {
            escape(rest)?
        } else if rest.starts_with("\r\n") && decoded.peek() == Some(&'\n') {
            (2, true)
        } else {
            (c.len_utf8(), true)
        };
        if produces {
            let produced = decoded.next()?;
            offsets.extend(std::iter::repeat_n(at, produced.len_utf8()));
        }
        at += length;
    }
    offsets.push(end);
    (decoded.next().is_none() && offsets.len() == content.len() + 1).then_some(offsets)
}

/// Length of the escape at the start of `rest`, and whether it stands for a character (a line's end does not).
fn escape(rest: &str) -> Option<(usize, bool)> {
    Some(match rest[1..].chars().next()? {
        'u' => (6, true),
        'U' => (10, true),
        'x' => (4, true),
        c if c.is_whitespace() => (1 + rest[1..].len() - rest[1..].trim_start().len(), false),
        c => (1 + c.len_utf8(), true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_string_maps_to_the_text_that_wrote_it() {
        for written in [
            "\"SELECT X\"",
            "'SELECT X'",
            "\"\"\"\nSELECT X\"\"\"",
            "'''\r\nSELECT X'''",
            "\"SEL\\u0045CT X\"",
            "\"SELECT\\tX\"",
            "\"\"\"SELECT \\\n   X\"\"\"",
        ] {
            let document = toml_edit::Document::parse(format!("v = {written}")).unwrap();
            let content = document.get("v").and_then(|v| v.as_str()).unwrap();
            let map = StringMap::new(written, content);
            let x = content.find('X').unwrap();
            assert_eq!(&written[map.offset(x)..map.offset(x) + 1], "X", "{written}");
        }
    }
}
