//! `increase`, `resets`, `jumps`: growth of cumulative registers across windows, partitions and crashes.

use std::collections::BTreeMap;

use crate::story::{Story, number, pipeline};

const SQL: &str = "SELECT STATION, increase(ENTRIES, 100) AS GROWTH, resets(ENTRIES) AS RESETS, \
                   jumps(ENTRIES, 100) AS JUMPS, count(*) AS N FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), STATION";

#[test]
fn growth_is_counted_from_the_reading_before_the_window() {
    let mut story = Story::new(&pipeline("watermark = \"0 seconds\"", SQL), 1);
    story
        .row(0, "A", 1000, "1", "2023-12-09 08:01:00")
        .row(0, "A", 1007, "2", "2023-12-09 08:04:00")
        .row(0, "A", 1010, "3", "2023-12-09 08:06:00")
        .cut();
    story.crash();
    story.row(0, "A", 1012, "4", "2023-12-09 08:16:00").drain();
    story.expect(&["08:00: A|7|0|0|2", "08:05: A|3|0|0|1", "08:15: A|2|0|0|1"]);
}

#[test]
fn a_reset_and_a_jump_add_nothing_and_are_counted() {
    let mut story = Story::new(&pipeline("watermark = \"0 seconds\"", SQL), 1);
    for (i, value) in [50, 60, 5, 9, 110, 210, 9_223_372_036_854_775_807, -9_223_372_036_854_775_807].iter().enumerate()
    {
        story.row(0, "A", *value, "", &format!("2023-12-09 08:01:{i:02}"));
    }
    story.drain();
    // 50→60 grows 10, 5→9 grows 4, 110→210 grows 100; 9→110 and the huge step are jumps, two steps are resets.
    story.expect(&["08:00: A|114|2|2|8"]);
}

#[test]
fn readings_count_in_event_time_however_they_arrive() {
    let mut story = Story::new(&pipeline("watermark = \"5 minutes\"", SQL), 2);
    story
        .row(0, "A", 30, "3", "2023-12-09 08:03:00")
        .row(1, "A", 10, "1", "2023-12-09 08:01:00")
        .cut()
        .row(0, "A", 20, "2", "2023-12-09 08:02:00")
        .drain();
    story.expect(&["08:00: A|20|0|0|3"]);
}

#[test]
fn growth_in_hopping_windows_agrees_with_a_plain_sum() {
    let sql = SQL.replace("'5 minutes')", "'10 minutes', '5 minutes')");
    let mut story = Story::new(&pipeline("watermark = \"0 seconds\"", &sql), 1);
    let mut readings: BTreeMap<i64, i64> = BTreeMap::new();
    let (mut value, mut state) = (0i64, 7u64);
    for minute in (0..120).step_by(2) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        value += (state >> 60) as i64;
        readings.insert(minute, value);
        story.row(0, "A", value, "", &format!("2023-12-09 {:02}:{:02}:00", 8 + minute / 60, minute % 60));
        if minute % 14 == 0 {
            story.cut();
        }
    }
    story.drain();
    let day = 1_702_080_000_000_000i64 + 8 * 3_600_000_000;
    assert_eq!(story.closed.len(), 25);
    for window in &story.closed {
        let start = (window.start_us - day) / 60_000_000;
        let inside: Vec<_> = readings.range(start..start + 10).collect();
        let before = readings.range(..start).next_back().map_or(*inside[0].1, |(_, v)| *v);
        assert_eq!(number(window, 1, 0), inside.last().unwrap().1 - before, "window at minute {start}");
    }
}
