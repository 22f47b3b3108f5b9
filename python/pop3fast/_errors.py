"""The exceptions, and what each of them means for the connection.

::

    poplib.error_proto  (= pop3fast.error_proto)
    +-- CommandError            the server said -ERR; the session goes on
    |   +-- AuthenticationError     it said so to a login
    +-- ProtocolError           the conversation cannot be trusted any more; the connection is broken
        +-- ConnectionLost          the server hung up before its reply was whole
        +-- LimitExceeded           a reply passed a limit

Socket, TLS and time-out errors (``OSError``, ``ssl.SSLError``, ``TimeoutError``) are not wrapped; they leave the
connection broken too. Owns the classes, and what an error says to a person: ``args`` and ``repr()`` are poplib's,
``str()`` is a sentence whose every character a terminal may be given. No exception ever holds a command's arguments:
they may be secrets.
"""

import poplib

from pop3fast._replies import TEMPORARY_CODES, code_in_words, readable, response_code

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
        """The response code, in upper case and without its brackets, as ``IN-USE`` (RFC 2449 section 8, RFC 3206).

        Where the server sent none, and says in words that the maildrop is locked, that a login comes too early or that
        it is busy, the code that means so.
        """
        return response_code(self.response) or code_in_words(self.response)

    @property
    def temporary(self) -> bool:
        """Whether the response code says that the same command may succeed later."""
        return self.code in TEMPORARY_CODES

    def __str__(self) -> str:
        about = self.command if self.number is None else f"{self.command} {self.number}"
        said = readable(self.response)
        return f"{about}: {said}" if about else said

    def __reduce__(self) -> tuple[type["CommandError"], tuple[bytes], dict[str, object]]:
        """Pickle all there is; ``args``, which must be poplib's, holds one argument."""
        return type(self), (self.response,), self.__dict__


class AuthenticationError(CommandError):
    """The server refused a login. The connection is in step."""


class ProtocolError(error_proto):
    """The conversation cannot be trusted any more: the connection is broken, and only ``close()`` is left."""

    def __str__(self) -> str:
        said = self.args[0] if len(self.args) == 1 else None
        return f"no POP3 reply: {readable(said)!r}" if isinstance(said, bytes) else super().__str__()


class ConnectionLost(ProtocolError):  # noqa: N818 - a public name that says what happened
    """The server hung up before its reply was whole."""


class LimitExceeded(ProtocolError):  # noqa: N818 - a public name that says what happened
    """A reply passed a limit: ``_MAXLINE`` for a line, ``POP3.max_octets`` for a multi-line response."""


class InsecureTLSWarning(UserWarning):
    """TLS without a context verifies neither certificate nor host name. That is what poplib does."""
