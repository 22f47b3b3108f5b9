"""A multi-line response, line by line, the way poplib reads it.

It serves connections whose replies do not come through a ReplyStream alone: a subclass has its own ``_getline``,
``file`` is something else, or every line is printed. Ends and un-stuffs by the same rules as the Rust core
(``src/body.rs``), from what poplib's ``_getline`` gives: a line without its line end, and its octets with it. Must
never read on its own.
"""

from collections.abc import Callable

from pop3fast._errors import LimitExceeded
from pop3fast._framing import most_lines


def body_by_lines(
    getline: Callable[[], tuple[bytes, int]],
    *,
    after_bare_lf: bool,
    in_bare_lf: Callable[[bytes, int], bool],
    max_octets: int,
) -> tuple[list[bytes], int]:
    """Return the lines of a body without their line ends, and its octets.

    *in_bare_lf* says of the line just got whether it ended in a bare LF; *after_bare_lf*, whether the status line did.
    Raises `LimitExceeded` when the body has more than *max_octets*, or more lines than go with that.
    """
    lines: list[bytes] = []
    limit = most_lines(max_octets)
    octets = 0
    lf_reply: bool | None = True if after_bare_lf else None
    at_line_start = True
    while True:
        line, length = getline()
        bare_lf = in_bare_lf(line, length)
        if lf_reply is None:
            lf_reply = bare_lf
        # A CR before the dot, which _getline dropped, makes it text: a server that stuffs dots looks at the first
        # octet.
        dotted = at_line_start and line.startswith(b".") and not (bare_lf and length - len(line) > 1)
        if dotted and line == b"." and (lf_reply or not bare_lf):
            return lines, octets
        if dotted and line.startswith(b".."):
            line, length = line[1:], length - 1
        octets += length
        if octets > max_octets:
            message = f"multi-line response longer than {max_octets} octets"
            raise LimitExceeded(message)
        lines.append(line)
        if len(lines) > limit:
            message = f"multi-line response of more than {limit} lines"
            raise LimitExceeded(message)
        at_line_start = lf_reply or not bare_lf
