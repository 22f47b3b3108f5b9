"""What reading back costs: `pop3fast fetch --delete` with a clock in it, and beside itself without reading back.

Owns the clock, and the switch that leaves reading back out, which nobody but the children have that are measured here.
All are whole programs, from their start to their end, and take turns; each empties a maildrop that was filled anew. No
time makes it fail.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benches.contestants import Maildrop, Program
from benches.mail import attachment
from benches.runs import FailedError, Run, run
from servers import DovecotServer

BOXES = ((10_000, 4_000), (40, 5_000_000))
"""Messages, and octets of each."""

KINDS = ("maildir", "mbox")
ROUNDS = 5

_MAIN = """
import sys
from pathlib import Path
from time import perf_counter
from pop3fast.cli import main
from pop3fast.fetch._identity import ReadBack
from pop3fast.fetch.destinations._folder import FolderDestination
from pop3fast.fetch.destinations._mbox import Mbox
"""

_WITH = f"""{_MAIN}
waited = 0.0

def timed(work):
    def call(*arguments, **named):
        global waited
        began = perf_counter()
        try:
            return work(*arguments, **named)
        finally:
            waited += perf_counter() - began
    return call

for kind in FolderDestination, Mbox:
    kind.read_back = timed(kind.read_back)
status = main()
(Path.home() / "waited").write_text(str(waited))
sys.exit(status)
"""
"""Reading back has a clock: how long the fetch waits for it."""

_WITHOUT = f"""{_MAIN}
FolderDestination.read_back = Mbox.read_back = lambda self, entries, *, fresh: [ReadBack.WHOLE] * len(entries)
FolderDestination.read_early = Mbox.read_early = lambda self: None
sys.exit(main())
"""


class Cost(NamedTuple):
    """What reading back costs in one mailbox. All are shares, of 1."""

    waited: float
    """Of the time on the clock, in which the fetch waits for it."""
    work: float
    """By which a fetch takes more of the processors than one without it, in each pair of runs."""
    more: float
    """By which a fetch takes longer than one without it, in each pair of runs."""


def _fetch(code: str, kind: str, drop: Maildrop) -> list[str]:
    url = f"pop3+plain://{drop.user}@{drop.host}:{drop.port}"
    return [sys.executable, "-c", code, "fetch", url, "--delete", "--to", f"{kind}:{drop.home}/box", "--quiet"]


def measure(folder: str, *, quick: bool) -> str:
    """Fetch and delete each mailbox into each kind of destination; return what reading back took, for a reader."""
    lines = [
        "| `--delete`: reading back | waited for, of the time | more processor time | more time on the clock |",
        "|---|---:|---:|---:|",
    ]
    for messages, octets in BOXES:
        for kind in KINDS:
            few = max(2, messages // 50) if quick else messages
            cost = compare(folder, kind, few, octets, 1 if quick else ROUNDS)
            title = f"{messages:,} x {octets // 1_000:,} KB, {kind}"
            lines.append(f"| {title} | {cost.waited:.1%} | {cost.work:+.1%} | {cost.more:+.0%} |")
    return "\n".join([*lines, ""])


def compare(folder: str, kind: str, messages: int, octets: int, rounds: int) -> Cost:
    """Return what reading back costs: of *rounds* pairs of runs the median."""
    contents = [attachment(octets, seed).replace(b"\r\n", b"\n") for seed in range(min(messages, 40))]
    programs = [Program(name, (), partial(_fetch, code, kind)) for name, code in (("on", _WITH), ("off", _WITHOUT))]
    runs: dict[str, list[Run]] = {program.name: [] for program in programs}
    waits: list[float] = []
    with DovecotServer() as server, tempfile.TemporaryDirectory(dir=folder) as homes:
        for number in range(rounds):
            for program in programs if number % 2 else reversed(programs):
                server.mailbox.fill(contents[each % len(contents)] for each in range(messages))
                server.settle(server.mailbox)
                home = Path(homes) / f"{number}-{program.name}"
                home.mkdir()
                drop = Maildrop(server.host, server.plain_port, server.mailbox.user, server.mailbox.password, home)
                if kind == "maildir":
                    for name in ("tmp", "new", "cur"):
                        (home / "box" / name).mkdir(parents=True, mode=0o700)
                measured = run(program, drop)
                runs[program.name].append(measured)
                if server.mailbox.contents():
                    raise FailedError("not all was deleted")
                if program.name == "on":
                    waits.append(float((home / "waited").read_text()) / measured.seconds)
    print(f"{kind}, {messages} x {octets}, reading back: {runs}, {waits}", file=sys.stderr)
    pairs = [*zip(runs["on"], runs["off"], strict=True)]
    return Cost(
        median(waits),
        median(on.processor / off.processor for on, off in pairs) - 1,
        median(on.seconds / off.seconds for on, off in pairs) - 1,
    )
