//! PostgreSQL as a target, against a real server. Each test has a database of its own.

mod applying;
mod city;
mod kills;
mod outage;
mod place;
mod random;
mod refusal;
mod rivals;
mod security;
mod shapes;
