//! One line: where it ends, what of it is content, and how lines follow each other in a body.
//!
//! Pure functions on slices. What a line *means* (a status, a terminator, a listing entry) is not
//! decided here.

use memchr::{memchr, memchr_iter};

/// A line without its line end, by poplib's rules: CRLF goes; of a line that ends in a bare LF, the LF
/// and one leading CR go (quirk: servers were seen to end lines in LFCR, which a reader of lines sees as
/// `CR…LF`).
///
/// `line` ends in LF; without one it is returned as it is.
#[must_use]
pub fn content(line: &[u8]) -> &[u8] {
    match line {
        [head @ .., b'\r', b'\n'] | [b'\r', head @ .., b'\n'] | [head @ .., b'\n'] => head,
        _ => line,
    }
}

/// Whether a line ends in LF alone.
#[must_use]
pub fn ends_in_bare_lf(line: &[u8]) -> bool {
    line.ends_with(b"\n") && !line.ends_with(b"\r\n")
}

/// How many lines `body` holds: one for each LF, and one for what follows the last.
#[must_use]
pub fn count(body: &[u8]) -> usize {
    memchr_iter(b'\n', body).count() + usize::from(!body.is_empty() && !body.ends_with(b"\n"))
}

/// The lines of `body`, each without its line end (see [`content`]), split at every LF as poplib does,
/// whatever the line convention of the reply.
#[must_use]
pub fn contents(body: &[u8]) -> Contents<'_> {
    Contents { rest: body, remaining: count(body) }
}

/// See [`contents`]. Its length is known before the first line is taken, so that a list of the right
/// size can be made at once.
pub struct Contents<'a> {
    rest: &'a [u8],
    remaining: usize,
}

impl<'a> Iterator for Contents<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        self.remaining = self.remaining.checked_sub(1)?;
        let end = memchr(b'\n', self.rest).map_or(self.rest.len(), |lf| lf + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(content(line))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Contents<'_> {}

#[cfg(test)]
mod tests {
    use super::{content, contents, count, ends_in_bare_lf};

    #[test]
    fn content_follows_poplib() {
        let cases: [(&[u8], &[u8]); 11] = [
            (b"a\r\n", b"a"),
            (b"a\n", b"a"),
            (b"\r\n", b""),
            (b"\n", b""),
            (b"\ra\n", b"a"),
            (b"\ra\r\n", b"\ra"),
            (b"\r\r\n", b"\r"),
            (b"a\r\r\n", b"a\r"),
            (b"\r\ra\n", b"\ra"),
            (b"a", b"a"),
            (b"", b""),
        ];
        for (line, expected) in cases {
            assert_eq!(content(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_bare_lf_is_told_from_a_crlf() {
        assert!(ends_in_bare_lf(b"\n"));
        assert!(ends_in_bare_lf(b"\ra\n"));
        assert!(!ends_in_bare_lf(b"\r\n"));
        assert!(!ends_in_bare_lf(b"a"));
    }

    #[test]
    fn lines_split_at_every_lf() {
        let body = b"a\r\n\nb\n\r\n\rc\nd";
        let lines: Vec<&[u8]> = contents(body).collect();
        assert_eq!(lines, [&b"a"[..], b"", b"b", b"", b"c", b"d"]);
        assert_eq!(count(body), lines.len());
        assert_eq!(contents(b"").count(), 0);
        assert_eq!(count(b""), 0);
    }
}
