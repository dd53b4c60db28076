//! Everything that talks to Kafka: settings, readers, the producer, topics; and the providers that invent or replay
//! readings to produce.
//!
//! In: client settings (a Java-style properties file or librdkafka keys), exact positions to read from, records to send.
//! Out: [`turnstile_message::MessageBatch`]es of a reader's partitions; delivered records, and a count and the reasons of those
//! that were not.
//! Refuses to know what a message means, what a window is and where results go. Positions to read from are given by the
//! caller and never taken from a consumer group: group offsets are written for lag tools only. The one that joins groups is
//! [`Consumer`], for people who look at a topic.
//! Start at [`PartitionReader`] for what comes in, at [`feed`] for what goes out.

mod advice;
mod connection;
mod consumer;
pub mod diagnosis;
mod error;
mod feed;
mod leaders;
mod link;
mod native;
mod pace;
mod probe;
mod producer;
mod provider;
mod reader;
mod settings;
mod times;
mod topic_identity;
mod topics;

pub use advice::advice;
pub use connection::{KafkaConnection, ReadRecord};
pub use consumer::{Consumed, ConsumedMessage, Consumer, Subscription};
pub use error::{BrokerReason, ClientError, ReadError};
pub use feed::{FeedError, FeedPlan, FeedProgress, feed};
pub use leaders::{LeaderChange, LeaderWatch};
pub use link::LinkState;
pub use native::QueueWaker;
pub use pace::Pace;
pub use producer::{DeliveryFailure, Producer, ProducerLimits, ProducerStats, SendError};
pub use provider::{
    CityProvider, CitySettings, ClockZone, DEFAULT_STEP_CAP, HeaderRowProvider, LineFormat, LineInput, LineProvider,
    LineSettings, MAX_FILE_ROWS, MtaReplayProvider, ProducerRecord, Provider, ProviderError, RegisterMode, SkippedRows,
    SyntheticClock, TestStationProvider,
};
pub use reader::{PartitionReader, ReadLimits, ReadQueue, StartAt};
pub use settings::{ClientSettings, DEFAULT_CONNECT_TIMEOUT, DEFAULT_PROPERTIES, SettingsError, is_secret};
pub use topic_identity::{LostTopic, TopicIdentityWatch};
pub use topics::{NewTopicPlan, PartitionDescription, TopicAdmin, TopicDescription};
