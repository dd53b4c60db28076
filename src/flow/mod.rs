//! Runs a pipeline: the only place where Kafka meets the lake.
