"""The destinations, seen by whoever reads them, and the mail programs that work on them.

Owns a second opinion on what lies in a Maildir, an mbox or a folder of files, and what a person did with it: read it,
moved it, deleted it, had it rewritten. A mail program keeps to the locks; what it writes is durable.
"""

import re
from collections import Counter
from collections.abc import Callable

from .disk import Disk, Node
from .world import World

FROM_LINE = re.compile(rb"^From [^\n]*(?:\n|\Z)", re.MULTILINE)
BEGUN = re.compile(rb"(?:(?:\A|(?<=\n\n))F(?:r(?:o(?:m)?)?)?)?\0*\Z")
"""What is left of an append that ended in its first octets, after a power cut with NULs. Nothing before it has it."""
QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
FOREIGN = b"From mda@example.org Thu Jan  1 00:00:00 2026\nSubject: foreign %d\n\nnot of this server\n\n"


class Place:
    """One destination."""

    def __init__(self, world: World, disk: Disk, kind: str, name: str) -> None:
        self.world = world
        self.disk = disk
        self.kind = kind
        self.path = f"/mail/{name}"
        self.taken: Counter[bytes] = Counter()
        """The texts that a person has moved away or deleted."""
        self.doubtful: Counter[bytes] = Counter()
        """How many times a text is there of which whoever sent it cannot know that it is."""
        self.altered: dict[bytes, bytes] = {}
        """The text of a message that a mail program has rewritten, and what it was."""
        self.rewritten = False
        """Whether a mail program has moved messages to other places in the file."""
        self.touched = False
        """Whether anybody else has done anything with it."""
        self.foreign: list[bytes] = []
        """What others have appended."""
        self.on_taken: Callable[[bytes], object] = bool
        """Told of each text before it is taken or rewritten."""
        self.on_joined: Callable[[bytes], object] = bool
        """Told of each text before others append to the first octets of a From line behind it, and so to the text."""
        self.is_no_mbox = False
        """Whether others have done so where there was nothing else in the file."""

    @property
    def words(self) -> str:
        """What a user calls it."""
        return f"{self.kind}:{self.path}"

    def texts(self, *, durable: bool = False) -> "Counter[bytes]":
        """Return what a reader finds, or would find after a power cut now."""
        return Counter(self.altered.get(text, text) for text in self.in_order(durable=durable))

    def in_order(self, *, durable: bool = False) -> list[bytes]:
        """Return the same in the order of the file, or of the names."""
        if self.kind == "mbox":
            node = self.node(durable=durable)
            return [] if node is None else _parse(node.durable if durable else bytes(node.data))
        return [node.durable if durable else bytes(node.data) for _, _, node in self.files(durable=durable)]

    def files(self, *, durable: bool = False) -> list[tuple[Node, str, Node]]:
        """Return the messages of a folder: in which folder, under which name, which file; sorted by name."""
        root = self.disk.find(self.path)
        if root is None:
            return []
        names = root.durable_names if durable else root.names
        folders = [root] if self.kind == "eml" else [names[name] for name in ("new", "cur") if name in names]
        found = [
            (folder, name, node)
            for folder in folders
            for name, node in (folder.durable_names if durable else folder.names).items()
            if not node.is_folder and not name.startswith(".")
        ]
        return sorted(found, key=lambda each: each[1])

    def work(self) -> None:
        """Let a mail program do one thing."""
        self.touched = True
        if self.kind == "mbox":
            self._work_on_mbox()
        else:
            self._work_on_folder()

    def append_foreign(self) -> None:
        """Have somebody put a message into an mbox, which is made when it is not there."""
        self.touched = True
        folder, node = self.disk.find("/mail"), self.node()
        if folder is not None:
            self._append_foreign(folder, self.path.rpartition("/")[2], b"" if node is None else bytes(node.data), node)

    def damage(self) -> tuple[bytes, bool] | None:
        """Change an octet of a message; return its text as it was, and whether it is where it was delivered to."""
        self.touched = True
        rng = self.world.rng
        if self.kind == "mbox":
            node = self.node()
            if node is None:
                return None
            data = bytes(node.data)
            starts = (match.end() for match in FROM_LINE.finditer(data))
            found = [
                (text, start)
                for text, start in zip(_parse(data), starts, strict=True)
                if data.startswith(text[:60], start) and b": foreign " not in text
            ]
            if not found:
                return None
            text, start = rng.choice(found)
            place = start + rng.randrange(20)
            if place >= start + len(text):
                return None
            moved = self.rewritten
        else:
            files = [each for each in self.files() if len(each[2].data) > 20]
            if not files:
                return None
            _, name, node = rng.choice(files)
            moved = ":" in name
            text = bytes(node.data)
            place = rng.randrange(len(node.data))
        if not 0 <= place < len(node.data) or node.data[place] == ord("\n"):
            return None
        node.data[place] ^= 1
        node.durable = bytes(node.data)
        self.world.say(f"{self.words}: an octet of {text[:40]!r} is damaged")
        return self.altered.get(text, text), not moved

    def node(self, *, durable: bool = False) -> Node | None:
        """Return the mbox, None when it does not exist."""
        folder = self.disk.find("/mail")
        if folder is None:
            return None
        return (folder.durable_names if durable else folder.names).get(self.path.rpartition("/")[2])

    def _take(self, text: bytes, how: str) -> None:
        original = self.altered.get(text, text)
        self.on_taken(original)
        self.taken[original] += 1
        self.world.say(f"{self.words}: a person {how} {original[:60]!r}")

    def _work_on_folder(self) -> None:
        rng = self.world.rng
        root = self.disk.find(self.path)
        files = self.files()
        if root is None or not files:
            return
        folder, name, node = rng.choice(files)
        what = rng.choice(("read", "read", "delete", "flag"))
        if what == "delete":
            self._take(bytes(node.data), "deleted")
            self.disk.rename_durably(folder, name, None, "")
        elif self.kind == "maildir" and "cur" in root.names:
            base = name.partition(":")[0]
            flags = rng.choice(("S", "RS", "FS", "")) if what == "flag" else "S"
            self.world.say(f"{self.words}: a person read {name}")
            self.disk.rename_durably(folder, name, root.names["cur"], f"{base}:2,{flags}")

    def _work_on_mbox(self) -> None:
        node, folder = self.node(), self.disk.find("/mail")
        name = self.path.rpartition("/")[2]
        if folder is None:
            return
        what = self.world.rng.choice(("append", "read", "delete", "compact"))
        if node is None:
            if what == "append":
                self._append_foreign(folder, name, b"")
            return
        if node.locked_by is not None or (f"{name}.lock" in folder.names and not self.world.dead):
            return
        data = bytes(node.data)
        if what == "append":
            self._append_foreign(folder, name, data, node)
            return
        starts = [match.start() for match in FROM_LINE.finditer(data)] or [0]
        parts = [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]
        ours = [place for place, part in enumerate(parts) if not any(each in part for each in self.foreign)]
        if starts[0] or not ours:
            return
        place = self.world.rng.choice(ours)
        (text,) = _parse(parts[place]) or [b""]
        if what == "read":
            self._rewrite(parts, place, text)
        else:
            self._take(text, "deleted")
            del parts[place]
        new = b"".join(parts)
        self.rewritten = True
        if what == "compact":
            self.disk.put_durably(folder, name, new)
        else:
            self.disk.replace(folder, name, new)

    def _rewrite(self, parts: list[bytes], place: int, text: bytes) -> None:
        """Put a Status field into the header of a message, as mail programs do."""
        head, empty, body = parts[place].partition(b"\n\n")
        if b"\nStatus: " in head or not empty:
            return
        original = self.altered.get(text, text)
        self.on_taken(original)
        parts[place] = head + b"\nStatus: RO" + empty + body
        (now,) = _parse(parts[place])
        self.altered[now] = original
        self.world.say(f"{self.words}: a mail program rewrote {original[:60]!r}")

    def _append_foreign(self, folder: Node, name: str, data: bytes, node: Node | None = None) -> None:
        message = FOREIGN % len(self.foreign)
        self.foreign.append(message)
        whole = BEGUN.sub(b"", data)
        if len(whole) < len(data):
            self.is_no_mbox = self.is_no_mbox or not whole
            for text in _parse(whole)[-1:]:
                self.on_joined(self.altered.get(text, text))
        self.world.say(f"{self.words}: somebody appended {message[:60]!r}")
        if node is None:
            self.disk.put_durably(folder, name, message)
        else:
            self.disk.replace(folder, name, data + message)


def _parse(data: bytes) -> list[bytes]:
    """Return the messages of an mbox (mboxrd), as they were before they were put there."""
    found = []
    for part in FROM_LINE.split(BEGUN.sub(b"", data))[1:]:
        text = part[:-1] if part.endswith(b"\n\n") else part
        found.append(QUOTED.sub(rb"\1", text))
    return found
