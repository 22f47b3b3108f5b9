//! The framer from outside: every short body at every cut, long ones at random, the shapes that break framers, limits.
//!
//! What is right is said by [`naive`].

mod naive;
mod sequence;

use naive::body as reference;
use pop3fast::buffer::RETAINED_CAPACITY;
use pop3fast::error::FramingError;
use pop3fast::{Framer, Limits, line};
use proptest::prelude::*;
use sequence::{Call, assert_right};

const NO_LIMIT: Limits = Limits { octets: u64::MAX, lines: u64::MAX };
const STATUS_LINES: [&[u8]; 2] = [b"+OK\r\n", b"+OK\n"];

/// A framer that has read its status line.
fn framer_after(status_line: &[u8]) -> Framer {
    let mut framer = Framer::new();
    framer.feed(status_line);
    assert_eq!(framer.next_status_line(512), Ok(Some(&b"+OK"[..])));
    framer
}

/// What a framer makes of a body that arrives in `chunks`: the body and what is left unread.
fn framed<'a>(status_line: &[u8], chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut framer = framer_after(status_line);
    let mut body = None;
    for chunk in chunks {
        framer.feed(chunk);
        if body.is_none() {
            body = framer.next_body(NO_LIMIT).unwrap().map(<[u8]>::to_vec);
        }
    }
    let body = body?;
    let unread = framer.next_octets(usize::MAX).unwrap().to_vec();
    Some((body, unread))
}

/// The same, taken in pieces.
fn framed_in_pieces<'a>(status_line: &[u8], chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut framer = framer_after(status_line);
    let mut body = Vec::new();
    let mut ended = false;
    for chunk in chunks {
        framer.feed(chunk);
        while !ended {
            match framer.next_piece(NO_LIMIT).unwrap() {
                None => break,
                Some(b"") => ended = true,
                Some(piece) => body.extend_from_slice(piece),
            }
        }
    }
    ended.then(|| (body, framer.next_octets(usize::MAX).unwrap().to_vec()))
}

/// The same, status line and all, taken in pieces of at most `octets`.
fn framed_in_small_pieces<'a>(
    status_line: &'a [u8],
    chunks: impl IntoIterator<Item = &'a [u8]>,
    octets: usize,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut framer = Framer::new();
    let mut body = Vec::new();
    let mut ended = false;
    for chunk in std::iter::once(status_line).chain(chunks) {
        framer.feed(chunk);
        let refused = framer.next_pieces(512, NO_LIMIT, usize::from(!ended), octets, |piece, last| {
            assert!(piece.len() <= octets && (last || !piece.is_empty()) && !ended);
            body.extend_from_slice(piece);
            ended = last;
        });
        assert_eq!(refused, Ok(None));
    }
    ended.then(|| (body, framer.next_octets(usize::MAX).unwrap().to_vec()))
}

fn assert_framed_at_every_cut(raw: &[u8]) {
    for status_line in STATUS_LINES {
        let expected = reference(status_line, raw).map(|(body, rest)| (body, rest.to_vec()));
        for cut in 0..=raw.len() {
            let (head, tail) = raw.split_at(cut);
            assert_eq!(framed(status_line, [head, tail]), expected, "{status_line:?} {raw:?} cut at {cut}");
            assert_eq!(framed_in_pieces(status_line, [head, tail]), expected, "{status_line:?} {raw:?} cut at {cut}");
            for octets in [1, 3] {
                let found = framed_in_small_pieces(status_line, [head, tail], octets);
                assert_eq!(found, expected, "{status_line:?} {raw:?} cut at {cut}, {octets} at a time");
            }
        }
        assert_eq!(framed(status_line, raw.chunks(1)), expected, "{status_line:?} {raw:?} octet by octet");
        assert_eq!(framed_in_pieces(status_line, raw.chunks(1)), expected, "{status_line:?} {raw:?} octet by octet");
        let found = framed_in_small_pieces(status_line, raw.chunks(1), 2);
        assert_eq!(found, expected, "{status_line:?} {raw:?} octet by octet, two at a time");
    }
}

/// Every string over `alphabet` of exactly `length` octets.
fn strings(alphabet: &'static [u8], length: u32) -> impl Iterator<Item = Vec<u8>> {
    let base = alphabet.len();
    (0..base.pow(length)).map(move |mut index| {
        (0..length)
            .map(|_| {
                let octet = alphabet[index % base];
                index /= base;
                octet
            })
            .collect()
    })
}

