//! Windows, watermark, late rows, duplicates, idle partitions. Day 0 of the stories is 2023-12-09.

use turnstile_engine::{ClosePolicy, Reason};
use turnstile_values::human;

use crate::story::{Story, pipeline, sums};

fn tumbling(stream: &str) -> Story {
    Story::new(&pipeline(stream, &sums("'5 minutes'")), 1)
}

#[test]
fn a_window_closes_when_the_watermark_has_passed_its_end() {
    let mut story = tumbling("watermark = \"1 minute\"");
    story.row(0, "A", 3, "1", "2023-12-09 08:56:00").row(0, "A", 4, "2", "2023-12-09 09:00:59").cut();
    story.expect(&[]);
    story.row(0, "B", 1, "3", "2023-12-09 09:01:00").cut();
    story.expect(&["08:55: A|3|1|3|3"]);
}

#[test]
fn a_late_row_within_the_grace_joins_its_window() {
    let mut story = tumbling("watermark = \"1 minute\"");
    story
        .row(0, "A", 3, "1", "2023-12-09 08:59:50")
        .row(0, "A", 1, "2", "2023-12-09 09:00:30")
        .cut()
        .row(0, "A", 2, "3", "2023-12-09 08:59:55")
        .drain();
    story.expect(&["08:55: A|5|2|2|3", "09:00: A|1|1|1|1"]);
}

#[test]
fn a_row_after_its_window_closed_is_late_and_kept_as_a_dead_letter() {
    let mut story = tumbling("watermark = \"0 seconds\"\nlate = \"dead-letter\"");
    story.row(0, "A", 3, "1", "2023-12-09 08:59:50").row(0, "A", 1, "2", "2023-12-09 09:00:30").cut();
    story.row(0, "A", 2, "3", "2023-12-09 08:59:55").drain();
    story.expect(&["08:55: A|3|1|3|3", "09:00: A|1|1|1|1"]);
    assert_eq!((story.counters.late, story.counters.aggregated), (1, 2));
    assert_eq!(story.dead_letters[0].rejection.reason, Reason::Late);
    assert_eq!(
        story.dead_letters[0].rejection.detail,
        "the window that ends at 2023-12-09T09:00:00Z was already closed"
    );
    assert_eq!(story.dead_letters[0].position.to_string(), "t[0]@2");
}

#[test]
fn a_late_row_corrects_its_window_when_the_policy_says_so_also_after_a_crash() {
    for crash in [false, true] {
        let mut story = tumbling("watermark = \"0 seconds\"\nlate = \"correct\"\ncorrect_for = \"10 minutes\"");
        story.row(0, "A", 3, "1", "2023-12-09 08:59:50").row(0, "A", 1, "2", "2023-12-09 09:00:30").cut();
        story.expect(&["08:55: A|3|1|3|3"]);
        if crash {
            assert_eq!(story.crash(), [2]);
        }
        story.row(0, "A", 2, "3", "2023-12-09 08:59:55").cut();
        story.expect(&["08:55 v2: A|5|2|2|3"]);
        assert_eq!(story.counters.corrections, 1);
        let newest = story.closed.last().unwrap();
        assert_eq!((newest.sources[0].first, newest.sources[0].last, newest.sources[0].messages), (0, 2, 2));
        story.row(0, "A", 9, "4", "2023-12-09 09:16:00").cut().row(0, "A", 2, "5", "2023-12-09 08:59:56").cut();
        assert_eq!(story.counters.late, 1, "ten minutes after its end the window is closed for good");
    }
}

#[test]
fn a_hopping_row_counts_in_every_window_that_holds_it() {
    let pipeline = pipeline("watermark = \"0 seconds\"", &sums("'10 minutes', '5 minutes'"));
    let mut story = Story::new(&pipeline, 1);
    story.row(0, "A", 1, "1", "2023-12-09 08:04:00").row(0, "A", 2, "2", "2023-12-09 08:05:00").drain();
    story.expect(&["07:55: A|1|1|1|1", "08:00: A|3|2|1|2", "08:05: A|2|1|2|2"]);
    assert_eq!(story.counters.aggregated, 2, "a message is aggregated once, in however many windows");
}

