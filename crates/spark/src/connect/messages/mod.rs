//! The messages of Spark Connect that this client sends and reads: those fields of them that it needs.
//!
//! Source of names, numbers and types: the descriptors of the protocol in the Python package pyspark 4.2.0
//! (`pyspark.sql.connect.proto`: `base_pb2`, `relations_pb2`, `commands_pb2`), and of `google/rpc/status.proto` and
//! `error_details.proto` for what an error carries. A server ignores fields that a client does not send, and prost skips those
//! that are not declared here.

pub(crate) mod command;
pub(crate) mod relation;
pub(crate) mod service;
pub(crate) mod status;
