"""What reading back costs: `pop3fast fetch --delete` beside itself without it.

Owns the switch that leaves it out, which nobody but the child has that is measured here. Both are whole programs, from
their start to their end, and take turns; each empties a maildrop that was filled anew. No time makes it fail.
"""

import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from benches.contestants import Maildrop, Program
from benches.mail import attachment
from benches.runs import FailedError, run
from servers import DovecotServer

BOXES = ((10_000, 4_000), (40, 5_000_000))
"""Messages, and octets of each."""

KINDS = ("maildir", "mbox")
ROUNDS = 5

_WITH = "import sys; from pop3fast.cli import main; sys.exit(main())"
_WITHOUT = f"""
from pop3fast.fetch.destinations._folder import FolderDestination
from pop3fast.fetch._identity import ReadBack
from pop3fast.fetch.destinations._mbox import Mbox
FolderDestination.read_back = Mbox.read_back = lambda self, entries, *, fresh: [ReadBack.WHOLE] * len(entries)
{_WITH}
"""


def _fetch(code: str, kind: str, drop: Maildrop) -> list[str]:
    url = f"pop3+plain://{drop.user}@{drop.host}:{drop.port}"
    return [sys.executable, "-c", code, "fetch", url, "--delete", "--to", f"{kind}:{drop.home}/box", "--quiet"]


def measure(folder: str, *, quick: bool) -> str:
    """Fetch and delete each mailbox into each kind of destination; return what reading back took, for a reader."""
    lines = ["| `--delete`: what reading back adds | best | median |", "|---|---:|---:|"]
    for messages, octets in BOXES:
        for kind in KINDS:
            few = max(2, messages // 50) if quick else messages
            best, middle = compare(folder, kind, few, octets, 1 if quick else ROUNDS)
            title = f"{messages:,} x {octets // 1_000:,} KB, {kind}"
            lines.append(f"| {title} | {best - 1:+.0%} | {middle - 1:+.0%} |")
    return "\n".join([*lines, ""])


def compare(folder: str, kind: str, messages: int, octets: int, rounds: int) -> tuple[float, float]:
    """Return the time with reading back, in terms of that without it: of the best of *rounds*, and of their median."""
    contents = [attachment(octets, seed).replace(b"\r\n", b"\n") for seed in range(min(messages, 40))]
    programs = [Program(name, (), partial(_fetch, code, kind)) for name, code in (("on", _WITH), ("off", _WITHOUT))]
    seconds: dict[str, list[float]] = {program.name: [] for program in programs}
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
                seconds[program.name].append(run(program, drop).seconds)
                if server.mailbox.contents():
                    raise FailedError("not all was deleted")
    print(f"{kind}, {messages} x {octets}, reading back: {seconds}", file=sys.stderr)
    on, off = seconds["on"], seconds["off"]
    return min(on) / min(off), median(on) / median(off)
