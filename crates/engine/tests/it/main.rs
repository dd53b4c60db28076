//! The engine's promises, as stories and against a slow, obvious oracle.

mod field_kinds;
mod messages;
mod oracle;
mod random;
mod registers;
mod schemas;
mod spilling;
mod story;
mod windows;
