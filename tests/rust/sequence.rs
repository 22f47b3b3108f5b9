//! Any calls of the framer in any order over any cuts, held against what [`naive`] makes of the same octets.
//!
//! Owns the rules of which call may follow which: a body goes on with whatever call comes next, and what cannot be right
//! is an error.

use pop3fast::error::FramingError;
use pop3fast::status::{Status, status, strict_status};
use pop3fast::{Framer, Limits, line};

use crate::naive;

const NO_LINE_LIMIT: usize = usize::MAX;
const NO_LIMIT: Limits = Limits { octets: u64::MAX, lines: u64::MAX };

/// What is done with a framer.
#[derive(Clone, Copy, Debug)]
pub enum Call {
    /// So many further octets arrive.
    Feed(usize),
    StatusLine,
    Line,
    Body,
    Piece,
    Response,
    Bodies(usize),
    Pieces(usize, usize),
}

#[derive(Clone, Copy, PartialEq)]
enum StatusLine {
    HandedOut,
    Held,
    Dropped,
}

enum Next {
    Reply,
    BehindLine(Vec<u8>),
    Body { status_line: Vec<u8>, place: StatusLine, given: Vec<u8> },
}

/// What has arrived, where the framer must be in it, and what it must do next.
struct Model<'a> {
    all: &'a [u8],
    fed: usize,
    at: usize,
    next: Next,
}

/// Makes the calls, and checks what each gives.
pub fn assert_right(all: &[u8], calls: &[Call]) {
    let mut framer = Framer::new();
    let mut model = Model { all, fed: 0, at: 0, next: Next::Reply };
    for call in calls {
        if !model.check(&mut framer, *call) {
            // An error stays, and nothing is given any more.
            assert!(framer.next_status_line(NO_LINE_LIMIT).is_err() && framer.next_body(NO_LIMIT).is_err());
            return;
        }
    }
}

impl<'a> Model<'a> {
    /// Whether the framer can go on.
    fn check(&mut self, framer: &mut Framer, call: Call) -> bool {
        match call {
            Call::Feed(octets) => {
                let end = (self.fed + octets).min(self.all.len());
                framer.feed(&self.all[self.fed..end]);
                self.fed = end;
                true
            }
            Call::StatusLine | Call::Line => self.check_line(framer, matches!(call, Call::Line)),
            Call::Body => self.check_body(framer),
            Call::Piece => self.check_piece(framer),
            Call::Response => self.check_response(framer),
            Call::Bodies(most) => self.check_run(framer, most, None),
            Call::Pieces(most, octets) => self.check_run(framer, most, Some(octets)),
        }
    }

