"""What replies mean, on octets alone: response codes, STAT, capabilities, time stamps, and the errors made of them."""

import copy
import hashlib
import pickle
import poplib
from collections.abc import Callable

import pytest

import pop3fast
from pop3fast import AuthenticationError, CommandError, ConnectionLost, LimitExceeded, ProtocolError, error_proto
from pop3fast._replies import apop_timestamp, is_continuation, parse_capabilities, parse_stat, response_code

# Response codes (RFC 2449 section 8, RFC 3206).


@pytest.mark.parametrize(
    ("status_line", "code", "temporary"),
    [
        (b"+ok\t-err [in-use]", "IN-USE", True),
        (b"+OK -ERR [IN-USE] quirk q06", "IN-USE", True),
        (b"-ERR [IN-USE] Unable to lock maildrop", "IN-USE", True),
        (b"-ERR [LOGIN-DELAY] minimum time between mail checks violation", "LOGIN-DELAY", True),
        (b"-ERR [SYS/TEMP] Server shutting down.", "SYS/TEMP", True),
        (b"-ERR [SYS/PERM] Mailbox is gone", "SYS/PERM", False),
        (b"-ERR [AUTH] Authentication failed.", "AUTH", False),
        (b"-ERR [in-use] locked", "IN-USE", True),
        (b"-err\t[IN-USE]", "IN-USE", True),
        (b"-ERR [SYS/TEMP/QUOTA] deeper than the standard goes", "SYS/TEMP/QUOTA", False),
        (b"-ERR no such message", None, False),
        (b"-ERR", None, False),
        (b"-ERR said [IN-USE] in the text", None, False),
        (b"-ERR [] nothing", None, False),
        (b"-ERR [IN-USE without an end", None, False),
        (b"-ERR [\xfc] octets outside ASCII", "\xdc", False),
        (b"+ERR [IN-USE] quirk q05", "IN-USE", True),
        (b"", None, False),
    ],
)
def test_the_response_code_says_whether_to_try_again(status_line: bytes, code: str | None, temporary: bool) -> None:  # noqa: FBT001
    assert response_code(status_line) == code
    error = CommandError(status_line)
    assert (error.code, error.temporary) == (code, temporary)


@pytest.mark.parametrize(
    ("status_line", "asks"),
    [(b"+", True), (b"+ ", True), (b"+ VXNlcjo=", True), (b"+OK", False), (b"+ok in", False), (b"-ERR", False)],
)
def test_a_continuation_is_a_plus_and_no_ok(status_line: bytes, asks: bool) -> None:  # noqa: FBT001
    assert is_continuation(status_line) is asks


# STAT.


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (b"+OK 2 320", (2, 320)),
        (b"+OK 0 0", (0, 0)),
        (b"+OK  2   320 octets", (2, 320)),
        (b"+OK 0002 0320", (2, 320)),
        (b"+OK 3 4294967800", (3, 4294967800)),  # quirk q60: more than 4 GiB
        (b"+OK 3 18446744073709551615", (3, 2**64 - 1)),
        (b"+OK 20437 -1391823145", (20437, -1391823145)),  # quirk q61: as poplib has it
    ],
)
def test_stat_is_two_numbers(response: bytes, expected: tuple[int, int]) -> None:
    assert parse_stat(response.split()) == expected


@pytest.mark.parametrize(
    "response",
    [
        b"+OK",
        b"+OK 3",
        b"+OK a b",
        b"+OK 3 b",
        b"+OK 1_0 5",
        b"+OK +1 5",
        b"+OK 1 +5",
        b"+OK 1.0 5",
        b"+OK 0x10 5",
        "+OK \N{ARABIC-INDIC DIGIT THREE} 5".encode(),
        b"+OK \xb2 5",
        b"+OK -- 5",
        b"+OK 1 5\0",
        b"+OK 99999999999999999999 0",
        b"+OK 0 18446744073709551616",
        b"+OK 1 " + b"9" * 5000,
        b"+OK 1 " + b"9" * 1_000_000,
    ],
    ids=lambda response: ascii(response[:30]),
)
def test_quirk_q62_a_stat_that_is_no_two_numbers_is_error_proto(response: bytes) -> None:
    with pytest.raises(error_proto, match="Invalid STAT response"):
        parse_stat(response.split())


# CAPA.


def test_capabilities_are_names_with_arguments_in_the_servers_spelling() -> None:
    lines = [b"TOP", b"uidl", b"EXPIRE 0", b"LOGIN-DELAY 300 USER", b"IMPLEMENTATION foo  bar baz"]
    assert parse_capabilities(lines) == {
        "TOP": [],
        "uidl": [],
        "EXPIRE": ["0"],
        "LOGIN-DELAY": ["300", "USER"],
        "IMPLEMENTATION": ["foo", "bar", "baz"],
    }


