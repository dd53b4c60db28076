//! The names that somebody may have meant, several of them.

/// How many names a hint offers.
const OFFERED: usize = 3;

/// Those of `known` that are nearest to `wanted`, nearest first; none when nothing is like it.
pub(crate) fn meant<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let bound = (wanted.chars().count() / 3).max(2);
    let mut ranked: Vec<(usize, &str)> = known
        .into_iter()
        .map(|name| {
            let lower = name.to_lowercase();
            let distance = turnstile_nearest::distance(&wanted, &lower);
            let contained = wanted.len() > 2 && (lower.contains(&wanted) || wanted.contains(&lower));
            (if contained { distance.min(1) } else { distance }, name)
        })
        .filter(|(distance, _)| *distance <= bound)
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().take(OFFERED).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: [&str; 4] = ["dim_station", "ext_turnstile", "fact_turnstile", "load_runs"];

    #[test]
    fn a_slip_finds_its_name() {
        assert_eq!(meant("ext_turnstyle", TABLES)[0], "ext_turnstile");
        assert_eq!(meant("EXT_TURNSTILES", TABLES)[0], "ext_turnstile");
    }

    #[test]
    fn a_part_finds_its_whole() {
        assert_eq!(meant("turnstile", TABLES), ["ext_turnstile", "fact_turnstile"]);
    }

    #[test]
    fn what_is_like_nothing_gets_no_offer() {
        assert!(meant("zzz", TABLES).is_empty());
    }
}