#[test]
fn a_late_row_and_a_duplicate_are_counted_in_every_window_that_their_time_lies_in() {
    let stream = "watermark = \"0 seconds\"\ndedup = [\"ID\"]";
    let mut story = Story::new(&pipeline(stream, &sums("'10 minutes', '5 minutes'")), 1);
    story.row(0, "A", 1, "1", "2023-12-09 08:04:00").row(0, "A", 1, "1", "2023-12-09 08:04:00");
    story.row(0, "A", 2, "2", "2023-12-09 08:30:00").cut();
    story.row(0, "A", 3, "3", "2023-12-09 08:04:30").row(0, "A", 3, "4", "2023-12-09 08:16:00").cut();
    let minute = |start_us: i64| (start_us / 60_000_000).rem_euclid(60);
    let counts = story.excluded.iter().map(|window| (minute(window.start_us), window.late, window.duplicates));
    // 08:16 lies in 08:10, which has closed with its end, and in 08:15, which has closed too.
    assert_eq!(counts.collect::<Vec<_>>(), [(55, 0, 1), (0, 0, 1), (55, 1, 0), (0, 1, 0), (10, 1, 0), (15, 1, 0)]);
    assert!(story.excluded.iter().all(|window| window.end_us - window.start_us == 600_000_000));
}

#[test]
fn the_slowest_partition_holds_windows_open_until_it_is_idle() {
    let pipeline = pipeline("watermark = \"0 seconds\"", &sums("'5 minutes'"));
    let mut story = Story::new(&pipeline, 2);
    story.row(0, "A", 1, "1", "2023-12-09 08:04:00").row(0, "A", 2, "2", "2023-12-09 08:30:00").cut();
    story.expect(&[]);
    story.row(1, "A", 4, "3", "2023-12-09 08:04:30").cut();
    story.expect(&[]);
    story.idle(1).cut();
    story.expect(&["08:00: A|5|2|1|4"]);
    story.row(1, "A", 4, "4", "2023-12-09 08:04:59").cut();
    assert_eq!(story.counters.late, 1);
}

#[test]
fn a_partition_that_fell_silent_before_its_last_messages_were_cut_is_idle_and_one_that_spoke_since_is_not() {
    let pipeline = pipeline("watermark = \"0 seconds\"", &sums("'5 minutes'"));
    for (spoke_since, closed) in [(false, &["08:00: A|5|2|1|4"][..]), (true, &[])] {
        let mut story = Story::new(&pipeline, 2);
        story.row(0, "A", 1, "1", "2023-12-09 08:04:00").row(0, "A", 2, "2", "2023-12-09 08:30:00");
        story.row(1, "A", 4, "3", "2023-12-09 08:04:30").idle(1);
        if spoke_since {
            story.row(1, "A", 8, "4", "2023-12-09 08:04:40");
        }
        story.cut();
        story.expect(closed);
    }
}

/// Case B8: one misdirected producer would hold all output back for ever.
#[test]
fn a_partition_that_brings_only_rejected_messages_falls_idle_and_stays_so_until_a_row_comes() {
    let pipeline = pipeline("watermark = \"0 seconds\"", &sums("'5 minutes'"));
    let mut story = Story::new(&pipeline, 2);
    story.row(0, "A", 1, "1", "2023-12-09 08:04:00").row(0, "A", 2, "2", "2023-12-09 08:30:00");
    story.row(1, "A", 4, "3", "never").idle(1).row(1, "A", 4, "4", "never").cut();
    story.expect(&["08:00: A|1|1|1|1"]);
    story.row(1, "A", 4, "5", "never").row(0, "A", 8, "6", "2023-12-09 08:40:00").cut();
    story.expect(&["08:00: A|1|1|1|1", "08:30: A|2|1|2|2"]);
    // A row is a sign of life, and its partition is waited for again.
    story.row(1, "A", 4, "7", "2023-12-09 08:41:00").row(0, "A", 8, "8", "2023-12-09 09:30:00").cut();
    story.expect(&["08:00: A|1|1|1|1", "08:30: A|2|1|2|2"]);
}

