//! `ReceiveBuffer`: the octets that were received and have not been handed out.
//!
//! Owns the memory they lie in, and where the search for a line end stopped, so that no octet is looked at twice for
//! one. Must never know what an octet means.

use std::ops::Range;

use memchr::memchr;

/// How much room an empty buffer keeps. A buffer that was let go after each message of some megabytes would
/// be paged in anew for the next one, which cost as much as reading it; beyond this one large message in a
/// session of small ones would hold its memory for nothing.
pub const RETAINED_CAPACITY: usize = 8 * 1024 * 1024;

/// Octets in at the back, out at the front.
#[derive(Debug, Default)]
pub(crate) struct ReceiveBuffer {
    /// Room, of which `memory[..filled]` was received. (Its length is kept, so that it is zeroed only when it grows.)
    memory: Vec<u8>,
    filled: usize,
    /// `memory[head..filled]` has not been handed out.
    head: usize,
    /// So many octets from `head` on hold no LF.
    searched: usize,
}

impl ReceiveBuffer {
    /// Makes room for so many octets behind those that are there, which the caller fills at once.
    pub(crate) fn room(&mut self, octets: usize) -> &mut [u8] {
        if self.head == self.filled {
            self.head = 0;
            self.filled = 0;
            if self.memory.len() > RETAINED_CAPACITY {
                self.memory.truncate(RETAINED_CAPACITY);
                self.memory.shrink_to_fit();
            }
        } else if self.head >= self.filled - self.head {
            // Moves at most as many octets as were handed out since the last move: linear in all. Not only when room is
            // wanted, because the front of the buffer is what the processor's cache holds.
            self.memory.copy_within(self.head..self.filled, 0);
            self.filled -= self.head;
            self.head = 0;
        }
        let start = self.filled;
        self.filled += octets;
        if self.filled > self.memory.len() {
            // Twice the room at least, so that a body that comes in small chunks is not moved at each.
            self.memory.resize(self.filled.max(2 * self.memory.len()), 0);
        }
        &mut self.memory[start..self.filled]
    }

    /// How many octets have not been handed out.
    pub(crate) fn unread(&self) -> usize {
        self.filled - self.head
    }

    /// Those octets, but for so many in front.
    pub(crate) fn unread_behind(&mut self, octets: usize) -> &mut [u8] {
        &mut self.memory[self.head + octets..self.filled]
    }

    /// So many of them, the first ones, which stay there.
    pub(crate) fn first(&self, octets: usize) -> &[u8] {
        &self.memory[self.head..self.head + octets]
    }

    /// For how many octets there is room without asking for more memory.
    pub(crate) fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// How many octets the next line has, its LF included and `limit` at the most; `None` as long as neither is there.
    pub(crate) fn find_line_end(&mut self, limit: usize) -> Option<usize> {
        let within = &self.memory[self.head..self.filled.min(self.head.saturating_add(limit))];
        let searched = self.searched.min(within.len());
        if let Some(lf) = memchr(b'\n', &within[searched..]) {
            return Some(searched + lf + 1);
        }
        self.searched = within.len();
        (within.len() == limit).then_some(limit)
    }

    /// Hands out so many octets from the front, and says where they lie until there is room made for more.
    pub(crate) fn hand_out(&mut self, octets: usize) -> Range<usize> {
        let start = self.head;
        self.head += octets;
        self.searched = 0;
        start..self.head
    }

    /// What lies in a place that [`ReceiveBuffer::hand_out`] gave.
    pub(crate) fn at(&self, place: Range<usize>) -> &[u8] {
        &self.memory[place]
    }
}

#[cfg(test)]
mod tests {
    use super::{RETAINED_CAPACITY, ReceiveBuffer};

    fn feed(buffer: &mut ReceiveBuffer, octets: &[u8]) {
        buffer.room(octets.len()).copy_from_slice(octets);
    }

    #[test]
    fn what_is_unread_moves_to_the_front_once_as_much_was_handed_out_and_not_before() {
        let mut buffer = ReceiveBuffer::default();
        feed(&mut buffer, &(0..100).collect::<Vec<u8>>());
        buffer.hand_out(49);
        feed(&mut buffer, b"");
        assert_eq!((buffer.head, buffer.filled), (49, 100));
        buffer.hand_out(1);
        feed(&mut buffer, &[100, 101]);
        assert_eq!((buffer.head, buffer.filled), (0, 52));
        assert_eq!(buffer.first(52), &(50..102).collect::<Vec<u8>>()[..]);
    }

    #[test]
    fn memory_grows_to_twice_the_room_where_that_is_wanted_and_not_where_it_is_enough() {
        let mut buffer = ReceiveBuffer::default();
        for (fed, room) in [(8, 8), (1, 16), (7, 16), (1, 32), (100, 117)] {
            feed(&mut buffer, &vec![b'x'; fed]);
            assert_eq!(buffer.capacity(), room);
        }
        assert_eq!(buffer.unread(), 117);
        buffer.hand_out(117);
        feed(&mut buffer, &[b'x'; 117]);
        assert_eq!(buffer.capacity(), 117);
    }

    #[test]
    fn an_empty_buffer_keeps_the_room_of_a_message_of_some_megabytes_and_no_more() {
        let some = 8_000_000;
        assert!((some..2 * some).contains(&RETAINED_CAPACITY));
        let mut buffer = ReceiveBuffer::default();
        for (fed, kept) in [(some, some), (3 * some, RETAINED_CAPACITY)] {
            feed(&mut buffer, &vec![b'x'; fed]);
            buffer.hand_out(fed);
            feed(&mut buffer, b"x");
            buffer.hand_out(1);
            assert_eq!(buffer.capacity(), kept);
        }
    }
}
