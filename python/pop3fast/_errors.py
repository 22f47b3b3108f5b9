"""The exceptions, and what each of them means for the connection.

::

    poplib.error_proto  (= pop3fast.error_proto)
    +-- CommandError            the server said -ERR; the session goes on
    |   +-- AuthenticationError     it said so to a login
    +-- ProtocolError           the conversation cannot be trusted any more; the connection is broken
        +-- ConnectionLost          the server hung up before its reply was whole
        +-- LimitExceeded           a reply passed a limit

Socket, TLS and time-out errors (``OSError``, ``ssl.SSLError``, ``TimeoutError``) are not wrapped; they leave the
connection broken too. Owns the classes and nothing else. No exception ever holds a command's arguments: they may
be secrets.
"""

import poplib

from pop3fast._replies import TEMPORARY_CODES, response_code

error_proto = poplib.error_proto


class CommandError(error_proto):
    """The server answered -ERR. The connection is in step: further commands may be given.

    ``args`` is ``(response,)``, as poplib's.
    """

    response: bytes
    """The status line, without its line end."""
    command: str
    """The verb of the command that was refused; empty for the greeting and where it is not known."""
    number: int | None
    """The message number the command was about, if it was about one."""

    def __init__(self, response: bytes, command: str = "", number: int | None = None) -> None:
        """Keep the server's *response* line, the *command*'s verb and the message *number* it was about."""
        super().__init__(response)
        self.response = response
        self.command = command
        self.number = number

    @property
    def code(self) -> str | None:
        """The response code, in upper case and without its brackets, as ``IN-USE`` (RFC 2449 section 8, RFC 3206)."""
        return response_code(self.response)

    @property
    def temporary(self) -> bool:
        """Whether the response code says that the same command may succeed later."""
        return self.code in TEMPORARY_CODES

    def __reduce__(self) -> tuple[type["CommandError"], tuple[bytes, str, int | None]]:
        """Pickle all three arguments; ``args``, which must be poplib's, holds one."""
        return type(self), (self.response, self.command, self.number)


class AuthenticationError(CommandError):
    """The server refused a login. The connection is in step."""


class ProtocolError(error_proto):
    """The conversation cannot be trusted any more: the connection is broken, and only ``close()`` is left."""


class ConnectionLost(ProtocolError):  # noqa: N818 - a public name that says what happened
    """The server hung up before its reply was whole."""


class LimitExceeded(ProtocolError):  # noqa: N818 - a public name that says what happened
    """A reply passed a limit: ``_MAXLINE`` for a line, ``POP3.max_octets`` for a multi-line response."""


class InsecureTLSWarning(UserWarning):
    """TLS without a context verifies neither certificate nor host name. That is what poplib does."""
