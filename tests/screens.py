"""A terminal, as far as the command line uses one: what a person would see of the octets that were written to it.

It knows CR, LF, moving up, and clearing to the end of a line or of the screen; it wraps what is too long, and when its
window becomes narrower it wraps what is there anew, as terminals do. Whatever else it is told is an error.
"""

import re

_TOKEN = re.compile(r"\x1b\[(\d*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)", re.DOTALL)


class Screen:
    """What is shown: lines that were written, each as long as it is, wrapped into rows of so many columns."""

    def __init__(self, columns: int = 80) -> None:
        self.columns = columns
        self.rows = [""]
        self._wrapped = [False]
        """Whether a row goes on in the next."""
        self._row = self._column = 0

    def feed(self, text: str) -> None:
        end = 0
        for found in _TOKEN.finditer(text):
            assert found.start() == end, f"the terminal does not know {text[end : end + 10]!r}"
            end = found.end()
            number, command, move, shown = found.groups()
            if command:
                self._obey(command, int(number or "0"))
            elif move:
                self._move(move)
            else:
                for character in shown:
                    self._put(character)
        assert end == len(text), f"the terminal does not know {text[end : end + 10]!r}"

    def resize(self, columns: int) -> None:
        """Wrap all lines anew; the cursor stays where it is in its line."""
        before = self._offset()
        lines = self.lines()
        self.columns = columns
        self.rows, self._wrapped = [], []
        for line in lines:
            pieces = [line[start : start + columns] for start in range(0, len(line), columns)] or [""]
            self.rows += pieces
            self._wrapped += [True] * (len(pieces) - 1) + [False]
        line_number, column = before
        row = 0
        while line_number:
            line_number -= not self._wrapped[row]
            row += 1
        self._row, self._column = row + column // columns, column % columns
        if column and not self._column:
            # After the last column the cursor stays there until more is written.
            self._row, self._column = self._row - 1, columns
        while self._row >= len(self.rows):
            self.rows.append("")
            self._wrapped.append(False)

    def lines(self) -> list[str]:
        """Return the lines, those that were wrapped in one."""
        found, line = [], ""
        for row, wrapped in zip(self.rows, self._wrapped, strict=True):
            line += row
            if not wrapped:
                found.append(line)
                line = ""
        return found

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows).rstrip("\n")

    def _offset(self) -> tuple[int, int]:
        """Return in which line the cursor is, and at which place of it."""
        first = self._row
        while first and self._wrapped[first - 1]:
            first -= 1
        return self._wrapped[: self._row].count(False), (self._row - first) * self.columns + self._column

    def _move(self, character: str) -> None:
        self._column = 0
        if character == "\n":
            self._row += 1
            if self._row == len(self.rows):
                self.rows.append("")
                self._wrapped.append(False)

    def _obey(self, command: str, number: int) -> None:
        if command == "A":
            self._row = max(0, self._row - max(1, number))
        elif command in "KJ" and not number:
            self.rows[self._row] = self.rows[self._row][: self._column]
            self._wrapped[self._row] = False
            if command == "J":
                del self.rows[self._row + 1 :], self._wrapped[self._row + 1 :]
        else:
            raise AssertionError(f"the terminal does not know ESC [ {number} {command}")

    def _put(self, character: str) -> None:
        if self._column == self.columns:
            self._wrapped[self._row] = True
            self._move("\n")
        row = self.rows[self._row].ljust(self._column)
        self.rows[self._row] = row[: self._column] + character + row[self._column + 1 :]
        self._column += 1
