"""The mailbox of the demo: mail as it looks in life, the same on every run.

Owns the mix of sizes and what is in a message. It is deterministic: the same number of messages are the same octets on
every machine. Nothing in it is anybody's mail, every address is one of RFC 2606.
"""

import base64
import random
from bisect import bisect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import accumulate

# The year of RFC 1939 would do as well; it only has to stay.
_SEED = 1939

# One in so many messages carries an attachment of a few MB, one in so many a document of about 50 KB; the others are
# text of a few KB: near to what has been measured of real mailboxes, where one message in ten is far larger than the
# others, and such make up most of the octets. By number and not by chance, so that a small mailbox has its share.
_EVERY_HUGE = 200
_EVERY_LARGE = 13

_WORDS = (  # noqa: SIM905 - two hundred words are read best as words
    "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which "
    "one you were her all she there would their we him been has when who will more no if out so said what up its "
    "about into than them can only other new some could time these two may then do first any my now such like our "
    "over man me even most made after also did many before must through years where much your way well down should "
    "because each just those people how too little state good very make world still own see men work long get here "
    "between both life being under never day same another know while last might us great old year off come since "
    "against go came right used take three meeting invoice attached regards schedule quarterly maildrop octets"
).split()

_EIGHT_BIT_WORDS = ("Grüße", "café", "naïve", "Ærø", "żółw", "Привет", "日本語", "€100")
_DOT_BEGINNINGS = (".", "..", "...", ".profile", "...and so on", ".\t", ".. and two dots")
_PEOPLE = ("Ada", "Grace", "Edsger", "Barbara", "Donald", "Radia", "Jon", "Frances", "Marshall", "John")
_HOSTS = ("example.com", "example.net", "example.org", "mail.example", "lists.example.org")


def mailbox(count: int) -> Iterator[bytes]:
    """Make `count` messages, each whole, with CRLF at every line's end."""
    chance = random.Random(_SEED)  # noqa: S311 - mail, not secrets
    text = _Text(chance)
    # Lines of 76 letters and CRLF, as in mail; attachments are pieces of it.
    encoded = base64.encodebytes(chance.randbytes(3_000_000)).replace(b"\n", b"\r\n")
    for number in range(1, count + 1):
        if number % _EVERY_HUGE == _EVERY_HUGE // 2:
            attachment = _lines_of(encoded, chance, chance.randint(1_000_000, 2_500_000))
        elif number % _EVERY_LARGE == 0:
            attachment = _lines_of(encoded, chance, chance.randint(20_000, 80_000))
        else:
            attachment = b""
        yield _message(number, text.piece(round(chance.triangular(700, 9000, 2500))), attachment, chance)


class _Text:
    """A store of written lines, of which any piece can be taken at the cost of a copy."""

    def __init__(self, chance: random.Random) -> None:
        lines = [self._line(chance) for _ in range(8000)]
        self._octets = b"".join(lines)
        self._ends = list(accumulate(map(len, lines)))
        self._chance = chance

    @staticmethod
    def _line(chance: random.Random) -> bytes:
        kind = chance.random()
        if kind < 0.1:  # noqa: PLR2004 - one line in ten is empty
            return b"\r\n"
        words = chance.choices(_WORDS, k=chance.randint(6, 13))
        if kind < 0.12:  # noqa: PLR2004 - one in fifty begins with a dot
            words = [chance.choice(_DOT_BEGINNINGS), *words[: chance.choice((0, 4))]]
        elif kind < 0.17:  # noqa: PLR2004 - one in twenty has octets that are not ASCII
            words.append(chance.choice(_EIGHT_BIT_WORDS))
        return " ".join(words).encode() + b"\r\n"

    def piece(self, octets: int) -> bytes:
        """Whole lines of about so many octets."""
        first = self._chance.randrange(len(self._ends) // 2)
        start = self._ends[first]
        return self._octets[start : self._ends[bisect(self._ends, start + octets)]]


def _lines_of(encoded: bytes, chance: random.Random, octets: int) -> bytes:
    line = 78
    start = chance.randrange((len(encoded) - octets) // line) * line
    return encoded[start : start + octets // line * line]


def _message(number: int, text: bytes, attachment: bytes, chance: random.Random) -> bytes:
    sender, receiver = chance.choice(_PEOPLE), chance.choice(_PEOPLE)
    host, relay = chance.sample(_HOSTS, 2)
    date = format_datetime(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=37 * number))
    subject = " ".join(chance.choices(_WORDS, k=chance.randint(2, 7))).capitalize()
    boundary = f"=_{number:08x}_{chance.getrandbits(64):016x}"
    content_type = f'multipart/mixed; boundary="{boundary}"' if attachment else "text/plain; charset=utf-8"
    header = (
        f"Return-Path: <{sender.lower()}@{host}>\r\n"
        f"Received: from {relay} ({relay} [192.0.2.{number % 254 + 1}])\r\n"
        f"\tby mx.example.com (Postfix) with ESMTPS id {chance.getrandbits(44):011X}\r\n"
        f"\tfor <{receiver.lower()}@example.com>; {date}\r\n"
        f"Received: by {relay} with local id {chance.getrandbits(64):016x}; {date}\r\n"
        f"Date: {date}\r\n"
        f"From: {sender} <{sender.lower()}@{host}>\r\n"
        f"To: {receiver} <{receiver.lower()}@example.com>\r\n"
        f"Subject: {subject}\r\n"
        f"Message-ID: <{number}.{chance.getrandbits(48):012x}@{host}>\r\n"
        "MIME-Version: 1.0\r\n"
        f"Content-Type: {content_type}\r\n"
    ).encode()
    if not attachment:
        return header + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + text
    mark = b"--" + boundary.encode()
    return b"".join(
        (
            header,
            b"\r\nThis is a message in several parts.\r\n",
            mark,
            b"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
            text,
            mark,
            b"\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n",
            attachment,
            mark,
            b"--\r\n",
        )
    )
