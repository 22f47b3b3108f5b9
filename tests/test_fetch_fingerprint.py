"""A fingerprint is the same for the same message and another for another, whatever the octets are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fast.fetch import fingerprint

HEADER = (
    b"Received: from a by b\r\nMessage-ID: <1@x>\r\nDate: Mon, 5 Jan 2026 10:00:00 +0000\r\nFrom: a@x\r\n"
    b"To: b@x,\r\n c@x\r\nSubject: some  words\r\n\r\n"
)


@pytest.mark.parametrize(
    "same",
    [
        HEADER,
        HEADER.replace(b"\r\n", b"\n"),
        HEADER + b"From: body\r\n",
        HEADER.replace(b"Received: from a by b\r\n", b""),
        HEADER.replace(b"Subject: some  words", b"SUBJECT:some\r\n\twords "),
        b"X-Status: RO\r\n" + HEADER,
    ],
)
def test_what_makes_no_difference(same: bytes) -> None:
    assert fingerprint(same) == fingerprint(HEADER)
    assert len(fingerprint(same)) == 16


@pytest.mark.parametrize("word", [b"<1@x>", b"10:00", b"a@x\r\nTo", b"c@x", b"words", b"Subject"])
def test_what_makes_a_difference(word: bytes) -> None:
    assert fingerprint(HEADER.replace(word, b"9" + word)) != fingerprint(HEADER)


def test_a_value_does_not_move_from_one_field_to_another() -> None:
    assert fingerprint(b"From: a\n\n") != fingerprint(b"To: a\n\n")
    assert fingerprint(b"From: a\nTo: b\n\n") != fingerprint(b"From: a b\n\n")


def test_without_any_of_the_fields_every_line_counts() -> None:
    assert fingerprint(b"X: 1\r\nY: 2\r\n\r\nbody") == fingerprint(b"X: 1\nY: 2\n\n") != fingerprint(b"X: 1\nY: 3\n\n")


@given(st.binary(max_size=300) | st.text("From: a\r\n\t", max_size=80).map(str.encode))
def test_any_octets_have_one(octets: bytes) -> None:
    assert len(fingerprint(octets)) == 16
    assert fingerprint(octets) == fingerprint(octets)


@pytest.mark.parametrize("piece", [b"Subject: x\r\n", b" x\r\n", b"\r", b":", b"To:\n \n"])
def test_a_header_of_megabytes_takes_no_more_than_its_share(piece: bytes) -> None:
    # In time by the square of its length it would take hours; pytest ends the test after one minute.
    assert len(fingerprint(b"Subject: a\r\n" + piece * 1_000_000)) == 16
