"""``python -m benches.anywhere [--quick]``: mail to programs, LMTP, IMAP and functions, beside what others do.

Owns the order of the runs, and that each is counted at the server that it delivers to. All deliveries go to one Dovecot
over one delivery program and one socket, so what that costs is in every row; rows that begin with "floor" are that
alone. Each run has a mailbox of its own, and not in a Maildir, of which Dovecot reads the whole list at each delivery,
so that who came later would pay for who came before. Rows take turns, and each one's best run counts. No time makes it
fail. To be run from the root of the checkout.
"""

import argparse
import imaplib
import os
import poplib
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benches.contestants import Maildrop, Program, fetchmail, getmail, mpop
from benches.delay import delayed
from benches.mail import attachment
from benches.pages import put_between_marks, refuse_to_write_quickly
from benches.runs import run
from pop3fast.fetch import Account, FetchReport, Job, fetch_mailbox, fetch_many, process_mailbox

if TYPE_CHECKING:
    from servers import Mailbox
    from servers.delivering import DeliveringDovecot

ROOT = Path(__file__).parent.parent
LDA = "/usr/lib/dovecot/dovecot-lda"
OCTETS = 4_000
FAR = 0.04
"""A round trip in seconds."""
JOBS = 4
LONGEST_DELIVERY = 0.2
"""So many seconds a message: on a busy disk a program that syncs takes some tens of milliseconds."""
MOST_STARTED = 200
"""Where others start a program for each message, they do so for that many, and the time is scaled: each takes as long
as the one before. With all of 10,000 the rows would take an hour."""
TABLES = ("function", "pipe", "lmtp", "imap")
WRITTEN = ("pipe", "lmtp")
"""What the documentation has. The others depend on the disk and on the line."""
OURS = ("pop3fast", "process_mailbox")
"""What rows of this library begin with: each has a column."""

_SETTINGS = "".join(f"protocol {name} {{\n  mail_location = sdbox:~/box\n}}\n" for name in ("lmtp", "lda", "imap"))


@dataclass(frozen=True)
class Row:
    """One way to get all messages to where they belong."""

    name: str
    work: Callable[[str], object]
    """Is given the user whose mailbox they are delivered to."""
    count: int
    """How many it delivers; when these are not all, its time is scaled, and its name says so."""


