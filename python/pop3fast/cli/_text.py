"""What the command line says, and to whom: results to standard output, everything else to standard error.

Owns how text from a server is shown: without any character that a terminal would obey. A JSON object is one line of
pure ASCII.
"""

import contextlib
import os
import re
import ssl
import sys
from collections.abc import Iterator
from typing import TextIO

from pop3fast import CommandError, ProtocolError, _replies, error_proto

# Places in the sources of OpenSSL and CPython, which help only those who wrote them.
_SSL_PLACES = r"\[[A-Z0-9]+: [A-Z0-9_]+\] | \(_ssl\.c:\d+\)"

_UNIT = 1000
_UNITS = ("kB", "MB", "GB", "TB")


class UsageError(Exception):
    """The request makes no sense: exit status 2."""


# Not an ``Exception``: an ``OSError`` would be taken for one of the network, and a fetch of many accounts would take
# any other for the end of one account.
class OutputGone(BaseException):
    """Nobody reads the standard output any more, as behind ``| head``."""


class OutputFailed(BaseException):
    """The standard output cannot be written, for the reason that this says."""


def say(text: str) -> None:
    """Write a line of results, and have it written at once: a program may be waiting for it."""
    with _output():
        # In one piece: several fetches say something at once.
        print(f"{text}\n", end="", flush=True)


def write_octets(octets: bytes) -> None:
    """Write *octets* to the standard output, as they are."""
    with _output():
        sys.stdout.buffer.write(octets)
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        _write_nowhere(sys.stdout)
        raise OutputGone from None
    except OSError as error:
        _write_nowhere(sys.stdout)
        raise OutputFailed(in_words(error)) from None


def say_json(**fields: object) -> None:
    """Write a line of results for a program."""
    import json  # noqa: PLC0415 - for programs only

    say(json.dumps(fields, ensure_ascii=True))


def complain(text: str) -> None:
    """Write a line that says what went wrong."""
    try:
        print(f"pop3fast: {printable(text)}\n", end="", file=sys.stderr, flush=True)
    except OSError:
        _write_nowhere(sys.stderr)  # the exit status says it where nothing else can


def in_words(error: BaseException) -> str:
    """Return what *error* says to a person: a number of the operating system's says nothing to most."""
    from pop3fast.fetch import FetchError  # noqa: PLC0415 - a command that reads no mail has no use for the rest of it

    if isinstance(error, CommandError | ProtocolError):
        return error.explanation
    if isinstance(error, ssl.SSLError):
        return re.sub(_SSL_PLACES, "", str(error))
    if isinstance(error, OSError) and error.filename is None and error.strerror:
        return error.strerror
    if isinstance(error, FetchError | error_proto | OSError | ValueError):
        return str(error)
    # The text of any other says too little, as a KeyError's, or nothing, as a MemoryError's.
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def of_account(account: str, error: BaseException) -> str:
    """Return what *error* says of an *account*, whose host errors of a connection name, too."""
    where = account.rpartition(" on ")[2]
    return f"{account}: {in_words(error).removeprefix(f'{where}, ')}"


def printable(text: str) -> str:
    """Return *text* with every character escaped that a terminal would obey or not show; not too long."""
    if not text.isprintable():
        # Blanks of other widths (U+3000 in Japanese) do no harm.
        text = "".join(" " if _is_blank(character) else character for character in text)
    return _replies.printable(text)


def printable_lines(octets: bytes) -> str:
    """Return a text of several lines, which may be in any character set, as `printable` returns one; of any length."""
    text = octets.decode("utf-8", "backslashreplace").replace("\r\n", "\n").removesuffix("\n")
    return "\n".join(line if line.isprintable() else "".join(map(_shown_character, line)) for line in text.split("\n"))


def _is_blank(character: str) -> bool:
    import unicodedata  # noqa: PLC0415 - for what most texts have not

    return unicodedata.category(character) == "Zs"


def _shown_character(character: str) -> str:
    if character.isprintable() or character == "\t" or _is_blank(character):
        return character
    return character.encode("unicode_escape").decode()


def shown_size(octets: int) -> str:
    """Return so many *octets* for a person."""
    if octets < _UNIT:
        return plural(octets, "octet")
    size, power = octets / _UNIT, 0
    # What would be rounded up to a thousand is one of the next unit.
    while size >= _UNIT - 0.5 and power < len(_UNITS) - 1:
        size, power = size / _UNIT, power + 1
    return f"{size:.3g} {_UNITS[power]}"


def shown_time(seconds: float) -> str:
    """Return *seconds* for a person, as ``1:02`` or ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def plural(number: int, noun: str) -> str:
    """Return so many of a *noun*."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _write_nowhere(stream: TextIO) -> None:
    # What is still to be written goes nowhere from here on, instead of failing when Python ends.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
