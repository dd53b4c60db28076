//! A part of a page that changes as one.

use maud::Markup;

/// A part of a page that changes as one: an element with an id, and its HTML.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Fragment {
    /// The element's id, unique in its page.
    pub(crate) id: &'static str,
    /// What is inside the element.
    pub(crate) html: String,
}

impl Fragment {
    pub(crate) fn new(id: &'static str, content: Markup) -> Self {
        Self { id, html: content.into_string() }
    }
}
