"""The code blocks of the README and of the documentation run as they stand, against an embedded server.

It takes the place of mail.example.org. Python, commands and the configuration alike; a `pass`, an `oauth2-token` and
programs that take mail are there for the commands to call.
"""

import inspect
import io
import os
import re
import shlex
import socket
import sqlite3
import ssl
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pop3fast
import pop3fast.fetch
from pop3fast.cli import main
from pop3fast.cli._config import read_config
from pop3fast.testing import MailboxServer
from socks5 import socks_proxy

ROOT = Path(__file__).parent.parent
PAGES = {
    path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}


def blocks(language: str, page: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)


BLOCKS = {f"{page}-{number}": block for page in PAGES for number, block in enumerate(blocks("python", page), 1)}
# What ends with a backslash goes on in the next line.
LINES = [line for page in PAGES for block in blocks("sh", page) for line in block.replace("\\\n", " ").splitlines()]
# What is installed, is installed from the index, where a test does not go.
COMMANDS = [line for line in LINES if not line.startswith("pip install ")]
MESSAGES = [
    f"From: {name}@example.org\r\nSubject: from {name}\r\n\r\nText.\r\n".encode() for name in ("ada", "bob", "cyd")
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MailboxServer]:
    """Send every connection to a server with TLS, whose certificate is the one that is trusted, or to a proxy."""
    with (
        MailboxServer(MESSAGES, tls=True, token="token") as server,
        socks_proxy({("mail.example.org", 995): server.address}) as (proxy, _),
    ):
        elsewhere = {("mail.example.org", 995): server.address, ("proxy.example.org", 1080): proxy}
        connect, resolve = socket.create_connection, socket.getaddrinfo
        context = server.client_context
        context.check_hostname = False  # it is not mail.example.org, whatever the README says
        monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: context)

        def connect_here(address: tuple[str, int], *rest: Any, **more: Any) -> socket.socket:  # noqa: ANN401
            return connect(elsewhere.get(address, address), *rest, **more)

        def resolve_here(host: str, port: int, *rest: Any, **more: Any) -> list[Any]:  # noqa: ANN401
            return [*resolve(*elsewhere.get((host, port), (host, port)), *rest, **more)]

        monkeypatch.setattr(socket, "create_connection", connect_here)
        monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        yield server


def run(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(block, "README", "exec"), names)  # noqa: S102 - what a reader is asked to do
    return names


def recipe(name: str) -> Callable[..., Any]:
    (block,) = [block for block in BLOCKS.values() if f"def {name}(" in block]
    function: Callable[..., Any] = run(block)[name]
    return function


def logged_in(server: MailboxServer) -> pop3fast.POP3:
    pop = pop3fast.POP3_SSL(server.host, server.port, context=server.client_context)
    pop.user("user")
    pop.pass_("password")
    return pop


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_each_block_runs(server: MailboxServer, block: str) -> None:
    run(block)
    if "mail.example.org" in block:
        assert server.commands[-1] == b"QUIT"


@pytest.mark.parametrize("function", [pop3fast.connect, pop3fast.fetch.fetch_mailbox], ids=lambda one: one.__name__)
def test_each_example_of_a_docstring_runs(server: MailboxServer, function: Callable[..., Any]) -> None:
    example = (inspect.getdoc(function) or "").partition("Example::")[2]
    run(f"import pop3fast\n{textwrap.dedent(example)}")
    assert server.commands[-1] == b"QUIT"


