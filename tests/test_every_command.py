"""A new command meets every table: hostile servers, cuts, deadlines, secrets, threads and forks, types.

Owns no claim about a command; it reads the class and the tables of the other tests, and says what is missing where.
"""

import ast
import inspect
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path

import pytest

import shapes
import test_deadline
import test_hostile
import test_secrets
import test_secrets_login
from asking import ASKS, SILENT, Spy
from pop3fast import POP3, aio, error_proto
from pop3fast._commands import VERBS, verb_of
from scripted import ScriptedServer

CALLED = frozenset(name for name, _ in inspect.getmembers(POP3, callable) if not name.startswith("_"))
COMMANDS = CALLED - SILENT.keys()

# Words by which a parameter is known as one that takes a secret, or something that gives one.
SECRET_PARAMETERS = frozenset({"pswd", "password", "secret", "token", "authobject", "initial_response"})


def called(asks: Iterable[Callable[[POP3], object]]) -> set[str]:
    """Return which public methods *asks* call."""
    spy = Spy()
    for ask in asks:
        ask(spy)  # type: ignore[arg-type] # a stand-in
    return {name for name in spy.called if not name.startswith("_")}


def parameters(name: str) -> set[str]:
    return set(inspect.signature(getattr(POP3, name)).parameters)


# What the asyncio client has not, and why.
BLOCKING_ALONE = {
    "set_debuglevel": "poplib's, of which the asyncio client has nothing but the results",
    "encoding": "likewise",
    "timestamp": "likewise",
    "read_ahead": "for programs that cannot be changed",
}


def test_both_clients_have_the_same_names_with_the_same_parameters() -> None:
    blocking, awaited = ({name for name in dir(cls) if not name.startswith("_")} for cls in (POP3, aio.POP3))
    assert blocking - awaited == BLOCKING_ALONE.keys()
    assert awaited <= blocking
    for name in awaited & CALLED:
        assert parameters(name) == set(inspect.signature(getattr(aio.POP3, name)).parameters), name


def test_every_command_is_listed() -> None:
    assert called(way.ask for way in ASKS) == COMMANDS
    assert SILENT.keys() <= CALLED


def test_a_way_is_named_for_its_method() -> None:
    for way in ASKS:
        assert called([way.ask]) == {way.name.split(",")[0].removesuffix(" of one")}, way.name
    assert len({way.name for way in ASKS}) == len(ASKS)


def test_every_verb_that_is_sent_has_its_row_in_the_table() -> None:
    """Without one it is shown to nobody, and alone in flight."""

    def reply(command: bytes) -> bytes:
        verb = command.split(b" ")[0]
        answers = {b"CAPA": b"+OK\r\nSTLS\r\n.\r\n", b"AUTH": b"+ \r\n", b"USER": b"+OK\r\n"}
        return answers.get(verb, b"-ERR no\r\n")

    sent: set[str] = set()
    for way in ASKS:
        with ScriptedServer(b"+OK <1@x.example>\r\n", reply) as server, closing(shapes.connect(server)) as pop:
            with suppress(error_proto, OSError, ValueError):
                way.ask(pop)
            commands = [command.decode() for command in server.commands]
        answers = {commands[number + 1] for number, line in enumerate(commands[:-1]) if line.startswith("AUTH ")}
        sent |= {verb_of(line) for line in commands if line not in answers and line != "*"}
    assert sent <= VERBS.keys()
    # The others are a program's own.
    assert VERBS.keys() - sent == {"LANG", "XTND"}


def test_every_command_meets_hostile_servers() -> None:
    assert called(way.ask for way in test_hostile.WAYS) == COMMANDS


NOT_CUT = {
    "supports": "asks what capabilities asks",
    "capabilities": "asks what capa asks",
    "uids_and_sizes": "has two replies, each cut in test_listings",
    "apop": "wants a time stamp in the greeting; its reply is like PASS's",
    "stls": "is cut in test_stls, with the handshake",
    "quit": "closes however it ends, as test_client says",
}


def test_every_commands_reply_is_cut_at_every_octet() -> None:
    assert called(shape.ask for shape in shapes.SHAPES) == COMMANDS - NOT_CUT.keys()


def test_every_command_that_takes_a_deadline_is_held_to_it() -> None:
    takes = {name for name in COMMANDS if "deadline" in parameters(name)}
    assert called(test_deadline.WITH_DEADLINE.values()) == takes


def test_every_command_that_is_given_a_secret_is_watched() -> None:
    given = {name for name in COMMANDS if SECRET_PARAMETERS & parameters(name)}
    watched = called(
        perform
        for perform in (
            *(login.perform for login in test_secrets.LOGINS),
            *(way.perform for way in test_secrets_login.WAYS),
        )
    )
    assert given <= watched
    assert {"pass_", "apop", "auth", "login"} <= given


def test_every_command_has_its_types_checked() -> None:
    drop_in = Path(__file__).parent / "typing" / "drop_in.py"
    named = {node.attr for node in ast.walk(ast.parse(drop_in.read_bytes())) if isinstance(node, ast.Attribute)}
    assert CALLED - named == set()


@pytest.mark.parametrize("name", sorted(CALLED))
def test_every_public_method_says_what_it_does(name: str) -> None:
    assert inspect.getdoc(getattr(POP3, name)), name
