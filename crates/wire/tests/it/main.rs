//! Real clients on the open port: tokio-postgres for the protocol itself, psql, psycopg and JDBC as people use them.

mod catalogs;
mod clients;
mod errors;
mod interrupts;
mod logins;
mod queries;
mod scene;
mod tables;
