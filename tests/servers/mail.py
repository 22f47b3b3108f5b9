"""Mail to put into a real server: what nobody here wrote, and what no person would write.

Owns two collections, each a dict from a name to the octets of one message as a Maildir file would hold them.  Both are
the same at every run.  It must never fetch anything: the first comes with the running Python, the second is computed.
"""

import base64
import random
from collections.abc import Iterable
from importlib import resources

MEGABYTE = 1024 * 1024

#: The number of the RFC. Any other would do as well; what matters is that it never changes.
_SEED = 1939

_HEADER = b"From: a@example.test\nTo: b@example.test\nSubject: %s\nMIME-Version: 1.0\n"


def cpython_messages() -> dict[str, bytes]:
    """Give the messages with which CPython tests its email package; empty when this Python came without its tests."""
    try:
        folder = resources.files("test.test_email") / "data"
    except ModuleNotFoundError:
        return {}
    found = [path for path in folder.iterdir() if path.name.startswith("msg_") and path.name.endswith(".txt")]
    return {path.name: path.read_bytes() for path in sorted(found, key=lambda path: path.name)}


def generated_messages() -> dict[str, bytes]:
    """Give messages that reach what ordinary mail does not: size, line length, dots, line ends, octets, absences."""
    return {
        "five-megabytes": _header("five megabytes") + _text(5 * MEGABYTE),
        "megabyte-lines": _header("megabyte lines") + b"".join(_line(size * MEGABYTE) for size in (1, 2, 1)),
        "dots": _header("dots") + _dots(),
        "only-dots": _header("only dots") + b".\n" * 5000,
        "eight-bit": _header("eight bit \xe4\xf6\xfc") + _each(range(128, 256)),
        "control-characters": _header("control characters") + _each(set(range(1, 32)) - set(b"\r\n")),
        "carriage-returns": _header("carriage returns") + b"a\rb\n\rc\n\r.\n.\rd\ne\r\r\n\r\r\nf\n",
        "crlf-stored": (_header("CRLF stored") + b"one\n.\n..two\n\n").replace(b"\n", b"\r\n"),
        "mixed-line-ends": _header("mixed line ends").replace(b"\n", b"\r\n") + b"one\r\n.\ntwo\r\n.\r\nthree\n",
        "forged-reply": _header("forged reply") + b"text\n.\n+OK 1 octets\n-ERR none\n.\n+OK bye\n",
        "blank-lines": _header("blank lines") + b"\n" * 3000,
        "no-final-newline": _header("no final newline") + b"text\nthe end",
        "ends-with-a-dot": _header("ends with a dot") + b"text\n.",
        "headers-only": _HEADER % b"headers only",
        "empty-body": _header("empty body"),
        "body-only": b"\nno header at all\n",
        "one-octet": b"\n",
    }


def on_the_wire(content: bytes) -> bytes:
    """Give what a client must get for a Maildir file of this content: every LF a CRLF, and one at the very end."""
    lines = content.replace(b"\r\n", b"\n")
    if lines and not lines.endswith(b"\n"):
        lines += b"\n"
    return lines.replace(b"\n", b"\r\n")


def _header(subject: str) -> bytes:
    return _HEADER % subject.encode("latin-1") + b"\n"


def _text(octets: int) -> bytes:
    """Give about that many octets in lines of 76, as an attachment has them."""
    return base64.encodebytes(random.Random(_SEED).randbytes(octets * 3 // 4))  # noqa: S311 -- made to be repeated


def _line(octets: int) -> bytes:
    return base64.b64encode(random.Random(octets).randbytes(octets * 3 // 4)) + b"\n"  # noqa: S311 -- made to be repeated


def _each(octets: Iterable[int]) -> bytes:
    """Give a line for each octet, with that octet at its beginning, within it and at its end."""
    return b"".join(b"%c text %c text %c\n" % (octet, octet, octet) for octet in sorted(octets))


def _dots() -> bytes:
    endings = (b"", b".", b"..", b"...", b"text", b" text", b".text", b"\t.")
    return b"".join(b"." * count + ending + b"\n" for count in range(4) for ending in endings)
