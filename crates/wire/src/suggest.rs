//! Suggestions for a misspelled name.

/// How many names a hint suggests.
const MAX_SUGGESTIONS: usize = 3;

/// The names of `known` that are nearest to `wanted`, nearest first; empty when none is similar.
pub(crate) fn suggestions<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let bound = (wanted.chars().count() / 3).max(2);
    let mut ranked: Vec<(usize, &str)> = known
        .into_iter()
        .map(|name| {
            let lower = name.to_lowercase();
            let distance = turnstile_values::edit_distance(&wanted, &lower);
            let contained = wanted.len() > 2 && (lower.contains(&wanted) || wanted.contains(&lower));
            (if contained { distance.min(1) } else { distance }, name)
        })
        .filter(|(distance, _)| *distance <= bound)
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(MAX_SUGGESTIONS).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: [&str; 4] = ["dim_station", "ext_turnstile", "fact_turnstile", "load_runs"];

    #[test]
    fn a_misspelled_name_finds_the_right_one() {
        assert_eq!(suggestions("ext_turnstyle", TABLES)[0], "ext_turnstile");
        assert_eq!(suggestions("EXT_TURNSTILES", TABLES)[0], "ext_turnstile");
    }

    #[test]
    fn a_part_finds_the_whole_name() {
        assert_eq!(suggestions("turnstile", TABLES), ["ext_turnstile", "fact_turnstile"]);
    }

    #[test]
    fn a_name_similar_to_none_gets_no_suggestion() {
        assert!(suggestions("zzz", TABLES).is_empty());
    }
}