    /// The line at the front, with its line end.
    fn line(&self) -> Option<&'a [u8]> {
        let unread = &self.all[self.at..self.fed];
        unread.iter().position(|octet| *octet == b'\n').map(|lf| &unread[..=lf])
    }

    /// The whole body that is under way, and where it ends.
    fn whole(&self) -> Option<(Vec<u8>, usize)> {
        let Next::Body { status_line, given, .. } = &self.next else { panic!("no body is under way") };
        let (body, rest) = naive::body(status_line, &self.all[self.at..self.fed])?;
        assert!(body.starts_with(given), "{given:?} was given of {body:?}");
        Some((body, self.fed - rest.len()))
    }

    fn begin_body(&mut self, status_line: &[u8], place: StatusLine) {
        self.at += if place == StatusLine::HandedOut { 0 } else { status_line.len() };
        self.next = Next::Body { status_line: status_line.to_vec(), place, given: Vec::new() };
    }

    /// What is left of the body under way, which ends with that.
    fn take_rest(&mut self) -> Option<Vec<u8>> {
        let (body, end) = self.whole()?;
        let Next::Body { given, .. } = std::mem::replace(&mut self.next, Next::Reply) else { unreachable!() };
        self.at = end;
        Some(body[given.len()..].to_vec())
    }

    fn check_line(&mut self, framer: &mut Framer, with_end: bool) -> bool {
        let found = if with_end { framer.next_line(usize::MAX) } else { framer.next_status_line(NO_LINE_LIMIT) };
        if matches!(self.next, Next::Body { .. }) {
            assert_eq!(found, Err(FramingError::MidResponse));
            return false;
        }
        let expected = self.line();
        assert_eq!(found, Ok(expected.map(|text| if with_end { text } else { line::content(text) })));
        if let Some(text) = expected {
            self.at += text.len();
            self.next = Next::BehindLine(text.to_vec());
        }
        true
    }

    /// Whether a body may be asked for on its own here; where nothing has come, it may still.
    fn enter_body(&mut self) -> bool {
        if let Next::BehindLine(text) = &self.next {
            let text = text.clone();
            self.begin_body(&text, StatusLine::HandedOut);
        }
        matches!(self.next, Next::Body { .. })
    }

    fn check_body(&mut self, framer: &mut Framer) -> bool {
        let found = framer.next_body(NO_LIMIT).map(|body| body.map(<[u8]>::to_vec));
        if self.at == self.fed && matches!(self.next, Next::Reply) {
            assert_eq!(found, Ok(None));
            return true;
        }
        if !self.enter_body() {
            assert_eq!(found, Err(FramingError::NoStatusLine));
            return false;
        }
        assert_eq!(found, Ok(self.take_rest()));
        true
    }

    fn check_piece(&mut self, framer: &mut Framer) -> bool {
        let found = framer.next_piece(NO_LIMIT).map(|piece| piece.map(<[u8]>::to_vec));
        if self.at == self.fed && matches!(self.next, Next::Reply) {
            assert_eq!(found, Ok(None));
            return true;
        }
        if !self.enter_body() {
            assert_eq!(found, Err(FramingError::NoStatusLine));
            return false;
        }
        match found.unwrap() {
            None => assert_eq!(self.whole(), None),
            Some(piece) if piece.is_empty() => assert_eq!(self.take_rest(), Some(vec![])),
            Some(piece) => self.give(&piece),
        }
        true
    }

    fn give(&mut self, piece: &[u8]) {
        let Next::Body { place, given, .. } = &mut self.next else { panic!("a piece of no body") };
        given.extend_from_slice(piece);
        if *place == StatusLine::Held {
            *place = StatusLine::Dropped;
        }
        self.whole();
    }

    fn check_response(&mut self, framer: &mut Framer) -> bool {
        let found = framer.next_response(NO_LINE_LIMIT, NO_LIMIT).map(|response| {
            response.map(|response| (response.status_line.to_vec(), response.body.map(<[u8]>::to_vec)))
        });
        if !matches!(self.next, Next::Body { .. }) {
            let Some(text) = self.line() else {
                assert_eq!(found, Ok(None));
                return true;
            };
            if status(line::content(text)) != Status::Ok {
                self.at += text.len();
                self.next = Next::Reply;
                assert_eq!(found, Ok(Some((line::content(text).to_vec(), None))));
                return true;
            }
            self.begin_body(text, StatusLine::Held);
        }
        let Next::Body { status_line, place: StatusLine::Held, .. } = &self.next else {
            assert_eq!(found, Err(FramingError::MidResponse));
            return false;
        };
        let status_line = line::content(status_line).to_vec();
        assert_eq!(found, Ok(self.take_rest().map(|body| (status_line, Some(body)))));
        true
    }

    fn check_run(&mut self, framer: &mut Framer, most: usize, octets: Option<usize>) -> bool {
        let mut bodies: Vec<Vec<u8>> = vec![];
        let mut begun: Vec<u8> = vec![];
        let refused = match octets {
            None => framer.next_bodies(NO_LINE_LIMIT, NO_LIMIT, most, |body| bodies.push(body.to_vec())),
            Some(octets) => framer.next_pieces(NO_LINE_LIMIT, NO_LIMIT, most, octets, |piece, last| {
                assert!(piece.len() <= octets);
                begun.extend_from_slice(piece);
                if last {
                    bodies.push(std::mem::take(&mut begun));
                }
            }),
        };
        let refused = refused.map(|text| text.map(<[u8]>::to_vec));
        let mut bodies = bodies.into_iter();
        for number in 0..most {
            if let Next::Body { status_line, place, .. } = &self.next {
                let positive = strict_status(line::content(status_line)) == Status::Ok;
                if *place == StatusLine::HandedOut || (*place == StatusLine::Held && !positive) {
                    assert_eq!((number, refused), (0, Err(FramingError::MidResponse)));
                    return false;
                }
            } else {
                let Some(text) = self.line() else { break };
                if strict_status(line::content(text)) != Status::Ok {
                    self.at += text.len();
                    self.next = Next::Reply;
                    assert_eq!((bodies.next(), refused), (None, Ok(Some(line::content(text).to_vec()))));
                    return true;
                }
                self.begin_body(text, StatusLine::Held);
            }
            let rest = self.take_rest();
            assert_eq!(bodies.next(), rest);
            if rest.is_none() {
                break;
            }
        }
        assert_eq!((bodies.next(), refused), (None, Ok(None)));
        if !begun.is_empty() {
            self.give(&begun);
        }
        true
    }
}