#[test]
fn every_string_to_length_7_at_every_cut() {
    for length in 0..=7 {
        for raw in strings(b"a.\r\n", length) {
            assert_framed_at_every_cut(&raw);
        }
    }
}

#[test]
fn every_string_to_length_5_before_a_terminator_and_a_next_reply() {
    for length in 0..=5 {
        for text in strings(b"a.\r\n", length) {
            assert_framed_at_every_cut(&[&text[..], b"\r\n.\r\n+OK\r\n"].concat());
        }
    }
}

#[test]
fn the_terminator_at_every_offset_around_vector_widths() {
    for shape in [&b"x"[..], b"\r", b".", b"\n", b"\r\n", b"x\r\n", b".x\r\n", b"..\r\n"] {
        for offset in 0..=140 {
            let text: Vec<u8> = shape.iter().copied().cycle().take(offset).collect();
            for end in [&b"\r\n.\r\n"[..], b".\r\n", b"\n.\n"] {
                let raw = [&text[..], end, b"+OK next\r\n"].concat();
                for status_line in STATUS_LINES {
                    let expected = reference(status_line, &raw).map(|(body, rest)| (body, rest.to_vec()));
                    assert_eq!(framed(status_line, [&raw[..]]), expected, "{raw:?}");
                    for cut in offset.saturating_sub(1)..=(offset + end.len()).min(raw.len()) {
                        let (head, tail) = raw.split_at(cut);
                        assert_eq!(framed(status_line, [head, tail]), expected, "{raw:?} cut at {cut}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_six_shapes_that_break_framers() {
    let large = 70_000;
    let shapes: [(&str, Vec<u8>); 6] = [
        ("empty lines", b"\r\n".repeat(large)),
        ("lines of dots", b"....\r\n".repeat(large)),
        ("bare line feeds in a CRLF reply", [b"head\r\n".to_vec(), b"\n.\n".repeat(large), b"\r\n".to_vec()].concat()),
        ("runs of CR", [b"head\r\n".to_vec(), b"\r".repeat(large), b".\r\n".to_vec()].concat()),
        ("one huge line", [vec![b'x'; large], b"\r\n".to_vec()].concat()),
        ("a CRLF cut at the edge of each chunk", b"1234567\r\n".repeat(large)),
    ];
    for (name, text) in shapes {
        let raw = [&text[..], b".\r\n+OK\r\n"].concat();
        let (body, rest) = reference(b"+OK\r\n", &raw).expect(name);
        // 4096 and 64 cut the nine-octet lines of the last shape everywhere; 8 cuts its first CRLF in two.
        for chunk in [8, 64, 4096, raw.len()] {
            let (framed, unread) = framed(b"+OK\r\n", raw.chunks(chunk)).expect(name);
            assert!(framed == body && unread == rest, "{name} in chunks of {chunk}");
            let (framed, unread) = framed_in_pieces(b"+OK\r\n", raw.chunks(chunk)).expect(name);
            assert!(framed == body && unread == rest, "{name} in pieces, in chunks of {chunk}");
        }
    }
}

#[test]
fn quirk_q94_what_an_author_writes_is_no_terminator() {
    for forged in [&b"\n.\n"[..], b"\n.\r\n", b"\r.\n", b"\r.\r\n", b".\n", b"x\n.\r\n"] {
        let raw = [b"Received: by us\r\ntext", forged, b"+OK forged\r\nmore\r\n.\r\n"].concat();
        let (body, unread) = framed(b"+OK\r\n", [&raw[..]]).expect("ends");
        assert_eq!(body, raw[..raw.len() - 3], "{forged:?}");
        assert_eq!(unread, b"");
    }
}

#[test]
fn a_limit_is_exact_wherever_the_body_is_cut() {
    let raw = b"a\r\n..b\r\n\r\n.\r\n";
    let octets = 9;
    for cut in 0..=raw.len() {
        let (head, tail) = raw.split_at(cut);
        for (limit, fits) in [(octets, true), (octets - 1, false), (0, false)] {
            let mut framer = framer_after(b"+OK\r\n");
            framer.feed(head);
            let early = framer.next_body(Limits::octets(limit)).map(|body| body.map(<[u8]>::len));
            framer.feed(tail);
            let late = if early == Ok(None) {
                framer.next_body(Limits::octets(limit)).map(|body| body.map(<[u8]>::len))
            } else {
                early
            };
            let expected = if fits { Ok(Some(9)) } else { Err(FramingError::BodyTooLong { limit }) };
            assert_eq!(late, expected, "limit {limit}, cut at {cut}");
        }
    }
}

#[test]
fn pieces_count_against_the_limit_together() {
    let mut framer = framer_after(b"+OK\r\n");
    for _ in 0..4 {
        framer.feed(b"12345");
        assert_eq!(framer.next_piece(Limits::octets(20)), Ok(Some(&b"12345"[..])));
    }
    framer.feed(b"6");
    let error = FramingError::BodyTooLong { limit: 20 };
    assert_eq!(framer.next_piece(Limits::octets(20)), Err(error));
    assert_eq!(framer.next_piece(NO_LIMIT), Err(error), "an error stays");
    assert_eq!(framer.next_status_line(512), Err(error), "an error stays");
}

#[test]
fn a_line_is_long_enough_or_too_long_by_one_octet() {
    for limit in [5, 64, 1000] {
        let mut fits = vec![b'+'; limit - 2];
        fits.extend_from_slice(b"\r\n");
        let mut framer = Framer::new();
        framer.feed(&fits);
        assert_eq!(framer.next_status_line(limit).unwrap().map(<[u8]>::len), Some(limit - 2));

        let mut framer = Framer::new();
        framer.feed(&vec![b'+'; limit]);
        assert_eq!(framer.next_status_line(limit), Ok(None), "its end may still come");
        framer.feed(b"\n");
        let error = FramingError::LineTooLong { limit };
        assert_eq!(framer.next_status_line(limit), Err(error));
        assert_eq!(framer.next_line(usize::MAX), Err(error), "an error stays");
    }
}

#[test]
fn lines_by_hand_are_what_readline_gives() {
    let mut framer = Framer::new();
    framer.feed(b"+OK\r\nab");
    assert_eq!(framer.next_line(100), Ok(Some(&b"+OK\r\n"[..])));
    assert_eq!(framer.next_line(100), Ok(None));
    assert_eq!(framer.next_line(2), Ok(Some(&b"ab"[..])));
    framer.feed(b"\n\ncd");
    assert_eq!(framer.next_line(100), Ok(Some(&b"\n"[..])));
    assert_eq!(framer.next_line(100), Ok(Some(&b"\n"[..])));
    assert_eq!(framer.next_octets(1), Ok(&b"c"[..]));
    assert_eq!(framer.unread(), 1);
}

#[test]
fn a_status_line_read_by_hand_tells_the_convention_too() {
    let mut framer = Framer::new();
    framer.feed(b"+OK\nx\r\n.\n");
    assert_eq!(framer.next_line(100), Ok(Some(&b"+OK\n"[..])));
    assert_eq!(framer.next_body(NO_LIMIT), Ok(Some(&b"x\r\n"[..])));
}

#[test]
fn no_line_is_given_out_of_the_middle_of_a_body() {
    let mut framer = framer_after(b"+OK\r\n");
    framer.feed(b"text\r\n");
    assert_eq!(framer.next_body(NO_LIMIT), Ok(None));
    assert_eq!(framer.next_line(100), Err(FramingError::MidResponse));
}

#[test]
fn replies_follow_each_other_in_one_buffer() {
    let mut framer = Framer::new();
    framer.feed(b"+OK 1\r\na\r\n.\r\n-ERR no\r\n+OK\r\n.\r\n+OK 4\n.\n");
    assert_eq!(framer.next_status_line(512), Ok(Some(&b"+OK 1"[..])));
    assert_eq!(framer.next_body(NO_LIMIT), Ok(Some(&b"a\r\n"[..])));
    assert_eq!(framer.next_status_line(512), Ok(Some(&b"-ERR no"[..])));
    assert_eq!(framer.next_status_line(512), Ok(Some(&b"+OK"[..])));
    assert_eq!(framer.next_body(NO_LIMIT), Ok(Some(&b""[..])));
    assert_eq!(framer.next_status_line(512), Ok(Some(&b"+OK 4"[..])));
    assert_eq!(framer.next_body(NO_LIMIT), Ok(Some(&b""[..])));
    assert_eq!(framer.unread(), 0);
}

#[test]
fn pieces_need_no_more_room_than_what_was_fed_last() {
    let mut framer = framer_after(b"+OK\r\n");
    let chunk = b"0123456789\r\n..dots\r\n".repeat(1000);
    let mut octets = 0;
    for _ in 0..200 {
        framer.feed(&chunk);
        octets += framer.next_piece(NO_LIMIT).unwrap().map_or(0, <[u8]>::len);
        assert!(framer.unread() < 4, "{} octets kept back", framer.unread());
    }
    assert_eq!(octets, 200 * (chunk.len() - 1000));
    assert!(framer.capacity() <= 4 * chunk.len(), "room for {} octets", framer.capacity());
}

#[test]
fn the_room_of_one_large_message_is_given_back() {
    let mut framer = framer_after(b"+OK\r\n");
    framer.feed(&vec![b'x'; 3 * RETAINED_CAPACITY]);
    framer.feed(b"\r\n.\r\n");
    assert_eq!(framer.next_body(NO_LIMIT).unwrap().map(<[u8]>::len), Some(3 * RETAINED_CAPACITY + 2));
    framer.feed(b"+OK\r\n");
    assert!(framer.capacity() <= RETAINED_CAPACITY, "room for {} octets", framer.capacity());
}

#[test]
fn it_says_what_room_it_has_and_that_it_has_failed() {
    let mut framer = Framer::new();
    framer.feed(&[b'x'; 600]);
    assert!(framer.capacity() >= 600);
    assert!(!framer.has_failed());
    assert!(framer.next_status_line(512).is_err());
    assert!(framer.has_failed());
}

#[test]
fn a_response_is_its_status_line_and_the_body_behind_it_at_every_cut() {
    let raw = b"+OK 1\r\na\r\n..b\r\n.\r\n-ERR no\r\n+OK -ERR x\r\n+OK\n.\n";
    let expected: [(&[u8], Option<&[u8]>); 4] =
        [(b"+OK 1", Some(b"a\r\n.b\r\n")), (b"-ERR no", None), (b"+OK -ERR x", None), (b"+OK", Some(b""))];
    for cut in 0..=raw.len() {
        let (head, tail) = raw.split_at(cut);
        for chunks in [vec![head, tail], raw.chunks(1).collect()] {
            let mut framer = Framer::new();
            let mut seen = Vec::new();
            for chunk in chunks {
                framer.feed(chunk);
                while let Some(response) = framer.next_response(512, NO_LIMIT).unwrap() {
                    seen.push((response.status_line.to_vec(), response.body.map(<[u8]>::to_vec)));
                }
            }
            let seen: Vec<_> = seen.iter().map(|(line, body)| (&line[..], body.as_deref())).collect();
            assert_eq!(seen, expected, "cut at {cut}");
            assert_eq!(framer.unread(), 0);
        }
    }
}

prop_compose! {
    /// Text of pieces that matter to a framer, cut into chunks.
    fn body_and_cuts()(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                &b"\r\n"[..], b"\n", b"\r", b".", b"..", b"\r\n.", b"\r\n..", b"\n.", b"\r\n.\r\n", b"\n.\n", b".\r", b"text",
                b"a longer line, longer than the widest vector register that a search may use for its steps",
                b"\0\xff",
            ]),
            0..60,
        ),
        chunk in 1usize..40,
    ) -> (Vec<u8>, usize) {
        (pieces.concat(), chunk)
    }
}

/// Replies of every kind, whole or not, one behind the other.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"+OK\r\n",
        b"+OK 5 octets\n",
        b"+ hi\r\n",
        b"-ERR no\r\n",
        b"+OK -ERR x\r\n",
        b"text\r\n",
        b"\r\n",
        b"\n",
        b"..x\r\n",
        b".x\r\n",
        b".\r\n",
        b".\r\n+OK\r\n",
        b".\n+OK\n",
        b"\r\n.\r\n+OK again\r\n",
        b"\r",
        b".",
        b"longer than a piece is",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..40).prop_map(|pieces| pieces.concat())
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        (1usize..12).prop_map(Call::Feed),
        (1usize..60).prop_map(Call::Feed),
        Just(Call::StatusLine),
        Just(Call::Line),
        Just(Call::Body),
        Just(Call::Piece),
        Just(Call::Response),
        (1usize..4).prop_map(Call::Bodies),
        (1usize..4, 1usize..9).prop_map(|(most, octets)| Call::Pieces(most, octets)),
    ];
    prop::collection::vec(call, 1..80)
}