def main() -> int:
    """Run all and print the tables; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benches.anywhere", description="Deliver mail to anywhere.")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--messages", type=int, default=10_000, metavar="N", help="to each destination but IMAP")
    parser.add_argument("--far-messages", type=int, default=500, metavar="N", help="to IMAP, 40 ms away")
    parser.add_argument("--runs", type=int, default=2, metavar="N", help="of each row")
    parser.add_argument("--only", choices=TABLES, help="one of the tables")
    parser.add_argument("--folder", default="/dev/shm", help="where the mail and what is remembered lie")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put each table between its two marks in FILE")
    arguments = parser.parse_args()
    refuse_to_write_quickly(parser, arguments)
    sys.path.insert(0, str(ROOT / "tests"))
    from servers import UnavailableError  # noqa: PLC0415 - of the tests, whose path is known from here
    from servers.delivering import DeliveringDovecot  # noqa: PLC0415 - as above

    tempfile.tempdir = arguments.folder
    try:
        server = DeliveringDovecot()
    except UnavailableError as error:
        raise SystemExit(f"nothing to deliver to: {error}") from None
    server.further = _SETTINGS
    few = (20, 20, 1) if arguments.quick else (arguments.messages, arguments.far_messages, arguments.runs)
    messages, far, runs = few
    with server, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.environ["XDG_STATE_HOME"] = folder
        bench = _Bench(server, Path(folder), stack)
        for name in TABLES:
            if arguments.only in {None, name} and (name != "imap" or server.has_imap):
                count = far if name == "imap" else messages
                table = bench.measure(name, count, runs)
                print(f"\n{table}", flush=True)
                if arguments.write and name in WRITTEN:
                    marks = (f"<!-- {name}: what follows is written by `{_COMMAND}` -->\n", f"<!-- {name}: end -->\n")
                    put_between_marks(arguments.write, f"{table}\n", marks)
    return 0


_COMMAND = "python -m benches.anywhere --write docs/performance.md"


def _table(title: str, count: int, best: dict[str, float]) -> str:
    """Return what each row took, and how many times as fast as it each row of ours is."""
    ours = {name: seconds for name, seconds in best.items() if name.startswith(OURS)}
    lines = [
        f"| {title} | seconds | ms a message | {' | '.join(f'{name} beside it' for name in ours)} |",
        f"|---|---:|---:|{'---:|' * len(ours)}",
    ]
    for name, seconds in best.items():
        beside = [f"{seconds / own:.2f} x" for own in ours.values()]
        cells = [f"{seconds:.2f}", f"{seconds / count * 1000:.2f}", *beside]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


class _Bench:
    """The mailbox that mail is fetched from, and what is done with it."""

    def __init__(self, server: "DeliveringDovecot", folder: Path, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self._folder = folder
        folder.chmod(0o755)
        self._contents = [attachment(OCTETS, seed).replace(b"\r\n", b"\n") for seed in range(40)]
        self._number = 0
        self._sources: dict[int, Mailbox] = {}
        """The mailbox that has so many messages."""

    def measure(self, name: str, count: int, runs: int) -> str:
        """Run the rows of a table in turns, and return it."""
        self._sources = {}
        for messages in {count, min(count, MOST_STARTED)}:
            self._sources[messages] = source = self._server.add_mailbox(f"{name}{messages}")
            source.fill([self._contents[number % len(self._contents)] for number in range(messages)])
            self._server.settle(source)
        tables = {"function": self._function, "pipe": self._pipe, "lmtp": self._lmtp, "imap": self._imap}
        rows = tables[name](count)
        best = dict.fromkeys((row.name for row in rows), float("inf"))
        for number in range(runs):
            for row in rows if number % 2 == 0 else reversed(rows):
                target = self._server.add_mailbox(self._new().name)
                os.sync()  # what the one before left to be written is not this one's work
                began = time.perf_counter()
                row.work(target.user)
                seconds = (time.perf_counter() - began) * count / row.count
                if name != "function" and (delivered := self._delivered_to(target)) != row.count:
                    raise SystemExit(f"{row.name} delivered {delivered} of {row.count} messages")
                best[row.name] = min(best[row.name], seconds)
                print(f"{name}: {row.name}: {seconds:.2f} s", file=sys.stderr, flush=True)
        return _table(f"{name}, {count:,} x {OCTETS // 1000} KB", count, best)

    def _function(self, count: int) -> list[Row]:
        """Return a fetch to a Maildir, and functions that do nothing."""
        account = self._account(count)

        def fetch(_: str) -> None:
            _check(fetch_mailbox(account, f"maildir:{self._new()}/Maildir"), count)

        def process(_: str) -> None:
            _check(process_mailbox(account, lambda _: None, state=f"{self._new()}/state"), count)

        return [Row("fetch to a Maildir", fetch, count), Row("process_mailbox, an empty handler", process, count)]

    def _pipe(self, count: int) -> list[Row]:
        """Return what delivers by Dovecot's program."""
        few = min(count, MOST_STARTED)
        scaled = f" ({few:,} messages, scaled)" if few < count else ""

        def words(user: str) -> tuple[str, ...]:
            return "-c", f"{self._server.folder}/dovecot.conf", "-e", "-d", user

        def command(user: str) -> str:
            return f"{LDA} {' '.join(words(user))}"

        def mda(user: str) -> str:
            return f"type = MDA_external\npath = {LDA}\narguments = {words(user)!r}"

        def alone(user: str) -> None:
            for number in range(few):
                content = self._contents[number % len(self._contents)]
                subprocess.run(shlex.split(command(user)), input=content, check=True)

        return [
            Row(f"floor: the program alone, one after the other{scaled}", alone, few),
            self._ours(lambda user: f"pipe:{command(user)}", count, 1),
            self._ours(lambda user: f"pipe:{command(user)}", count, JOBS),
            *self._theirs(f"mpop{scaled}", few, lambda drop, user: mpop(drop, f"mda,{command(user)}")),
            *self._theirs(f"getmail6{scaled}", few, lambda drop, user: getmail(drop, mda(user))),
            *self._theirs(f"fetchmail{scaled}", few, lambda drop, user: fetchmail(drop, f'mda "{command(user)}"')),
        ]

    def _lmtp(self, count: int) -> list[Row]:
        """Return what delivers by LMTP. Neither mpop nor getmail can."""
        where = self._server.lmtp

        def alone(user: str, connections: int) -> None:
            shares = [[self._contents[0]] * (count // connections) for _ in range(connections)]
            shares[0] += [self._contents[0]] * (count % connections)
            with ThreadPoolExecutor(connections) as executor:
                list(executor.map(lambda share: _push(where, user, share), shares))

        return [
            Row("floor: messages alone, over one connection", lambda user: alone(user, 1), count),
            Row(f"floor: messages alone, over {JOBS} connections", lambda user: alone(user, JOBS), count),
            self._ours(lambda _: f"lmtp:{where}", count, 1),
            self._ours(lambda _: f"lmtp:{where}", count, JOBS),
            *self._theirs(
                "fetchmail", count, lambda drop, user: fetchmail(drop, f"smtphost {where} lmtp smtpname {user}")
            ),
        ]

    def _imap(self, count: int) -> list[Row]:
        """Return what appends to a folder that is 40 ms away."""
        account, source = self._account(count), self._sources[count]
        port = self._stack.enter_context(delayed(self._server.imap_port, FAR))

        def loop(user: str) -> None:
            pop = poplib.POP3(self._server.host, self._server.plain_port)
            pop.user(source.user)
            pop.pass_(source.password)
            imap = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=self._server.client_context())
            imap.login(user, source.password)
            for number in range(1, pop.stat()[0] + 1):
                imap.append("INBOX", "", "", b"\r\n".join([*pop.retr(number)[1], b""]))
            imap.logout()
            pop.quit()

        def ours(user: str) -> None:
            job = Job(account, f"imaps://{user}@127.0.0.1:{port}/INBOX", f"{self._new()}/state")
            job = replace(job, to_password=source.password, to_context=self._server.client_context())
            _check(fetch_many([job])[0], count)

        return [Row("a loop over poplib and imaplib", loop, count), Row("pop3fast", ours, count)]

    def _account(self, count: int) -> Account:
        url = f"pop3+plain://{self._server.host}:{self._server.plain_port}"
        return Account(url, user=self._sources[count].user, password=self._sources[count].password)

    def _ours(self, to: Callable[[str], str], count: int, jobs: int) -> Row:
        def command(drop: Maildrop, user: str) -> list[str]:
            url = f"pop3+plain://{drop.user}@{drop.host}:{drop.port}"
            options = ["--recipient", user, "--jobs-per-account", str(jobs), "--state", f"{drop.home}/state", "--quiet"]
            return [sys.executable, "-m", "pop3fast", "fetch", url, "--to", to(user), *options]

        return self._program("pop3fast" if jobs == 1 else f"pop3fast, {jobs} at once", ("time",), count, command)[0]

    def _theirs(self, name: str, count: int, command: Callable[[Maildrop, str], list[str]]) -> list[Row]:
        program = name.partition(" ")[0]
        return self._program(name, ("getmail" if program == "getmail6" else program,), count, command)

    def _program(
        self, name: str, needs: tuple[str, ...], count: int, command: Callable[[Maildrop, str], list[str]]
    ) -> list[Row]:
        """Return the row of a program; none where it is not installed."""

        def work(user: str) -> None:
            program = Program(name, needs, lambda drop: command(drop, user), not_as_root="getmail" in needs)
            source = self._sources[count]
            drop = Maildrop(self._server.host, self._server.plain_port, source.user, source.password, self._new())
            run(program, drop, longest=60 + count * LONGEST_DELIVERY)

        return [] if Program(name, needs, lambda _: []).missing else [Row(name, work, count)]

    def _new(self) -> Path:
        self._number += 1
        folder = self._folder / f"run{self._number}"
        folder.mkdir(mode=0o755)
        return folder

    def _delivered_to(self, target: "Mailbox") -> int:
        return sum(1 for _ in target.maildir.parent.glob("box/mailboxes/INBOX/dbox-Mails/u.*"))


def _push(where: str, user: str, contents: list[bytes]) -> None:
    """Send *contents* to *user* and do nothing else: what is as good as that has nothing to gain."""
    with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as file:

        def replies(count: int) -> None:
            for _ in range(count):
                while (line := file.readline())[3:4] == b"-":
                    pass
                if not line.startswith((b"2", b"3")):
                    raise SystemExit(f"the server said {line!r}")

        sock.connect(where)
        sock.sendall(b"LHLO bare\r\n")
        replies(2)
        for content in contents:
            sock.sendall(b"MAIL FROM:<>\r\nRCPT TO:<%s>\r\nDATA\r\n" % user.encode())
            replies(3)
            sock.sendall(content.replace(b"\n", b"\r\n").replace(b"\r\n.", b"\r\n..") + b".\r\n")
            replies(1)


def _check(found: FetchReport, count: int) -> None:
    found.raise_for_error()
    if found.fetched != count:
        raise SystemExit(f"{found.fetched} of {count} messages were delivered: {found.failures[:1]}")


if __name__ == "__main__":
    raise SystemExit(main())
