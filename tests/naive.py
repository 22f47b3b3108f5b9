"""The end of a multi-line response and what is in it, read off the rules as slowly as they are written.

The reference that the framer and reading by lines are compared with. It follows the rules of the module comment of
src/body.rs and must never share code with what it judges, or be made fast: it needs the whole body at once.
"""

import re
from typing import NamedTuple


class Body(NamedTuple):
    """What a body holds, in every shape the client gives it, and the octets behind its terminator."""

    lines: list[bytes]
    content: bytes
    rest: bytes

    @property
    def octets(self) -> int:
        return len(self.content)


def read_body(received: bytes, *, after_bare_lf: bool) -> Body | None:
    """Return the body at the start of *received*, or None when it does not end there.

    *after_bare_lf* says whether the status line before it ended in a bare LF.
    """
    first_line, lf, _ = received.partition(b"\n")
    if not lf:
        return None
    in_lf = after_bare_lf or not first_line.endswith(b"\r")
    line_end = b"\n" if in_lf else b"\r\n"
    terminators = {b".\n", b".\r\n"} if in_lf else {b".\r\n"}
    content = b""
    rest = received
    while True:
        text, end, rest = rest.partition(line_end)
        line = text + end
        if not end:
            return None
        if line in terminators:
            return Body(poplib_lines(content), content, rest)
        content += line[1:] if line.startswith(b"..") else line


def poplib_lines(content: bytes) -> list[bytes]:
    """Return the lines of a body that ends in LF, as ``poplib.POP3._getline`` gives them."""
    return [poplib_line(line) for line in re.findall(rb"[^\n]*\n", content)]


def poplib_line(line: bytes) -> bytes:
    """Return *line* without its line end: CRLF goes; of one that ends in a bare LF, a leading CR goes with it."""
    if line.endswith(b"\r\n"):
        return line[:-2]
    return line[1:-1] if line.startswith(b"\r") else line[:-1]