#[test]
fn a_response_that_has_not_come_whole_goes_on_whichever_call_takes_the_rest() {
    for (call, expected) in [(Call::Body, &b"abcdefgh\r\n"[..]), (Call::Piece, b"abcdefgh\r\n")] {
        let mut framer = Framer::new();
        framer.feed(b"+OK 120 octets\r\nab");
        assert_eq!(framer.next_response(512, NO_LIMIT), Ok(None));
        framer.feed(b"cdefgh\r\n.\r\n+OK next\r\n");
        let got = if matches!(call, Call::Body) { framer.next_body(NO_LIMIT) } else { framer.next_piece(NO_LIMIT) };
        assert_eq!(got, Ok(Some(expected)));
        if matches!(call, Call::Piece) {
            assert_eq!(framer.next_piece(NO_LIMIT), Ok(Some(&b""[..])));
        }
        assert_eq!(framer.next_status_line(512), Ok(Some(&b"+OK next"[..])));
    }
}

#[test]
fn a_body_is_given_only_behind_a_status_line_and_only_once() {
    let mut framer = Framer::new();
    framer.feed(b"text\r\n.\r\n");
    assert_eq!(framer.next_body(NO_LIMIT), Err(FramingError::NoStatusLine));

    let mut framer = framer_after(b"+OK\r\n");
    framer.feed(b"a\r\n.\r\n+OK\r\n.\r\n");
    assert_eq!(framer.next_body(NO_LIMIT), Ok(Some(&b"a\r\n"[..])));
    assert_eq!(framer.next_piece(NO_LIMIT), Err(FramingError::NoStatusLine));

    let mut framer = Framer::new();
    framer.feed(b"-ERR no\r\ntext\r\n.\r\n");
    assert!(framer.next_response(512, NO_LIMIT).unwrap().is_some());
    assert_eq!(framer.next_body(NO_LIMIT), Err(FramingError::NoStatusLine));
}

