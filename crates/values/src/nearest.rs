//! The known name nearest to an unknown one, for hints in errors.

/// The candidate within a third of `name`'s length in edits (at least one edit), the nearest first.
///
/// Letter case does not count; ties go to the candidate that stands first.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(&name, &candidate.to_lowercase()), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// `did you mean "x"?`, or the list of what is known when nothing is near.
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(name, candidates.clone()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("known: {}", candidates.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// Edits (insert, delete, replace, swap of neighbours) from one word to another: optimal string alignment.
pub fn edit_distance(a: &str, b: &str) -> usize {
    strsim::osa_distance(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_name_and_an_unrelated_word_finds_none() {
        let known = ["watermark", "dedup", "late", "idle"];
        assert_eq!(nearest("watermrk", known), Some("watermark"));
        assert_eq!(nearest("ldie", known), None);
        assert_eq!(nearest("lat", known), Some("late"));
        assert_eq!(nearest("ILDE", known), Some("idle"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(suggest("colour", known), "known: watermark, dedup, late, idle");
    }
}
