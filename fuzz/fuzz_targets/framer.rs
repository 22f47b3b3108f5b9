//! Any calls of the framer in any order over any cuts, held against the naive reference: the rules of the tests
//! (`tests/rust/sequence.rs`), with octets and calls that a fuzzer finds.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/rust/naive.rs"]
mod naive;
#[path = "../../tests/rust/sequence.rs"]
mod sequence;

use sequence::{Call, assert_right};

/// A call for each octet: what in its lower half, how much in its upper one.
fn call(octet: u8) -> Call {
    let number = usize::from(octet >> 4);
    match octet & 15 {
        0 => Call::StatusLine,
        1 => Call::Line,
        2 => Call::Body,
        3 => Call::Piece,
        4 | 5 => Call::Response,
        6 | 7 => Call::Bodies(number),
        8 | 9 => Call::Pieces(number, 1 + number / 2),
        10 | 11 => Call::Feed(1 + number),
        _ => Call::Feed(8 * (1 + number)),
    }
}

fuzz_target!(|input: (&[u8], &[u8])| {
    let (all, calls) = input;
    let calls: Vec<Call> = calls.iter().copied().map(call).collect();
    assert_right(all, &calls);
});