#[test]
fn a_duplicate_counts_once_in_whichever_partition_it_comes_and_after_a_crash() {
    let stream = "watermark = \"5 minutes\"\ndedup = [\"ID\", \"STATION\", \"TIMESTAMP\"]";
    let mut story = Story::new(&pipeline(stream, &sums("'5 minutes'")), 2);
    story.row(0, "A", 1, "x", "2023-12-09 08:01:00").row(1, "A", 1, "x", "2023-12-09 08:01:00").cut();
    assert_eq!(story.crash(), [1, 1]);
    story.row(1, "A", 1, "x", "2023-12-09 08:01:00").row(1, "A", 1, "y", "2023-12-09 08:01:00").drain();
    story.expect(&["08:00: A|2|2|1|1"]);
    assert_eq!(story.counters.duplicate, 2);
}

#[test]
fn what_was_read_but_not_committed_is_read_again_and_is_no_duplicate() {
    let stream = "watermark = \"5 minutes\"\ndedup = [\"ID\"]";
    let mut story = Story::new(&pipeline(stream, &sums("'5 minutes'")), 1);
    story.row(0, "A", 1, "x", "2023-12-09 08:01:00").cut().row(0, "A", 2, "y", "2023-12-09 08:02:00");
    assert_eq!(story.crash(), [1]);
    story.row(0, "A", 2, "y", "2023-12-09 08:02:00").row(0, "A", 1, "x", "2023-12-09 08:03:00").drain();
    story.expect(&["08:00: A|3|2|1|2"]);
    assert_eq!(story.counters.duplicate, 1);
}

#[test]
fn an_event_ahead_of_the_clock_is_rejected_and_does_not_move_the_watermark() {
    let mut story = tumbling("watermark = \"0 seconds\"\nfuture = \"5 minutes\"");
    story.now_us = Some(1_702_112_400_000_000); // 2023-12-09 09:00:00
    story.row(0, "A", 1, "1", "2023-12-09 08:56:00").row(0, "A", 1, "2", "9999-12-31 00:00:00").cut();
    story.expect(&[]);
    assert_eq!(story.dead_letters[0].rejection.reason, Reason::Future);
    story.row(0, "A", 1, "3", "2023-12-09 09:05:00").cut();
    story.expect(&["08:55: A|1|1|1|1"]);
}

#[test]
fn where_and_having_leave_rows_out_and_every_message_is_in_one_term() {
    let sql = "SELECT STATION, sum(ENTRIES) AS ENTRIES FROM turnstile WHERE STATION LIKE 'A%' \
               GROUP BY window(TIMESTAMP, '5 minutes'), STATION HAVING sum(ENTRIES) > 2";
    let mut story = Story::new(&pipeline("watermark = \"0 seconds\"", sql), 1);
    story
        .row(0, "A1", 2, "1", "2023-12-09 08:01:00")
        .row(0, "A2", 3, "2", "2023-12-09 08:01:00")
        .row(0, "B", 9, "3", "2023-12-09 08:01:00")
        .value(0, None)
        .value(0, Some(b"broken"))
        .drain();
    story.expect(&["08:00: A2|3"]);
    let c = story.counters;
    assert_eq!((c.read, c.aggregated, c.filtered, c.tombstones, c.dead_lettered), (5, 2, 1, 1, 1));
}

