//! Limits: how much of a multi-line response is taken, before it has cost memory.
//!
//! Owns the numbers. A limit in octets bounds what is received; what is made of it can be many times that: a list
//! of lines costs Python some fifty octets a line besides their contents, a table of unique-ids two hundred an
//! entry, and a server is free to send lines of one octet. So whoever makes such things has a limit in lines as well, which
//! grows with the octets that are allowed, and is counted while the octets come in. No result takes more than about
//! four times the octets that its caller allows.

use crate::listing::MAX_ENTRIES;

/// A list may have a line for each so many octets that are allowed: what a short line costs besides its content (33
/// octets of header and up to 15 of rounding for the object, 8 for its place in the list), and some to spare. Mail has
/// forty to eighty octets a line, so by default (1 GiB, sixteen million lines) no message is met that this stops.
const OCTETS_A_LINE: u64 = 64;

/// A listing may have an entry for each so many octets that are allowed. An entry of a table costs about two hundred
/// (number, text and their place). By default that is eight million messages, eight times mpop's limit.
const OCTETS_AN_ENTRY: u64 = 128;

/// A listing may have this part of the octets that are allowed, since its text lies in memory twice beside the table.
/// By default that is 256 MiB: three million messages with unique-ids of seventy octets, RFC 1939's longest.
const LISTING_PART: u64 = 4;

/// So many lines are accepted however few octets are allowed: as a list they cost 30 MB, which is what a program costs by
/// being there.
const LEAST_LINES: u64 = 524_288;

/// So many entries are, for the same reason: as a table they cost 60 MB.
const LEAST_ENTRIES: u64 = 262_144;

/// So many octets of a listing are accepted if that many are allowed at all, for the same reason.
const LEAST_LISTING_OCTETS: u64 = 8 * 1024 * 1024;

/// What a multi-line response may have, un-stuffed and without its terminator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Its octets.
    pub octets: u64,
    /// Its lines.
    pub lines: u64,
}

impl Limits {
    /// Of a body that is kept as the octets that it is.
    #[must_use]
    pub fn octets(octets: u64) -> Self {
        Self { octets, lines: u64::MAX }
    }

    /// Of a body that becomes a list of lines.
    #[must_use]
    pub fn lines(octets: u64) -> Self {
        Self { octets, lines: (octets / OCTETS_A_LINE).max(LEAST_LINES) }
    }

    /// Of a listing that becomes a table.
    #[must_use]
    pub fn listing(octets: u64) -> Self {
        Self {
            octets: octets.min((octets / LISTING_PART).max(LEAST_LISTING_OCTETS)),
            lines: (octets / OCTETS_AN_ENTRY).clamp(LEAST_ENTRIES, MAX_ENTRIES as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Limits;

    const GIB: u64 = 1 << 30;

    #[test]
    fn by_default_what_is_legitimate_passes() {
        assert!(Limits::lines(GIB).lines >= 16_000_000);
        let listing = Limits::listing(GIB);
        assert!(listing.lines >= 8_000_000);
        // A million messages with the longest numbers and the longest unique-ids of RFC 1939.
        assert!(listing.octets >= 3_000_000 * (7 + 1 + 70 + 2));
    }

    #[test]
    fn small_limits_hold_in_octets_and_leave_room_in_lines() {
        for octets in [0, 1, 50, 1_000_000] {
            assert_eq!(Limits::octets(octets).octets, octets);
            assert_eq!(Limits::lines(octets), Limits { octets, lines: 524_288 });
            assert_eq!(Limits::listing(octets), Limits { octets, lines: 262_144 });
        }
        assert_eq!(Limits::listing(16 * 1024 * 1024).octets, 8 * 1024 * 1024);
    }

    #[test]
    fn what_is_made_of_a_response_stays_near_four_times_the_octets_allowed() {
        for octets in [50_000_000, GIB] {
            let (lines, listing) = (Limits::lines(octets), Limits::listing(octets));
            // The buffer, which may be twice as large as what is in it, and the contents again.
            assert!(3 * lines.octets + 56 * lines.lines <= 4 * octets);
            assert!(4 * listing.octets + 220 * listing.lines <= 4 * octets);
        }
    }

    #[test]
    fn without_a_limit_only_the_entries_of_a_listing_have_one() {
        assert_eq!(Limits::listing(u64::MAX).lines, 10_000_000);
        assert!(Limits::lines(u64::MAX).lines > 1 << 57);
    }
}
