"""What a step of a transcript is expected to come to, where poplib and pop3fast do not agree.

Owns the shapes in which `DIFFERENCES` (in `test_parity.py`) is written down, and none of its entries.
"""

from dataclasses import dataclass

from transcripts.player import Raised, Seen, Step, plain


@dataclass(frozen=True)
class Gives:
    """The call returns *value*; with *without*, the debug lines do not hold that text, and hold some."""

    value: object
    sent: bytes | None = None
    without: str | None = None

    def fits(self, seen: Seen) -> bool:
        return (
            seen.result == plain(self.value)
            and self.sent in {None, seen.sent}
            and (self.without is None or (self.without not in seen.printed and seen.printed != ""))
        )


@dataclass(frozen=True)
class Fails:
    """The call raises a *kind*; *args* are the exception's, unless they are not promised."""

    kind: type[Exception]
    args: tuple[object, ...] | None = None
    sent: bytes | None = None

    def fits(self, seen: Seen) -> bool:
        return (
            isinstance(seen.result, Raised)
            and isinstance(seen.result.error, self.kind)
            and self.args in {None, seen.result.error.args}
            and self.sent in {None, seen.sent}
        )


Expected = Gives | Fails


@dataclass(frozen=True)
class Example:
    """A transcript, and what each step comes to; poplib's side has more than one answer where its versions differ."""

    steps: tuple[Step, ...]
    poplib: tuple[Expected | tuple[Expected, ...], ...]
    pop3fast: tuple[Expected, ...]
    greeting: bytes = b"+OK ready\r\n"
    debug: int = 0


@dataclass(frozen=True)
class Difference:
    """Something that pop3fast does in another way than poplib, and why."""

    name: str
    told: str
    """How the row of docs/poplib.md begins that tells users."""
    reason: str
    examples: tuple[Example, ...] = ()
    shown_by: str = ""
    """The test that shows it, file and name, where a transcript cannot."""
