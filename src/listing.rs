//! Scan listings (LIST) and unique-id listings (UIDL): the body of the reply, entry by entry.
//!
//! Pure functions on the un-stuffed body. Only the message number must be there; what servers get wrong
//! besides is taken as "not known", because one odd entry must not cost a whole maildrop.

use crate::error::FramingError;
use crate::line;

/// The greatest number of octets in a line of a listing, its line end not counted. RFC 1939 needs fewer than
/// a hundred; servers that do not keep to it stay below this by far, and an endless line does not.
pub const MAX_LISTING_LINE: usize = 64 * 1024;

/// The greatest number of octets in a unique-id. RFC 1939 allows 70, mail servers have sent some hundreds.
pub const MAX_UNIQUE_ID: usize = 4096;

/// The greatest number of entries in a listing: ten times the largest maildrop that another client
/// (mpop: 1,000,000) is prepared for.
pub const MAX_ENTRIES: usize = 10_000_000;

/// The entries of a scan listing: message number and octets. Octets that cannot be read are 0: a server
/// was seen to send `1 %!d(float64=5461)`, another a negative number.
pub fn sizes(body: &[u8]) -> impl Iterator<Item = Result<(u64, u64), FramingError>> {
    entries(body).map(|entry| {
        let (number, rest) = entry?;
        let octets = rest.split(|&octet| octet == b' ').next().and_then(parse_number);
        Ok((number, octets.unwrap_or(0)))
    })
}

/// The entries of a unique-id listing: message number and unique-id, which is the rest of the line (some
/// servers' have spaces in them), and empty where the server sent none.
pub fn unique_ids(body: &[u8]) -> impl Iterator<Item = Result<(u64, &[u8]), FramingError>> {
    entries(body).enumerate().map(|(index, entry)| {
        let (number, unique_id) = entry?;
        if unique_id.len() > MAX_UNIQUE_ID {
            return Err(FramingError::UniqueIdTooLong { limit: MAX_UNIQUE_ID, position: index + 1 });
        }
        Ok((number, unique_id))
    })
}

/// Message number and rest of each line. Any run of blanks separates them, and may stand before the number.
fn entries(body: &[u8]) -> impl Iterator<Item = Result<(u64, &[u8]), FramingError>> {
    line::contents(body).enumerate().map(|(index, text)| {
        if index >= MAX_ENTRIES {
            return Err(FramingError::TooManyEntries { limit: MAX_ENTRIES });
        }
        let position = index + 1;
        if text.len() > MAX_LISTING_LINE {
            return Err(FramingError::ListingLineTooLong { limit: MAX_LISTING_LINE, position });
        }
        let text = without_leading_blanks(text);
        let end = text.iter().position(|octet| is_blank(*octet)).unwrap_or(text.len());
        let (number, rest) = text.split_at(end);
        let number = parse_number(number).ok_or(FramingError::NoMessageNumber { position })?;
        Ok((number, without_leading_blanks(rest)))
    })
}

fn is_blank(octet: u8) -> bool {
    octet == b' ' || octet == b'\t'
}

fn without_leading_blanks(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|octet| !is_blank(*octet)).unwrap_or(text.len());
    &text[start..]
}

/// ASCII digits and nothing else, as far as 64 bits go.
fn parse_number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, octet| {
        let digit = octet.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::{MAX_LISTING_LINE, MAX_UNIQUE_ID, sizes, unique_ids};
    use crate::error::FramingError;

    fn sizes_of(body: &[u8]) -> Result<Vec<(u64, u64)>, FramingError> {
        sizes(body).collect()
    }

    fn unique_ids_of(body: &[u8]) -> Result<Vec<(u64, &[u8])>, FramingError> {
        unique_ids(body).collect()
    }

    #[test]
    fn sizes_are_numbers_of_64_bits() {
        let body = b"1 120\r\n2 4294967800\r\n3 18446744073709551615\r\n";
        assert_eq!(sizes_of(body), Ok(vec![(1, 120), (2, 4_294_967_800), (3, u64::MAX)]));
        assert_eq!(sizes_of(b""), Ok(vec![]));
    }

    #[test]
    fn quirk_q61_q65_octets_that_cannot_be_read_are_not_known() {
        let body = b"1 %!d(float64=5461)\n2 -5\n3\n4 18446744073709551616\n5 1_0\n6 7 extra\n7 \n";
        let expected = vec![(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 7), (7, 0)];
        assert_eq!(sizes_of(body), Ok(expected));
    }

    #[test]
    fn quirk_q70_blanks_run_together_and_lead() {
        assert_eq!(unique_ids_of(b"1  whqts\r\n  2\tb\r\n"), Ok(vec![(1, &b"whqts"[..]), (2, b"b")]));
    }

    #[test]
    fn quirk_q71_to_q74_unique_ids_of_real_servers() {
        let body = b"1 a b \r\n2 \r\n3\r\n4 same\r\n5 same\r\n6 \xfc\xff\r\n";
        let expected: Vec<(u64, &[u8])> =
            vec![(1, b"a b "), (2, b""), (3, b""), (4, b"same"), (5, b"same"), (6, b"\xfc\xff")];
        assert_eq!(unique_ids_of(body), Ok(expected));
    }

    #[test]
    fn a_line_without_a_number_is_named_by_its_place() {
        for bad in [&b"x 1\n"[..], b"\n", b"-1 5\n", b"+1 5\n", b"99999999999999999999 5\n", b"1x 5\n"] {
            let body = [b"1 1\n", bad].concat();
            assert_eq!(sizes_of(&body), Err(FramingError::NoMessageNumber { position: 2 }), "{bad:?}");
        }
    }

    #[test]
    fn a_unique_id_at_the_limit_passes_and_one_octet_more_does_not() {
        let fits = [b"1 ".to_vec(), vec![b'u'; MAX_UNIQUE_ID], b"\r\n".to_vec()].concat();
        assert_eq!(unique_ids_of(&fits).map(|ids| ids[0].1.len()), Ok(MAX_UNIQUE_ID));
        let over = [b"1 ".to_vec(), vec![b'u'; MAX_UNIQUE_ID + 1], b"\r\n".to_vec()].concat();
        let error = FramingError::UniqueIdTooLong { limit: MAX_UNIQUE_ID, position: 1 };
        assert_eq!(unique_ids_of(&over), Err(error));
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_octet_more_does_not() {
        let line = |octets: usize| [b"1 5 ".to_vec(), vec![b'x'; octets - 4], b"\n".to_vec()].concat();
        assert_eq!(sizes_of(&line(MAX_LISTING_LINE)), Ok(vec![(1, 5)]));
        let error = FramingError::ListingLineTooLong { limit: MAX_LISTING_LINE, position: 1 };
        assert_eq!(sizes_of(&line(MAX_LISTING_LINE + 1)), Err(error));
    }
}
