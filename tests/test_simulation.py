"""The promises of fetching, kept in every story of a simulated world: see `simulation`.

The short run is of fixed seeds, so it is the same each time, and it waits for nothing: its clock is the world's.
"""

from pathlib import Path

import pytest

from simulation.play import digest_of, play
from simulation.world import FEATURES, Broken

PORTIONS = 8
SEEDS_A_PORTION = 50

# What today's code is known to break promises in. It becomes shorter, and empty.
NOT_YET = {
    "clock of 1970",
    "deaf to dele",
    "listings that are empty",
    "listings that are short",
    "quit fails",
    "refusals",
    "short messages",
    "unique-ids missing",
    "unique-ids repeated",
    "unique-ids that are numbers",
}
KEPT = frozenset(FEATURES).difference(NOT_YET)


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_every_promise_is_kept_in_every_story(portion: int, folder: Path) -> None:
    for seed in range(portion * SEEDS_A_PORTION, (portion + 1) * SEEDS_A_PORTION):
        try:
            play(seed, folder, KEPT)
        except Broken as broken:
            pytest.fail(f"{broken}: python -m tests.simulation --seed {seed} tells the story")


def test_a_seed_is_the_same_story_each_time(folder: Path) -> None:
    for seed in range(20):
        first, second = (play(seed, folder, KEPT, tell=True) for _ in range(2))
        assert first.told
        assert digest_of(first) == digest_of(second)
