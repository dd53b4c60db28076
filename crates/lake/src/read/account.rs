//! The ledger's account of messages: where its own counts contradict each other.
//!
//! In: commits, oldest first. Out: contradictions, as text. Reads no file: [`super::audit`] compares the files with
//! the ledger. Start at [`Account::take`].

use std::collections::BTreeMap;

use crate::ledger::history::CommitRecord;
use crate::slot::{FileEntry, FileKind};
use turnstile_message::Counters;

/// What the commits so far add up to.
#[derive(Debug, Default)]
pub(super) struct Account {
    counters: Counters,
    next: BTreeMap<String, BTreeMap<i32, i64>>,
    topic_ids: BTreeMap<String, String>,
    /// Offsets that positions have moved past; not every offset is a message.
    offsets: u64,
    /// Messages in files of dead letters.
    letters: u64,
    /// The highest version of each window, and its messages.
    windows: BTreeMap<(i64, i64), (u32, u64)>,
}

impl Account {
    /// Takes the next commit, and says what does not hold.
    pub(super) fn take(&mut self, line: &CommitRecord) -> Vec<String> {
        let mut wrong: Vec<String> = line.counters.imbalance(&self.counters).into_iter().collect();
        wrong.extend(self.went_back(line));
        wrong.extend(line.files.iter().filter_map(contradicts_itself));
        wrong.extend(self.left_out_of_windows(line));
        for file in &line.files {
            match file.kind {
                FileKind::DeadLetters => self.letters += file.rows,
                FileKind::Window { start_us, end_us, version } => {
                    let messages = file.counts.get("messages").copied().unwrap_or_default();
                    let highest = self.windows.entry((start_us, end_us)).or_default();
                    *highest = (*highest).max((version, messages));
                }
            }
        }
        let Counters { read, late, dead_lettered, .. } = line.counters;
        // Late messages are kept too, unless the pipeline drops them.
        if !(dead_lettered..=dead_lettered.saturating_add(late)).contains(&self.letters) {
            let letters = self.letters;
            wrong.push(format!(
                "the dead-letter files hold {letters} messages, but {dead_lettered} were dead-lettered and {late} were late"
            ));
        }
        self.offsets += self.moved(line);
        if read > self.offsets {
            wrong.push(format!("{read} messages were read of {} offsets", self.offsets));
        }
        self.counters = line.counters.clone();
        self.next = line.next.clone();
        self.topic_ids = line.topic_ids.clone();
        wrong
    }

    /// A late row or a duplicate lies in one window at least, so by window there are as many at least.
    fn left_out_of_windows(&self, line: &CommitRecord) -> Vec<String> {
        let Some(excluded) = &line.excluded else { return Vec::new() };
        let late = excluded.iter().map(|window| window.late).sum::<u64>();
        let duplicates = excluded.iter().map(|window| window.duplicates).sum::<u64>();
        let (now, before) = (&line.counters, &self.counters);
        [
            ("late rows", late, now.late.saturating_sub(before.late)),
            ("duplicates", duplicates, now.duplicate.saturating_sub(before.duplicate)),
        ]
        .into_iter()
        .filter(|(_, by_window, counted)| by_window < counted)
        .map(|(what, by_window, counted)| format!("{counted} {what} were counted, but by window only {by_window}"))
        .collect()
    }

    /// After the last commit: whether windows hold more messages than were aggregated. A message is in no more windows
    /// than overlap anywhere.
    pub(super) fn overfull(&self) -> Option<String> {
        let published: u64 = self.windows.values().map(|(_, messages)| messages).sum();
        let most = self.counters.aggregated.saturating_mul(deepest(self.windows.keys()));
        (published > most).then(|| {
            format!(
                "the windows' newest versions hold {published} messages, but {} were aggregated",
                self.counters.aggregated
            )
        })
    }

    /// A topic that was recreated, and that a person chose to continue with, starts again.
    fn was_recreated(&self, topic: &str, line: &CommitRecord) -> bool {
        matches!((self.topic_ids.get(topic), line.topic_ids.get(topic)), (Some(then), Some(now)) if then != now)
    }

    fn moved(&self, line: &CommitRecord) -> u64 {
        let mut offsets = 0;
        for (topic, partitions) in &line.next {
            let before = self.next.get(topic).filter(|_| !self.was_recreated(topic, line));
            for (partition, now) in partitions {
                let before = before.and_then(|before| before.get(partition)).copied().unwrap_or_default();
                offsets += now.saturating_sub(before).max(0) as u64;
            }
        }
        offsets
    }

