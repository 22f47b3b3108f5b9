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
        [b'+', text @ ..] if begins_with_word(text, b"ERR") => Status::Error,
        [b'+', _, _, text @ ..] if text.trim_ascii_start().starts_with(b"-ERR") => Status::ErrorAfterOk,
        [b'+', ..] => Status::Ok,
        _ => Status::Malformed,
    }
}

/// What `line` says where it may as well be a piece of a message: only `+OK` and `-ERR`, in any case, and quirk q05's
/// `+ERR` are taken for a status line then. A signature begins with `-- `.
#[must_use]
pub fn strict_status(line: &[u8]) -> Status {
    match (status(line), line) {
        (Status::Ok | Status::ErrorAfterOk, [b'+', text @ ..]) if !begins_with_word(text, b"OK") => Status::Malformed,
        (Status::Error, [b'-', text @ ..]) if !begins_with_word(text, b"ERR") => Status::Malformed,
        (says, _) => says,
    }
}

/// A word of its own: in quirk q05 a server says `+ERR` for `-ERR`, but `+ERRATIC` is a text behind a bare `+`.
fn begins_with_word(text: &[u8], word: &[u8]) -> bool {
    text.split_at_checked(word.len()).is_some_and(|(head, rest)| {
        head.eq_ignore_ascii_case(word) && !rest.first().is_some_and(u8::is_ascii_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use super::{Status, status, strict_status};

    #[test]
    fn what_may_be_a_piece_of_a_message_is_no_status_line_where_that_matters() {
        for (line, expected) in [
            (&b"+OK"[..], Status::Ok),
            (b"+ok 5 octets", Status::Ok),
            (b"-ERR", Status::Error),
            (b"-err no", Status::Error),
            (b"+ERR no", Status::Error),
            (b"+OK -ERR no", Status::ErrorAfterOk),
            (b"+", Status::Malformed),
            (b"+1 me too", Status::Malformed),
            (b"+OKAY", Status::Malformed),
            (b"-- ", Status::Malformed),
            (b"--=_boundary", Status::Malformed),
            (b"-ERROR", Status::Malformed),
            (b"text", Status::Malformed),
        ] {
            assert_eq!(strict_status(line), expected, "{line:?}");
        }
    }

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
