"""Whatever a server says, it is a value or an error of ours: never another exception, never the next command's reply.

First each parser of what a server says alone, then the client as a whole. For the parsers also what it costs: time in
proportion to the octets, and memory no more than a multiple of them that has a name.
"""

import binascii
import socket
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pop3fast
from asking import ASKS, USER, Ask, unverified
from asking import PASSWORD as SECRET
from pop3fast import POP3, CommandError, ProtocolError, _replies, _sasl, error_proto
from pop3fast._framing import FramingError, parse_sizes, parse_unique_ids, status, strict_status
from pop3fast._sasl import ExchangeError
from scripted import Reply, ScriptedServer
from shapes import connect

# What parsers look for, so that hypothesis finds their branches; and what trips those up that count on text.
WORDS = [
    *(b"+OK", b"-ERR", b"+", b"-", b"+ERR", b"+OK -ERR", b" ", b"\t", b"\r", b"\0", b".", b"..", b"1", b"2 320", b"-1"),
    *(b"[IN-USE]", b"[", b"]", b"<", b">", b"@", b"<a@b>", b"=", b",", b"SASL PLAIN", b"STLS", b"PIPELINING"),
    *(b"99999999999999999999", b"9" * 5000, b"\xb2", "\u0663".encode(), b"\xff\xfe", b"\xed\xa0\x80", b"\x1b[31m"),
    *(b"+ ", b"+ =", b"+ dGVzdA==", b"+ dGVzdA", b"locked", b"busy", b"login delay", b"r=", b"s=", b"i=4096", b"e=no"),
]
line = st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(WORDS), max_size=6).map(b"".join)).map(
    lambda octets: octets.replace(b"\n", b"")
)
lines = st.lists(line, max_size=8)
octets = st.one_of(
    st.binary(max_size=120),
    st.lists(st.sampled_from([*WORDS, b"\r\n", b"\n", b"\r\n.\r\n"]), max_size=12).map(b"".join),
)


# Each parser alone.


def error_of(status_line: bytes) -> tuple[object, ...]:
    error = CommandError(status_line)
    return error.code, error.temporary, error.explanation, repr(error)


def listing(parse: Callable[[bytes], object]) -> Callable[[bytes], object]:
    def total(body: bytes) -> object:
        try:
            return parse(body)
        except FramingError as error:  # which `POP3` makes a ProtocolError of
            return error

    return total


def stat(status_line: bytes) -> object:
    try:
        return _replies.parse_stat(status_line.split())
    except error_proto as error:
        return error


def capabilities(body: bytes) -> object:
    return _replies.parse_capabilities(body.split(b"\n"))


def challenge(status_line: bytes) -> object:
    try:
        return _sasl.decoded(status_line)
    except ExchangeError as error:
        return error


def answers(mechanism: _sasl.Mechanism, challenges: Sequence[bytes]) -> object:
    """Have *mechanism* answer one challenge after the other, as `auth` does."""
    try:
        said = [mechanism(challenge) for challenge in challenges]
        mechanism.check()
    except ExchangeError as error:
        return error
    return said


def answering(make: Callable[[], _sasl.Mechanism]) -> Callable[[bytes], object]:
    return lambda octets: answers(make(), [octets])


def scram(name: str) -> _sasl.Scram:
    pytest.importorskip("scramp")
    return _sasl.Scram(name, USER, SECRET)


SCRAM = ("SCRAM-SHA-1", "SCRAM-SHA-256")
MECHANISMS: dict[str, Callable[[], _sasl.Mechanism]] = {
    "PLAIN": lambda: _sasl.Plain(USER, SECRET),
    "LOGIN": lambda: _sasl.Login(USER, SECRET),
    "CRAM-MD5": lambda: _sasl.CramMD5(USER, SECRET),
    "XOAUTH2": lambda: _sasl.XOAuth2(USER, SECRET),
    "OAUTHBEARER": lambda: _sasl.OAuthBearer(USER, SECRET, "mail.example", 995),
    "EXTERNAL": lambda: _sasl.External(USER),
    "SCRAM-SHA-1": lambda: scram("SCRAM-SHA-1"),
    "SCRAM-SHA-256": lambda: scram("SCRAM-SHA-256"),
}

PARSERS: dict[str, Callable[[bytes], object]] = {
    "status": status,
    "strict status": strict_status,
    "continuation": _replies.is_continuation,
    "response code": _replies.response_code,
    "code in words": _replies.code_in_words,
    "error": error_of,
    "readable": _replies.readable,
    "STAT": stat,
    "CAPA": capabilities,
    "LIST": listing(parse_sizes),
    "UIDL": listing(parse_unique_ids),
    "time stamp": _replies.apop_timestamp,
    "challenge": challenge,
    **{name: answering(make) for name, make in MECHANISMS.items()},
}
every_parser = pytest.mark.parametrize("name", PARSERS)


