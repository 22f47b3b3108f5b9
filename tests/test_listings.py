"""What octets say once their end is found: status lines, scan listings, unique-id listings, as Python gets them."""

from collections.abc import Callable

import pytest

from pop3fast._framing import FramingError, FramingLimitError, parse_sizes, parse_unique_ids, split_lines, status


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"+OK", "ok"),
        (b"+OK ", "ok"),
        (b"+", "ok"),
        (b"+ Hola mundo", "ok"),
        (b"+ok", "ok"),
        (b"+OK \xfc", "ok"),
        (b"-ERR", "error"),
        (b"-err", "error"),
        (b"-", "error"),
        (b"+ERR Server error: Failed to fetch messages in Inbox.", "error"),
        (b"+err", "error"),
        (b"+ERRATIC", "ok"),
        (b"+OK -ERR error retrieving message", "error after ok"),
        (b"+OK no -ERR", "ok"),
        (b"", "malformed"),
        (b"OK", "malformed"),
        (b"\r+OK", "malformed"),
        (b"+OK\0", "malformed"),
        (b"-ERR \0", "malformed"),
        (b"+OK -ERR\0", "malformed"),
    ],
)
def test_what_a_status_line_says(line: bytes, expected: str) -> None:
    assert status(line) == expected


def test_a_text_that_does_not_end_its_last_line_is_split_too() -> None:
    assert split_lines(b"a\r\nb") == [b"a", b"b"]
    assert split_lines(b"") == []


def test_a_scan_listing_is_numbers_to_octets() -> None:
    assert parse_sizes(b"1 120\r\n2 4294967800\r\n10 18446744073709551615\r\n") == {
        1: 120,
        2: 4294967800,
        10: 2**64 - 1,
    }
    assert parse_sizes(b"") == {}


def test_quirk_q61_q65_q67_octets_that_cannot_be_read_are_0() -> None:
    listing = b"1 %!d(float64=5461)\r\n2 -5\r\n3\r\n4 \r\n5 1_0\r\n6 18446744073709551616\r\n7 +5\r\n8 5\0\r\n9 7 x\r\n"
    assert parse_sizes(listing) == {1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0, 8: 0, 9: 7}


def test_a_unique_id_listing_is_numbers_to_the_rest_of_the_line() -> None:
    listing = b"1 whqtswO00WBw418f9t5JxYwZ\r\n2  two blanks\r\n  3\tc \r\n4 \r\n5\r\n6 \xfc\xff\r\n7 c \r\n"
    assert parse_unique_ids(listing) == {
        1: "whqtswO00WBw418f9t5JxYwZ",
        2: "two blanks",
        3: "c ",
        4: "",
        5: "",
        6: "\xfc\xff",
        7: "c ",
    }


@pytest.mark.parametrize("parse", [parse_sizes, parse_unique_ids])
@pytest.mark.parametrize(
    "line", [b"", b"x 5", b"-1 5", b"+1 5", b"1_0 5", b"1x 5", b"18446744073709551616 5", b"\xb2 5"]
)
def test_quirk_q67_a_line_without_a_number_is_an_error_that_names_the_line(
    parse: Callable[[bytes], object], line: bytes
) -> None:
    with pytest.raises(FramingError, match="line 2 of the listing does not begin with a message number"):
        parse(b"1 120\r\n" + line + b"\r\n3 5\r\n")


def test_quirk_q72_a_unique_id_of_4096_octets_passes_and_one_more_does_not() -> None:
    assert parse_unique_ids(b"1 " + b"u" * 4096 + b"\r\n") == {1: "u" * 4096}
    with pytest.raises(FramingLimitError, match="line 1 of the listing is longer than 4096 octets"):
        parse_unique_ids(b"1 " + b"u" * 4097 + b"\r\n")


@pytest.mark.parametrize("parse", [parse_sizes, parse_unique_ids])
def test_a_line_of_a_listing_has_a_limit(parse: Callable[[bytes], object]) -> None:
    assert parse(b"1" + b" " * 65535 + b"\r\n") in ({1: 0}, {1: ""})
    with pytest.raises(FramingLimitError, match="line 1 of the listing is longer than 65536 octets"):
        parse(b"1" + b" " * 65536 + b"\r\n")
