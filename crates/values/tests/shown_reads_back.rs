//! What is shown is read back as the same value, whatever the value.

use proptest::prelude::*;
use turnstile_values::{duration, human, size};

proptest! {
    #[test]
    fn a_shown_duration_reads_back(us in 0..i64::MAX) {
        prop_assert_eq!(duration::parse_us(&human::duration(us)), Ok(us));
        prop_assert_eq!(duration::parse_spark_us(&human::duration(us)), Ok(us));
    }

    #[test]
    fn a_shown_size_reads_back(bytes in any::<u64>(), shift in 0..40u32) {
        let bytes = bytes >> shift << shift;
        prop_assert_eq!(size::parse(&human::size(bytes)), Ok(bytes));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,40}") {
        let _ = (duration::parse_us(&text), duration::parse_spark_us(&text), size::parse(&text));
    }

    #[test]
    fn a_query_s_interval_means_the_same_as_a_key_s(number in 0..10_000u32, unit in "(second|minute|hour|day|week)s?") {
        let text = format!("{number} {unit}");
        prop_assert_eq!(duration::parse_spark_us(&text), duration::parse_us(&text));
    }
}