def test_quirk_q19_blank_repeated_and_8_bit_capabilities() -> None:
    lines = [b"", b"SASL PLAIN", b"   ", b"SASL LOGIN PLAIN", b"IMPLEMENTATION M\xfcller", b"SASL"]
    assert parse_capabilities(lines) == {"SASL": ["PLAIN", "LOGIN"], "IMPLEMENTATION": ["M\xfcller"]}


class _CountedText(str):
    """A text that counts how often it is looked up, in a table or among others."""

    __slots__ = ()
    looked_up = 0

    def __hash__(self) -> int:
        _CountedText.looked_up += 1
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        _CountedText.looked_up += 1
        return super().__eq__(other)


class _CountedField(bytes):
    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return _CountedText(super().decode(encoding, errors))


class _CountedLine(bytes):
    def split(self, sep: object = None, maxsplit: object = -1) -> list[bytes]:
        assert (sep, maxsplit) == (None, -1)
        return [_CountedField(field) for field in super().split()]


@pytest.mark.parametrize("arguments_a_line", [1, 5, 2000])
def test_a_hostile_list_of_capabilities_costs_work_linear_in_its_arguments(arguments_a_line: int) -> None:
    for size in (2000, 8000):
        _CountedText.looked_up = 0
        arguments = [str(number) for number in range(size)]
        lines = [
            _CountedLine(("SASL " + " ".join(arguments[start : start + arguments_a_line])).encode())
            for start in range(0, size, arguments_a_line)
        ]
        assert parse_capabilities(lines) == {"SASL": arguments}
        # Each argument compared with all before it would be thousands.
        assert _CountedText.looked_up < 20 * size


def test_what_one_line_repeats_stays_as_the_server_says_it() -> None:
    assert parse_capabilities([b"IMPLEMENTATION a b a"]) == {"IMPLEMENTATION": ["a", "b", "a"]}


def test_no_capabilities_are_none() -> None:
    assert parse_capabilities([]) == {}


# The greeting's time stamp.


@pytest.mark.parametrize(
    ("greeting", "timestamp"),
    [
        (b"+OK POP3 ready <1896.697170952@dbc.mtview.ca.us>", b"<1896.697170952@dbc.mtview.ca.us>"),
        (b"+OK<1@a.b>", b"<1@a.b>"),
        (b"+OK hi <1@a.b> (see <http://x>)", b"<1@a.b>"),  # quirk q10: poplib takes both
        (b"+OK <see below> <1@a.b>", b"<1@a.b>"),
        (b"+OK <a@b@c> <1@a.b>", b"<1@a.b>"),
        (b"+OK <not a stamp <1@a.b>>", b"<1@a.b>"),
        (b"+OK <timestamp>", b"<timestamp>"),  # quirk q12: what CPython's own test greets with
        (b"+OK <\xfc@x>", None),  # CVE-2007-1558: octets outside ASCII are an attacker's
        (b"+OK <\xfc@x> <1@a.b>", b"<1@a.b>"),
        (b"+OK <a\x01@x>", None),
        (b"+OK <>", None),
        (b"+OK <", None),
        (b"+OK no stamp", None),  # quirk q09
        (b"+OK", None),
        (b"-ERR <1@a.b>", None),
        (b"", None),
    ],
)
def test_the_time_stamp_is_the_first_message_id_else_the_first_brackets(
    greeting: bytes, timestamp: bytes | None
) -> None:
    assert apop_timestamp(greeting) == timestamp


@pytest.mark.parametrize(
    ("stamp", "secret", "digest"),
    [
        # RFC 1939 section 7, and the same stamp with another secret.
        (b"<1896.697170952@dbc.mtview.ca.us>", b"tanstaaf", "c4c9334bac560ecc979e58001b3e22fb"),
        (b"<1896.697170952@dbc.mtview.ca.us>", b"wilma", "4a25ddaca298245cfadd76aa64bb2407"),
        (b"<1@a.b>", b"wilma", "643842af5929c053d71b5abf11aab6f4"),
    ],
)
def test_the_stamp_found_gives_the_digests_that_others_published(stamp: bytes, secret: bytes, digest: str) -> None:
    found = apop_timestamp(b"+OK ready " + stamp + b" (see <http://x>)")
    assert found == stamp
    assert hashlib.md5(found + secret).hexdigest() == digest  # noqa: S324 - what APOP is made of