    fn went_back(&self, line: &CommitRecord) -> Option<String> {
        for (topic, partitions) in &self.next {
            if self.was_recreated(topic, line) {
                continue;
            }
            for (partition, before) in partitions {
                let now = line.next.get(topic).and_then(|partitions| partitions.get(partition));
                if now.is_none_or(|now| now < before) {
                    let now = now.map_or("none".to_owned(), i64::to_string);
                    return Some(format!("{topic}[{partition}] went back from offset {before} to {now}"));
                }
            }
        }
        None
    }
}

/// Whether a file's own numbers agree with each other.
fn contradicts_itself(file: &FileEntry) -> Option<String> {
    let name = &file.name;
    let of_ranges: u64 = file.sources.iter().map(|range| range.messages).sum();
    if let Some(range) = file.sources.iter().find(|r| r.messages > (r.last - r.first + 1).max(0) as u64) {
        return Some(format!("{name} has {} messages of {range}", range.messages));
    }
    let counted = match file.kind {
        FileKind::Window { .. } => *file.counts.get("messages")?,
        FileKind::DeadLetters if file.counts.is_empty() => return None,
        FileKind::DeadLetters => file.counts.values().sum(),
    };
    if file.ranges_are_coarse() {
        let offsets: u64 = file.sources.iter().map(|range| (range.last - range.first + 1).max(0) as u64).sum();
        return (counted > offsets)
            .then(|| format!("{name} has {counted} messages, but its offset ranges have {offsets} offsets"));
    }
    if counted != of_ranges {
        return Some(format!("{name} has {counted} messages, but its offset ranges have {of_ranges}"));
    }
    (file.kind == FileKind::DeadLetters && counted != file.rows)
        .then(|| format!("{name} has {} rows, but its reasons count {counted} messages", file.rows))
}

/// The maximum number of these `[start, end)` that contain the same instant.
fn deepest<'a>(windows: impl Iterator<Item = &'a (i64, i64)>) -> u64 {
    let mut edges: Vec<(i64, i64)> = windows.flat_map(|(start, end)| [(*start, 1), (*end, -1)]).collect();
    // An end comes before a start at the same instant.
    edges.sort_unstable();
    let depths = edges.iter().scan(0i64, |depth, (_, step)| {
        *depth += step;
        Some(*depth)
    });
    depths.max().unwrap_or_default().max(0) as u64
}

#[cfg(test)]
mod tests {
    use turnstile_message::{ExcludedMessages, OffsetRange, TopicPartition};

    use super::*;
    use crate::hash::Hash;

    fn range(first: i64, messages: u64) -> OffsetRange {
        let partition = TopicPartition::new("t", 0);
        OffsetRange { partition, first, last: first + messages as i64 - 1, messages }
    }

    fn file(name: &str, kind: FileKind, messages: u64) -> FileEntry {
        let word = if kind == FileKind::DeadLetters { "type" } else { "messages" };
        FileEntry {
            name: name.to_owned(),
            stage: String::new(),
            sha256: Hash::of(b""),
            bytes: 0,
            rows: messages,
            kind,
            sources: vec![range(0, messages)],
            counts: BTreeMap::from([(word.to_owned(), messages)]),
        }
    }

    fn window(start_us: i64, end_us: i64, version: u32, messages: u64) -> FileEntry {
        file(&format!("{start_us}v{version}"), FileKind::Window { start_us, end_us, version }, messages)
    }

    fn line(counters: Counters, files: Vec<FileEntry>) -> CommitRecord {
        let next = BTreeMap::from([("t".to_owned(), BTreeMap::from([(0, counters.read as i64)]))]);
        CommitRecord {
            seq: 2,
            epoch: 1,
            committed_at_us: 0,
            host: String::new(),
            counters,
            next,
            topic_ids: BTreeMap::new(),
            files,
            failed: vec![],
            excluded: None,
        }
    }

    /// 10 messages: 6 in two windows, 1 late, 3 that could not be decoded; all four rejected ones are kept.
    fn sound() -> CommitRecord {
        let counters = Counters { read: 10, aggregated: 6, late: 1, dead_lettered: 3, ..Counters::default() };
        let files = vec![window(0, 5, 1, 2), window(5, 10, 1, 3), window(5, 10, 2, 4)];
        line(counters, [files, vec![file("letters", FileKind::DeadLetters, 4)]].concat())
    }

