//! The parts of librdkafka that the safe wrapper does not offer: batches from a queue onto which chosen partitions are
//! forwarded, the ids of topics, and what this client may do with a topic or a group. All unsafe code of this crate is in
//! this folder.
#![allow(unsafe_code)]

mod admin;
mod partitions_queue;
mod queued_message;

pub(crate) use admin::{AclOperation, allowed_on_group, allowed_on_topic, topic_ids};
pub use partitions_queue::QueueWaker;
pub(crate) use partitions_queue::{CHUNK, PartitionsQueue};
pub(crate) use queued_message::QueuedMessage;
