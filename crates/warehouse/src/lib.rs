//! SQL over the lake: the external table, the models' tables, incremental loads.
//!
//! In: a lake with its ledger, models. Out: sessions to ask, loads with their record.
//! Refuses to know Kafka, and writes none of the lake's data files.
