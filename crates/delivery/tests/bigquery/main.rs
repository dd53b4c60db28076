//! Stories of BigQuery as a target: against the emulator, and, for what that cannot do, on the level of requests.

mod emulator;
mod external;
mod kills;
mod recording;
mod requests;
mod scene;
mod tokens;
mod uploads;
