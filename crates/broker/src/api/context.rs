//! What every handler is given, and how outcomes become fields of responses.

use std::net::{SocketAddr, TcpStream};

use bytes::BytesMut;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use turnstile_values::{BoxError, caused};

use crate::log::LEADER_EPOCH;
use crate::state::BrokerState;

/// The id of the only broker.
pub(super) const NODE_ID: BrokerId = BrokerId(1);

/// The client of a connection.
#[derive(Debug)]
pub(crate) struct ClientInformation {
    pub(crate) peer: SocketAddr,
    /// The address by which the client reached the broker, and so the one to advertise.
    pub(super) address: SocketAddr,
    pub(super) client_id: String,
}

impl ClientInformation {
    pub(crate) fn of(stream: &TcpStream) -> std::io::Result<Self> {
        Ok(Self { peer: stream.peer_addr()?, address: stream.local_addr()?, client_id: String::new() })
    }

    pub(super) fn host(&self) -> StrBytes {
        StrBytes::from_string(self.address.ip().to_string())
    }

    pub(super) fn port(&self) -> i32 {
        i32::from(self.address.port())
    }
}

/// One request: the broker, the client, the version of the API.
pub(super) struct RequestContext<'a> {
    pub(super) broker: &'a BrokerState,
    pub(super) client: &'a ClientInformation,
    pub(super) version: i16,
}

pub(super) fn encode(message: &impl Encodable, version: i16, out: &mut BytesMut) -> Result<(), BoxError> {
    message.encode(out, version).map_err(|error| caused("cannot encode the response", error))
}

/// The error code of an outcome: 0 for a success.
pub(super) fn error_code<T>(outcome: &Result<T, ResponseError>) -> i16 {
    outcome.as_ref().map_or_else(ResponseError::code, |_| 0)
}

pub(super) fn text(from: &str) -> StrBytes {
    StrBytes::from_string(from.to_owned())
}

pub(super) fn topic_name(from: &str) -> TopicName {
    TopicName(text(from))
}

/// Whether the leader epoch that a client knows is this broker's; -1 asks for no check.
pub(super) fn check_epoch(epoch: i32) -> Result<(), ResponseError> {
    match epoch {
        -1 | LEADER_EPOCH => Ok(()),
        newer if newer > LEADER_EPOCH => Err(ResponseError::UnknownLeaderEpoch),
        _ => Err(ResponseError::FencedLeaderEpoch),
    }
}
