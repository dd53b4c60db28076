//! What the name of a field in a message leads to.

/// What a field's name stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FieldTarget {
    /// A column that is built, by its number.
    Column(usize),
    /// A field of the schema that the query does not need.
    Unused,
}
