//! The tables that are asked: over the lake's files, over the models' files, over the ledger.
//!
//! In: a catalog and a state of one moment. Out: table providers that read what these name and nothing else.
//! Refuses to know how the moment was found. Start at [`External`].

mod as_of;
mod computed;
mod empty;
mod external;
mod history;
mod ledger;
mod live;
mod model;
mod runs;

pub(crate) use as_of::as_of;
pub(crate) use computed::Computed;
pub(crate) use empty::empty_tables;
pub(crate) use external::External;
pub(crate) use history::{History, history_of};
pub(crate) use ledger::{LedgerTable, WINDOWS_VIEW};
pub(crate) use live::live;
pub(crate) use model::ModelTable;
pub(crate) use runs::runs;
