//! Data goes to stdout. A reader that has gone away (`| head`) is no error: what it asked for, it has.

/// `println!` that does not mind a closed pipe.
macro_rules! outln {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

/// `print!` that does not mind a closed pipe.
macro_rules! out {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = write!(std::io::stdout(), $($text)*);
    }};
}
