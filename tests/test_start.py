"""What a command does before it speaks to a server: no more than it needs.

Counts, and looks at no clock.
"""

import ssl

import pytest

from commandline import PASSWORD, Here, plain_url
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
