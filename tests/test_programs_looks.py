"""What programs, debuggers and people see when they look at the module, the classes and a connection without asking it.

Looking sends nothing, and shows what is public and nothing else.
"""

import inspect
import pickle
import poplib
import pydoc
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import ModuleType
from unittest import mock

import pytest

import pop3fast
from pop3fast import POP3, POP3_SSL, ProtocolError
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer
from shapes import GREETING, connect

CLASSES = [kind for kind in vars(pop3fast).values() if isinstance(kind, type)]
every_class = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


def test_every_public_class_is_looked_at() -> None:
    assert {POP3, POP3_SSL, pop3fast.Message, pop3fast.ConnectionLost, pop3fast.InsecureTLSWarning} <= set(CLASSES)


@contextmanager
def connected() -> Iterator[tuple[ScriptedServer, POP3]]:
    with ScriptedServer(GREETING, lambda _: b"-ERR no\r\n") as server, closing(connect(server)) as pop:
        yield server, pop


# Looking asks nobody.

LOOKS: dict[str, Callable[[POP3], object]] = {
    "getmembers": inspect.getmembers,
    "getmembers_static": lambda pop: inspect.getmembers(pop, inspect.ismethod),
    "autospec": mock.create_autospec,
    "autospec as instance": lambda pop: mock.create_autospec(pop, instance=True),
    "hasattr": lambda pop: [hasattr(pop, name) for name in [*dir(pop), "no_such_name"]],
    "repr": repr,
    "help": pydoc.render_doc,
    "the file": lambda pop: inspect.getmembers(pop.file),
    "patch": lambda pop: mock.patch.object(pop, "retr", autospec=True).start(),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_looking_at_a_connection_sends_nothing_and_leaves_it_in_step(look: Callable[[POP3], object]) -> None:
    with connected() as (server, pop):
        before = set(vars(pop))
        look(pop)
        mock.patch.stopall()
        assert server.received == b""
        with pytest.raises(pop3fast.CommandError):
            pop.noop()
        assert server.commands == [b"NOOP"]
        assert set(vars(pop)) == before


# Names.


@every_class
def test_a_class_shows_under_its_public_name_and_is_pickled_by_it(kind: type) -> None:
    assert getattr(sys.modules[kind.__module__], kind.__qualname__) is kind
    assert kind.__module__ in {"pop3fast", "poplib"}
    assert pickle.loads(pickle.dumps(kind)) is kind  # noqa: S301 - our own


def test_a_traceback_names_an_exception_as_a_program_writes_it() -> None:
    program = "import pop3fast; raise pop3fast.ConnectionLost('-ERR EOF')"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert ran.stderr.splitlines()[-1] == "pop3fast.ConnectionLost: -ERR EOF"


@pytest.mark.parametrize("module", ["pop3fast", "poplib"])
def test_a_star_gives_poplibs_names_and_no_others(module: str) -> None:
    program = (
        "import poplib; theirs = poplib.__all__\n"
        "import pop3fast; pop3fast.install_as_poplib(); before = set(globals()) | {'before'}\n"
        f"from {module} import *\n"
        "assert set(globals()) - before == set(theirs), set(globals()) - before\n"
        "assert POP3 is pop3fast.POP3 and POP3_SSL is pop3fast.POP3_SSL\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert ran.stderr == ""


@pytest.mark.parametrize("kind", [POP3, POP3_SSL])
def test_completion_shows_poplibs_names_and_those_that_are_public(kind: type[POP3]) -> None:
    ours = set(dir(kind)) - set(dir(poplib.POP3_SSL)) - set(dir(object))
    documented = {name for name in ours if inspect.getdoc(getattr(kind, name))}
    # Two are poplib's instance attributes, one is where all of ours is.
    assert {name for name in ours if name.startswith("_") and not name.startswith("__")} == {
        "_debugging",
        "_pop3fast",
        "_tls_established",
    }
    assert {name for name in ours - documented if not name.startswith("_")} <= {"max_octets"}


def shown_help(thing: type | ModuleType) -> str:
    return pydoc.plain(pydoc.render_doc(thing))


@pytest.mark.parametrize("thing", [pop3fast, *CLASSES], ids=lambda thing: thing.__name__)
def test_help_shows_no_object_that_says_nothing(thing: type | ModuleType) -> None:
    text = shown_help(thing)
    assert "<object object" not in text
    assert not thing.__module__.startswith("pop3fast._") if isinstance(thing, type) else "POP3_SSL" in text


def test_help_shows_the_default_time_out_by_its_meaning() -> None:
    for kind in (POP3, POP3_SSL):
        assert "timeout: float | None = <global default>" in shown_help(kind)


def test_who_makes_the_socket_gets_pythons_own_mark_for_the_default_time_out() -> None:
    given: list[object] = []

    class Mine(POP3):
        def _create_socket(self, timeout: float | None) -> object:  # type: ignore[override]
            given.append(timeout)
            raise ConnectionRefusedError

    for arguments in ((), (7,), (None,)):
        with pytest.raises(ConnectionRefusedError):
            Mine("pop.example", 110, *arguments)
    assert given == [pop3fast.socket._GLOBAL_DEFAULT_TIMEOUT, 7, None]  # type: ignore[attr-defined]


# A connection says what it is.


def test_a_connection_says_where_it_goes_as_whom_and_whether_it_can_be_used() -> None:
    with MailboxServer([b"x\r\n"], tls=True) as server:
        pop = POP3_SSL(*server.address, context=server.client_context)
        address = f"127.0.0.1:{server.port}"
        assert repr(pop) == f"<pop3fast.POP3_SSL {address}, TLS, in step>"
        pop.login("user", "password")
        assert repr(pop) == f"<pop3fast.POP3_SSL {address}, TLS, user user, in step>"
        pop.quit()
        assert repr(pop) == f"<pop3fast.POP3_SSL {address}, TLS, user user, closed>"


def test_a_broken_connection_says_why_and_never_what_is_secret() -> None:
    with ScriptedServer(GREETING, [b"+OK\r\n", Reply(b"", then="fin")]) as server, closing(connect(server)) as pop:
        pop.user("alice")
        with pytest.raises(pop3fast.ConnectionLost):
            pop.pass_("tanstaaf")
        assert repr(pop) == f"<pop3fast.POP3 127.0.0.1:{server.port}, no TLS, user alice, broken: -ERR EOF>"


def test_a_connection_says_that_it_is_in_use() -> None:
    seen: list[str] = []

    class Curious(POP3):
        def _putline(self, line: bytes) -> None:
            seen.append(repr(self))
            super()._putline(line)

    with ScriptedServer(GREETING, [b"+OK\r\n"]) as server, closing(Curious(*server.address, 5)) as pop:
        pop.noop()
    assert ", in use>" in seen[0]
    assert "Curious" in seen[0]


def test_a_subclass_that_has_nothing_yet_can_be_looked_at() -> None:
    class Later(POP3):
        def __init__(self) -> None:  # connects when it is asked for something
            pass

    assert "?:?" in repr(Later())
    with pytest.raises((ProtocolError, AttributeError)):
        Later().noop()
