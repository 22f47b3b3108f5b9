//! What a status line says: the one place where that is decided, for the framer and for Python.
//!
//! A pure function on one line without its line end. RFC 1939 section 3 knows `+OK` and `-ERR`; poplib, and so
//! we, take anything that begins with `+` for yes.

/// What a status line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Yes; for some commands a body follows.
    Ok,
    /// No.
    Error,
    /// Quirk q06: `+OK` was out already when the server failed, and `-ERR` follows in the same line. After a
    /// command that has a body, whether one comes is anybody's guess.
    ErrorAfterOk,
    /// No status line at all: client and server are out of step.
    Malformed,
}

/// What `line` says.
#[must_use]
pub fn status(line: &[u8]) -> Status {
    match line {
        // Quirk q26: a NUL is no text that a server sends.
        _ if memchr::memchr(0, line).is_some() => Status::Malformed,
        [b'-', ..] => Status::Error,
        [b'+', text @ ..] if says_err(text) => Status::Error,
        [b'+', _, _, text @ ..] if text.trim_ascii_start().starts_with(b"-ERR") => Status::ErrorAfterOk,
        [b'+', ..] => Status::Ok,
        _ => Status::Malformed,
    }
}

/// Quirk q05: one server says `+ERR` for `-ERR`. A word of its own: `+ERRATIC` is a text behind a bare `+`.
fn says_err(text: &[u8]) -> bool {
    match text.split_at_checked(3) {
        Some((word, rest)) => word.eq_ignore_ascii_case(b"ERR") && !rest.first().is_some_and(u8::is_ascii_alphanumeric),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Status, status};

    #[test]
    fn status_lines_of_real_servers() {
        let cases: [(&[u8], Status); 24] = [
            (b"+OK", Status::Ok),
            (b"+OK ", Status::Ok),
            (b"+ok welcome", Status::Ok),
            (b"+ Hola mundo", Status::Ok),
            (b"+", Status::Ok),
            (b"+OK \xfc\xff", Status::Ok),
            (b"+ERRATIC", Status::Ok),
            (b"+OK no -ERR here", Status::Ok),
            (b"-ERR", Status::Error),
            (b"-err no", Status::Error),
            (b"-", Status::Error),
            (b"+ERR", Status::Error),
            (b"+err Server error", Status::Error),
            (b"+ERR: no", Status::Error),
            (b"+OK -ERR error retrieving message", Status::ErrorAfterOk),
            (b"+OK  -ERR", Status::ErrorAfterOk),
            (b"", Status::Malformed),
            (b" +OK", Status::Malformed),
            (b"OK", Status::Malformed),
            (b"From: a", Status::Malformed),
            (b".", Status::Malformed),
            (b"+OK\0", Status::Malformed),
            (b"-ERR\0", Status::Malformed),
            (b"\0", Status::Malformed),
        ];
        for (line, expected) in cases {
            assert_eq!(status(line), expected, "{line:?}");
        }
    }
}
