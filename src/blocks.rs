//! Octets on their way into a file: with the line ends that they have there, in blocks of one size.
//!
//! Owns what is kept until a block is full, and a CR at the end of a piece: the next piece decides whether it belongs to
//! a line end. Writes nothing.

use memchr::memchr;

/// Octets in, in pieces cut anywhere; whole blocks out, and at the end the rest.
#[derive(Debug)]
pub struct Blocks {
    octets: usize,
    in_lf: bool,
    /// Its memory is used again for every block: memory of this size the C library asks of the kernel each time.
    kept: Vec<u8>,
    /// `kept[..taken]` has been handed out.
    taken: usize,
}

impl Blocks {
    /// Blocks of so many `octets`, at least one; `in_lf` gives LF for every CRLF, as mail lies on a Unix disk. A CR or an
    /// LF on its own stays as it is.
    #[must_use]
    pub fn new(octets: usize, in_lf: bool) -> Self {
        Self { octets: octets.max(1), in_lf, kept: Vec::new(), taken: 0 }
    }

    /// Takes the next octets.
    pub fn feed(&mut self, text: &[u8]) {
        self.kept.drain(..self.taken);
        self.taken = 0;
        if self.in_lf {
            self.feed_in_lf(text);
        } else {
            self.kept.extend_from_slice(text);
        }
    }

    /// The blocks that are full, one behind the other. The next call of `feed` lets go of them.
    pub fn full(&mut self) -> &[u8] {
        let sure = self.kept.len() - usize::from(self.in_lf && self.kept.ends_with(b"\r"));
        self.taken = sure - sure % self.octets;
        &self.kept[..self.taken]
    }

    /// What is left when there are no more octets, which `full` did not give.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.kept[self.taken..]
    }

    fn feed_in_lf(&mut self, text: &[u8]) {
        if self.kept.ends_with(b"\r") && text.starts_with(b"\n") {
            self.kept.pop();
        }
        self.kept.reserve(text.len());
        let mut rest = text;
        while let Some(cr) = memchr(b'\r', rest) {
            let (line, end) = rest.split_at(cr);
            self.kept.extend_from_slice(line);
            rest = &end[1..];
            if !rest.starts_with(b"\n") {
                self.kept.push(b'\r');
            }
        }
        self.kept.extend_from_slice(rest);
    }
}
