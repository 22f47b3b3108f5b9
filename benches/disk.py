"""``python -m benches.disk``: what making mail durable costs, and what bounds it.

Owns which programs are compared: a fetch that syncs the file system of many messages at once beside one that syncs each
file, and one that syncs each file beside mpop, which does so too. Each run is a program from its start to its end, from
Dovecot on loopback into an empty Maildir on one file system. With them runs a program that has no mail to fetch, and
does nothing but make the same files durable: many at once with their names, or, where each is synced, one after the
other and without their names, in one thread. All take turns. What counts is the median of the ratios of runs side by
side; beside it stand the best runs. No time makes it fail. To be run from the root of the checkout.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

from benches.contestants import OURS, PROGRAMS, Maildrop, Program
from benches.dovecot import need_dovecot
from benches.mail import attachment
from benches.runs import FailedError, Run, run

TURNS = 7

ROUND = 192
"""How many messages a fetch makes durable together, as `MAX_ROUND` has it."""

_FILES_ALONE = """
import ctypes, os, sys
folder, messages, octets, batch = sys.argv[1], *map(int, sys.argv[2:])
content = b"x" * octets
syncfs = ctypes.CDLL(None).syncfs
tmp, new = (os.open(folder + "/" + name, os.O_RDONLY) for name in ("tmp", "new"))
made = []
def publish():
    for name, file in made:
        if not batch:
            os.fsync(file)
    if batch:
        syncfs(tmp)
    for name, file in made:
        os.close(file)
        os.link(name, name, src_dir_fd=tmp, dst_dir_fd=new)
    if batch:
        os.fsync(new)
    for name, file in made:
        os.unlink(name, dir_fd=tmp)
    made.clear()
for number in range(messages):
    name = str(number)
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=tmp)
    os.write(file, content)
    made.append((name, file))
    if len(made) >= max(1, batch):
        publish()
publish()
"""


class Race(NamedTuple):
    """Programs, of which the second is what the others are measured by, and the mailbox that they fetch."""

    title: str
    messages: int
    octets: int
    programs: tuple[Program, Program]
    batch: int
    """How many files are made durable together where there is nothing to fetch; 0 for each by itself."""
    removes: bool = False
    """Whether what a run has delivered is removed before the next one."""


def _syncing(how: str) -> Program:
    ours = next(program for program in PROGRAMS if program.name == OURS)
    return Program(f"{OURS} --sync {how}", (), partial(_with, ours.command, ["--sync", how]))


def _with(command: Callable[[Maildrop], list[str]], options: list[str], drop: Maildrop) -> list[str]:
    return [*command(drop), *options]


def _files_alone(numbers: tuple[int, int, int], drop: Maildrop) -> list[str]:
    return [sys.executable, "-S", "-c", _FILES_ALONE, str(drop.folder), *map(str, numbers)]


_EACH, _BATCH = _syncing("each"), _syncing("batch")
_MPOP = next(program for program in PROGRAMS if program.name == "mpop")

RACES = (
    Race("10,000 x 4 KB", 10_000, 4_000, (_BATCH, _EACH), ROUND),
    Race("40 x 5 MB", 40, 5_000_000, (_EACH, _MPOP), 0),
    Race("40 x 5 MB, files removed between runs", 40, 5_000_000, (_EACH, _MPOP), 0, removes=True),
)


def main() -> int:
    """Run the races and print what came of each; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benches.disk", description="Compare ways to make mail durable.")
    parser.add_argument("--turns", type=int, default=TURNS, help="how many runs each program has")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--folder", default="/var/tmp", help="on the file system that the mail goes to")
    parser.add_argument("--only", type=int, metavar="N", help="only the race N, from 0")
    arguments = parser.parse_args()
    need_dovecot()
    for race in RACES if arguments.only is None else RACES[arguments.only :][:1]:
        if missing := [name for program in race.programs for name in program.missing]:
            print(f"{race.title}: {', '.join(missing)} is not there")
            continue
        few = race._replace(messages=max(2, race.messages // 50)) if arguments.quick else race
        print(result(few, _runs(few, arguments.folder, 1 if arguments.quick else arguments.turns)), flush=True)
    return 0


def _runs(race: Race, folder: str, turns: int) -> dict[str, list[Run]]:
    """Return what the runs of each program took, in their order."""
    from servers import DovecotServer  # noqa: PLC0415 - see main()

    contents = [attachment(race.octets, seed).replace(b"\r\n", b"\n") for seed in range(min(race.messages, 40))]
    numbers = race.messages, len(contents[0]), race.batch
    programs = (*race.programs, Program("the files alone", (), partial(_files_alone, numbers)))
    runs: dict[str, list[Run]] = {program.name: [] for program in programs}
    with DovecotServer() as server, tempfile.TemporaryDirectory(dir=folder) as homes:
        server.mailbox.fill(contents[number % len(contents)] for number in range(race.messages))
        server.settle(server.mailbox)
        for number in range(turns):
            for program in programs if number % 2 else reversed(programs):
                home = Path(homes, f"{number}-{program.name.replace(' ', '-')}")
                home.mkdir()
                drop = Maildrop(server.host, server.plain_port, server.mailbox.user, server.mailbox.password, home)
                drop.make_folder()
                runs[program.name].append(run(program, drop))
                print(f"{race.title}: {program.name}: {runs[program.name][-1]}", file=sys.stderr)
                if len([*(drop.folder / "new").iterdir()]) != race.messages:
                    raise FailedError(f"{program.name} did not deliver all")
                if race.removes:
                    rmtree(home)
    return runs


def result(race: Race, runs: dict[str, list[Run]]) -> str:
    """Return what the *runs* say, for a reader."""
    measure = runs[race.programs[1].name]
    lines = [f"{race.title}, times the speed of {race.programs[1].name}:"]
    for name, own in runs.items():
        pairs = statistics.median(other.seconds / mine.seconds for mine, other in zip(own, measure, strict=True))
        best = min(run.seconds for run in measure) / min(run.seconds for run in own)
        work = statistics.median(run.processor for run in own)
        lines.append(f"    {name}: {pairs:.2f} x ({best:.2f} x the best runs), {work:.2f} s of processor")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