#[test]
fn a_query_by_window_alone_has_one_group() {
    let sql = "SELECT window.start AS START, sum(ENTRIES) AS ENTRIES, avg(ENTRIES) AS MEAN, \
               approx_count_distinct(STATION) AS STATIONS FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes')";
    let mut story = Story::new(&pipeline("watermark = \"0 seconds\"", sql), 2);
    story.row(0, "A", 2, "1", "2023-12-09 08:01:00").row(1, "B", 3, "2", "2023-12-09 08:02:00").cut();
    story.crash();
    story.row(0, "A", 5, "3", "2023-12-09 08:03:00").drain();
    assert_eq!(story.text().len(), 1);
    assert!(story.text()[0].ends_with("|10|3.3333333333333335|2"), "{:?}", story.text());
}

#[test]
fn a_window_keeps_where_its_messages_stand() {
    let pipeline = pipeline("watermark = \"0 seconds\"", &sums("'5 minutes'"));
    let mut story = Story::new(&pipeline, 2);
    story
        .row(0, "A", 1, "1", "2023-12-09 08:01:00")
        .row(0, "A", 1, "2", "2023-12-09 08:06:00")
        .row(0, "A", 1, "3", "2023-12-09 08:02:00")
        .row(1, "A", 1, "4", "2023-12-09 08:06:00")
        .cut()
        .row(1, "A", 1, "5", "2023-12-09 08:07:00")
        .drain();
    let sources: Vec<Vec<String>> =
        story.closed.iter().map(|w| w.sources.iter().map(|s| format!("{s} {}", s.messages)).collect()).collect();
    assert_eq!(sources, [vec!["t[0]@0..=2 2"], vec!["t[0]@1..=1 1", "t[1]@0..=1 2"]]);
}

#[test]
fn a_row_that_an_expression_fails_on_is_a_dead_letter_and_its_neighbours_count() {
    let sql = "SELECT sum(CAST(ID AS INT)) AS IDS FROM turnstile WHERE CAST(ID AS INT) > 0 OR STATION = 'B' \
               GROUP BY window(TIMESTAMP, '5 minutes'), CAST(STATION AS STRING)";
    let mut story = Story::new(&pipeline("watermark = \"0 seconds\"", sql), 1);
    let rows = [("A", "7"), ("A", "x"), ("B", "y"), ("A", "-1"), ("A", "5")];
    story.values(0, rows.map(|(station, id)| format!("{station},1,{id},2023-12-09 08:01:00")));
    story.drain();
    story.expect(&["08:00: 12"]);
    assert_eq!((story.counters.dead_lettered, story.counters.filtered, story.counters.aggregated), (2, 1, 2));
    assert!(story.dead_letters.iter().all(|l| l.rejection.reason == Reason::Query), "{:?}", story.dead_letters);
}

#[test]
fn a_partition_that_was_idle_before_a_restart_is_waited_for_after_it() {
    let pipeline = pipeline("watermark = \"0 seconds\"", &sums("'5 minutes'"));
    let mut story = Story::new(&pipeline, 2);
    story.row(0, "A", 1, "1", "2023-12-09 08:01:00").row(1, "A", 2, "2", "2023-12-09 08:01:00");
    story.cut().idle(0).idle(1).cut();
    story.crash();
    story.row(0, "A", 4, "3", "2023-12-09 10:00:00").cut();
    story.expect(&[]);
    story.row(1, "A", 8, "4", "2023-12-09 08:02:00").drain();
    story.expect(&["08:00: A|11|3|1|8", "10:00: A|4|1|4|4"]);
    assert_eq!(story.counters.late, 0);
}

#[test]
fn more_windows_than_one_cut_closes_follow_with_the_next_ones() {
    let pipeline = pipeline("watermark = \"0 seconds\"", &sums("'1 minute'"));
    let mut story = Story::new(&pipeline, 1);
    let minute =
        |i: i64| chrono::DateTime::from_timestamp(1_702_080_000 + i * 60, 0).unwrap().format("%F %T").to_string();
    story.values(0, (0..5_000).map(|i| format!("A,1,{i},{}", minute(i))));
    story.cut();
    assert_eq!(story.closed.len(), 4_096);
    story.cut();
    assert_eq!(story.closed.len(), 4_999);
    story.drain();
    assert_eq!((story.closed.len(), story.counters.late), (5_000, 0));
}

