"""Files of others where ours are to be: an mbox that another user made first, and files that others may write to.

Owns whose they are, and for how long: whoever reads why a fetch has refused one mends it in the end, as he was told.
"""

import os
from pathlib import Path
from stat import S_IMODE, S_IWGRP, S_IWOTH

from .places import Place
from .world import World

FILES_OF_OTHERS = "files of others"

OURS_ALONE = 0o600


class Strangers:
    """Everybody else on the machine, as far as they matter to the files of one story."""

    def __init__(self, world: World, places: list[Place], states: list[str]) -> None:
        self._world = world
        self._places = [place for place in places if place.kind == "mbox"]
        self._states = states

    def change(self) -> None:
        """Let a file become somebody else's, or writable for others, or ours again."""
        for place in self._places:
            if self._world.chance(FILES_OF_OTHERS, 0.3):
                (self._mend if self._is_strange(place) else self._take)(place)
        for state in self._states:
            if Path(state).exists() and self._world.chance(FILES_OF_OTHERS, 0.3):
                self._set_mode(state, OURS_ALONE if _others_may_write(state) else 0o666)

    def go(self) -> None:
        """Leave us everything."""
        for place in self._places:
            self._mend(place)
        for state in self._states:
            if Path(state).exists() and _others_may_write(state):
                self._set_mode(state, OURS_ALONE)

    def objection(self, place: Place, state: str | os.PathLike[str] | None) -> str:
        """Return why nothing may be fetched to *place* with *state*, empty when it may."""
        if self._is_strange(place):
            return f"{place.words} is not ours alone"
        if state is not None and Path(state).exists() and _others_may_write(state):
            return "others may write to the state"
        return ""

    def _is_strange(self, place: Place) -> bool:
        node = place.node() if place in self._places else None
        return node is not None and (node.owner != os.geteuid() or node.links > 1 or node.mode != OURS_ALONE)

    def _take(self, place: Place) -> None:
        rng = self._world.rng
        node = place.node()
        if node is None:
            place.append_foreign()
            node = place.node()
            how = rng.choice(("owner", "mode", "links"))
        else:
            how = rng.choice(("mode", "links"))
        if node is None:
            raise ValueError(place.path)
        self._world.say(f"{place.words} is not ours alone: its {how}")
        if how == "owner":
            node.owner = os.geteuid() + 1
        elif how == "mode":
            node.mode = rng.choice((0o620, 0o602))
        else:
            node.links = 2

    def _mend(self, place: Place) -> None:
        node = place.node()
        if node is not None:
            node.owner, node.mode, node.links = os.geteuid(), OURS_ALONE, 1

    def _set_mode(self, state: str, mode: int) -> None:
        self._world.say(f"the mode of the state is {mode:o} now")
        Path(state).chmod(mode)


def _others_may_write(path: str | os.PathLike[str]) -> bool:
    return bool(S_IMODE(Path(path).stat().st_mode) & (S_IWGRP | S_IWOTH))
