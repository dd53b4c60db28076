//! The fields of one line of CSV.

/// The fields of a row, unquoted.
pub(super) fn csv_fields(line: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let mut field = Vec::new();
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            rest = quoted;
            loop {
                let at = rest.iter().position(|byte| *byte == b'"');
                let at = at.ok_or("a quoted field does not end on its line; a message is one line")?;
                field.extend_from_slice(&rest[..at]);
                rest = &rest[at + 1..];
                match rest.strip_prefix(b"\"") {
                    Some(more) => {
                        field.push(b'"');
                        rest = more;
                    }
                    None => break,
                }
            }
            if !matches!(rest.first(), None | Some(b',')) {
                return Err("text after a quoted field".to_owned());
            }
        } else {
            let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
            field.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.split_first() {
            Some((_, more)) => rest = more,
            None => return Ok(fields),
        }
    }
}
