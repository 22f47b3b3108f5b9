"""The end of the demo: the same mailbox by `pop3fast fetch` into a Maildir, and once more when nothing is new.

Owns what is fetched to where, and what is said about it. Counts no message that it has not read back from the disk.
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from pop3fast.cli._progress import on_terminal
from pop3fast.cli._text import plural, shown_size
from pop3fast.fetch import Account, FetchReport, fetch_mailbox
from pop3fast.testing import MailboxServer


def fetch_and_check(server: MailboxServer, expected: Sequence[bytes], out: TextIO, err: TextIO) -> bool:
    """Fetch all that *server* has into a Maildir that goes afterwards; return whether it is what was *expected*.

    *expected* are the SHA-256 of the messages. What came of it is shown on *out*, and on *err*, where that is a
    terminal, how far it is.
    """
    account = Account(f"pop3+plain://{server.host}:{server.port}", user=server.user, password=server.password)
    with tempfile.TemporaryDirectory(prefix="pop3fast-demo-") as folder:
        to = f"maildir:{folder}/Maildir"
        print("\npop3fast fetch --to maildir:PATH", file=out)
        report = _fetch(account, to, err)
        found = Counter(fingerprints_in(Path(folder, "Maildir")))
        right = (found & Counter(expected)).total()
        all_right = found == Counter(expected) and report.ok
        print(
            f"  {plural(report.fetched, 'message')}, {shown_size(report.octets)}, safe on the disk in "
            f"{report.seconds:.2f} s; {right:,} of {len(expected):,} are there once, octet for octet",
            file=out,
        )
        again = _fetch(account, to, err)
        print(f"  once more: {again.fetched:,} new, {again.seen:,} fetched before, in {again.seconds:.2f} s", file=out)
        for one in (report, again):
            if one.error is not None:
                print(f"pop3fast demo: {one.error}", file=err)
    return all_right and again.ok and again.fetched == 0


def fingerprints_in(maildir: Path) -> Iterable[bytes]:
    """Yield the SHA-256 of each message in a Maildir, with the line ends that it had on the way."""
    for file in (maildir / "new").iterdir():
        yield hashlib.sha256(file.read_bytes().replace(b"\n", b"\r\n")).digest()


def _fetch(account: Account, to: str, err: TextIO) -> FetchReport:
    with on_terminal(err) as display:
        if display is None:
            return fetch_mailbox(account, to)
        return fetch_mailbox(account, to, progress=lambda progress: display.show(str(account), progress))
