"""Screen: some lines at the end of what a terminal shows, drawn over themselves.

Owns that they fit, whatever the window's size becomes and whatever the terminal's character set lacks, and that nothing
is left of them. It uses no colour, only moving up and clearing to the end.
"""

import os
import unicodedata
from typing import TextIO

CLEAR_LINE, CLEAR_REST = "\x1b[K", "\x1b[J"


class Screen:
    """The last lines of a terminal."""

    def __init__(self, stream: TextIO) -> None:
        """Draw on *stream*, a terminal, whose cursor is at the beginning of a line."""
        self._stream = stream
        self._widths: list[int] = []
        self._columns = 0

    @property
    def size(self) -> os.terminal_size:
        """Columns and lines of the window, as it is now."""
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except OSError:
            return os.terminal_size((80, 24))
        return os.terminal_size((size.columns or 80, size.lines or 24))

    def draw(self, lines: list[str]) -> None:
        """Draw *lines* over those that were drawn before."""
        columns = self.size.columns
        # One column stays free: in the last one some terminals begin another line.
        lines = [fitted(self._shown(line), columns - 1) for line in lines]
        drawn = self._back(columns) + f"{CLEAR_LINE}\n".join(lines) + CLEAR_LINE
        if len(lines) < len(self._widths):
            drawn += CLEAR_REST
        self._stream.write(drawn)
        self._stream.flush()
        self._widths, self._columns = [width_of(line) for line in lines], columns

    def clear(self) -> None:
        """Take the lines away."""
        if self._widths:
            self._stream.write(self._back(self.size.columns) + CLEAR_REST)
            self._stream.flush()
            self._widths = []

    def _back(self, columns: int) -> str:
        """Return what goes to the beginning of the first line that was drawn."""
        # In a window that has become narrower, a line takes several.
        rows = sum(max(1, -(-width // columns)) for width in self._widths)
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        return f"{up}\r{CLEAR_REST * (columns < self._columns)}"

    def _shown(self, line: str) -> str:
        """Return *line* with what the terminal's character set lacks in the form in which it will be written."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        return line.encode(encoding, "backslashreplace").decode(encoding)


def width_of(text: str) -> int:
    """Return how many columns *text* takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def fitted(text: str, columns: int) -> str:
    """Return *text*, or as much of it as fits into so many *columns* with an ellipsis."""
    if width_of(text) <= columns:
        return text
    mark = "..." if columns > 20 else ""  # noqa: PLR2004 - in less it would take the place of what it stands for
    left, end = columns - len(mark), 0
    while end < len(text) and (width := _width(text[end])) <= left:
        left, end = left - width, end + 1
    return text[:end] + mark


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