    fn found(line: &CommitRecord) -> Vec<String> {
        let mut account = Account::default();
        let mut wrong = account.take(line);
        wrong.extend(account.overfull());
        wrong
    }

    #[track_caller]
    fn tampered(change: impl Fn(&mut CommitRecord), expected: &str) {
        let mut line = sound();
        assert_eq!(found(&line), [""; 0]);
        change(&mut line);
        assert_eq!(found(&line), [expected]);
    }

    #[test]
    fn a_window_that_counts_other_messages_than_its_ranges_is_named() {
        tampered(|l| l.files[0].sources[0].messages = 1, "0v1 has 2 messages, but its offset ranges have 1");
        tampered(|l| l.files[0].sources[0].last = 0, "0v1 has 2 messages of t[0]@0..=0");
    }

    #[test]
    fn ranges_that_hold_other_messages_too_are_long_enough() {
        let coarse = |l: &mut CommitRecord| l.files[0].sources = vec![OffsetRange { messages: 0, ..range(0, 9) }];
        let mut line = sound();
        coarse(&mut line);
        assert_eq!(found(&line), [""; 0]);
        line.files[0].sources[0].last = 0;
        assert_eq!(found(&line), ["0v1 has 2 messages, but its offset ranges have 1 offsets"]);
    }

    #[test]
    fn dead_letters_that_are_not_those_counted_are_named() {
        let reasons = "letters has 5 rows, but its reasons count 4 messages";
        let mut line = sound();
        line.files[3].rows = 5;
        assert_eq!(found(&line)[0], reasons);
        let missing = "the dead-letter files hold 0 messages, but 3 were dead-lettered and 1 were late";
        tampered(|l| drop(l.files.pop()), missing);
        let made_up = "the dead-letter files hold 5 messages, but 3 were dead-lettered and 1 were late";
        tampered(|l| l.files[3] = file("letters", FileKind::DeadLetters, 5), made_up);
    }

    #[test]
    fn messages_that_no_offset_holds_are_named() {
        tampered(|l| *l.next.get_mut("t").unwrap().get_mut(&0).unwrap() = 9, "10 messages were read of 9 offsets");
    }

    #[test]
    fn windows_that_hold_more_than_was_aggregated_are_named() {
        let expected = "the windows' newest versions hold 7 messages, but 6 were aggregated";
        tampered(|l| l.files[2] = window(5, 10, 2, 5), expected);
    }

    #[test]
    fn late_rows_that_no_window_counts_are_named() {
        let window = ExcludedMessages { start_us: 0, end_us: 5, late: 1, duplicates: 0 };
        let mut counted = sound();
        counted.excluded = Some(vec![window]);
        assert_eq!(found(&counted), [""; 0]);
        counted.excluded = Some(vec![ExcludedMessages { late: 0, duplicates: 9, ..window }]);
        assert_eq!(found(&counted), ["1 late rows were counted, but by window only 0"]);
    }

    #[test]
    fn windows_that_overlap_may_hold_a_message_each() {
        let counters = Counters { read: 3, aggregated: 3, ..Counters::default() };
        let sliding = |messages| line(counters.clone(), vec![window(0, 10, 1, 3), window(5, 15, 1, messages)]);
        assert_eq!(found(&sliding(3)), [""; 0]);
        assert_eq!(found(&sliding(4)), ["the windows' newest versions hold 7 messages, but 3 were aggregated"]);
        assert_eq!(deepest([(0, 10), (10, 20), (5, 15)].iter()), 2);
    }

    #[test]
    fn offsets_that_a_recreated_topic_gives_again_count_again() {
        let mut account = Account::default();
        let mut first = line(Counters { read: 5, aggregated: 5, ..Counters::default() }, vec![]);
        first.topic_ids = BTreeMap::from([("t".to_owned(), "one".to_owned())]);
        assert_eq!(account.take(&first), [""; 0]);
        let mut second = line(Counters { read: 8, aggregated: 8, ..Counters::default() }, vec![]);
        second.next = BTreeMap::from([("t".to_owned(), BTreeMap::from([(0, 3)]))]);
        second.topic_ids = BTreeMap::from([("t".to_owned(), "two".to_owned())]);
        assert_eq!(account.take(&second), [""; 0]);
    }
}
