"""A mailbox of which everything has been fetched: `pop3fast fetch` beside the bare UIDL that it cannot do without.

Owns one line of the documentation. Both are whole programs, from their start to their end, and take turns; each one's
best run counts. No time makes it fail.
"""

import sys
import tempfile
from pathlib import Path

from benches.contestants import OURS, PROGRAMS, Maildrop, Program
from benches.runs import FailedError, run
from servers import DovecotServer

MESSAGES = 100_000
RUNS = 5

# As a program would be that wants the unique-ids and does nothing with them. Nothing is imported that is not needed.
_BARE_UIDL = """
import socket, sys
host, port, user, password = sys.argv[1:]
sock = socket.create_connection((host, int(port)))
received = sock.recv(4096)
for command in ("USER " + user, "PASS " + password):
    sock.sendall(command.encode() + b"\\r\\n")
    received = sock.recv(4096)
sock.sendall(b"UIDL\\r\\n")
received = bytearray()
while not received.endswith(b"\\r\\n.\\r\\n"):
    received += sock.recv(262144)
sock.sendall(b"QUIT\\r\\n")
sock.recv(4096)
print(received.count(b"\\n") - 2)
"""


def _bare_uidl(drop: Maildrop) -> list[str]:
    return [sys.executable, "-c", _BARE_UIDL, drop.host, str(drop.port), drop.user, drop.password]


def measure(folder: str, *, quick: bool) -> str:
    """Fetch a mailbox, and then again and again; return what that took, for a reader."""
    messages = MESSAGES // 50 if quick else MESSAGES
    ours = next(program for program in PROGRAMS if program.name == OURS)
    bare = Program("bare UIDL", (), _bare_uidl)
    seconds: dict[str, list[float]] = {ours.name: [], bare.name: []}
    with DovecotServer() as server, tempfile.TemporaryDirectory(dir=folder) as home:
        server.mailbox.fill([b"Subject: %d\n\n%d\n" % (number, number) for number in range(messages)])
        server.settle(server.mailbox)
        drop = Maildrop(server.host, server.plain_port, server.mailbox.user, server.mailbox.password, Path(home))
        drop.make_folder()
        # Twice: that there is nothing new is noted by the first fetch that finds nothing.
        for _ in range(2):
            run(ours, drop)
        if len([*(drop.folder / "new").iterdir()]) != messages:
            raise FailedError(f"{OURS} did not deliver all")
        for number in range(1 if quick else RUNS):
            for program in (ours, bare) if number % 2 else (bare, ours):
                seconds[program.name].append(run(program, drop).seconds)
            if (drop.home / "log").read_text("ascii").split() not in ([], [str(messages)]):
                raise FailedError("not every unique-id has come")
        print(f"{messages} seen: {seconds}", file=sys.stderr)
    ratio = min(seconds[ours.name]) / min(seconds[bare.name])
    return f"{messages:,} messages, all of them fetched before: {ratio:.2f} times what a bare UIDL takes.\n"
