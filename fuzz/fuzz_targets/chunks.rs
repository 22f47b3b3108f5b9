//! However replies are cut, they are the same: as a whole, in any chunks, in pieces of any size.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pop3fast::{Framer, FramingError, Limits};

/// A status line, and the body behind it if one follows.
type Reply = (Vec<u8>, Option<Vec<u8>>);

/// All responses, and why there are no more.
fn responses<'a>(chunks: impl Iterator<Item = &'a [u8]>, limits: Limits) -> (Vec<Reply>, Option<FramingError>) {
    let mut framer = Framer::new();
    let mut replies = Vec::new();
    for chunk in chunks {
        framer.feed(chunk);
        loop {
            match framer.next_response(512, limits) {
                Ok(Some(reply)) => replies.push((reply.status_line.to_vec(), reply.body.map(<[u8]>::to_vec))),
                Ok(None) => break,
                Err(error) => return (replies, Some(error)),
            }
        }
    }
    (replies, None)
}

/// The bodies of positive responses until one is not, put together from pieces of at most so many octets.
fn bodies<'a>(chunks: impl Iterator<Item = &'a [u8]>, octets: usize) -> Vec<Vec<u8>> {
    let mut framer = Framer::new();
    let (mut whole, mut begun) = (Vec::new(), Vec::new());
    for chunk in chunks {
        framer.feed(chunk);
        loop {
            let before = whole.len();
            let end = framer.next_pieces(512, Limits::octets(u64::MAX), 3, octets, |piece, last| {
                assert!(piece.len() <= octets);
                begun.extend_from_slice(piece);
                if last {
                    whole.push(std::mem::take(&mut begun));
                }
            });
            match end {
                Ok(None) if whole.len() > before => {}
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => return whole,
            }
        }
    }
    whole
}

fuzz_target!(|input: (u8, u8, u16, u8, &[u8])| {
    let (chunk, octets, most, lines, all) = input;
    let (chunk, octets) = (usize::from(chunk) + 1, usize::from(octets) + 1);
    // One limit at a time: which of two is passed first depends on the cuts.
    let by_lines = Limits { octets: u64::MAX, lines: u64::from(lines) };
    for limits in [Limits::octets(u64::from(most)), by_lines, Limits::octets(u64::MAX)] {
        let whole = responses(std::iter::once(all), limits);
        assert_eq!(responses(all.chunks(chunk), limits), whole);
        assert_eq!(responses(all.chunks(1), limits), whole);
    }
    let whole = bodies(std::iter::once(all), usize::MAX);
    assert_eq!(bodies(all.chunks(chunk), octets), whole);
    assert_eq!(bodies(all.chunks(1), octets), whole);
});