def test_the_class_of_ones_own_has_one_database_for_all_sessions_and_closes_it(
    server: MailboxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[sqlite3.Connection] = []

    class Counted(sqlite3.Connection):
        def __init__(self, *given: Any, **more: Any) -> None:  # noqa: ANN401
            super().__init__(*given, **more)
            opened.append(self)

    (block,) = [block for block in BLOCKS.values() if "class Tickets" in block]
    block = block.replace("isolation_level=None", "isolation_level=None, factory=Counted")
    block = block.replace("delete=True", "delete=True, checkpoint_messages=1")
    monkeypatch.setattr("builtins.Counted", Counted, raising=False)
    run(block)
    assert server.deleted == [1, 2, 3]
    (database,) = opened
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.execute("SELECT 1")


def test_the_blocks_are_there() -> None:
    assert len(blocks("python", "README")) >= 4
    assert len(BLOCKS) >= 16
    assert blocks("python", "README")[0] == "import pop3fast as poplib\n"


@pytest.mark.usefixtures("server")
def test_the_second_block_retrieves_what_poplib_would() -> None:
    names = run(BLOCKS["README-2"])
    assert names["messages"] == len(MESSAGES)
    assert b"\r\n".join([*names["lines"], b""]) == MESSAGES[-1]


def test_the_loop_shows_every_subject(server: MailboxServer, capsys: pytest.CaptureFixture[str]) -> None:
    block, *_ = [block for block in BLOCKS.values() if "in pop.retr_many():\n        print" in block]
    run(block)
    assert [line.split(maxsplit=2)[2] for line in capsys.readouterr().out.splitlines()] == [
        "from ada",
        "from bob",
        "from cyd",
    ]
    assert server.commands.count(b"RETR 2") == 1


def test_recipe_new_messages_only(server: MailboxServer) -> None:
    with logged_in(server) as pop:
        seen = {pop.uids()[2]}
        fetch_new = recipe("fetch_new")
        assert [message.number for message in fetch_new(pop, seen)] == [1, 3]
        assert seen == set(pop.uids().values())
        assert list(fetch_new(pop, seen)) == []


def test_recipe_delete_what_was_processed(server: MailboxServer) -> None:
    processed: list[bytes] = []
    with logged_in(server) as pop:
        assert recipe("process_and_delete")(pop, lambda message: processed.append(message.content)) == len(MESSAGES)
    assert processed == MESSAGES
    assert server.deleted == [1, 2, 3]


def test_recipe_delete_nothing_when_processing_fails(server: MailboxServer) -> None:
    with pytest.raises(ZeroDivisionError), logged_in(server) as pop:
        recipe("process_and_delete")(pop, lambda message: 1 // (message.number - 2))
    assert server.deleted == []


def test_recipe_messages_of_any_size(server: MailboxServer) -> None:
    files: dict[str, io.BytesIO] = {}
    written: list[bytes] = []

    class File(io.BytesIO):
        def close(self) -> None:
            written.append(self.getvalue())
            super().close()

    def open_file(uid: str) -> io.BytesIO:
        return files.setdefault(uid, File())

    with logged_in(server) as pop:
        recipe("archive")(pop, open_file)
        assert set(files) == set(pop.uids().values())
        assert written == [one.content for one in pop.retr_many()]
    assert all(file.closed for file in files.values())


def test_recipe_headers_first(server: MailboxServer) -> None:
    with logged_in(server) as pop:
        assert [message.content for message in recipe("from_sender")(pop, "bob")] == [MESSAGES[1]]
    assert b"RETR 1" not in server.commands


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a home with what other programs remember, and commands that print secrets."""
    for path, content in (
        (".mpop_uidls/user_at_mail.example.org", " 1 mail.example.org user\nuid00000001\n"),
        (".getmail/oldmail-mail.example.org-995-user", "uid00000001\x001700000000\n"),
        (".fetchids", "user@mail.example.org uid00000001\n"),
        ("bin/pass", "#!/bin/sh\necho password\n"),
        ("bin/oauth2-token", "#!/bin/sh\necho token\n"),
        *(
            (f"bin/{program}", "#!/bin/sh\nexec cat > /dev/null\n")
            for program in ("procmail", "maildrop", "dovecot-lda", "rspamc", "spam-check")
        ),
    ):
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(content, encoding="utf-8")
        file.chmod(0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("POP3FAST_PASSWORD", "password")
    return tmp_path


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_does_its_work(
    server: MailboxServer, home: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *arguments = shlex.split(line, comments=True)
    assert program == "pop3fast"
    assert main([argument.replace("~", str(home)) for argument in arguments]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert server.commands[-1] == b"QUIT"
    if "--import-seen" in arguments:
        assert "2 messages fetched" in said.out
    elif arguments[0] == "fetch":
        assert "3 messages" in said.out


def test_the_commands_are_there() -> None:
    assert {line.split()[1] for line in COMMANDS} == {"fetch", "list", "show", "capa"}


@pytest.mark.usefixtures("server")
def test_the_configuration_works_in_a_home_that_has_nothing_yet(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks("toml", "command")
    path = home / ".config/pop3fast/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(block.replace("other@", "user@"), encoding="utf-8")  # the server has one user
    assert read_config(str(path)).keys() == {"work", "archive"}
    assert (main(["fetch", "work"]), main(["fetch", "--all"])) == (0, 0)
    assert capsys.readouterr().err == ""
    assert len(list((home / "Mail/new").iterdir())) == 3
    assert (home / "archive").read_bytes().count(b"\nFrom: ") == 3


@pytest.mark.parametrize("command", ["fetch", "list", "capa"])
def test_every_option_is_in_the_documentation(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    options = set(re.findall(r"^  (?:-\w, )?(--[\w-]+)", capsys.readouterr().out, re.MULTILINE))
    shown = set(re.findall(r"--[\w-]+", PAGES["command"]))
    assert options - shown == {"--help"} | ({"--quiet", "--verbose"} & options)


def test_each_promise_has_invariants_or_tests_and_they_are_there() -> None:
    tests = Path(__file__).parent
    simulation = tests / "simulation"
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (simulation / "README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    heading, *rows = rows
    assert heading[0] == "Promise"
    promised = PAGES["guarantees"].partition("What these sentences cannot mean")[0]
    assert [row[0] for row in rows] == re.findall(r"^- \*\*(.*?)\*\*", promised, re.MULTILINE)
    invariants = set(re.findall(r"def (\w+)", (simulation / "promises.py").read_text(encoding="utf-8")))
    there = {
        name
        for path in tests.glob("test_*.py")
        for name in re.findall(r"^def (\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    for promise, checked, shown in rows:
        assert re.findall(r"`(\w+)`", shown), promise
        assert invariants >= set(re.findall(r"`(\w+)`", checked)), promise
        assert there >= set(re.findall(r"`(\w+)`", shown)), promise
