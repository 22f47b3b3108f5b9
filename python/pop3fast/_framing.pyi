"""The Rust core as Python sees it: octets in, replies out, never a socket.

Owns the receive buffer, where a line and a multi-line response end, the limits, and a checksum. Must never be told
which command a reply is for. Every ``next_*`` method returns a value, or ``None`` for "need more octets"; after an
error every one of them raises that error again.

``max_octets`` is the greatest number of octets of a multi-line response, un-stuffed and without its terminator. What
becomes a list or a table has limits of its own besides, in lines (`most_lines`) and, for a listing, in octets; they
follow from ``max_octets``, and are met while the response is received. So no result takes more than about four times
``max_octets``.

A body of which pieces were taken goes on with whichever method is called next; what all of them give is the body.
"""

from typing import Final, Literal, final

__all__ = [
    "Blocks",
    "Checksum",
    "Framer",
    "FramingError",
    "FramingLimitError",
    "__version__",
    "most_lines",
    "parse_sizes",
    "parse_unique_ids",
    "split_lines",
    "status",
    "strict_status",
]

__version__: Final[str]
"""The version of the crate, and so of the package: what ``Cargo.toml`` says."""

class FramingError(Exception):
    """What was received cannot be framed; the one argument says why."""

class FramingLimitError(FramingError):
    """A limit of the framer was passed; the one argument says which."""

@final
class Framer:
    """The receive buffer of one connection, and what is expected next on it."""

    def __new__(cls) -> Framer: ...
    def feed(self, octets: bytes | memoryview) -> None:
        """Put received octets behind those that are there."""

    def unread(self) -> int:
        """Return how many octets were received and not handed out."""

    def in_body(self) -> bool:
        """Return whether a body is being read: its status line was positive, and its end has not come."""

    def has_failed(self) -> bool:
        """Return whether an error stands behind what was handed out last, which the next call raises."""

    def next_line(self, limit: int) -> bytes | None:
        """Return a line with its line end, or its first *limit* octets when it is longer."""

    def next_status_line(self, limit: int) -> bytes | None:
        """Return a line without its line end, which tells the convention of the body that may follow.

        Raises `FramingLimitError` when the line has more than *limit* octets, its line end counted.
        """

    def next_octets(self, limit: int) -> bytes:
        """Return what is unread as it came, at most *limit* octets, perhaps none."""

    def next_lines(self, max_octets: int) -> tuple[list[bytes], int] | None:
        """Return the lines of a whole body without their line ends, and its octets (line ends counted)."""

    def next_bytes(self, max_octets: int) -> bytes | None:
        """Return a whole body: line ends as sent, dots un-stuffed, no terminator."""

    def next_listing(self, max_octets: int) -> bytes | None:
        """Return what `next_bytes` does of a listing, which is smaller than a message may be."""

    def next_piece(self, max_octets: int) -> bytes | None:
        """Return what there is of a body, like `next_bytes` but in pieces; ``b""`` at its end."""

    def next_lines_response(self, limit: int, max_octets: int) -> tuple[bytes, list[bytes] | None, int] | None:
        """Return a status line and what `next_lines` gives of the body behind it, or None and 0 where none follows.

        A body follows a status line whose `status` is ``"ok"``.
        """

    def next_bytes_response(self, limit: int, max_octets: int) -> tuple[bytes, bytes | None] | None:
        """Return a status line and what `next_bytes` gives of the body behind it, or None where none follows."""

    def next_listing_response(self, limit: int, max_octets: int) -> tuple[bytes, bytes | None] | None:
        """Return what `next_bytes_response` does of a listing."""

    def next_bodies(self, limit: int, max_octets: int, most: int) -> tuple[list[bytes], bytes | None]:
        """Return the bodies of consecutive positive responses, at most *most*, as far as they are there.

        Behind them the status line that ended the run because its `strict_status` is not ``"ok"``, or None.
        """

    def next_listings(self, limit: int, max_octets: int, most: int) -> tuple[list[bytes], bytes | None]:
        """Return what `next_bodies` does of listings."""

    def next_pieces(
        self, limit: int, max_octets: int, most: int, octets: int
    ) -> tuple[list[tuple[bytes, bool]], bytes | None]:
        """Return what `next_bodies` does in pieces of at most *octets*, each with whether it is its body's last.

        What of a body has come is given as soon as that is *octets* or more, so that memory does not grow with it.
        """

@final
class Blocks:
    """Octets on their way into a file, which come in pieces, cut anywhere, and go on in blocks of one size."""

    def __new__(cls, octets: int, *, in_lf: bool) -> Blocks:
        """Make blocks of so many *octets*; *in_lf* turns CRLF into LF. A CR or an LF on its own stays as it is."""

    def feed(self, octets: bytes) -> bytes:
        """Take the next *octets*, and return the blocks that are full. Other threads may run meanwhile."""

    def rest(self) -> bytes:
        """Return what is left at the end: less than a block, but for a CR that an LF might have followed."""

@final
class Checksum:
    """The checksum of octets that come in pieces: it finds what a disk damages, and withstands no forger.

    However the octets are cut, it is the same. It may be another one in the next version, so it is not to be kept.
    """

    def __new__(cls) -> Checksum: ...
    def feed(self, octets: bytes) -> None:
        """Take the next *octets*. Other threads may run meanwhile when they are many."""

    def digest(self) -> bytes:
        """Return the checksum of what was taken so far, 16 octets."""

def status(line: bytes) -> Literal["ok", "error", "error after ok", "malformed"]:
    """Return what a status line, given without its line end, says.

    ``"error after ok"`` is ``+OK -ERR``: after a command with a body, nobody knows whether one follows.
    """

def strict_status(line: bytes) -> Literal["ok", "error", "error after ok", "malformed"]:
    """Return what a status line says where it may be a piece of a message: only ``+OK`` and ``-ERR`` are one then."""

def most_lines(max_octets: int) -> int:
    """Return the greatest number of lines in a list of lines, for the method that makes one by itself."""

def split_lines(body: bytes) -> list[bytes]:
    """Return the lines of a body without their line ends, as `Framer.next_lines` does."""

def parse_sizes(body: bytes) -> dict[int, int]:
    """Return a scan listing, message number to octets (0 where the server gave none that can be read).

    Raises `FramingError` when a line does not begin with a message number.
    """

def parse_unique_ids(body: bytes) -> dict[int, str]:
    """Return a unique-id listing, message number to unique-id (Latin-1; empty where there is none).

    Raises `FramingError` when a line does not begin with a message number.
    """
