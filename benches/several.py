"""``python -m benches.several [--quick] [--write]``: a far server that answers one command at a time.

Owns the comparison of a fetch over several sessions with one over a single session and with mpop, each a whole program
that fetches into an empty Maildir. The server has a process of its own, and the line to it too; nearly all of the time
is spent on round trips, so a machine that is busy changes little. A program that is not there has no row. No time makes
it fail.
"""

import argparse
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benches.contestants import OURS, PROGRAMS, Maildrop, Program
from benches.delay import delayed
from benches.mail import attachment
from benches.pages import put_between_marks, refuse_to_write_quickly
from benches.runs import run
from pop3fast.testing import MailboxServer

DOCS = Path(__file__).parent.parent / "docs" / "performance.md"
MARKS = (
    "<!-- several: what follows is written by `python -m benches.several --write` -->\n",
    "<!-- several: end -->\n",
)
ROUND_TRIP = 0.1
MESSAGES = 400
OCTETS = 4_000
SESSIONS = (2, 4, 8)

CAPABILITIES = ("TOP", "UIDL", "SASL PLAIN", "USER")
"""As Microsoft 365 says them."""


def main() -> None:
    """Measure, print, and write when asked to."""
    parser = argparse.ArgumentParser(prog="python -m benches.several")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--write", action="store_true", help="put the table between the two marks in the documentation")
    arguments = parser.parse_args()
    refuse_to_write_quickly(parser, arguments)
    messages = 24 if arguments.quick else MESSAGES
    seconds = {program.name: _measure(program, messages) for program in _programs() if not program.missing}
    text = _table(seconds, messages)
    print(text)
    if arguments.write:
        put_between_marks(DOCS, text, MARKS)


def _programs() -> list[Program]:
    by_name = {program.name: program for program in PROGRAMS}
    ours = by_name[OURS]
    several = [
        replace(
            ours,
            name=f"{OURS}, --sessions {most}",
            command=lambda drop, most=most: [*ours.command(drop), "--sessions", str(most)],  # type: ignore[misc]
        )
        for most in SESSIONS
    ]
    return [ours, *several, by_name["mpop"]]


def _measure(program: Program, messages: int) -> float:
    with ExitStack() as stack:
        content = [attachment(OCTETS, 1)] * messages
        server = stack.enter_context(MailboxServer(content, capabilities=CAPABILITIES, process=True))
        port = stack.enter_context(delayed(server.port, ROUND_TRIP))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        drop = Maildrop(server.host, port, server.user, server.password, home)
        drop.make_folder()
        seconds = run(program, drop).seconds
        delivered = sum(1 for _ in (drop.folder / "new").iterdir())
        if delivered != messages:
            raise SystemExit(f"{program.name} delivered {delivered} of {messages} messages")
        return seconds


def _table(seconds: dict[str, float], messages: int) -> str:
    first, theirs = seconds[OURS], seconds.get("mpop")
    title = f"{messages} x {OCTETS // 1000} KB, {ROUND_TRIP * 1000:.0f} ms, without PIPELINING"
    lines = [f"| {title} | seconds | beside one session | beside mpop |", "|---|---:|---:|---:|"]
    for name, each in seconds.items():
        beside = "" if theirs is None else f"{theirs / each:.1f} x"
        lines.append(f"| {name} | {each:.1f} | {first / each:.1f} x | {beside} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
