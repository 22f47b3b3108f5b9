"""What holds for every destination: whatever it is told while a message is under way, what is delivered is whole.

Each claim is made of a Maildir, a folder of .eml files and an mbox.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from destinations import prepared
from fetching import mail
from maildrops import delivered
from pop3fast._framing import Blocks
from pop3fast.fetch import Destination, DestinationError, Entry, Identity
from pop3fast.fetch._files import Files
from pop3fast.fetch.destinations import _spool as spool_module
from pop3fast.fetch.destinations._folder import BLOCK_OCTETS
from pop3fast.fetch.destinations._mbox import Mbox

KINDS = ["maildir", "eml", "mbox"]
pytestmark = pytest.mark.parametrize("kind", KINDS)

# In memory, and in a file, while they are under way.
SIZES = [100, 3 * BLOCK_OCTETS]


def deliver(destination: Destination, number: int, octets: int = 40) -> None:
    delivery = destination.begin(Identity(b"%d" % number))
    delivery.write(mail(number, octets))
    delivery.end()


def uids(entries: list[Entry]) -> list[bytes]:
    return [entry.uid for entry in entries]


@pytest.fixture
def to(kind: str, tmp_path: Path) -> str:
    return f"{kind}:{tmp_path}/box"


@pytest.fixture(params=SIZES)
def octets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(spool_module, "MEMORY_OCTETS", BLOCK_OCTETS)
    chosen: int = request.param
    return chosen


def test_a_flush_in_the_middle_of_a_message_delivers_those_before_and_then_that_one(to: str, octets: int) -> None:
    with prepared(to) as (destination, account):
        deliver(destination, 0, octets)
        for number in range(1, 4):
            content = mail(number, octets)
            delivery = destination.begin(Identity(b"%d" % number))
            delivery.write(content[: octets // 2])
            destination.hurry()
            account.remember(flushed := destination.flush())
            assert uids(flushed) == [b"%d" % (number - 1)]
            assert len(delivered(to)) == number
            assert destination.flush() == []
            delivery.write(content[octets // 2 :])
            delivery.end()
        account.remember(flushed := destination.flush())
        assert uids(flushed) == [b"3"]
    assert delivered(to) == sorted(mail(number, octets) for number in range(4))


def test_a_message_abandoned_behind_a_flush_leaves_nothing_and_the_next_ones_come(to: str, octets: int) -> None:
    with prepared(to) as (destination, account):
        deliver(destination, 0, octets)
        delivery = destination.begin(Identity(b"1"))
        delivery.write(mail(1, octets)[:90])
        account.remember(destination.flush())
        delivery.abandon()
        deliver(destination, 2, octets)
        deliver(destination, 3, octets)
        account.remember(destination.flush())
    assert delivered(to) == sorted(mail(number, octets) for number in (0, 2, 3))


@pytest.mark.parametrize("by", ["prepare", "close", "abandon"])
def test_a_delivery_that_was_ended_for_it_takes_nothing_more_and_delivers_nothing(
    to: str, octets: int, by: str
) -> None:
    with prepared(to) as (destination, account):
        deliver(destination, 0, octets)
        account.remember(destination.flush())
        delivery = destination.begin(Identity(b"1"))
        delivery.write(mail(1, octets)[:90])
        end_it: dict[str, Callable[[], object]] = {
            "prepare": lambda: destination.prepare(account.digest, account),
            "close": destination.close,
            "abandon": delivery.abandon,
        }
        end_it[by]()
        with pytest.raises(ValueError, match="ended"):
            delivery.write(mail(1, octets)[90:])
        with pytest.raises(ValueError, match="ended"):
            delivery.end()
        delivery.abandon()
        assert destination.flush() == []
        destination.prepare(account.digest, account)
        deliver(destination, 2, octets)
        account.remember(destination.flush())
    assert delivered(to) == sorted([mail(0, octets), mail(2, octets)])


def test_a_failure_in_the_middle_of_a_message_is_not_that_messages(to: str, octets: int) -> None:
    class Failing(Files):
        fails = False

        def sync(self, file: int) -> None:
            if self.fails:
                self.fails = False
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().sync(file)

    with prepared(to, files := Failing()) as (destination, account):
        deliver(destination, 0, octets)
        delivery = destination.begin(Identity(b"1"))
        delivery.write(mail(1, octets)[:90])
        files.fails = True
        with pytest.raises(DestinationError, match="No space") as caught:
            destination.flush()
        assert caught.value.delivered == ()
        delivery.write(mail(1, octets)[90:])
        delivery.end()
        account.remember(flushed := destination.flush())
        assert uids(flushed) == [b"1"]
    assert delivered(to) == [mail(1, octets)]


def test_nothing_is_appended_behind_a_piece_that_could_not_be_taken_away(to: str, kind: str) -> None:
    if kind != "mbox":
        pytest.skip("in a folder, no message lies behind another")

    box = Path(to.partition(":")[2])

    class Failing(Files):
        fails = False

        def sync(self, file: int) -> None:
            if self.fails and box.exists() and os.path.samestat(self.stat(file), box.stat()):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            super().sync(file)

    with prepared(to, files := Failing()) as (destination, account):
        deliver(destination, 0)
        delivery = destination.begin(Identity(b"1"))
        delivery.write(mail(1))
        files.fails = True
        with pytest.raises(DestinationError, match="Input/output"):
            destination.flush()
        files.fails = False
        delivery.end()
        with pytest.raises(DestinationError, match="Input/output"):
            destination.flush()
        assert len(account.intents()) == 1
    with prepared(to):
        pass
    assert delivered(to) == []


def test_an_empty_message_is_a_message(to: str) -> None:
    with prepared(to) as (destination, account):
        for number in range(2):
            delivery = destination.begin(Identity(b"%d" % number))
            delivery.write(b"")
            delivery.end()
        account.remember(destination.flush())
    assert len(delivered(to)) == 2


def test_a_message_of_which_nothing_is_left_ends_in_an_error(to: str) -> None:
    """No destination takes it for delivered, whatever lost its octets."""
    with prepared(to) as (destination, _):
        delivery = destination.begin(Identity(b"1"))
        delivery.write(mail(1))
        if isinstance(destination, Mbox):
            assert destination._spool is not None
            destination._spool.clear()
        else:
            delivery._blocks = Blocks(1, in_lf=True)  # type: ignore[attr-defined]
        with pytest.raises(AssertionError, match="octets are left of"):
            delivery.end()
        assert destination.flush() == []
