//! Framer: what is expected next, and the limits.
//!
//! Owns what the next octet in its buffer ([`crate::buffer`]) is. `feed` puts octets in; `next_*` gives a value,
//! or `None` for "need more". It never sees a socket and never guesses which command a reply is for: whoever
//! knows that calls [`Framer::next_status_line`], and then, when a body follows, the calls for a body until they give
//! the end; or one of the calls for whole responses, which do both. After an error every call gives that error again.
//!
//! What comes next is one value ([`Next`]), and where a body begins in the buffer is said in one place, so that
//! all calls go on from the same octet: what they give of a body, put together, is that body, whichever calls
//! they were. A call that cannot be right there is [`FramingError::MidResponse`] or [`FramingError::NoStatusLine`].

use std::ops::Range;

use memchr::memchr_iter;

use crate::body::BodyScanner;
use crate::buffer::ReceiveBuffer;
use crate::error::FramingError;
use crate::limits::Limits;
use crate::line;
use crate::status::{Status, status, strict_status};

/// A reply to a command that has a body when the status line says so.
#[derive(Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The status line, without its line end.
    pub status_line: &'a [u8],
    /// The body, un-stuffed, without its terminator; `None` when the status line is not plainly positive.
    pub body: Option<&'a [u8]>,
}

/// Where a response lies in the buffer.
struct Place {
    status_line: Range<usize>,
    body: Option<Range<usize>>,
}

/// What the next octet is.
#[derive(Debug, Default)]
enum Next {
    /// The first of a reply.
    #[default]
    Reply,
    /// The first behind a line that was handed out: of a reply, or of the body that follows if that was a status line.
    BehindLine { bare_lf: bool },
    /// One of a body.
    Body(Body),
}

/// A body of which the end has not been handed out.
#[derive(Debug)]
struct Body {
    scanner: BodyScanner,
    status_line: StatusLine,
    /// The lines in so many of the gathered octets have been counted,
    counted: usize,
    /// and are so many, with those in pieces that were handed out.
    lines: u64,
}

/// Where the status line in front of a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StatusLine {
    /// Handed out by a call of its own.
    HandedOut,
    /// In the buffer, so many octets in front of the body.
    Held(usize),
    /// Read by [`Framer::next_pieces`] or for the body alone, and gone.
    Dropped,
}

impl Body {
    fn new(bare_lf: bool, status_line: StatusLine) -> Self {
        Self { scanner: BodyScanner::new(bare_lf), status_line, counted: 0, lines: 0 }
    }

    /// How many octets of a status line lie in front of it.
    fn held(&self) -> usize {
        if let StatusLine::Held(octets) = self.status_line { octets } else { 0 }
    }

    fn count_lines(&mut self, text: &[u8]) -> u64 {
        self.lines += memchr_iter(b'\n', &text[self.counted..self.scanner.gathered()]).count() as u64;
        self.counted = self.scanner.gathered();
        self.lines
    }
}

