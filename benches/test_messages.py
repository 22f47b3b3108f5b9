"""Messages of three sizes, plain and over TLS."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from benches.interleave import MARKS, Benchmark, Column, Pace
from benches.mail import attachment
from benches.messages import WAYS, retrieve

pytestmark = MARKS

TABLE = "Messages"


@dataclass(frozen=True)
class Mailbox:
    title: str
    octets: int
    messages: int
    tls: bool = False

    def contents(self) -> Sequence[bytes]:
        return [attachment(self.octets, seed) for seed in range(self.messages)]


MAILBOXES = [
    Mailbox("4 KB", 4_000, 100),
    Mailbox("50 KB", 50_000, 40),
    Mailbox("5 MB", 5_000_000, 2),
    Mailbox("4 KB, TLS", 4_000, 100, tls=True),
    Mailbox("50 KB, TLS", 50_000, 40, tls=True),
    Mailbox("5 MB, TLS", 5_000_000, 2, tls=True),
]


@pytest.fixture(scope="module", params=MAILBOXES, ids=lambda mailbox: mailbox.title)
def column(request: pytest.FixtureRequest, pace: Pace) -> Column:
    mailbox: Mailbox = request.param
    return Column(TABLE, mailbox.title, retrieve(mailbox.contents(), pace, tls=mailbox.tls))


@pytest.mark.parametrize("way", WAYS)
def test_retrieving(column: Column, way: str, benchmark: Benchmark) -> None:
    column.hand_over(way, benchmark)