@every_parser
@given(octets=octets)
def test_any_octets_give_a_value_or_an_error_of_ours(name: str, octets: bytes) -> None:
    PARSERS[name](octets)


@pytest.mark.parametrize("name", MECHANISMS)
@given(challenges=st.lists(octets, max_size=5))
def test_any_dialogue_gives_answers_or_an_error_of_ours(name: str, challenges: list[bytes]) -> None:
    answers(MECHANISMS[name](), challenges)


# A good first message of a SCRAM server, behind our nonce, and each of its parts spoiled.
GOOD = ("abc", "QSXCR+Q6sek8bf92", "4096", "")
SPOILS = (
    ("", "\xe9", "\0", "\U0001f4e7"),
    ("", "=", "\xe9", "A", "QQ", "====", "QQ==QQ=="),
    ("4095", "0", "-1", "1000001", "9" * 5000, "4_096", " 4096", "\u0664096", ""),
    (",", ",i=1", ",i=2000000000", ",m=x", ",e=other-error", ",x", ",=", ",,"),
)
FIRST_MESSAGES = [
    GOOD,
    *((*GOOD[:part], spoil, *GOOD[part + 1 :]) for part, spoils in enumerate(SPOILS) for spoil in spoils),
]
LAST_MESSAGES = (b"v=", b"v=\xc3\xa9", b"v=AAAA", b"e=", b"e=\xc3\xa9", b"v=A,v=A", b"x=1", b"v", b"", b",", b"\xff")


@pytest.mark.parametrize("name", SCRAM)
@pytest.mark.parametrize("first", FIRST_MESSAGES, ids=lambda first: ascii(first)[:60])
def test_a_scram_server_that_is_nearly_right_gets_an_error_of_ours(name: str, first: tuple[str, ...]) -> None:
    for last in LAST_MESSAGES:
        mechanism = scram(name)
        ours = (mechanism.initial or b"").decode().split("r=")[1]
        message = f"r={ours}{first[0]},s={first[1]},i={first[2]}{first[3]}"
        assert isinstance(answers(mechanism, [message.encode(), last]), ExchangeError)


@settings(max_examples=50)  # each costs 4,096 rounds of a hash
@given(last=octets)
def test_a_scram_server_may_end_with_anything(last: bytes) -> None:
    mechanism = scram("SCRAM-SHA-256")
    ours = (mechanism.initial or b"").decode().split("r=")[1]
    first = f"r={ours}abc,s=QSXCR+Q6sek8bf92,i=4096"
    assert isinstance(answers(mechanism, [first.encode(), last]), ExchangeError)


@given(octets=octets)
def test_what_is_shown_of_a_server_is_short_and_safe(octets: bytes) -> None:
    text = _replies.readable(octets)
    assert text.isprintable()
    assert CommandError(octets).explanation.isprintable()
    assert ProtocolError(octets).explanation.isprintable()


# What they cost.

LARGE = 40_000
# All inputs of this size together take a parser a second. One that tries again from each octet needs minutes for one of
# them, and pytest ends it.
ENORMOUS = 400_000

PREFIXES = (b"", b"+OK ", b"-ERR [", b"+ ", b"r=")
REPEATED = (
    *(b"<", b"<a@", b"a@", b"<a@b", b"[", b"]", b"-x [", b" ", b"\t", b"\0", b",", b"=", b"i=", b"i=1", b"r=a,", b"A"),
    *(b"a ", b"ab ", b"1 ", b"1\n", b"1 1\n", b"\n", b"\r", b"\x80", b"\xff", "\u202e".encode(), b"+OK ", b"-", b"9"),
    *(b"temporary ", b"too many ", b"service ", b"lock ", b"login ", b"time between ", b"mail "),
)


