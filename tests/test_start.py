"""What a command does before it speaks to a server: no more than it needs.

Counts, and looks at no clock.
"""

import argparse
import ssl

import pytest

from commandline import PASSWORD, Here, plain_url
from pop3fast.cli._arguments import make_parser
from pop3fast.cli._parser import Help
from pop3fast.testing import MailboxServer

ENV = {"POP3FAST_PASSWORD": PASSWORD}


@pytest.fixture
def contexts(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Give the files of certificates that contexts were made of; None are the system's, which take longest to read."""
    made: list[str | None] = []
    usual = ssl.create_default_context

    def counted(*, cafile: str | None = None) -> ssl.SSLContext:
        made.append(cafile)
        return usual(cafile=cafile)

    monkeypatch.setattr(ssl, "create_default_context", counted)
    return made


@pytest.mark.parametrize("command", [["fetch", "--to", "maildir:box"], ["list"], ["capa"]], ids=" ".join)
def test_no_certificates_are_read_where_there_is_no_tls(
    command: list[str], here: Here, contexts: list[str | None]
) -> None:
    with MailboxServer([b"x"], password=PASSWORD) as server:
        here(command[0], plain_url(server), *command[1:], env=ENV, status=0)
    assert contexts == []


@pytest.mark.parametrize("command", [["fetch", "--to", "maildir:box"], ["list"], ["capa"]], ids=" ".join)
def test_the_certificates_of_the_system_are_read_once(
    command: list[str], here: Here, contexts: list[str | None]
) -> None:
    with MailboxServer([b"x"], password=PASSWORD, tls=True) as server:
        url = f"pop3s://user@{server.host}:{server.port}"
        here(command[0], url, *command[1:], env={**ENV, "SSL_CERT_FILE": str(server.certificate)}, status=0)
    assert contexts == [None]


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (found,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return dict(found.choices)


@pytest.mark.parametrize("name", commands(make_parser()))
def test_a_command_is_described_alone_as_it_is_among_all(name: str) -> None:
    assert [*commands(make_parser(name))] == [name]
    assert commands(make_parser(name))[name].format_help() == commands(make_parser())[name].format_help()


@pytest.mark.parametrize("begins", ["", "--help", "fetsch"])
def test_all_commands_are_described_where_the_first_word_is_none(begins: str) -> None:
    assert commands(make_parser(begins)).keys() >= {"fetch", "list", "demo"}


@pytest.mark.parametrize("columns", [None, "", "0", "-3", "x", " 100 ", "132"])
def test_the_help_is_as_wide_as_that_of_other_programs(columns: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert Help("x")._width == argparse.HelpFormatter("x")._width
