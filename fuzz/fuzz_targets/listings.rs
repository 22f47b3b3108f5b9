//! Listings, held against a parse that is written down as the rules are said.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pop3fast::listing::{MAX_LISTING_LINE, MAX_UNIQUE_ID, sizes, unique_ids};
use pop3fast::{FramingError, line};

/// Digits and nothing else, within 64 bits.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    if text.is_empty() || !text.chars().all(|character| character.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Message number and the rest of a line, with blanks of any number before and between.
fn entry(text: &[u8], position: usize) -> Result<(u64, &[u8]), FramingError> {
    if text.len() > MAX_LISTING_LINE {
        return Err(FramingError::ListingLineTooLong { limit: MAX_LISTING_LINE, position });
    }
    let blank = |octet: &u8| *octet == b' ' || *octet == b'\t';
    let start = text.iter().take_while(|octet| blank(octet)).count();
    let digits = text[start..].iter().take_while(|octet| !blank(octet)).count();
    let rest = &text[start + digits..];
    let rest = &rest[rest.iter().take_while(|octet| blank(octet)).count()..];
    let first = number(&text[start..start + digits]).ok_or(FramingError::NoMessageNumber { position })?;
    Ok((first, rest))
}

fuzz_target!(|body: &[u8]| {
    let lines: Vec<&[u8]> = body.split_inclusive(|octet| *octet == b'\n').map(line::content).collect();
    let entries = || lines.iter().zip(1..).map(|(text, position)| (entry(text, position), position));
    let naive_sizes: Result<Vec<(u64, u64)>, FramingError> = entries()
        .map(|(entry, _)| {
            let (first, rest) = entry?;
            let word = rest.split(|octet| *octet == b' ').next().unwrap_or(b"");
            Ok((first, number(word).unwrap_or(0)))
        })
        .collect();
    assert_eq!(sizes(body).collect::<Result<Vec<_>, _>>(), naive_sizes);
    let naive_ids: Result<Vec<(u64, &[u8])>, FramingError> = entries()
        .map(|(entry, position)| {
            let (first, rest) = entry?;
            let fits = rest.len() <= MAX_UNIQUE_ID;
            fits.then_some((first, rest)).ok_or(FramingError::UniqueIdTooLong { limit: MAX_UNIQUE_ID, position })
        })
        .collect();
    assert_eq!(unique_ids(body).collect::<Result<Vec<_>, _>>(), naive_ids);
});
