"""The exceptions, and what each of them means for the connection.

::

    poplib.error_proto  (= pop3fast.error_proto)
    +-- CommandError            the server said -ERR; the session goes on
    |   +-- AuthenticationError     it said so to a login
    +-- ProtocolError           the conversation cannot be trusted any more; the connection is broken
        +-- ConnectionLost          the server hung up before its reply was whole
        +-- LimitExceeded           a reply passed a limit
        +-- ConnectionBusy          the connection is another thread's or process's; nothing was sent

Socket, TLS and time-out errors (``OSError``, ``ssl.SSLError``, ``TimeoutError``) are not wrapped; they leave the
connection broken too. Owns the classes, and what an error says to a person: ``args`` and ``repr()`` are poplib's,
``str()`` is a sentence whose every character a terminal may be given. No exception ever holds a command's arguments:
they may be secrets.
"""

import poplib

from pop3fast._replies import TEMPORARY_CODES, code_in_words, readable, response_code

error_proto = poplib.error_proto

# poplib's own words, which programs compare ``args`` with.
_EOF = "-ERR EOF"


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
    where: str = ""
    """Host, port and step, for an error of `connect`."""

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
        return ": ".join(filter(None, (self.where, about, readable(self.response))))

    def __reduce__(self) -> tuple[type["CommandError"], tuple[bytes], dict[str, object]]:
        """Pickle all there is; ``args``, which must be poplib's, holds one argument."""
        return type(self), (self.response,), self.__dict__


class AuthenticationError(CommandError):
    """The server refused a login, or did not prove itself to us. The connection is in step, but for the latter."""

    reason: str = ""
    """What is known besides the response, for a person: what the server said about an OAuth token, why the client broke
    the exchange off."""

    def __str__(self) -> str:
        return f"{super().__str__()} ({self.reason})" if self.reason else super().__str__()


class ProtocolError(error_proto):
    """The conversation cannot be trusted any more: the connection is broken, and only ``close()`` is left."""

    where: str = ""
    """Host, port and step, for an error of `connect`."""
    during: str = ""
    """The verb of the command whose reply was awaited."""

    def __str__(self) -> str:
        said = self.args[0] if len(self.args) == 1 else None
        text = f"no POP3 reply: {readable(said)!r}" if isinstance(said, bytes) else super().__str__()
        return f"{self.where}: {text}" if self.where else text


class ConnectionLost(ProtocolError):  # noqa: N818 - a public name that says what happened
    """The server hung up before its reply was whole. ``args`` are poplib's."""

    def __str__(self) -> str:
        text = super().__str__()
        if self.args != (_EOF,):
            return text
        awaited = f" before its reply to {self.during} was whole" if self.during else ""
        return f"{text}: the server hung up{awaited}"


class LimitExceeded(ProtocolError):  # noqa: N818 - a public name that says what happened
    """A reply passed a limit: ``_MAXLINE`` for a line, ``POP3.max_octets`` for a multi-line response."""


class ConnectionBusy(ProtocolError, RuntimeError):  # noqa: N818 - a public name that says what happened
    """Another thread waits for a reply on this connection, or another process owns it. Nothing was sent.

    The connection is not broken but theirs: it is lost for the one who gets this error.
    """


class InsecureTLSWarning(UserWarning):
    """TLS without a context verifies neither certificate nor host name. That is what poplib does."""