#[test]
fn a_window_that_cannot_be_computed_is_named() {
    let mut story = Story::new(&pipeline("watermark = \"0 seconds\"", &sums("'5 minutes'")), 1);
    let huge = i64::MAX;
    story.row(0, "A", huge, "1", "2023-12-09 08:01:00").row(0, "A", huge, "2", "2023-12-09 08:01:00");
    let error = human::error(&story.drain_error());
    assert!(error.starts_with("the window that begins at 2023-12-09T08:00:00Z cannot be computed: "), "{error}");
}

#[test]
fn a_group_that_cannot_be_computed_is_left_out_and_named_and_the_others_are_published() {
    for (late, corrects) in [("dead-letter", false), ("correct", true)] {
        let stream = format!("watermark = \"0 seconds\"\nlate = \"{late}\"\nfailed_groups = \"leave-out\"");
        let mut story = Story::new(&pipeline(&stream, &sums("'5 minutes'")), 1);
        for (at, station) in ["A", "B", "C", "D", "E"].iter().enumerate() {
            let entries = if at % 3 == 1 { i64::MAX } else { 2 };
            story.row(0, station, entries, "1", "2023-12-09 08:01:00").row(0, station, 1, "2", "2023-12-09 08:02:00");
        }
        story.row(0, "A", 7, "3", "2023-12-09 08:06:00").cut();
        story.expect(&["08:00: A|3|2|1|2; C|3|2|1|2; D|3|2|1|2"]);
        let failed = &story.failed[0];
        let shown: Vec<&str> = failed.shown.iter().map(|group| group.key.as_str()).collect();
        assert_eq!((failed.groups, failed.version, shown), (2, 1, vec!["STATION = B", "STATION = E"]));
        assert!(failed.shown[0].reason.contains("9223372036854775808 does not fit 64 bits"), "{failed:?}");
        assert_eq!((failed.messages, failed.sources[0].first, failed.sources[0].last), (10, 0, 9));
        if corrects {
            story.row(0, "B", -1, "4", "2023-12-09 08:03:00").cut();
            story
                .expect(&["08:00 v2: A|3|2|1|2; B|9223372036854775807|3|-1|9223372036854775807; C|3|2|1|2; D|3|2|1|2"]);
            assert_eq!(story.failed.iter().map(|failed| failed.groups).collect::<Vec<_>>(), [2, 1]);
        }
        story.crash();
        story.drain();
        assert_eq!(story.text().last().unwrap(), "08:05: A|7|1|7|7", "the run goes on");
    }
}

#[test]
fn a_window_of_one_group_that_cannot_be_computed_has_no_rows_and_is_named() {
    let sql = "SELECT sum(ENTRIES) AS N, CAST(max(STATION) AS int) AS S FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes')";
    let mut story = Story::new(&pipeline("watermark = \"0 seconds\"\nfailed_groups = \"leave-out\"", sql), 1);
    story.row(0, "x", 1, "1", "2023-12-09 08:01:00").row(0, "7", 1, "2", "2023-12-09 08:06:00").drain();
    story.expect(&["08:00: ", "08:05: 1|7"]);
    assert_eq!((story.failed.len(), story.failed[0].shown[0].key.as_str()), (1, ""));
}