def repeated(prefix: bytes, part: bytes, size: int) -> bytes:
    return (prefix + part * (size // len(part)))[:size]


@every_parser
def test_time_is_linear_in_the_octets(name: str) -> None:
    parse = PARSERS[name]
    for prefix in PREFIXES:
        for part in REPEATED:
            parse(repeated(prefix, part, ENORMOUS))


# Of a list of capabilities, of three octets each: a line, a field and its text are Python objects of some fifty
# octets, and there are a list and a dictionary of them. That is why `capa` accepts no more than 64 KiB.
CAPABILITIES_MULTIPLE = 160
# Of scan listings: an entry of four octets, at the least, becomes a place in a dictionary and two objects.
LISTING_MULTIPLE = 60
# Of an answer to STAT: its fields, as poplib prints them too, which take some fifty octets each.
STAT_MULTIPLE = 24
# Of one line: the line once more as text of four octets a character, and what was made of it.
LINE_MULTIPLE = 12
# What a pattern, an exception or a hash costs once, however little it is about.
FIXED_OCTETS = 64 * 1024

MULTIPLES = {"CAPA": CAPABILITIES_MULTIPLE, "LIST": LISTING_MULTIPLE, "UIDL": LISTING_MULTIPLE, "STAT": STAT_MULTIPLE}


def peak(parse: Callable[[bytes], object], octets: bytes) -> int:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        value = parse(octets)
        highest = tracemalloc.get_traced_memory()[1] - before
        del value
    finally:
        tracemalloc.stop()
    return highest


def numbered(size: int) -> bytes:
    """Return a listing without two equal numbers."""
    entries = b"".join(b"%d 1\n" % number for number in range(size // 4))
    return entries[: entries.rindex(b"\n", 0, size) + 1]


@every_parser
def test_memory_is_no_more_than_a_multiple_of_the_octets(name: str) -> None:
    parse = PARSERS[name]
    most = MULTIPLES.get(name, LINE_MULTIPLE) * LARGE + FIXED_OCTETS
    parse(b"+OK")  # what is made once is made
    distinct = b" ".join(b"%x" % number for number in range(LARGE // 4))[:LARGE]
    inputs = [repeated(prefix, part, LARGE) for prefix in (b"", b"+ ") for part in REPEATED]
    for octets in (*inputs, distinct, distinct.replace(b" ", b"\n"), numbered(LARGE)):
        assert peak(parse, octets) <= most, octets[:40]


# The client as a whole.


def by_password(mechanism: str) -> Ask:
    return Ask(f"login by {mechanism}", lambda pop: pop.login(USER, SECRET, mechanism=mechanism))


def by_token(mechanism: str) -> Ask:
    return Ask(f"login by {mechanism}", lambda pop: pop.login(USER, token=SECRET, mechanism=mechanism))


WAYS = (
    *(by_password(name) for name in ("USER", "APOP", "PLAIN", "LOGIN", "CRAM-MD5", "EXTERNAL", *SCRAM)),
    *(by_token(name) for name in ("XOAUTH2", "OAUTHBEARER")),
    *ASKS,
)
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)

GREETING = b"+OK hello <1896.697170952@dbc.mtview.ca.us>\r\n"
OWN_REPLY = b"+OK the reply to NOOP"
# A server that wants more than there is to say is met with a short time-out; it is an answer like others.
TIMEOUT = 0.05
# What the server does say is waited for on the busiest machine.
PLENTY = 30

few_examples = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(GREETING) as server:
        yield server


def ask(way: Ask, pop: POP3) -> None:
    if "SCRAM" in way.name:
        pytest.importorskip("scramp")
    try:
        way.ask(pop)
    except (error_proto, OSError) as error:
        assert SECRET not in str(error)  # noqa: PT017 - both outcomes are good


@every_way
@few_examples
@given(said=octets)
def test_any_octets_and_the_end_are_a_value_or_an_error_of_ours_and_nothing_is_left_for_the_next(
    server: ScriptedServer, way: Ask, said: bytes
) -> None:
    server._replies = [Reply(said, then="fin")]
    with closing(connect(server)) as pop:
        ask(way, pop)
        # The server says nothing more. Whatever was an answer to this would be a left-over.
        with pytest.raises((error_proto, OSError)):
            pop.noop()


@every_way
@few_examples
@given(
    said=st.lists(st.one_of(line, line.map(lambda text: b"+ " + binascii.b2a_base64(text, newline=False))), max_size=5)
)
def test_any_lines_leave_the_connection_in_step_or_broken(server: ScriptedServer, way: Ask, said: list[bytes]) -> None:
    """Each command is answered by one line, whole; the client may want more than that, and gives up."""
    answers = iter(said)
    server._replies = lambda command: OWN_REPLY + b"\r\n" if command == b"NOOP" else next(answers, b"-ERR") + b"\r\n"
    with closing(connect(server, timeout=PLENTY)) as pop:
        pop.sock.settimeout(TIMEOUT)
        ask(way, pop)
        connection: socket.socket | None = pop.sock
        in_step = pop.in_step and connection is not None
        if connection is not None:
            connection.settimeout(PLENTY)
        try:
            response = pop.noop()
        except (error_proto, OSError):
            assert not in_step or way.name == "noop"
        else:
            assert way.name == "noop" or response == OWN_REPLY


@pytest.mark.filterwarnings("ignore::pop3fast.InsecureTLSWarning")
@few_examples
@given(greeting=octets, said=lines, scheme=st.sampled_from(["pop3", "pop3+plain", "pop3s"]))
def test_any_server_gives_connect_a_session_or_an_error_of_ours(
    server: ScriptedServer, greeting: bytes, said: list[bytes], scheme: str
) -> None:
    replies = iter([Reply(answer + b"\r\n") for answer in said])
    server._greeting = Reply(greeting, then="go on" if b"\n" in greeting else "fin")
    server._replies = lambda _: next(replies, Reply(b"-ERR", then="fin"))
    url = f"{scheme}://{USER}@{server.host}:{server.port}"
    try:
        pop3fast.connect(url, password=SECRET, context=unverified(), timeout=TIMEOUT).close()
    except (error_proto, OSError) as error:
        assert SECRET not in str(error)  # noqa: PT017 - both outcomes are good
