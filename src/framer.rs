//! Framer: the receive buffer, what is expected next, and the limits.
//!
//! Owns every octet that was received and not yet handed out. `feed` puts octets in; `next_*` gives a value,
//! or `None` for "need more". It never sees a socket and never guesses which command a reply is for: whoever
//! knows that calls [`Framer::next_status_line`], and then, when a body follows, one of the calls for a body
//! until it gives the end. After an error every call gives that error again.

use memchr::memchr;

use crate::body::BodyScanner;
use crate::error::FramingError;
use crate::line;
use crate::status::{Status, status, strict_status};

/// How much room an empty buffer keeps. A buffer that was let go after each message of some megabytes would
/// be paged in anew for the next one, which cost as much as reading it; beyond this one large message in a
/// session of small ones would hold its memory for nothing.
pub const RETAINED_CAPACITY: usize = 8 * 1024 * 1024;

/// A reply to a command that has a body when the status line says so.
#[derive(Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The status line, without its line end.
    pub status_line: &'a [u8],
    /// The body, un-stuffed, without its terminator; `None` when the status line is not plainly positive.
    pub body: Option<&'a [u8]>,
}

/// Octets in, replies out.
#[derive(Debug, Default)]
pub struct Framer {
    /// Room, of which `buffer[..filled]` was received. (Its length is kept, so that it is zeroed only when it grows.)
    buffer: Vec<u8>,
    filled: usize,
    /// `buffer[head..filled]` has not been handed out.
    head: usize,
    /// So many octets from `head` on hold no LF.
    searched: usize,
    status_line_in_bare_lf: bool,
    /// The octets of a status line that stays in the buffer, in front of the body that is being read.
    held_status_line: usize,
    body: Option<BodyScanner>,
    failed: Option<FramingError>,
}

impl Framer {
    /// An empty buffer, before the greeting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts received octets behind those that are there.
    pub fn feed(&mut self, octets: &[u8]) {
        self.room(octets.len()).copy_from_slice(octets);
    }

    /// Makes room for so many octets behind those that are there, which the caller fills at once.
    pub fn room(&mut self, octets: usize) -> &mut [u8] {
        if self.head == self.filled {
            self.head = 0;
            self.filled = 0;
            if self.buffer.len() > RETAINED_CAPACITY {
                self.buffer.truncate(RETAINED_CAPACITY);
                self.buffer.shrink_to_fit();
            }
        } else if self.head >= self.filled - self.head {
            // Moves at most as many octets as were handed out since the last move: linear in all. Not only when room is
            // wanted, because the front of the buffer is what the processor's cache holds.
            self.buffer.copy_within(self.head..self.filled, 0);
            self.filled -= self.head;
            self.head = 0;
        }
        let start = self.filled;
        self.filled += octets;
        if self.filled > self.buffer.len() {
            // Twice the room at least, so that a body that comes in small chunks is not moved at each.
            self.buffer.resize(self.filled.max(2 * self.buffer.len()), 0);
        }
        &mut self.buffer[start..self.filled]
    }

