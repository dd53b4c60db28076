//! The consumer group's offsets, for lag tools: reading never starts from them unless the caller says so.

use rdkafka::Offset;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use turnstile_message::TopicPartition;

use crate::connection::{DEFAULT_GROUP, KafkaConnection, assignment, failure, poll_events};
use crate::error::ClientError;
use crate::native::{self, AclOperation};

impl KafkaConnection {
    /// The group's committed offsets: per partition asked, the next offset to read, or `None` where none is committed.
    ///
    /// # Errors
    /// That no broker answers, or the group is forbidden.
    pub fn group_offsets(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<i64>>, ClientError> {
        let asked: Vec<_> = partitions.iter().map(|p| (p.clone(), 0)).collect();
        let asked = assignment(&asked)?;
        let answered = self.retry_until_answered(
            |wait| self.consumer().committed_offsets(asked.clone(), wait),
            |code| self.group_error(code, "committed group offsets"),
        )?;
        Ok(partitions
            .iter()
            .map(|p| match answered.find_partition(&p.topic, p.partition).map(|found| found.offset()) {
                Some(Offset::Offset(next)) => Some(next),
                _ => None,
            })
            .collect())
    }

    /// Commits the group's offsets (per partition the next one to read) for tools that show lag. It returns before the
    /// broker answers, and a refusal is logged at debug level: nothing here ever starts from these offsets on its own.
    ///
    /// # Errors
    /// When librdkafka cannot queue the commit.
    pub fn commit_group_offsets(&self, next_offsets: &[(TopicPartition, i64)]) -> Result<(), ClientError> {
        let list = assignment(next_offsets)?;
        match self.consumer().commit(&list, CommitMode::Async) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
            Err(error) => Err(failure("commit group offsets", error)),
        }
    }

    /// The same as [`KafkaConnection::commit_group_offsets`], and waits for the broker's answer: for the last offsets before the end.
    ///
    /// # Errors
    /// When the broker refuses them, or the client gave up.
    pub fn commit_group_offsets_now(&self, next_offsets: &[(TopicPartition, i64)]) -> Result<(), ClientError> {
        match self.consumer().commit(&assignment(next_offsets)?, CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
            Err(error) => Err(failure("commit group offsets", error)),
        }
    }

    /// Whether a commit of group offsets that did not wait has failed since the last call.
    pub fn group_commit_failed(&self) -> bool {
        poll_events(self.consumer());
        self.link().take_commit_failure()
    }

    /// Whether this client may commit offsets of its group; `None` when the cluster does not report it, as for a
    /// group that has no members and no offsets yet. Nothing is committed.
    ///
    /// # Errors
    /// `GroupForbidden` when it may not even see the group, or that no broker answers.
    pub fn may_use_group(&self, group: &str) -> Result<Option<bool>, ClientError> {
        let allowed = native::allowed_on_group(self.consumer(), group, self.settings().connect_timeout());
        match allowed {
            Ok(allowed) => Ok(allowed.map(|operations| operations.contains(&AclOperation::Read))),
            Err(RDKafkaErrorCode::GroupIdNotFound) => Ok(None),
            Err(code) => Err(self.group_error(code, "read the permissions of the consumer group")),
        }
    }

    fn group_error(&self, code: RDKafkaErrorCode, action: &str) -> ClientError {
        match code {
            RDKafkaErrorCode::GroupAuthorizationFailed => ClientError::GroupForbidden {
                group: self.settings().group().unwrap_or(DEFAULT_GROUP).to_owned(),
                reason: code.into(),
            },
            code => failure(action.to_owned(), code),
        }
    }
}