/// `first`, `last`, `min_by` and `max_by` a window, over rows that reach three partitions in every order of arrival.
#[test]
fn the_first_and_the_last_row_of_a_group_do_not_depend_on_arrival() {
    let sql = "SELECT STATION, first(ENTRIES) AS A, last(ENTRIES) AS Z, first(ENTRIES) IGNORE NULLS AS N, max_by(ID, ENTRIES) AS M, \
               min_by(ID, ENTRIES) AS L, count(DISTINCT ID, ENTRIES) AS C FROM turnstile GROUP BY window(TIMESTAMP, '5 minutes'), STATION";
    // Partition, entries, id, time: two rows share the first instant, two the last one, two the largest number.
    let rows = [
        (1, "", "p", "08:01:00"),
        (2, "5", "q", "08:01:00"),
        (0, "9", "r", "08:02:00"),
        (2, "9", "s", "08:03:00"),
        (0, "1", "t", "08:04:00"),
        (1, "3", "u", "08:04:00"),
        (1, "3", "u", "08:03:30"),
    ];
    for turn in 0..rows.len() {
        let mut story = Story::new(&pipeline("watermark = \"0 seconds\"", sql), 3);
        let mut turned = rows;
        turned.rotate_left(turn);
        for (at, (partition, entries, id, time)) in turned.iter().enumerate() {
            story.value(*partition, Some(format!("A,{entries},{id},2023-12-09 {time}").as_bytes()));
            if at % 3 == turn % 3 {
                story.cut();
            }
            if at == turn {
                story.cut().crash();
            }
        }
        story.drain();
        story.expect(&["08:00: A||3|5|s|t|5"]);
    }
}

#[test]
fn a_quiet_close_that_news_prevent_is_none() {
    let mut story = tumbling("watermark = \"1 minute\"");
    story.row(0, "A", 3, "1", "2023-12-09 08:56:00").cut();
    story.row(0, "A", 4, "2", "2023-12-09 08:57:00");
    assert_eq!(story.quiet(), ClosePolicy::Passed, "a message came between the look at the clock and the cut");
    story.expect(&[]);
    assert_eq!(story.quiet(), ClosePolicy::Quiet);
    story.expect(&["08:55: A|7|2|3|4"]);
}

#[test]
fn a_late_row_that_is_dropped_is_counted_and_kept_nowhere() {
    let mut story = tumbling("watermark = \"0 seconds\"\nlate = \"drop\"");
    story.row(0, "A", 3, "1", "2023-12-09 08:59:50").row(0, "A", 1, "2", "2023-12-09 09:00:30").cut();
    story.row(0, "A", 2, "3", "2023-12-09 08:59:55").drain();
    story.expect(&["08:55: A|3|1|3|3", "09:00: A|1|1|1|1"]);
    assert_eq!((story.counters.late, story.counters.aggregated), (1, 2));
    assert_eq!(story.dead_letters, []);
}

#[test]
fn duplicates_by_value_are_equal_to_the_last_byte() {
    let mut story = tumbling("watermark = \"1 minute\"\ndedup = \"value\"");
    story.row(0, "A", 3, "1", "2023-12-09 08:56:00").row(0, "A", 3, "2", "2023-12-09 08:56:00");
    story.row(0, "A", 3, "1", "2023-12-09 08:56:00").cut();
    story.crash();
    story.row(0, "A", 3, "2", "2023-12-09 08:56:00").row(0, "A", 3, "1", "2023-12-09 08:56:01").drain();
    story.expect(&["08:55: A|9|3|3|3"]);
    assert_eq!(story.counters.duplicate, 2);
}

fn remembering(stream: &str) -> Story {
    Story::new(&pipeline(&format!("watermark = \"1 hour\"\ndedup = [\"ID\"]\n{stream}"), &sums("'1 hour'")), 1)
}

#[test]
fn state_is_rewritten_only_when_more_came_on_top_of_it() {
    let mut story = remembering("");
    for cut in 0..200 {
        story.values(0, (0..100).map(|id| format!("A,1,id-{cut}-{id},2023-12-09 08:01:00"))).cut();
    }
    let (added, replaced) = &story.written;
    let total = |bytes: &[usize]| bytes.iter().sum::<usize>();
    assert!(replaced.len() >= 2, "a restart does not read 200 blobs: {replaced:?}");
    assert!(total(replaced) <= 2 * total(added), "{} bytes came, and {replaced:?} were rewritten", total(added));

    story.crash();
    let again = (0..200).map(|cut| format!("A,1,id-{cut}-7,2023-12-09 08:02:00"));
    story.values(0, again).drain();
    story.expect(&["08:00: A|20000|20000|1|1"]);
    assert_eq!(story.counters.duplicate, 200);
}
