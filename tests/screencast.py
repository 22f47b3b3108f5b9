"""Draws a fetch as a person sees it: ``python -m tests.screencast >docs/fetch.svg``.

A real fetch from the embedded server, at a terminal; what its screen showed becomes the pictures of an animation.
"""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).parent))

from maildrops import mail
from pop3fast.testing import MailboxServer
from screens import Screen

COLUMNS, ROWS = 100, 6
WIDTH, HEIGHT = 8.4, 20
LAST_SECONDS = 3.0
"""So long the end is shown before it begins again."""

SHOWN = "$ pop3fast fetch pop3s://user@mail.example.org --to maildir:~/Mail"


def frames() -> Iterator[tuple[float, str]]:
    """Yield what the screen showed, and when."""
    screen, began = Screen(COLUMNS), time.monotonic()
    screen.feed(f"{SHOWN}\r\n")
    yield 0.0, screen.text
    contents = [mail(number, 20_000) for number in range(300)]
    with (
        MailboxServer(contents, latency=0.01, capabilities=["UIDL", "TOP"]) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        where = f"{server.host}:{server.port}"
        with subprocess.Popen(
            [sys.executable, "-m", "pop3fast", "fetch", f"pop3+plain://user@{where}", "--to", f"maildir:{folder}/Mail"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "POP3FAST_PASSWORD": server.password},
        ):
            os.close(theirs)
            while octets := _read(ours):
                screen.feed(octets.decode())
                yield time.monotonic() - began, screen.text.replace(where, "mail.example.org:995")
        os.close(ours)


def svg(shown: list[tuple[float, str]]) -> str:
    """Return the pictures as an animation."""
    seconds = shown[-1][0] + LAST_SECONDS
    width, height = round(COLUMNS * WIDTH) + 24, ROWS * HEIGHT + 24
    font = 'font-family="monospace" font-size="14"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {font}>',
        f'<rect width="{width}" height="{height}" rx="8" fill="#1d2021"/>',
    ]
    ends = [begin for begin, _ in shown[1:]] + [seconds]
    for (begin, text), end in zip(shown, ends, strict=True):
        rows = "".join(
            f'<tspan x="12" y="{24 + HEIGHT * row}">{escape(line)}</tspan>'
            for row, line in enumerate(text.splitlines())
        )
        # Where animations do not run, the last picture shows.
        at_rest = "visible" if end == seconds else "hidden"
        times = f"0;{begin / seconds:.4f};{min(1.0, end / seconds):.4f}"
        lines.append(
            f'<g visibility="{at_rest}"><text fill="#ebdbb2" xml:space="preserve">{rows}</text>'
            f'<animate attributeName="visibility" values="hidden;visible;hidden" keyTimes="{times}" '
            f'calcMode="discrete" dur="{seconds:.2f}s" repeatCount="indefinite"/></g>'
        )
    return "\n".join([*lines, "</svg>", ""])


def _read(file: int) -> bytes:
    try:
        return os.read(file, 65536)
    except OSError:  # what Linux says when the other end was closed
        return b""


def main() -> None:
    shown: list[tuple[float, str]] = []
    for moment, text in frames():
        if not shown or shown[-1][1] != text:
            shown.append((moment, text))
    sys.stdout.write(svg(shown))


if __name__ == "__main__":
    main()
