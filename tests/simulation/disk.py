"""A disk: what was not synced may be gone when the power comes back, and any call may fail.

Owns files and folders in memory, each as the running system sees it and as it is durable, with the changes of names
that are on their way between the two. After a power cut any of these changes may have reached the disk, in the order
of a journal or in none; of octets that were not synced all, some, none, or NULs in their place.
"""

import errno
import os
import stat as modes
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from types import FunctionType
from typing import Any, NamedTuple

from pop3fast.fetch._files import Files

from .world import Death, Fault, World

FIRST_DESCRIPTOR = 1_000_000
"""No descriptor of the real system has such a number."""

DEVICE = 7


class Node:
    """A file or folder."""

    def __init__(self, number: int, *, folder: bool) -> None:
        self.number = number
        self.is_folder = folder
        self.data = bytearray()
        self.durable = b""
        self.names: dict[str, Node] = {}
        self.durable_names: dict[str, Node] = {}
        self.locked_by: int | None = None
        self.lost: list[tuple[int, int]] = []
        """From where to where octets were lost by a sync that failed: none makes them durable before they are written
        again."""
        self.modified = 0.0
        self.untold: set[int] = set()
        """Through which descriptors it has to be told that octets were lost."""
        self.owner, self.mode, self.links = os.geteuid(), 0o600, 1
        self.is_appended_to = False


class Change(NamedTuple):
    """A change of a name that is not durable yet."""

    group: int
    folder: Node
    name: str
    node: Node | None


class Inline(Executor):
    """Does at once, in the caller's thread, what it is given."""

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> "Future[Any]":  # noqa: ANN401
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments, **named))
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            future.set_exception(error)
        return future


