//! Real clients on the open port: tokio-postgres for what is said on the wire, psql, psycopg and JDBC for what
//! people use.

mod catalogs;
mod clients;
mod errors;
mod interrupts;
mod logins;
mod queries;
mod scene;
mod tables;
