//! The checksum: the same however octets are cut, and another one for every small damage.

use pop3fast::Checksum;
use pop3fast::checksum::CHECKSUM_OCTETS;
use proptest::prelude::*;

fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> [u8; CHECKSUM_OCTETS] {
    let mut checksum = Checksum::new();
    for piece in pieces {
        checksum.feed(piece);
    }
    checksum.value()
}

#[test]
fn it_is_xxh3_with_128_bits() {
    // As `xxhsum -H2` of xxHash 0.8 prints them.
    let expected: [(&[u8], u128); 2] =
        [(b"", 0x99aa_06d3_0147_98d8_6001_c324_468d_497f), (b"abc", 0x06b0_5ab6_733a_6185_78af_5f94_892f_3950)];
    for (octets, value) in expected {
        assert_eq!(of([octets]), value.to_be_bytes());
    }
}

proptest! {
    #[test]
    fn it_does_not_depend_on_the_cuts(octets in prop::collection::vec(any::<u8>(), 0..5000), size in 1usize..700) {
        prop_assert_eq!(of(octets.chunks(size)), of([&octets[..]]));
    }

    #[test]
    fn damage_gives_another_one(octets in prop::collection::vec(any::<u8>(), 1..3000), at: usize, bit in 0u32..8) {
        let whole = of([&octets[..]]);
        let at = at % octets.len();
        let mut damaged = octets.clone();
        damaged[at] ^= 1u8 << bit;
        prop_assert_ne!(of([&damaged[..]]), whole, "a bit flipped");
        prop_assert_ne!(of([&octets[..at]]), whole, "cut short");
        prop_assert_ne!(of([&octets[..], &octets[at..]]), whole, "longer");
        let mut zeroed = octets.clone();
        zeroed.resize(octets.len() + at + 1, 0);
        prop_assert_ne!(of([&zeroed[..]]), whole, "NULs behind it");
    }
}
