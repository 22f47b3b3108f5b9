"""``python -m benches.anywhere [--quick]``: mail to programs, LMTP, IMAP and functions, beside what others do.

Owns the order of the runs, and that each is counted at the server that it delivers to. All deliveries go to one Dovecot
over one delivery program and one socket, so what that costs is in every row; the first row of a table that has it is
the floor, which is the program alone. Rows take turns, and each one's best run counts. No time makes it fail. To be run
from the root of the checkout.
"""

import argparse
import imaplib
import os
import poplib
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benches.contestants import Maildrop, Program, fetchmail, getmail, mpop
from benches.delay import delayed
from benches.mail import attachment
from benches.runs import FailedError, run
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

Row = tuple[str, Callable[[], object]]


def main() -> int:
    """Run all and print the tables; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benches.anywhere", description="Deliver mail to anywhere.")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--messages", type=int, default=10_000, metavar="N", help="to each destination but IMAP")
    parser.add_argument("--far-messages", type=int, default=500, metavar="N", help="to IMAP, 40 ms away")
    parser.add_argument("--runs", type=int, default=2, metavar="N", help="of each row")
    parser.add_argument("--only", choices=("function", "pipe", "lmtp", "imap"), help="one of the tables")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT / "tests"))
    from servers import UnavailableError  # noqa: PLC0415 - of the tests, whose path is known from here
    from servers.delivering import DeliveringDovecot  # noqa: PLC0415 - as above

    try:
        DeliveringDovecot.check()
    except UnavailableError as error:
        raise SystemExit(f"nothing to deliver to: {error}") from None
    few = (20, 20, 1) if arguments.quick else (arguments.messages, arguments.far_messages, arguments.runs)
    messages, far, runs = few
    with (
        DeliveringDovecot() as server,
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        ExitStack() as stack,
    ):
        os.environ["XDG_STATE_HOME"] = folder
        bench = _Bench(server, Path(folder), stack)
        for name, table, count in (
            ("function", bench.function, messages),
            ("pipe", bench.pipe, messages),
            ("lmtp", bench.lmtp, messages),
            ("imap", bench.imap, far),
        ):
            if arguments.only in {None, name} and (name != "imap" or server.has_imap):
                _measure(f"{name}, {count:,} x {OCTETS // 1000} KB", table(count), runs)
    return 0


def _measure(title: str, rows: list[Row], runs: int) -> None:
    """Run *rows* in turns, and print what each took and how that compares with the first."""
    best = dict.fromkeys((name for name, _ in rows), float("inf"))
    for number in range(runs):
        for name, work in rows if number % 2 == 0 else reversed(rows):
            os.sync()  # what the one before left to be written is not this one's work
            began = time.perf_counter()
            work()
            best[name] = min(best[name], time.perf_counter() - began)
    first = best[rows[0][0]]
    print(f"\n| {title} | seconds | beside the first |\n|---|---:|---:|")
    for name, seconds in best.items():
        print(f"| {name} | {seconds:.2f} | {first / seconds:.2f} x |", flush=True)


class _Bench:
    """The mailbox that mail is fetched from, and what is done with it."""

    def __init__(self, server: "DeliveringDovecot", folder: Path, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self._folder = folder
        self._contents = [attachment(OCTETS, seed).replace(b"\r\n", b"\n") for seed in range(40)]
        self._number = 0
        self._mailboxes: dict[str, Mailbox] = {}
        self._target: Mailbox | None = None

    def function(self, count: int) -> list[Row]:
        """Return a fetch to a Maildir, and functions that do nothing."""
        account = self._filled("function", count)

        def fetch() -> None:
            self._check(fetch_mailbox(account, f"maildir:{self._new()}/Maildir"), count)

        def process() -> None:
            self._check(process_mailbox(account, lambda _: None, state=f"{self._new()}/state"), count)

        return [("fetch to a Maildir", fetch), ("process_mailbox, an empty handler", process)]

    def pipe(self, count: int) -> list[Row]:
        """Return what delivers by Dovecot's program."""
        account = self._filled("pipe", count)
        arguments = ("-c", f"{self._server.folder}/dovecot.conf", "-e", "-d", "into")
        command = f"{LDA} {' '.join(arguments)}"
        mda = f"type = MDA_external\npath = {LDA}\narguments = {arguments!r}"
        return [
            ("the program alone, one after the other", lambda: self._alone(command, count)),
            ("pop3fast", lambda: self._ours(account, f"pipe:{command}", count)),
            (f"pop3fast, {JOBS} at once", lambda: self._ours(account, f"pipe:{command}", count, jobs=JOBS)),
            *(
                (program.name, partial(self._theirs, "pipe", program, count))
                for program in (
                    Program("mpop", ("mpop",), lambda drop: mpop(drop, f"mda,{command}")),
                    Program("getmail6", ("getmail",), lambda drop: getmail(drop, mda), not_as_root=True),
                    Program("fetchmail", ("fetchmail",), lambda drop: fetchmail(drop, f'mda "{command}"')),
                )
                if not program.missing
            ),
        ]

    def lmtp(self, count: int) -> list[Row]:
        """Return what delivers by LMTP. Neither mpop nor getmail can."""
        account = self._filled("lmtp", count)
        to = f"lmtp:{self._server.lmtp}"
        over = f"smtphost {self._server.lmtp} lmtp smtpname into"
        fetchmail_lmtp = Program("fetchmail", ("fetchmail",), lambda drop: fetchmail(drop, over))
        return [
            ("fetchmail", lambda: self._theirs("lmtp", fetchmail_lmtp, count)),
            ("pop3fast", lambda: self._ours(account, to, count)),
            (f"pop3fast, {JOBS} at once", lambda: self._ours(account, to, count, jobs=JOBS)),
        ]

    def imap(self, count: int) -> list[Row]:
        """Return what appends to a folder that is 40 ms away."""
        account = self._filled("imap", count)
        into = self._into()
        port = self._stack.enter_context(delayed(self._server.imap_port, FAR))

        def loop() -> None:
            pop = poplib.POP3(self._server.host, self._server.plain_port)
            pop.user(self._mailboxes["imap"].user)
            pop.pass_(self._mailboxes["imap"].password)
            imap = imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=self._server.client_context())
            imap.login(into.user, into.password)
            for number in range(1, pop.stat()[0] + 1):
                imap.append("INBOX", "", "", b"\r\n".join([*pop.retr(number)[1], b""]))
            imap.logout()
            pop.quit()

        def ours() -> None:
            job = Job(account, f"imaps://into@127.0.0.1:{port}/INBOX", f"{self._new()}/state")
            job = replace(job, to_password=into.password, to_context=self._server.client_context())
            self._check(fetch_many([job])[0], count)

        return [("a loop over poplib and imaplib", loop), ("pop3fast", ours)]

    def _filled(self, name: str, count: int) -> Account:
        self._into()
        mailbox = self._mailboxes[name] = self._server.add_mailbox(name)
        mailbox.fill([self._contents[number % len(self._contents)] for number in range(count)])
        self._server.settle(mailbox)
        url = f"pop3+plain://{self._server.host}:{self._server.plain_port}"
        return Account(url, user=mailbox.user, password=mailbox.password)

    def _into(self) -> "Mailbox":
        """Return the mailbox that all is delivered to."""
        if self._target is None:
            self._target = self._server.add_mailbox("into")
            self._target.fill([])
        return self._target

    def _new(self) -> Path:
        self._number += 1
        folder = self._folder / str(self._number)
        folder.mkdir(mode=0o755)
        return folder

    def _maildrop(self, name: str) -> Maildrop:
        self._folder.chmod(0o755)
        mailbox = self._mailboxes[name]
        return Maildrop(self._server.host, self._server.plain_port, mailbox.user, mailbox.password, self._new())

    def _alone(self, command: str, count: int) -> None:
        content = self._contents[0]
        for _ in range(count):
            subprocess.run(shlex.split(command), input=content, check=True)

    def _ours(self, account: Account, to: str, count: int, jobs: int = 1) -> None:
        job = Job(account, to, f"{self._new()}/state", recipient="into", jobs_per_account=jobs)
        self._check(fetch_many([job])[0], count)

    def _theirs(self, name: str, program: Program, count: int) -> None:
        before = self._count()
        run(program, self._maildrop(name), longest=60 + count * LONGEST_DELIVERY)
        if self._count() - before != count:
            raise FailedError(f"{program.name} delivered {self._count() - before} of {count} messages")

    def _count(self) -> int:
        maildir = self._into().maildir
        return sum(1 for name in ("new", "cur") for _ in (maildir / name).iterdir())

    def _check(self, report: FetchReport, count: int) -> None:
        report.raise_for_error()
        if report.fetched != count:
            raise FailedError(f"{report.fetched} of {count} messages were delivered: {report.failures[:1]}")


if __name__ == "__main__":
    raise SystemExit(main())
