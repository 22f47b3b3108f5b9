"""The promises of fetching, kept in every story of a simulated world: see `simulation`.

The short run is of fixed seeds, so it is the same each time, and it waits for nothing: its clock is the world's.
"""

import contextlib
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from simulation.mails import FAR
from simulation.own import HANDLER, OWN
from simulation.planted import FAULTS, SHARED_FAULTS, Planted, planted
from simulation.play import digest_of, play
from simulation.world import FEATURES, SEVERAL, TAKEOVERS, TURNS, Broken

if TYPE_CHECKING:
    from servers.postgres import PostgresServer
    from simulation.postgres import Pool

PORTIONS = 40
SEEDS_A_PORTION = 10

KEPT = frozenset(FEATURES)

PLAIN = KEPT.difference({"alike", "deaf to dele", "huge sizes", "unique-ids missing", "unique-ids that are numbers"})
"""Without what lets a message come twice or not at all by itself, which hides a few faults."""


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_every_promise_is_kept_in_every_story(portion: int, folder: Path) -> None:
    for seed in range(portion * SEEDS_A_PORTION, (portion + 1) * SEEDS_A_PORTION):
        try:
            play(seed, folder, KEPT)
        except Broken as broken:
            pytest.fail(f"{broken}: python -m tests.simulation --seed {seed} tells the story")


@pytest.mark.parametrize("portion", range(PORTIONS // 2))
def test_a_destination_of_ones_own_gets_everything_and_nothing_is_between_two_stools(
    portion: int, folder: Path
) -> None:
    for seed in range(portion * SEEDS_A_PORTION, (portion + 1) * SEEDS_A_PORTION):
        try:
            play(seed, folder, PLAIN, needs=frozenset({OWN}))
        except Broken as broken:
            pytest.fail(f"{broken}: python -m tests.simulation --own --seed {seed} tells the story")


@pytest.mark.parametrize("portion", range(PORTIONS // 4))
def test_a_function_gets_everything_and_nothing_is_between_two_stools(portion: int, folder: Path) -> None:
    for seed in range(portion * SEEDS_A_PORTION, (portion + 1) * SEEDS_A_PORTION):
        try:
            play(seed, folder, PLAIN, needs=frozenset({OWN, HANDLER}))
        except Broken as broken:
            pytest.fail(f"{broken}: python -m tests.simulation --handler --seed {seed} tells the story")


@pytest.mark.parametrize("portion", range(PORTIONS // 4))
@pytest.mark.parametrize("kind", FAR)
def test_a_program_and_a_server_get_everything_and_twice_only_what_was_in_doubt(
    kind: str, portion: int, folder: Path
) -> None:
    for seed in range(portion * SEEDS_A_PORTION, (portion + 1) * SEEDS_A_PORTION):
        try:
            play(seed, folder, KEPT, needs=frozenset({kind}))
        except Broken as broken:
            pytest.fail(f"{broken}: python -m tests.simulation --far {kind} --seed {seed} tells the story")


def test_messages_that_are_alike_and_have_no_unique_ids_that_last_are_one_to_a_function(folder: Path) -> None:
    needs = frozenset({OWN, HANDLER, "alike", "unique-ids missing", "unlasting unique-ids"})
    for seed in range(50):
        try:
            play(seed, folder, needs, needs=needs)
        except Broken as broken:
            pytest.fail(f"{broken}: seed {seed}")


@pytest.fixture
def pool(postgres: "PostgresServer") -> "Iterator[Pool]":
    from simulation.postgres import Pool  # noqa: PLC0415 - the fixture has looked for its driver

    with Pool([postgres.database(), postgres.database()]) as pool:
        yield pool


SHARED = (
    *[(frozenset[str](), seed) for seed in range(0, 40, 5)],
    *[(frozenset({TAKEOVERS}), seed) for seed in range(500, 520, 5)],
    *[(frozenset({TAKEOVERS, TURNS}), seed) for seed in range(520, 540, 5)],
    *[(frozenset({TAKEOVERS, kind}), 540) for kind in FAR],
    *[(frozenset({SEVERAL}), seed) for seed in range(1000, 1010, 5)],
    *[(frozenset({kind}), seed) for kind in FAR for seed in range(0, 10, 5)],
    (frozenset({OWN, HANDLER}), 0),
)
"""What stories with a state in PostgreSQL need, and the first of five."""


@pytest.mark.parametrize(
    ("needs", "first"), SHARED, ids=lambda given: given if isinstance(given, int) else "-".join(given)
)
def test_every_promise_is_kept_where_the_state_is_in_postgresql(
    needs: frozenset[str], first: int, folder: Path, pool: "Pool"
) -> None:
    features = PLAIN if OWN in needs else KEPT
    for seed in range(first, first + 5):
        try:
            play(seed, folder, features, needs=needs, pool=pool)
        except Broken as broken:
            pytest.fail(f"{broken}: python -m tests.simulation --state postgresql --seed {seed} tells the story")


@pytest.mark.parametrize("fault", SHARED_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_of_a_shared_state_that_is_planted_is_found(fault: Planted, folder: Path, pool: "Pool") -> None:
    assert _seed_that_finds(fault, folder, pool) is not None


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_that_is_planted_is_found(fault: Planted, folder: Path) -> None:
    assert _seed_that_finds(fault, folder) is not None


def test_the_faults_that_are_planted_are_listed() -> None:
    listed = (Path(__file__).parent / "simulation" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^- (\d+): (.*)$", listed, re.MULTILINE) == [
        (str(each.seed), each.name) for each in (*FAULTS, *SHARED_FAULTS)
    ]


def _seed_that_finds(fault: Planted, folder: Path, pool: "Pool | None" = None) -> int | None:
    """Return a seed whose story, with the trouble that it takes, breaks because of *fault*."""
    # One that found it before, and, where that is another story now, any other of the short run.
    seeds = range(PORTIONS * SEEDS_A_PORTION)
    features = PLAIN - {SEVERAL}  # but where it is needed
    for seed in chain((fault.seed,), seeds[fault.seed + 1 :], seeds[: fault.seed]):
        try:
            with planted(fault):
                play(seed, folder, features, needs=fault.needs, pool=pool)
        except Broken:
            with contextlib.suppress(Broken):
                play(seed, folder, features, needs=fault.needs, pool=pool)
                return seed
    return None


def test_a_seed_is_the_same_story_each_time(folder: Path) -> None:
    for seed in range(20):
        first, second = (play(seed, folder, KEPT, tell=True) for _ in range(2))
        assert first.told
        assert digest_of(first) == digest_of(second)
