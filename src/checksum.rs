//! A checksum that tells whether octets came through: XXH3 with 128 bits.
//!
//! Never to be given to another process or kept: what is remembered of a message is its SHA-256. It finds what a disk, a
//! file system or another program does to a message between writing and reading it again. It does not withstand
//! somebody who looks for two contents with the same checksum; whoever could put the second one in the place of the
//! first may change the mail in any other way too.

use twox_hash::XxHash3_128;

/// How many octets a checksum has.
pub const CHECKSUM_OCTETS: usize = 16;

/// The checksum of octets that come in pieces, cut anywhere.
pub struct Checksum(XxHash3_128);

impl Checksum {
    /// The checksum of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self(XxHash3_128::new())
    }

    /// Takes the next octets.
    pub fn feed(&mut self, octets: &[u8]) {
        self.0.write(octets);
    }

    /// The checksum of what was taken so far.
    #[must_use]
    pub fn value(&self) -> [u8; CHECKSUM_OCTETS] {
        self.0.finish_128().to_be_bytes()
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Self::new()
    }
}