#[test]
fn a_limit_in_lines_is_exact_and_is_met_before_the_end_has_come() {
    let limits = Limits { octets: u64::MAX, lines: 3 };
    for cut in 0..=12 {
        for (text, fits) in
            [(&b"a\r\n\n\r\n.\r\n"[..], true), (b"\r\n\r\n\r\n\r\n.\r\n", false), (b"\r\n\r\n\r\n\r\nab", false)]
        {
            let mut framer = framer_after(b"+OK\r\n");
            let (head, tail) = text.split_at(cut.min(text.len()));
            framer.feed(head);
            let early = framer.next_body(limits).map(|_| ());
            framer.feed(tail);
            let result = early.and_then(|()| framer.next_body(limits).map(|_| ()));
            assert_eq!(
                result,
                if fits { Ok(()) } else { Err(FramingError::TooManyLines { limit: 3 }) },
                "{text:?} {cut}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_body_in_any_chunks((raw, chunk) in body_and_cuts(), lf in any::<bool>()) {
        let status_line = STATUS_LINES[usize::from(lf)];
        let expected = reference(status_line, &raw).map(|(body, rest)| (body, rest.to_vec()));
        prop_assert_eq!(framed(status_line, raw.chunks(chunk)), expected.clone());
        prop_assert_eq!(framed_in_pieces(status_line, raw.chunks(chunk)), expected);
    }

    #[test]
    fn any_sequence_of_calls_over_any_cuts_gives_the_same_octets(all in replies(), calls in calls()) {
        assert_right(&all, &calls);
    }

    #[test]
    fn the_lines_of_a_body_are_its_octets(raw in prop::collection::vec(prop::sample::select(b"a.\r\n".to_vec()), 0..80)) {
        let lines: Vec<&[u8]> = line::contents(&raw).collect();
        prop_assert_eq!(lines.len(), line::contents(&raw).len());
        let naive: Vec<&[u8]> = raw.split_inclusive(|octet| *octet == b'\n').map(line::content).collect();
        prop_assert_eq!(lines, naive);
    }
}