/// Octets in, replies out.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: ReceiveBuffer,
    next: Next,
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
        self.buffer.room(octets)
    }

    /// How many octets were received and not handed out.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.buffer.unread()
    }

    /// Whether a body is being read: the status line before it was positive, and its end has not come.
    #[must_use]
    pub fn in_body(&self) -> bool {
        matches!(self.next, Next::Body(_))
    }

    /// Whether an error stands behind what was handed out last, which the next call gives.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// For how many octets there is room without asking for more memory.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// The next line with its line end, or its first `limit` octets when it is longer: what a binary file's
    /// `readline(limit)` gives.
    ///
    /// # Errors
    /// [`FramingError::MidResponse`] while a body is being read.
    pub fn next_line(&mut self, limit: usize) -> Result<Option<&[u8]>, FramingError> {
        self.check_between_replies()?;
        let Some(octets) = self.buffer.find_line_end(limit) else { return Ok(None) };
        // It may be a status line that is read by hand.
        self.expect_behind_line(octets);
        Ok(Some(self.hand_out(octets)))
    }

    /// The next line without its line end, which is remembered as the convention of the body that may follow.
    ///
    /// # Errors
    /// [`FramingError::LineTooLong`] when it has more than `limit` octets with its line end;
    /// [`FramingError::MidResponse`] while a body is being read.
    pub fn next_status_line(&mut self, limit: usize) -> Result<Option<&[u8]>, FramingError> {
        let Some(octets) = self.find_status_line(limit)? else { return Ok(None) };
        self.expect_behind_line(octets);
        Ok(Some(line::content(self.hand_out(octets))))
    }

    /// All unread octets up to `limit`, as they came.
    ///
    /// # Errors
    /// [`FramingError::MidResponse`] while a body is being read.
    pub fn next_octets(&mut self, limit: usize) -> Result<&[u8], FramingError> {
        self.check_between_replies()?;
        let octets = self.unread().min(limit);
        Ok(self.hand_out(octets))
    }

    /// The status line together with the body that follows it when it is positive.
    ///
    /// # Errors
    /// Those of [`Framer::next_status_line`] and [`Framer::next_body`]; [`FramingError::MidResponse`] when the status line
    /// in front of the body under way was given before.
    pub fn next_response(&mut self, limit: usize, limits: Limits) -> Result<Option<Response<'_>>, FramingError> {
        Ok(self.response(limit, limits, status)?.map(|place| Response {
            status_line: line::content(self.buffer.at(place.status_line)),
            body: place.body.map(|body| self.buffer.at(body)),
        }))
    }

    fn response(
        &mut self,
        limit: usize,
        limits: Limits,
        says: fn(&[u8]) -> Status,
    ) -> Result<Option<Place>, FramingError> {
        if !self.in_body() {
            let Some(octets) = self.find_status_line(limit)? else { return Ok(None) };
            let with_end = self.buffer.first(octets);
            if says(line::content(with_end)) != Status::Ok {
                self.next = Next::Reply;
                return Ok(Some(Place { status_line: self.buffer.hand_out(octets), body: None }));
            }
            self.next = Next::Body(Body::new(line::ends_in_bare_lf(with_end), StatusLine::Held(octets)));
        } else if !self.holds_status_line(says) {
            return Err(self.fail(FramingError::MidResponse));
        }
        self.scanned(limits)
    }

    /// Whether the status line of the body under way is there and positive by this measure too.
    fn holds_status_line(&self, says: fn(&[u8]) -> Status) -> bool {
        let Next::Body(Body { status_line: StatusLine::Held(octets), .. }) = self.next else { return false };
        says(line::content(self.buffer.first(octets))) == Status::Ok
    }

    /// Gives `each` the bodies of consecutive positive responses, at most `most` of them, as far as they are there. The
    /// status line that ends the run, because [`strict_status`] does not have it for positive, is returned. Of a body that
    /// [`Framer::next_pieces`] has begun it gives the rest.
    ///
    /// # Errors
    /// Those of [`Framer::next_response`].
    pub fn next_bodies(
        &mut self,
        limit: usize,
        limits: Limits,
        most: usize,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Option<&[u8]>, FramingError> {
        self.run(limit, limits, most, usize::MAX, |body, _| each(body))
    }

    /// Does what [`Framer::next_bodies`] does, with `each` given the bodies in pieces of at most `octets`, and whether a
    /// piece is its body's last. What has not come whole is given as soon as it has so many.
    ///
    /// # Errors
    /// Those of [`Framer::next_response`].
    pub fn next_pieces(
        &mut self,
        limit: usize,
        limits: Limits,
        most: usize,
        octets: usize,
        each: impl FnMut(&[u8], bool),
    ) -> Result<Option<&[u8]>, FramingError> {
        self.run(limit, limits, most, octets, each)
    }

    fn run(
        &mut self,
        limit: usize,
        limits: Limits,
        most: usize,
        octets: usize,
        mut each: impl FnMut(&[u8], bool),
    ) -> Result<Option<&[u8]>, FramingError> {
        let mut given = false;
        for _ in 0..most {
            match self.response_or_rest(limit, limits) {
                // What was framed before is not lost to an error behind it, which the next call gives.
                Err(_) if given => break,
                Err(error) => return Err(error),
                Ok(Some(Place { status_line, body: None })) => {
                    return Ok(Some(line::content(self.buffer.at(status_line))));
                }
                Ok(Some(Place { body: Some(body), .. })) => {
                    let mut body = self.buffer.at(body);
                    while body.len() > octets {
                        let (piece, rest) = body.split_at(octets);
                        each(piece, false);
                        body = rest;
                    }
                    each(body, true);
                }
                Ok(None) => {
                    if self.gathered() >= octets {
                        let body = self.take_scanned(false).body.unwrap_or_default();
                        self.buffer.at(body).chunks(octets).for_each(|piece| each(piece, false));
                    }
                    break;
                }
            }
            given = true;
        }
        Ok(None)
    }

    /// The next response, or what is left of one whose status line was read by this kind of call.
    fn response_or_rest(&mut self, limit: usize, limits: Limits) -> Result<Option<Place>, FramingError> {
        if matches!(self.next, Next::Body(Body { status_line: StatusLine::Dropped, .. })) {
            self.scanned(limits)
        } else {
            self.response(limit, limits, strict_status)
        }
    }

    /// The whole body of a multi-line response, un-stuffed, without its terminator; what is left of one of which pieces
    /// were taken.
    ///
    /// # Errors
    /// [`FramingError::BodyTooLong`] as soon as it has more octets than `limits` allows, and
    /// [`FramingError::TooManyLines`] as soon as it has more lines; [`FramingError::NoStatusLine`] where there are octets and
    /// no status line was read before them.
    pub fn next_body(&mut self, limits: Limits) -> Result<Option<&[u8]>, FramingError> {
        let body = self.scanned(limits)?.and_then(|place| place.body);
        Ok(body.map(|body| self.buffer.at(body)))
    }

    /// What there is of the body, un-stuffed; empty at its end. Memory stays that of what was fed last.
    ///
    /// # Errors
    /// Those of [`Framer::next_body`], with pieces handed out counted.
    pub fn next_piece(&mut self, limits: Limits) -> Result<Option<&[u8]>, FramingError> {
        let ended = self.scan_body(limits)?;
        let gathered = self.gathered();
        if gathered == 0 && !ended {
            return Ok(None);
        }
        // The end is a call of its own, behind the last piece.
        let body = self.take_scanned(ended && gathered == 0).body;
        Ok(body.map(|body| self.buffer.at(body)))
    }

    /// The rest of the body under way, and the status line if that is held; `None` as long as its end is not there.
    fn scanned(&mut self, limits: Limits) -> Result<Option<Place>, FramingError> {
        Ok(if self.scan_body(limits)? { Some(self.take_scanned(true)) } else { None })
    }

    fn scan_body(&mut self, limits: Limits) -> Result<bool, FramingError> {
        self.check()?;
        if let Next::BehindLine { bare_lf } = self.next {
            self.next = Next::Body(Body::new(bare_lf, StatusLine::HandedOut));
        }
        let Next::Body(body) = &mut self.next else {
            return if self.unread() == 0 { Ok(false) } else { Err(self.fail(FramingError::NoStatusLine)) };
        };
        let text = self.buffer.unread_behind(body.held());
        let ended = body.scanner.scan(text);
        if body.scanner.octets() > limits.octets {
            return Err(self.fail(FramingError::BodyTooLong { limit: limits.octets }));
        }
        if limits.lines != u64::MAX && body.count_lines(text) > limits.lines {
            return Err(self.fail(FramingError::TooManyLines { limit: limits.lines }));
        }
        Ok(ended)
    }

    fn gathered(&self) -> usize {
        if let Next::Body(body) = &self.next { body.scanner.gathered() } else { 0 }
    }

    /// Takes what the scanner gathered off the front of the unread octets, with the status line if that is held there.
    fn take_scanned(&mut self, ended: bool) -> Place {
        let Next::Body(body) = &mut self.next else { return Place { status_line: 0..0, body: None } };
        let taken = self.buffer.hand_out(body.held() + body.scanner.consumed());
        let start = taken.start + body.held();
        let place = Place { status_line: taken.start..start, body: Some(start..start + body.scanner.gathered()) };
        if ended {
            self.next = Next::Reply;
        } else {
            if body.held() > 0 {
                body.status_line = StatusLine::Dropped;
            }
            body.counted = 0;
            body.scanner.take();
        }
        place
    }

    /// How many octets the status line that comes next has, its line end included.
    fn find_status_line(&mut self, limit: usize) -> Result<Option<usize>, FramingError> {
        self.check_between_replies()?;
        let octets = self.buffer.find_line_end(limit.saturating_add(1));
        if octets.is_some_and(|octets| octets > limit) {
            return Err(self.fail(FramingError::LineTooLong { limit }));
        }
        Ok(octets)
    }

    fn hand_out(&mut self, octets: usize) -> &[u8] {
        let place = self.buffer.hand_out(octets);
        self.buffer.at(place)
    }

    fn expect_behind_line(&mut self, octets: usize) {
        let bare_lf = line::ends_in_bare_lf(self.buffer.first(octets));
        self.next = Next::BehindLine { bare_lf };
    }

    fn check_between_replies(&mut self) -> Result<(), FramingError> {
        self.check()?;
        if self.in_body() { Err(self.fail(FramingError::MidResponse)) } else { Ok(()) }
    }

    fn check(&self) -> Result<(), FramingError> {
        self.failed.map_or(Ok(()), Err)
    }

    fn fail(&mut self, error: FramingError) -> FramingError {
        self.failed = Some(error);
        error
    }
}