    /// How many octets were received and not handed out.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.filled - self.head
    }

    /// Whether a body is being read: the status line before it was positive, and its end has not come.
    #[must_use]
    pub fn in_body(&self) -> bool {
        self.body.is_some()
    }

    /// For how many octets there is room without asking for more memory.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// The next line with its line end, or its first `limit` octets when it is longer: what a binary file's
    /// `readline(limit)` gives.
    ///
    /// # Errors
    /// [`FramingError::MidResponse`] while a body is being read.
    pub fn next_line(&mut self, limit: usize) -> Result<Option<&[u8]>, FramingError> {
        self.check()?;
        if self.body.is_some() {
            return Err(self.fail(FramingError::MidResponse));
        }
        let Some(octets) = self.find_line_end(limit) else { return Ok(None) };
        // It may be a status line that is read by hand.
        self.status_line_in_bare_lf = line::ends_in_bare_lf(&self.buffer[self.head..self.head + octets]);
        Ok(Some(self.hand_out(octets)))
    }

    /// The next line without its line end, which is remembered as the convention of the body that may follow.
    ///
    /// # Errors
    /// [`FramingError::LineTooLong`] when it has more than `limit` octets with its line end;
    /// [`FramingError::MidResponse`] while a body is being read.
    pub fn next_status_line(&mut self, limit: usize) -> Result<Option<&[u8]>, FramingError> {
        self.check()?;
        if self.body.is_some() {
            return Err(self.fail(FramingError::MidResponse));
        }
        let Some(octets) = self.find_line_end(limit.saturating_add(1)) else { return Ok(None) };
        if octets > limit {
            return Err(self.fail(FramingError::LineTooLong { limit }));
        }
        self.status_line_in_bare_lf = line::ends_in_bare_lf(&self.buffer[self.head..self.head + octets]);
        Ok(Some(line::content(self.hand_out(octets))))
    }

    /// All unread octets up to `limit`, as they came.
    ///
    /// # Errors
    /// [`FramingError::MidResponse`] while a body is being read.
    pub fn next_octets(&mut self, limit: usize) -> Result<&[u8], FramingError> {
        self.check()?;
        if self.body.is_some() {
            return Err(self.fail(FramingError::MidResponse));
        }
        let octets = self.unread().min(limit);
        Ok(self.hand_out(octets))
    }

    /// The status line together with the body that follows it when it is positive.
    ///
    /// # Errors
    /// Those of [`Framer::next_status_line`] and [`Framer::next_body`].
    pub fn next_response(&mut self, limit: usize, max_octets: u64) -> Result<Option<Response<'_>>, FramingError> {
        self.response(limit, max_octets, status)
    }

    fn response(
        &mut self,
        limit: usize,
        max_octets: u64,
        says: fn(&[u8]) -> Status,
    ) -> Result<Option<Response<'_>>, FramingError> {
        if self.body.is_none() {
            let head = self.head;
            let Some(line) = self.next_status_line(limit)? else { return Ok(None) };
            if says(line) != Status::Ok {
                let status_line = line::content(&self.buffer[head..self.head]);
                return Ok(Some(Response { status_line, body: None }));
            }
            // Unread as long as its body has not come, so that the buffer keeps it.
            self.held_status_line = self.head - head;
            self.head = head;
            self.body = Some(BodyScanner::new(self.status_line_in_bare_lf));
        }
        let held = self.held_status_line;
        if !self.scan_body(max_octets)? {
            return Ok(None);
        }
        let start = self.head;
        let octets = self.take_scanned(true);
        let (status_line, rest) = self.buffer[start..].split_at(held);
        Ok(Some(Response { status_line: line::content(status_line), body: Some(&rest[..octets]) }))
    }

    /// Gives `each` the bodies of consecutive positive responses, at most `most` of them, as far as they are there. The
    /// status line that ends the run, because [`strict_status`] does not have it for positive, is returned.
    ///
    /// # Errors
    /// Those of [`Framer::next_response`].
    pub fn next_bodies(
        &mut self,
        limit: usize,
        max_octets: u64,
        most: usize,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Option<&[u8]>, FramingError> {
        for given in 0..most {
            let head = self.head;
            match self.response(limit, max_octets, strict_status) {
                // What was framed before is not lost to an error behind it, which the next call gives.
                Err(_) if given > 0 => break,
                Err(error) => return Err(error),
                Ok(None) => break,
                Ok(Some(Response { body: Some(body), .. })) => each(body),
                Ok(Some(Response { body: None, .. })) => {
                    return Ok(Some(line::content(&self.buffer[head..self.head])));
                }
            }
        }
        Ok(None)
    }

    /// Does what [`Framer::next_bodies`] does, with `each` given the bodies in pieces of at most `octets`, and whether a
    /// piece is its body's last. What has not come whole is given as soon as it has so many.
    ///
    /// # Errors
    /// Those of [`Framer::next_response`].
    pub fn next_pieces(
        &mut self,
        limit: usize,
        max_octets: u64,
        most: usize,
        octets: usize,
        mut each: impl FnMut(&[u8], bool),
    ) -> Result<Option<&[u8]>, FramingError> {
        let mut given = 0;
        let mut ended = 0;
        while ended < most {
            let head = self.head;
            match self.response(limit, max_octets, strict_status) {
                Err(_) if given > 0 => break,
                Err(error) => return Err(error),
                Ok(Some(Response { body: None, .. })) => {
                    return Ok(Some(line::content(&self.buffer[head..self.head])));
                }
                Ok(Some(Response { body: Some(mut body), .. })) => {
                    while body.len() > octets {
                        let (piece, rest) = body.split_at(octets);
                        each(piece, false);
                        body = rest;
                    }
                    each(body, true);
                    ended += 1;
                }
                Ok(None) => {
                    if self.body.as_ref().is_some_and(|body| body.gathered() >= octets) {
                        let start = self.head + self.held_status_line;
                        let gathered = self.take_scanned(false);
                        self.buffer[start..start + gathered].chunks(octets).for_each(|piece| each(piece, false));
                    }
                    break;
                }
            }
            given += 1;
        }
        Ok(None)
    }

    /// The whole body of a multi-line response, un-stuffed, without its terminator.
    ///
    /// # Errors
    /// [`FramingError::BodyTooLong`] as soon as it has more than `max_octets`.
    pub fn next_body(&mut self, max_octets: u64) -> Result<Option<&[u8]>, FramingError> {
        if !self.scan_body(max_octets)? {
            return Ok(None);
        }
        let start = self.head;
        let octets = self.take_scanned(true);
        Ok(Some(&self.buffer[start..start + octets]))
    }

    /// What there is of the body, un-stuffed; empty at its end. Memory stays that of what was fed last.
    ///
    /// # Errors
    /// [`FramingError::BodyTooLong`] as soon as the body, pieces handed out included, has more than `max_octets`.
    pub fn next_piece(&mut self, max_octets: u64) -> Result<Option<&[u8]>, FramingError> {
        let ended = self.scan_body(max_octets)?;
        let gathered = self.body.as_ref().map_or(0, BodyScanner::gathered);
        if gathered == 0 && !ended {
            return Ok(None);
        }
        // The end is a call of its own, behind the last piece.
        let start = self.head;
        let octets = self.take_scanned(ended && gathered == 0);
        Ok(Some(&self.buffer[start..start + octets]))
    }

    fn scan_body(&mut self, max_octets: u64) -> Result<bool, FramingError> {
        self.check()?;
        let body = self.body.get_or_insert_with(|| BodyScanner::new(self.status_line_in_bare_lf));
        let ended = body.scan(&mut self.buffer[self.head + self.held_status_line..self.filled]);
        if body.octets() > max_octets {
            return Err(self.fail(FramingError::BodyTooLong { limit: max_octets }));
        }
        Ok(ended)
    }

    /// Hands out what the scanner gathered, and says how many octets that is.
    fn take_scanned(&mut self, ended: bool) -> usize {
        let Some(body) = &mut self.body else { return 0 };
        let octets = body.gathered();
        self.head += self.held_status_line + body.consumed();
        self.held_status_line = 0;
        if ended {
            self.body = None;
            self.searched = 0;
        } else {
            body.take();
        }
        octets
    }

    /// How many octets the next line has, its LF included and `limit` at the most.
    fn find_line_end(&mut self, limit: usize) -> Option<usize> {
        let unread = &self.buffer[self.head..self.filled];
        let within = &unread[..unread.len().min(limit)];
        let searched = self.searched.min(within.len());
        if let Some(lf) = memchr(b'\n', &within[searched..]) {
            return Some(searched + lf + 1);
        }
        self.searched = within.len();
        (within.len() == limit).then_some(limit)
    }

    fn hand_out(&mut self, octets: usize) -> &[u8] {
        let start = self.head;
        self.head += octets;
        self.searched = 0;
        &self.buffer[start..self.head]
    }

    fn check(&self) -> Result<(), FramingError> {
        self.failed.map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: FramingError) -> FramingError {
        self.failed = Some(error);
        error
    }
}
