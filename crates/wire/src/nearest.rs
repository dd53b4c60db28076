//! The names that somebody may have meant.

/// How many names a hint offers.
const OFFERED: usize = 3;

/// Those of `known` that are nearest to `wanted`, nearest first; none when nothing is like it.
pub(crate) fn nearest<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let bound = (wanted.chars().count() / 3).max(2);
    let mut ranked: Vec<(usize, &str)> = known
        .into_iter()
        .map(|name| {
            let lower = name.to_lowercase();
            let distance = distance(&wanted, &lower);
            let contained = wanted.len() > 2 && (lower.contains(&wanted) || wanted.contains(&lower));
            (if contained { distance.min(1) } else { distance }, name)
        })
        .filter(|(distance, _)| *distance <= bound)
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(OFFERED).map(|(_, name)| name).collect()
}

/// How many letters to insert, leave out or change (Levenshtein's distance).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: [&str; 4] = ["dim_station", "ext_turnstile", "fact_turnstile", "load_runs"];

    #[test]
    fn a_slip_finds_its_name() {
        assert_eq!(nearest("ext_turnstyle", TABLES)[0], "ext_turnstile");
        assert_eq!(nearest("EXT_TURNSTILES", TABLES)[0], "ext_turnstile");
    }

    #[test]
    fn a_part_finds_its_whole() {
        assert_eq!(nearest("turnstile", TABLES), ["ext_turnstile", "fact_turnstile"]);
    }

    #[test]
    fn what_is_like_nothing_gets_no_offer() {
        assert!(nearest("zzz", TABLES).is_empty());
    }
}
