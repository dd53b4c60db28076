//! Everything that talks to Kafka: settings, readers, the producer, topics; and the providers that generate or replay
//! readings to produce.
//!
//! In: client settings (a Java-style properties file or librdkafka keys), exact positions to read from, records to send.
//! Out: [`turnstile_message::MessageBatch`]es of a reader's partitions; delivered records, and a count and the reasons of those
//! that were not.
//! Refuses to know what a message means, what a window is and where results go. Positions to read from are given by the
//! caller and never taken from a consumer group: group offsets are written for lag tools only. Only [`Consumer`], the
//! console consumer, joins groups.
//! Start at [`PartitionReader`] for what comes in, at [`feed`] for what goes out.

mod advice;
mod broker_errors;
mod connection;
mod consumer;
mod delivery;
pub mod diagnosis;
mod error;
mod feed;
mod group_offsets;
mod leader_watch;
mod leaders;
mod link;
mod native;
mod pace;
mod pause;
mod probe;
mod producer;
mod provider;
mod read_queue;
mod reader;
mod settings;
mod single_record;
mod times;
mod topic_admin;
mod topic_identity;

pub use advice::advice;
pub use connection::KafkaConnection;
pub use consumer::{Consumed, ConsumedMessage, Consumer, Subscription};
pub use delivery::DeliveryFailure;
pub use error::{BrokerReason, ClientError, ReadError};
pub use feed::{FeedError, FeedPlan, FeedProgress, FeedReport, feed};
pub use leader_watch::LeaderWatch;
pub use leaders::LeaderChange;
pub use link::LinkState;
pub use native::QueueWaker;
pub use pace::Pace;
pub use pause::pause;
pub use producer::{Producer, ProducerLimits, ProducerStats, SendError};
pub use provider::{
    CityProvider, CitySettings, DEFAULT_STEP_CAP, HeaderRowProvider, LineFormat, LineInput, LineProvider, LineSettings,
    MAX_FILE_ROWS, MtaReplayProvider, ProducerRecord, Provider, ProviderError, RegisterMode, SkippedRows,
    SyntheticClock, TestStationProvider,
};
pub use read_queue::ReadQueue;
pub use reader::{PartitionReader, ReadLimits, StartAt};
pub use settings::{
    ClientSettings, DEFAULT_CONNECT_TIMEOUT, DEFAULT_PROPERTIES, JavaSettings, SettingsError, is_secret,
};
pub use single_record::ReadRecord;
pub use topic_admin::{NewTopicPlan, PartitionDescription, TopicAdmin, TopicDescription};
pub use topic_identity::{LostTopic, TopicIdentityWatch};
