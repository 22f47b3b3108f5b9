"""The same conversation through poplib and through pop3fast, in a form in which the two can be compared.

Owns connecting, logging in, and writing down what a command returned or refused.  It must never smooth a difference
over: what it leaves out of a comparison (the octets of a long message) is there as a digest.
"""

import contextlib
import hashlib
import poplib
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType

import pop3fast
from servers.base import Mailbox, RealServer

#: No reply takes a tenth of this; a server that has stopped answering must not use up the test's time-out.
TIMEOUT = 20.0

#: `(command, arguments, result)`, or the arguments of the error_proto in place of the result.
Outcome = tuple[str, tuple[object, ...], object]


@contextlib.contextmanager
def connected(library: ModuleType, server: RealServer, transport: str) -> Iterator[poplib.POP3]:
    """Give a connection before login; it is closed without QUIT if the block did not send one."""
    client: poplib.POP3
    if transport == "tls":
        client = library.POP3_SSL(server.host, server.tls_port, timeout=TIMEOUT, context=server.client_context())
    else:
        client = library.POP3(server.host, server.plain_port, timeout=TIMEOUT)
    try:
        if transport == "stls":
            client.stls(server.client_context())
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def logged_in(
    library: ModuleType, server: RealServer, transport: str, mailbox: Mailbox | None = None
) -> Iterator[poplib.POP3]:
    """Give a connection that is logged in to `mailbox`, or to the server's first one."""
    mailbox = mailbox or server.mailbox
    with connected(library, server, transport) as client:
        client.user(mailbox.user)
        client.pass_(mailbox.password)
        yield client


def outcome(client: poplib.POP3, command: str, *arguments: object) -> Outcome:
    """Give what a command returned or refused, in a form that compares equal between the libraries."""
    try:
        result: object = getattr(client, command)(*arguments)
    except poplib.error_proto as error:
        result = ("error_proto", error.args)
    return command, arguments, result


def outcomes(client: poplib.POP3, commands: Sequence[tuple[object, ...]]) -> list[Outcome]:
    """Give the outcome of each `(command, *arguments)`, in order."""
    return [outcome(client, str(command), *arguments) for command, *arguments in commands]


def fingerprint(reply: tuple[bytes, list[bytes], int]) -> tuple[object, ...]:
    """Give what must be equal of a long reply, short enough to be read in a failure: the digest is of the lines."""
    response, lines, octets = reply
    return response, len(lines), octets, hashlib.sha256(b"\n".join(lines)).hexdigest()


def numbers_of(client: poplib.POP3) -> range:
    """Give the message numbers of a mailbox with no message deleted."""
    return range(1, client.stat()[0] + 1)


def assert_same(
    server: RealServer,
    transport: str,
    script: Callable[[poplib.POP3], object],
    mailbox: Mailbox | None = None,
    ours: ModuleType = pop3fast,
) -> None:
    """Assert that a script gives through pop3fast what it has just given through poplib."""
    with logged_in(poplib, server, transport, mailbox) as client:
        expected = script(client)
        client.quit()
    with logged_in(ours, server, transport, mailbox) as client:
        assert script(client) == expected
        client.quit()