@pytest.mark.parametrize(
    "greeting",
    [
        b"+OK " + b"<" * 500_000 + b"a@b",
        b"+OK <" + b"@" * 500_000,
        b"+OK " + b"<a" * 250_000,
        b"+OK " + b"<a@a" * 125_000,
        b"+OK <" + b"a" * 500_000,
        b"+OK <" + b"a@" * 250_000 + b">",
    ],
    ids=["brackets", "ats", "openings", "halves", "one long", "pairs"],
)
def test_quirk_q11_a_hostile_greeting_costs_linear_time(greeting: bytes) -> None:
    # Half a million octets take milliseconds; tried again from each of them they take many minutes, and pytest ends it.
    assert (apop_timestamp(greeting) is None) == (not greeting.endswith(b">"))


# The errors.


def test_the_tree_of_exceptions() -> None:
    assert pop3fast.error_proto is poplib.error_proto
    assert issubclass(CommandError, error_proto)
    assert issubclass(AuthenticationError, CommandError)
    assert issubclass(ProtocolError, error_proto)
    assert issubclass(ConnectionLost, ProtocolError)
    assert issubclass(LimitExceeded, ProtocolError)
    assert not issubclass(ProtocolError, CommandError)
    assert not issubclass(CommandError, ProtocolError)


def test_a_command_error_says_what_was_refused_and_has_poplibs_args() -> None:
    error = CommandError(b"-ERR [SYS/TEMP] busy", command="RETR", number=7)
    assert error.args == (b"-ERR [SYS/TEMP] busy",)
    assert error.response == b"-ERR [SYS/TEMP] busy"
    assert (error.command, error.number) == ("RETR", 7)
    assert repr(error) == "CommandError(b'-ERR [SYS/TEMP] busy')"
    assert str(error) == str(poplib.error_proto(b"-ERR [SYS/TEMP] busy"))
    # For a person it says also what was refused.
    assert error.explanation == "RETR 7: -ERR [SYS/TEMP] busy"
    assert error.__notes__ == ["in answer to RETR 7"]
    bare = CommandError(b"-ERR")
    assert (bare.command, bare.number, bare.code, bare.temporary) == ("", None, None, False)


HOSTILE = b"\x1b]0;owned\x07\r\x7f\x9b31m\xc2\x9b31m \xe2\x80\xae\xe2\x81\xa6 \0\n" + b"a" * 100_000


@pytest.mark.parametrize(
    "error",
    [CommandError(b"-ERR " + HOSTILE, command="RETR", number=7), ProtocolError(HOSTILE)],
    ids=lambda error: type(error).__name__,
)
def test_what_a_server_says_cannot_take_over_the_terminal_that_shows_it(error: CommandError | ProtocolError) -> None:
    assert error.explanation.isprintable()
    assert str(error).isprintable()
    # The change of direction, as everything that is not printable, is shown by its number.
    assert "\\u202e" in error.explanation
    assert len(error.explanation) < 1000
    assert error.args[0].endswith(HOSTILE)


@pytest.mark.parametrize(
    ("response", "code", "temporary"),
    [
        (b"-ERR login allowed only every 15 minutes", "LOGIN-DELAY", True),  # quirk q31: Hotmail
        (b"-ERR maildrop already locked", "IN-USE", True),
        (b"-ERR Unable to lock mailbox", "IN-USE", True),
        (b"-ERR too many connections", "SYS/TEMP", True),
        (b"-ERR service temporarily unavailable", "SYS/TEMP", True),
        (b"-ERR your account is locked out", None, False),
        (b"-ERR [AUTH] account locked", "AUTH", False),
        (b"-ERR message has no clock", None, False),
    ],
)
def test_quirks_q14_q31_a_server_without_response_codes_is_understood_by_its_words(
    response: bytes,
    code: str | None,
    temporary: bool,  # noqa: FBT001
) -> None:
    error = CommandError(response)
    assert (error.code, error.temporary) == (code, temporary)


def through_pickle(error: error_proto) -> error_proto:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own, a moment old
    assert isinstance(again, error_proto)
    return again


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, through_pickle])
@pytest.mark.parametrize(
    "error",
    [
        CommandError(b"-ERR [IN-USE] locked", command="RETR", number=7),
        AuthenticationError(b"-ERR [AUTH] no", command="PASS"),
        ProtocolError("the connection is closed"),
        ConnectionLost("-ERR EOF"),
        LimitExceeded("line too long"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_copying_and_pickling_whole(
    error: error_proto, again: Callable[[error_proto], error_proto]
) -> None:
    same = again(error)
    assert type(same) is type(error)
    assert same.args == error.args
    assert vars(same) == vars(error)
