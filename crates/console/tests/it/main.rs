//! The console over made-up data, asked over TCP as a browser, a program or an attacker would.

mod actions;
mod browser;
mod limits;
mod live;
mod pages;
mod paths;
mod security;

#[path = "../../examples/console_demo/demo_data.rs"]
mod demo_data;
#[path = "../../examples/console_demo/demo_runs.rs"]
mod demo_runs;
#[path = "../../examples/console_demo/demo_tables.rs"]
mod demo_tables;
#[path = "../../examples/console_demo/demo_values.rs"]
mod demo_values;
#[path = "../../examples/console_demo/demo_windows.rs"]
mod demo_windows;
