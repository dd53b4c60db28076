//! PostgreSQL as a target, against a real server. Each test has its own database.

mod applying;
mod city;
mod kills;
mod outage;
mod random;
mod refusal;
mod rivals;
mod security;
mod shapes;
mod test_database;
