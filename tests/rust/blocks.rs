//! Blocks: nothing is lost or added, however octets are cut, but the CR of a CRLF where that is asked for.

use pop3fast::Blocks;
use proptest::prelude::*;

/// What comes of the pieces: what was full after each, and the rest.
fn of<'a>(octets: usize, in_lf: bool, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut blocks = Blocks::new(octets, in_lf);
    let mut full = Vec::new();
    for piece in pieces {
        blocks.feed(piece);
        full.push(blocks.full().to_vec());
    }
    (full, blocks.rest().to_vec())
}

#[test]
fn a_crlf_becomes_an_lf_and_nothing_else_changes() {
    let cases: [(&[u8], &[u8]); 9] = [
        (b"", b""),
        (b"\r\n", b"\n"),
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b"a\nb\r", b"a\nb\r"),
        (b"\r\r\n\n", b"\r\n\n"),
        (b"\n\r", b"\n\r"),
        (b"a\rb", b"a\rb"),
        (b"\r\n\r\n", b"\n\n"),
        (b"\r\r", b"\r\r"),
    ];
    for (text, in_lf) in cases {
        for cut in 0..=text.len() {
            let (full, rest) = of(1, true, [&text[..cut], &text[cut..]]);
            assert_eq!([full.concat(), rest].concat(), in_lf, "{text:?}, cut at {cut}");
        }
        let (full, rest) = of(1, false, [text]);
        assert_eq!([full.concat(), rest].concat(), text);
    }
}

#[test]
fn a_cr_that_may_belong_to_a_line_end_is_in_no_block() {
    let (full, rest) = of(2, true, [&b"a\r"[..], b"\n"]);
    assert_eq!((full, rest), (vec![vec![], b"a\n".to_vec()], vec![]));
    let (full, _) = of(2, false, [&b"a\r"[..]]);
    assert_eq!(full, [b"a\r"]);
}

proptest! {
    #[test]
    fn blocks_are_whole_and_what_is_kept_is_less_than_one(
        octets in prop::collection::vec(prop::sample::select(b"\r\nab".to_vec()), 0..500),
        size in 1usize..70,
        block in 1usize..50,
        in_lf: bool,
    ) {
        let (full, rest) = of(block, in_lf, octets.chunks(size));
        for each in &full {
            prop_assert_eq!(each.len() % block, 0);
        }
        prop_assert!(rest.len() < block + usize::from(in_lf));
        let (whole, whole_rest) = of(1, in_lf, [&octets[..]]);
        prop_assert_eq!([full.concat(), rest].concat(), [whole.concat(), whole_rest].concat());
    }
}
