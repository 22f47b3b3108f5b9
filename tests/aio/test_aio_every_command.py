"""A command of the blocking client is one of the asyncio client too, and meets whatever a server does to it.

Owns no claim about a command; it reads both classes, and goes through the table of the blocking client's commands.
"""

import ast
import asyncio
import inspect
from pathlib import Path

import pytest

from aio.running import run, until, url_of
from asking import ASKS, PASSWORD, SILENT, USER, Ask
from pop3fast import POP3, ProtocolError, aio, error_proto
from scripted import Reply, ScriptedServer
from twins import Twin

COMMANDS = {name for name, _ in inspect.getmembers(POP3, callable) if not name.startswith("_")} - SILENT.keys()
OURS = {name for name, _ in inspect.getmembers(aio.POP3, callable) if not name.startswith("_")}

# Parameters that only poplib has.
NOT_ON_A_LOOP = {"stls": {"keyfile", "certfile"}}

GREETING = b"+OK <1896.697170952@dbc.mtview.ca.us>\r\n"


def test_both_clients_have_the_same_commands() -> None:
    assert COMMANDS | {"close", "getwelcome"} == OURS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_is_called_as_in_the_blocking_client(name: str) -> None:
    theirs = inspect.signature(getattr(POP3, name)).parameters
    ours = inspect.signature(getattr(aio.POP3, name)).parameters
    left_out = NOT_ON_A_LOOP.get(name, set())
    assert [(one.name, one.kind, one.default) for one in ours.values()] == [
        (one.name, one.kind, one.default) for one in theirs.values() if one.name not in left_out
    ]


@pytest.mark.parametrize("name", [*sorted(OURS), "__aenter__", "__aexit__", "in_step"])
def test_every_public_method_says_what_it_does(name: str) -> None:
    assert inspect.getdoc(getattr(aio.POP3, name))


@pytest.mark.parametrize("name", aio.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    assert inspect.getdoc(getattr(aio, name))


def test_every_command_has_its_types_checked() -> None:
    claims = Path(__file__).parent.parent / "typing" / "on_a_loop.py"
    named = {node.attr for node in ast.walk(ast.parse(claims.read_bytes())) if isinstance(node, ast.Attribute)}
    assert OURS - named == set()


every_way = pytest.mark.parametrize("way", ASKS, ids=lambda way: way.name)


@every_way
@pytest.mark.parametrize("reply", [Reply(then="fin"), Reply(then="rst"), Reply(b"what?\r\n"), Reply(b"+OK\0\r\n")])
def test_whatever_becomes_of_the_server_every_command_says_so_and_so_does_the_next(way: Ask, reply: Reply) -> None:
    with ScriptedServer(GREETING, lambda _: reply) as server:
        twin = Twin.of_server(server)
        with pytest.raises((error_proto, OSError)):
            way.ask(twin)  # type: ignore[arg-type]  # it has the same methods
        assert not twin.in_step
        with pytest.raises(ProtocolError):
            twin.noop()
        Twin.close_all()


@every_way
def test_every_command_says_that_the_connection_is_closed(way: Ask) -> None:
    with ScriptedServer(GREETING) as server:
        twin = Twin.of_server(server)
        twin.close()
        if way.name == "stls":  # which looks first whether there is TLS
            return
        with pytest.raises(ProtocolError, match="closed"):
            way.ask(twin)  # type: ignore[arg-type]  # as above
        Twin.close_all()
    assert server.commands == []


MANY = {"retr_many", "top_many", "retr_pieces"}
ARGUMENTS: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(("retr", "retr_bytes", "dele"), (1,)),
    **dict.fromkeys(("apop", "login"), (USER, PASSWORD)),
    **dict.fromkeys(("user", "rpop"), (USER,)),
    "top": (1, 0),
    "pass_": (PASSWORD,),
    "supports": ("TOP",),
    "auth": ("PLAIN", None, b"x"),
    "retr_into": (1, open),
    "dele_many": ([1],),
}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_that_waits_is_ended_by_a_close_of_another_task(name: str) -> None:
    async def main() -> None:
        with ScriptedServer(GREETING, lambda _: Reply(then="stall")) as server:
            pop = await aio.connect(url_of(server))

            async def ask() -> object:
                method = getattr(pop, name)(*ARGUMENTS.get(name, ()))
                return await anext(method) if name in MANY else await method

            task = asyncio.create_task(ask())
            await until(lambda: server.commands)
            await asyncio.gather(pop.close(), pop.close())
            with pytest.raises(ProtocolError, match="the connection is closed"):
                await task
            assert not pop.in_step

    run(main)
