//! What cannot be framed: which limit was passed, or what was malformed, and where.
//!
//! Owns no text that a server sent and knows nothing of Python: an error is data until the binding,
//! late and in one place, makes an exception of it.

use std::fmt;

/// Why the octets received cannot be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// A line read on its own is longer than `limit` octets, its line end counted.
    LineTooLong {
        /// The greatest number of octets allowed.
        limit: usize,
    },
    /// A multi-line response holds more than `limit` octets (un-stuffed, terminator not counted).
    BodyTooLong {
        /// The greatest number of octets allowed.
        limit: u64,
    },
    /// A multi-line response that becomes a list has more than `limit` lines.
    TooManyLines {
        /// The greatest number of lines allowed.
        limit: u64,
    },
    /// A line of a listing is longer than `limit` octets.
    ListingLineTooLong {
        /// The greatest number of octets allowed.
        limit: usize,
        /// The line's place in the listing, counted from 1.
        position: usize,
    },
    /// A unique-id is longer than `limit` octets.
    UniqueIdTooLong {
        /// The greatest number of octets allowed.
        limit: usize,
        /// The line's place in the listing, counted from 1.
        position: usize,
    },
    /// A listing has more than `limit` entries.
    TooManyEntries {
        /// The greatest number of entries allowed.
        limit: usize,
    },
    /// A line of a listing does not begin with a message number.
    NoMessageNumber {
        /// The line's place in the listing, counted from 1.
        position: usize,
    },
    /// A line was asked for in the middle of a multi-line response.
    MidResponse,
    /// A body was asked for where no status line had been read before it.
    NoStatusLine,
}

impl FramingError {
    /// Whether a limit was passed, as opposed to something malformed.
    #[must_use]
    pub fn is_limit(&self) -> bool {
        !matches!(self, Self::NoMessageNumber { .. } | Self::MidResponse | Self::NoStatusLine)
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // poplib's own words, which programs compare with.
            Self::LineTooLong { .. } => f.write_str("line too long"),
            Self::BodyTooLong { limit } => write!(f, "multi-line response longer than {limit} octets"),
            Self::TooManyLines { limit } => write!(f, "multi-line response of more than {limit} lines"),
            Self::ListingLineTooLong { limit, position } => {
                write!(f, "line {position} of the listing is longer than {limit} octets")
            }
            Self::UniqueIdTooLong { limit, position } => {
                write!(f, "unique-id in line {position} of the listing is longer than {limit} octets")
            }
            Self::TooManyEntries { limit } => write!(f, "listing of more than {limit} entries"),
            Self::NoMessageNumber { position } => {
                write!(f, "line {position} of the listing does not begin with a message number")
            }
            Self::MidResponse => f.write_str("a multi-line response is still being read"),
            Self::NoStatusLine => f.write_str("a multi-line response was asked for without its status line"),
        }
    }
}

impl std::error::Error for FramingError {}

#[cfg(test)]
mod tests {
    use super::FramingError;

    #[test]
    fn each_error_says_its_limit_and_its_place() {
        let cases = [
            (FramingError::LineTooLong { limit: 9 }, "line too long", true),
            (FramingError::BodyTooLong { limit: 9 }, "multi-line response longer than 9 octets", true),
            (FramingError::TooManyLines { limit: 9 }, "multi-line response of more than 9 lines", true),
            (
                FramingError::ListingLineTooLong { limit: 9, position: 3 },
                "line 3 of the listing is longer than 9 octets",
                true,
            ),
            (
                FramingError::UniqueIdTooLong { limit: 9, position: 3 },
                "unique-id in line 3 of the listing is longer than 9 octets",
                true,
            ),
            (FramingError::TooManyEntries { limit: 9 }, "listing of more than 9 entries", true),
            (
                FramingError::NoMessageNumber { position: 3 },
                "line 3 of the listing does not begin with a message number",
                false,
            ),
            (FramingError::MidResponse, "a multi-line response is still being read", false),
            (FramingError::NoStatusLine, "a multi-line response was asked for without its status line", false),
        ];
        for (error, text, is_limit) in cases {
            assert_eq!(error.to_string(), text);
            assert_eq!(error.is_limit(), is_limit);
        }
    }
}