class Disk(Files):
    """A file system, and the operating system's calls to it."""

    executor = staticmethod(lambda _count, _name: Inline())

    def __init__(self, world: World) -> None:
        self.world = world
        self._numbers = 0
        self._groups = 0
        self._changes: list[Change] = []
        self._open: dict[int, Node] = {}
        self._descriptors = FIRST_DESCRIPTOR
        self.root = self._node(folder=True)

    # What the world does with it.

    def make_durable_folder(self, path: str) -> None:
        """Make a folder that was always there."""
        *_, name = path.split("/")
        parent = self.find(path.rpartition("/")[0])
        if parent is None:
            raise ValueError(path)
        node = self._node(folder=True)
        parent.names[name] = parent.durable_names[name] = node

    def give_second_name(self, path: str, second: str) -> None:
        """Have the folder *path* at *second* as well."""
        node = self.find(path)
        if node is not None:
            self.root.names[second] = self.root.durable_names[second] = node

    def find(self, path: str) -> Node | None:
        """Return what has the name *path*."""
        node: Node | None = self.root
        for name in path.split("/"):
            if name:
                node = node.names.get(name) if node is not None else None
        return node

    def replace(self, folder: Node, name: str, data: bytes) -> None:
        """Have another program write *data* to a file that is there, durably."""
        node = folder.names[name]
        self._settle_name(folder, name, node)
        node.data[:] = data
        node.durable = data
        node.lost = []
        node.modified = self.world.clock.true_date()

    def rename_durably(self, folder: Node, name: str, to: Node | None, new_name: str) -> None:
        """Have another program move a file, or take it away, durably."""
        node = folder.names.pop(name)
        self._settle_name(folder, name, None)
        if to is not None:
            to.names[new_name] = node
            self._settle_name(to, new_name, node)
            node.durable = bytes(node.data)

    def put_durably(self, folder: Node, name: str, data: bytes) -> None:
        """Have another program put a new file in the place of what has that name."""
        folder.names[name] = self._node(folder=False)
        self.replace(folder, name, data)

    def end_process(self, *, power: bool) -> None:
        """Close what was open; and where the *power* was cut, leave what is durable and some of the rest."""
        for node in self._open.values():
            node.locked_by = None
        self._open.clear()
        if power:
            self._cut_power()

    def _cut_power(self) -> None:
        rng = self.world.rng
        how = rng.choice(("nothing", "some in order", "any", "all"))
        self.world.say(f"-- power cut: {how} of {len(self._changes)} names that were not synced")
        changes, self._changes = self._changes, []
        if how == "some in order":
            last = rng.randint(0, self._groups)
            kept = [change for change in changes if change.group <= last]
        elif how == "any":
            groups = {change.group: rng.random() < 0.5 for change in changes}
            kept = [change for change in changes if groups[change.group]]
        else:
            kept = changes if how == "all" else []
        for change in kept:
            _set(change.folder.durable_names, change.name, change.node)
        self._restart(self.root)

    def _restart(self, folder: Node) -> None:
        folder.names = dict(folder.durable_names)
        for node in folder.names.values():
            if node.is_folder:
                self._restart(node)
            else:
                node.durable = self._left_of(node)
                node.data[:] = node.durable
                node.lost = []

    def _left_of(self, node: Node) -> bytes:
        rng, data, durable = self.world.rng, bytes(node.data), node.durable
        if data == durable or rng.random() < 0.4 or node.lost:
            return durable
        if not data.startswith(durable):
            return rng.choice((data, durable))
        length = rng.randint(len(durable), len(data))
        if rng.random() < 0.3:
            return data[:length].ljust(len(data), b"\0")
        return data[:length]

    # The calls.

    def open_folder(self, name: str, at: int | None = None) -> int:
        self._step("open_folder")
        return self._opened(self._named(name, at, folder=True))

    def open_parent(self, name: str) -> int:
        self._step("open_parent")
        return self._opened(self._named(name, None, folder=True))

    def make_folder(self, name: str, at: int) -> None:
        self._step("make_folder")
        self._set_name(self._at(at), name, self._node(folder=True), new=True)

    def names(self, folder: int) -> list[str]:
        self._step("names")
        names = list(self._at(folder).names)
        self.world.rng.shuffle(names)
        return names

    def create(self, name: str, at: int) -> int:
        self._step("create")
        node = self._node(folder=False)
        self._set_name(self._at(at), name, node, new=True)
        return self._opened(node)

    def open_to_append(self, name: str, at: int) -> int:
        self._step("open_to_append")
        node = self._named(name, at, folder=False)
        node.is_appended_to = True
        return self._opened(node)

    def open_to_read(self, name: str, at: int) -> int:
        self._step("open_to_read")
        return self._opened(self._named(name, at, folder=False))

    def write(self, file: int, octets: bytes) -> None:
        node = self._at(file)
        try:
            self._step("append" if node.is_appended_to else "write")
        except OSError:
            node.data += octets[: self.world.rng.randint(0, len(octets))]
            raise
        except Death:
            if self.world.torn:
                self.world.torn = False
                node.data += octets[: self.world.rng.randint(0, len(octets))]
            raise
        node.data += octets
        node.modified = self.world.clock.true_date()

    def read(self, file: int, count: int, offset: int) -> bytes:
        self._step("read")
        return bytes(self._at(file).data[offset : offset + count])

    def rewrite(self, file: int, octets: bytes, offset: int) -> None:
        self._step("rewrite")
        node = self._at(file)
        node.data[offset : offset + len(octets)] = octets
        node.lost = _without(node.lost, offset, offset + len(octets))

    def begin_sync(self, file: int) -> None:
        self._at(file)

    def sync(self, file: int) -> None:
        node = self._at(file)
        try:
            self._step("sync")
        except OSError:
            self._lose(node)
            raise
        if file in node.untold:
            node.untold.discard(file)
            self.world.say("sync tells of octets that were lost before")
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if not node.lost:
            node.durable = bytes(node.data)

    def sync_whole(self, folder: int) -> None:
        self._at(folder)
        try:
            self._step("sync_whole")
        except OSError:
            # It may have been about any of the files, or about one of another program.
            for node in [*self._open.values()]:
                if not node.is_folder and self.world.rng.random() < 0.6:
                    self._lose(node)
                    node.untold |= {file for file, each in self._open.items() if each is node and node.lost}
            raise
        self._sync_below(self.root)

    def _sync_below(self, folder: Node) -> None:
        self._changes = []
        folder.durable_names = dict(folder.names)
        for node in [*folder.names.values()]:
            if node.is_folder:
                self._sync_below(node)
            elif not node.lost:
                node.durable = bytes(node.data)

    def _lose(self, node: Node) -> None:
        """Have what a sync could not write be lost, where there are such disks."""
        if "broken promises of sync" in self.world.features:
            there = enumerate(zip(node.data, node.durable, strict=False))
            start = next((place for place, (new, old) in there if new != old), len(node.durable))
            node.lost = [(start, len(node.data))] if start < len(node.data) else []

    def sync_folder(self, folder: int) -> None:
        self._step("sync_folder")
        node = self._at(folder)
        node.durable_names = dict(node.names)
        self._changes = [change for change in self._changes if change.folder is not node]

    def truncate(self, file: int, size: int) -> None:
        self._step("truncate")
        node = self._at(file)
        del node.data[size:]
        node.data.extend(bytes(size - len(node.data)))
        node.lost = _without(node.lost, size, sys.maxsize)

    def close(self, descriptor: int) -> None:
        if self.world.dead:
            self._step("close")
        node = self._at(descriptor)
        del self._open[descriptor]
        if node.locked_by == descriptor:
            node.locked_by = None
        self._step("close")

    def link(self, name: str, at: int, new_name: str, new_at: int) -> None:
        self._step("link")
        if "no hard links" in self.world.features:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        self._set_name(self._at(new_at), new_name, self._named(name, at), new=True)

    def rename(self, name: str, at: int, new_name: str, new_at: int) -> None:
        self._step("rename")
        node = self._named(name, at)
        self._set_name(self._at(new_at), new_name, node)
        self._set_name(self._at(at), name, None, group=self._groups)

    def unlink(self, name: str, at: int) -> None:
        self._step("unlink")
        self._named(name, at)
        self._set_name(self._at(at), name, None)

    def lock(self, file: int) -> bool:
        self._step("lock")
        node = self._at(file)
        if node.locked_by is not None or self.world.chance("locked by others", 0.3):
            return False
        node.locked_by = file
        return True

    def set_times(self, file: int, accessed: int, modified: int) -> None:  # noqa: ARG002 - nobody here reads times
        self._step("set_times")

    def stat(self, descriptor: int) -> os.stat_result:
        self._step("stat")
        return self._status(self._at(descriptor))

    def stat_name(self, name: str, at: int | None = None) -> os.stat_result:
        self._step("stat_name")
        return self._status(self._named(name, at))

    # What they are made of.

    def _step(self, call: str) -> None:
        try:
            self.world.step(f"disk {call}")
        except Fault as fault:
            self.world.say(f"{call} fails: {os.strerror(fault.number)}")
            raise OSError(fault.number, os.strerror(fault.number)) from None

    def _node(self, *, folder: bool) -> Node:
        self._numbers += 1
        return Node(self._numbers, folder=folder)

    def _opened(self, node: Node) -> int:
        self._descriptors += 1
        self._open[self._descriptors] = node
        return self._descriptors

    def _at(self, descriptor: int) -> Node:
        node = self._open.get(descriptor)
        if node is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return node

    def _named(self, name: str, at: int | None, *, folder: bool | None = None) -> Node:
        node = self.find(name) if at is None else self._at(at).names.get(name)
        if node is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        if folder is not None and node.is_folder != folder:
            number = errno.ENOTDIR if folder else errno.EISDIR
            raise OSError(number, os.strerror(number), name)
        return node

    def _set_name(
        self, folder: Node, name: str, node: Node | None, *, new: bool = False, group: int | None = None
    ) -> None:
        if new and name in folder.names:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        if group is None:
            self._groups += 1
            group = self._groups
        _set(folder.names, name, node)
        self._changes.append(Change(group, folder, name, node))

    def _settle_name(self, folder: Node, name: str, node: Node | None) -> None:
        self._changes = [change for change in self._changes if (change.folder, change.name) != (folder, name)]
        _set(folder.durable_names, name, node)

    def _status(self, node: Node) -> os.stat_result:
        mode = modes.S_IFDIR | 0o700 if node.is_folder else modes.S_IFREG | node.mode
        when = int(node.modified)
        return os.stat_result(
            (mode, node.number, DEVICE, node.links, node.owner, os.getegid(), len(node.data), when, when, when),
            {"st_atime_ns": when * 10**9, "st_mtime_ns": when * 10**9},
        )


def _set(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _without(spans: list[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """Return *spans* without what lies from *start* to *end*."""
    pieces = [piece for begin, stop in spans for piece in ((begin, min(stop, start)), (max(begin, end), stop))]
    return [(begin, stop) for begin, stop in pieces if begin < stop]


_MISSING = {name for name, what in vars(Files).items() if isinstance(what, FunctionType)} - set(vars(Disk))
if _MISSING:
    raise AssertionError(f"the simulated disk lacks {sorted(_MISSING)}: these would reach the real one")
