"""``python -m benches.fetch [--quick] [--write FILE]``: whole programs that fetch a mailbox from Dovecot.

Owns the order of the runs and what is read off each: seconds on the clock, seconds of processor (with what it starts),
and peak memory. Every program starts anew for each run, fetches into an empty Maildir, durably, and every message is
counted and compared afterwards. Programs take turns, and each one's best run counts. Needs Dovecot; a program that is
not there has no row. No time makes it fail. To be run from the root of the checkout, and not within ten minutes of the
run before, whose files are removed: ext4 passes over inodes that were just freed, one by one, whoever makes new ones.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benches.contestants import OURS, PROGRAM, PROGRAMS, Maildrop, Program
from benches.delay import delayed
from benches.dovecot import need_dovecot
from benches.mail import attachment
from benches.pages import put_between_marks, refuse_to_write_quickly
from benches.runs import TIME, FailedError, Run, run

MARKS = (
    "<!-- fetching: what follows is written by `python -m benches.fetch --write docs/performance.md` -->\n",
    "<!-- fetching: end -->\n",
)
ROUND_TRIP = 0.04
LONG_RUN = 30.0
"""Whoever takes so many seconds has no second run: it would say the same."""


@dataclass(frozen=True)
class Mailbox:
    """What is fetched, how far away it is, and how often."""

    title: str
    messages: int
    octets: int
    runs: int
    round_trip: float = 0.0

    def smaller(self) -> "Mailbox":
        """Return what shows that it works, and no more."""
        return Mailbox(self.title, max(2, self.messages // 50), self.octets, 1, self.round_trip)


MAILBOXES = (
    Mailbox("10,000 x 4 KB", 10_000, 4_000, 3),
    Mailbox("40 x 5 MB", 40, 5_000_000, 3),
    Mailbox("500 x 4 KB, 40 ms", 500, 4_000, 2, ROUND_TRIP),
    Mailbox("10 x 5 MB, 40 ms", 10, 5_000_000, 2, ROUND_TRIP),
)


def main() -> int:
    """Run all and print the tables; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benches.fetch", description="Fetch mailboxes with each program.")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--folder", default="/var/tmp", help="on the disk that the mail goes to")
    parser.add_argument("--only", type=int, metavar="N", help="only the mailbox N, from 0")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the tables between the two marks in FILE")
    arguments = parser.parse_args()
    refuse_to_write_quickly(parser, arguments)
    if arguments.write and arguments.only is not None:
        parser.error("--write takes all tables, for they stand between the same marks")
    if not Path(TIME).exists():
        raise SystemExit(f"this needs {TIME}; Debian: apt-get install time")
    need_dovecot()
    chosen = MAILBOXES if arguments.only is None else MAILBOXES[arguments.only :][:1]
    tables = [_measure(mailbox.smaller() if arguments.quick else mailbox, arguments.folder) for mailbox in chosen]
    if arguments.only is None:
        from benches import read_back, seen  # noqa: PLC0415 - they have the tests' server, too

        tables.append(seen.measure(arguments.folder, quick=arguments.quick))
        # The documentation says nothing of it.
        print(read_back.measure(arguments.folder, quick=arguments.quick))
    text = "\n".join(tables)
    print(text)
    if arguments.write:
        put_between_marks(arguments.write, text, MARKS)
    return 0


def _measure(mailbox: Mailbox, folder: str) -> str:
    from servers import DovecotServer  # noqa: PLC0415 - see main()

    contents = [attachment(mailbox.octets, seed) for seed in range(min(mailbox.messages, 40))]
    messages = [contents[number % len(contents)].replace(b"\r\n", b"\n") for number in range(mailbox.messages)]
    given_up: set[str] = set()
    runs: dict[str, list[Run]] = {program.name: [] for program in PROGRAMS if not program.missing}
    with ExitStack() as stack:
        server = stack.enter_context(DovecotServer())
        server.mailbox.fill(messages)
        server.settle(server.mailbox)
        port = server.plain_port
        if mailbox.round_trip:
            port = stack.enter_context(delayed(port, mailbox.round_trip))
        # Removed at the end, all at once: ext4 passes over the inodes that were freed in the last minutes, one by one,
        # so that after each removal whoever comes next would pay for every file that it makes.
        homes = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        homes.chmod(0o755)
        for number in range(mailbox.runs):
            for program in PROGRAMS if number % 2 == 0 else reversed(PROGRAMS):
                if program.missing or program.name in given_up:
                    continue
                home = homes / f"{number}-{program.name.split()[0]}"
                home.mkdir()
                drop = Maildrop(server.host, port, server.mailbox.user, server.mailbox.password, home)
                try:
                    drop.make_folder()
                    measured = run(program, drop)
                    _check(program, drop.folder, messages)
                except (FailedError, subprocess.TimeoutExpired) as error:
                    # Another program's failure is a result like others; ours, and the first row's, is an error.
                    if program.name in {OURS, PROGRAM}:
                        raise
                    print(f"{mailbox.title}: {error}", file=sys.stderr)
                    given_up.add(program.name)
                else:
                    if measured.seconds > LONG_RUN:
                        given_up.add(program.name)
                    runs[program.name].append(measured)
                    print(f"{mailbox.title}: {program.name}: {measured}", file=sys.stderr)
    return _table(mailbox, runs)


def _check(program: Program, folder: Path, messages: Sequence[bytes]) -> None:
    """Compare what was delivered with what there was; of others' programs, below the header, to which some add."""
    paths = [path for name in ("new", "cur") for path in (folder / name).iterdir()]
    if len(paths) != len(messages):
        raise FailedError(f"{program.name} delivered {len(paths)} of {len(messages)} messages")

    def digest(message: bytes) -> bytes:
        return hashlib.sha256(message if program.name == OURS else message.partition(b"\n\n")[2]).digest()

    if Counter(map(digest, messages)) != Counter(digest(path.read_bytes()) for path in paths):
        raise FailedError(f"{program.name} delivered something else")


def _table(mailbox: Mailbox, runs: dict[str, list[Run]]) -> str:
    baseline = min(run.seconds for run in runs[PROGRAM])
    lines = [
        f"| {mailbox.title} | speed | seconds of processor | peak memory |",
        "|---|---:|---:|---:|",
    ]
    for name, measured in runs.items():
        if not measured:
            lines.append(f"| {name} | failed | | |")
            continue
        best = min(measured, key=lambda run: run.seconds)
        lines.append(
            f"| {name} | {baseline / best.seconds:.1f} x | {best.processor:.2f} | {best.octets / 2**20:.0f} MiB |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
