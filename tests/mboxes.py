"""An mbox in a test: appended to as a session does, read as Python's mailbox does.

Owns no test.
"""

import contextlib
import mailbox
import re
from collections.abc import Iterator
from pathlib import Path

from pop3fast.fetch import AccountState, Destination, Identity, State, open_destination
from pop3fast.fetch._files import Files
from pop3fast.fetch._waiting import Clock

THEIRS = b"From you@example.org Mon Jan  5 10:00:00 2026\nSubject: theirs\n\nFor you\n\n"


@contextlib.contextmanager
def prepared(
    box: Path, files: Files | None = None, clock: Clock | None = None
) -> Iterator[tuple[Destination, AccountState, list[str]]]:
    with State(f"{box}.state").account("h", 110, "me") as account:
        destination = open_destination(f"mbox:{box}", files, clock)
        try:
            said = destination.prepare(account.digest, account)
            yield destination, account, said
        finally:
            destination.close()


def deliver(destination: Destination, uid: bytes, *chunks: bytes) -> None:
    delivery = destination.begin(Identity(uid))
    for chunk in chunks:
        delivery.write(chunk)
    delivery.end()


def append(box: Path, *messages: bytes, files: Files | None = None) -> None:
    with prepared(box, files) as (destination, account, _):
        for number, message in enumerate(messages):
            deliver(destination, b"%d" % number, message)
        account.remember(destination.flush())


def found(box: Path) -> list[bytes]:
    """Return the messages as Python's mailbox finds them, unquoted."""
    messages = mailbox.mbox(box)
    contents = [messages.get_bytes(key) for key in messages.keys()]  # noqa: SIM118 - no mapping
    messages.close()
    return [re.sub(rb"(?m)^>(>*From )", rb"\1", content) for content in contents]
