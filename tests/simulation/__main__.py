"""``python -m tests.simulation [--seed N | --seeds N]``: play stories, and tell of broken promises.

Owns the words for a person. With one seed it tells the whole story, and of one that breaks a promise which features of
its world that takes. The status is 1 when a promise was broken.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from .mails import FAR
from .own import HANDLER, OWN
from .play import memory, play
from .world import FEATURES, World

if TYPE_CHECKING:
    from .postgres import Pool

PROGRESS_SECONDS = 60.0


def main() -> int:
    """Run what was asked for, and return the status to exit with."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description="Play stories of fetching.")
    parser.add_argument("--seed", type=int, help="tell the story of one seed")
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds to play")
    parser.add_argument("--start", type=int, default=0, help="the first of them")
    parser.add_argument("--seconds", type=float, help="stop after so long, whatever --seeds says")
    parser.add_argument("--first", action="store_true", help="stop at the first broken promise")
    parser.add_argument("--own", action="store_true", help="deliver to a destination of one's own")
    parser.add_argument("--handler", action="store_true", help="process with a function instead")
    parser.add_argument("--far", choices=FAR, help="deliver to a program or a server")
    parser.add_argument(
        "--with", dest="needs", action="append", default=[], metavar="FEATURE", help="have a feature in each"
    )
    parser.add_argument("--without", action="append", default=[], metavar="FEATURE", help="leave a feature out")
    parser.add_argument("--state", choices=("sqlite", "postgresql"), default="sqlite", help="where it is remembered")
    arguments = parser.parse_args()
    if unknown := {*arguments.without, *arguments.needs}.difference(FEATURES):
        parser.error(f"no features: {', '.join(sorted(unknown))}; there are {', '.join(FEATURES)}")
    features = frozenset(FEATURES).difference(arguments.without)
    needs = frozenset(
        {
            *arguments.needs,
            *([OWN] if arguments.own or arguments.handler else []),
            *([HANDLER] if arguments.handler else []),
            *([arguments.far] if arguments.far else []),
        }
    )
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(memory())
        pool = stack.enter_context(_databases()) if arguments.state == "postgresql" else None
        one = partial(_one, folder=folder, needs=needs, pool=pool)
        if arguments.seed is not None:
            return _tell(arguments.seed, one, features, needs)
        return _play(arguments, one, features)


@contextlib.contextmanager
def _databases() -> "Iterator[Pool]":
    """Give the databases of a server that is started for them."""
    # The other tests' rooms are found as pytest finds them.
    sys.path.insert(0, str(Path(__file__).parent.parent))
    from servers.postgres import PostgresServer  # noqa: PLC0415 - from a path that is known now

    from .postgres import Pool  # noqa: PLC0415 - the others run without its driver

    with PostgresServer() as server, Pool([server.database(), server.database()]) as pool:
        yield pool


def _play(arguments: argparse.Namespace, one: "One", features: frozenset[str]) -> int:
    began = told = time.perf_counter()
    sessions = broken = played = 0
    for seed in range(arguments.start, arguments.start + arguments.seeds):
        world, error = one(seed, features)
        sessions += world.sessions
        played += 1
        if error is not None:
            broken += 1
            print(f"seed {seed}: {_in_words(error)}", flush=True)
            if arguments.first:
                break
        now = time.perf_counter()
        if arguments.seconds is not None and now - began > arguments.seconds:
            break
        if now - told > PROGRESS_SECONDS:
            told = now
            print(f"... {played} seeds, {sessions} sessions, {broken} broken", flush=True)
    minutes, at_work = (time.perf_counter() - began) / 60, time.process_time() / 60
    print(
        f"{played} seeds, {sessions} sessions, {sessions / minutes:,.0f} a minute of the clock and "
        f"{sessions / at_work:,.0f} of the processor; "
        f"{broken} seeds broke a promise; python -m tests.simulation --seed N tells a story"
    )
    return 1 if broken else 0


def _tell(seed: int, one: "One", features: frozenset[str], needs: frozenset[str]) -> int:
    world, error = one(seed, features, tell=True)
    print(*(world.told or ()), sep="\n")
    print("features:", ", ".join(sorted(world.features)))
    if error is None:
        print(f"seed {seed}: every promise was kept")
        return 0
    print(f"seed {seed}: {_in_words(error)}")
    needed = world.features - needs
    for feature in sorted(needed):
        fewer, still = one(seed, needed - {feature})
        if still is not None and str(still) == str(error):
            needed = fewer.features - needs
    print("also with no more than:", ", ".join(sorted(needed)) or "nothing")
    return 1


One: TypeAlias = "Callable[..., tuple[World, Exception | None]]"
"""Plays the story of a seed with some features, whatever it needs besides."""


def _one(
    seed: int,
    features: frozenset[str],
    *,
    folder: Path,
    needs: frozenset[str],
    pool: "Pool | None",
    tell: bool = False,
) -> tuple[World, Exception | None]:
    try:
        return play(seed, folder, features, needs=needs, pool=pool, tell=tell), None
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        return error.world, error  # type: ignore[attr-defined]


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main())
