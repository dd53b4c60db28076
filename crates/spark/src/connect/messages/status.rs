//! What the status of a failed call carries (`grpc-status-details-bin`): `google.rpc.Status` with `google.rpc.ErrorInfo`.

use std::collections::BTreeMap;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<AnyMessage>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AnyMessage {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

/// `google.rpc.ErrorInfo`. Spark's metadata has `errorClass`, `sqlState`, `errorId` and others.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ErrorInfo {
    /// The Java class.
    #[prost(string, tag = "1")]
    pub(crate) reason: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(crate) metadata: BTreeMap<String, String>,
}
