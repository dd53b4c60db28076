//! Schemas by their ids, from a Confluent-compatible schema registry.
//!
//! In: a registry's address, and ids that messages carry. Out: [`WriterSchema`](turnstile_message::WriterSchema)s, or the
//! information that an id is unknown.
//! Refuses to know what a schema means and what happens to a message; it only reads, and never registers anything.
//! Start at [`SchemaRegistry::schema`].

mod answer;
mod client;
mod settings;

pub use client::{RegistryError, SchemaRegistry, UnreachableReason};
pub use settings::SchemaRegistrySettings;

#[cfg(test)]
mod tests;
