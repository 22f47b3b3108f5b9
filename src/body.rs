//! A multi-line response's body: finds its end across chunks, un-stuffs its dots, counts its octets.
//!
//! Owns the small state that must be remembered between two chunks; the octets themselves lie in the
//! caller's buffer, where the un-stuffed body is gathered in place at the front. An octet is looked at
//! once, but for a CR, a dot or both at the very end of a chunk, whose meaning the next chunk decides.
//!
//! # The line convention of a reply
//!
//! Who writes a message must not be able to write replies, so the end of a body is what *the server*
//! ends lines with, which its status line and the first line of the body tell (neither is the author's
//! to choose):
//!
//! - CRLF reply: `CRLF . CRLF` ends it. A lone LF starts no line, neither for the end nor for a stuffed dot.
//! - LF reply (its status line or its first body line ends in a bare LF): a line `.` ended by LF or CRLF ends it.
//!
//! Quirk, poplib's: only `..` at the start of a line is un-stuffed; the dot of `.text`, which a server
//! should have stuffed and did not, is kept.

use std::sync::LazyLock;

use memchr::{memchr, memmem::Finder};

/// Where a dot means something in a CRLF reply. (A static, because a search is prepared once for all bodies.)
static CRLF_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n."));
/// Where a dot means something in an LF reply.
static LF_DOT: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n."));

/// How the lines of one reply end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Convention {
    /// The status line ended in CRLF and the first line of the body has not ended yet.
    Undecided,
    CrLf,
    Lf,
}

/// What the octets at the start of a line are, as far as they have come.
enum LineStart {
    /// `.` or `.` CR: the next octet decides.
    Unknown,
    /// The termination octet with its line end, so many octets in all.
    Terminator(usize),
    Stuffed,
    Plain,
}

/// The resumable state of one body.
///
/// All positions are relative to the body's first octet that is still in the buffer.
#[derive(Debug)]
pub struct BodyScanner {
    convention: Convention,
    at_line_start: bool,
    ended: bool,
    /// `buffer[..gathered]` is body: un-stuffed, and known not to be the terminator.
    gathered: usize,
    /// `buffer[gathered..consumed]` is left over from un-stuffing; `buffer[consumed..]` is still to be read.
    consumed: usize,
    /// Octets of the body that were taken out of the buffer before.
    taken: u64,
}

impl BodyScanner {
    /// A body that follows a status line which ended in a bare LF, or did not.
    #[must_use]
    pub fn new(status_line_in_bare_lf: bool) -> Self {
        Self {
            convention: if status_line_in_bare_lf { Convention::Lf } else { Convention::Undecided },
            at_line_start: true,
            ended: false,
            gathered: 0,
            consumed: 0,
            taken: 0,
        }
    }

    /// Reads on through `buffer` and says whether the body has ended.
    ///
    /// `buffer` begins at the body's first octet that was not taken, and holds what it held at the last
    /// call, with more behind it. Once the body has ended it is not looked at any more.
    pub fn scan(&mut self, buffer: &mut [u8]) -> bool {
        while !self.ended {
            if self.at_line_start {
                match self.line_start(&buffer[self.consumed..]) {
                    LineStart::Unknown => return false,
                    LineStart::Terminator(octets) => {
                        self.consumed += octets;
                        self.ended = true;
                        break;
                    }
                    LineStart::Stuffed => self.consumed += 1,
                    LineStart::Plain => {}
                }
                self.at_line_start = false;
            }
            let Some(dotted) = self.next_line_with_dot(&buffer[self.consumed..]) else {
                self.gather_rest(buffer);
                return false;
            };
            self.gather(buffer, self.consumed + dotted);
            self.at_line_start = true;
        }
        self.ended
    }

    /// How many octets at the front of the buffer are body.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.gathered
    }

    /// How many octets of the buffer have been read: the body's, the dots', and at the end the terminator's.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// How many octets the body has so far, those taken included.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.taken + self.gathered as u64
    }

    /// The caller removes `consumed()` octets from the front of the buffer, of which `gathered()` were body.
    pub fn take(&mut self) {
        self.taken += self.gathered as u64;
        self.gathered = 0;
        self.consumed = 0;
    }

    fn line_start(&self, line: &[u8]) -> LineStart {
        match line {
            // Before the first line has ended, a bare LF here is what makes the reply an LF reply.
            [b'.', b'\n', ..] if self.convention != Convention::CrLf => LineStart::Terminator(2),
            [b'.', b'\r', b'\n', ..] => LineStart::Terminator(3),
            [b'.', b'.', ..] => LineStart::Stuffed,
            [] | [b'.'] | [b'.', b'\r'] => LineStart::Unknown,
            _ => LineStart::Plain,
        }
    }

    /// Where the next line starts that begins with a dot (or, while the convention is undecided, the next line).
    fn next_line_with_dot(&mut self, text: &[u8]) -> Option<usize> {
        match self.convention {
            Convention::CrLf => CRLF_DOT.find(text).map(|at| at + 2),
            Convention::Lf => LF_DOT.find(text).map(|at| at + 1),
            Convention::Undecided => {
                let lf = memchr(b'\n', text)?;
                self.convention = if text[..lf].ends_with(b"\r") { Convention::CrLf } else { Convention::Lf };
                Some(lf + 1)
            }
        }
    }

    /// Gathers what is left, in which no line begins with a dot.
    fn gather_rest(&mut self, buffer: &mut [u8]) {
        let rest = &buffer[self.consumed..];
        let line_end: &[u8] = if self.convention == Convention::Lf { b"\n" } else { b"\r\n" };
        self.at_line_start = rest.ends_with(line_end);
        // A CR may be half of a CRLF: it stays until the octet after it is there to tell.
        let held_back = usize::from(rest.ends_with(b"\r"));
        self.gather(buffer, buffer.len() - held_back);
    }

    fn gather(&mut self, buffer: &mut [u8], end: usize) {
        if self.gathered != self.consumed {
            buffer.copy_within(self.consumed..end, self.gathered);
        }
        self.gathered += end - self.consumed;
        self.consumed = end;
    }
}
