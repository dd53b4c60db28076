//! Everything that talks to Kafka: settings, readers, the producer, topics; and the providers that invent or replay
//! readings to produce.
//!
//! In: client settings (a Java-style properties file or librdkafka keys), exact positions to read from, records to send.
//! Out: [`message::MessageBatch`]es of a reader's partitions; delivered records, and a count and the reasons of those
//! that were not.
//! Refuses to know what a message means, what a window is and where results go. Positions to read from are given by the
//! caller and never taken from a consumer group: group offsets are written for lag tools only.
//! Start at [`Reader`] for what comes in, at [`feed`] for what goes out.

mod connection;
mod error;
mod feed;
mod link;
mod native;
mod pace;
mod producer;
mod properties;
mod provider;
mod reader;
mod settings;
mod topics;

pub use connection::{Connection, ReadRecord};
pub use error::{ClientError, ReadError};
pub use feed::{FeedError, FeedPlan, FeedProgress, feed};
pub use link::LinkState;
pub use pace::Pace;
pub use producer::{DeliveryFailure, Producer, ProducerLimits, ProducerStats, SendError};
pub use provider::{
    City, CitySettings, DEFAULT_STEP_CAP, HeaderRow, MAX_FILE_ROWS, MtaReplay, Provider, ProviderError, Record,
    Registers, SyntheticClock, TestStation, Zone,
};
pub use reader::{ReadLimits, ReadQueue, Reader, StartAt};
pub use settings::{ClientSettings, DEFAULT_CONNECT_TIMEOUT, DEFAULT_PROPERTIES, SettingsError};
pub use topics::{NewTopicPlan, PartitionDescription, TopicDescription, Topics};
