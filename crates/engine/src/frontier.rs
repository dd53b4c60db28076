//! Which windows are closed.

/// Which windows are closed for good: those that end at or before `closed_until_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frontier {
    /// Windows that end at or before this instant, microseconds, take no more rows.
    pub closed_until_us: i64,
    /// Windows that end at or before this one, which lies later, were published: rows correct them.
    pub published_until_us: i64,
}

impl Frontier {
    /// Nothing is closed.
    pub const OPEN: Self = Self { closed_until_us: i64::MIN, published_until_us: i64::MIN };
}
