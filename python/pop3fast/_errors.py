"""The exceptions, and what each of them means for the connection.

::

    poplib.error_proto  (= pop3fast.error_proto)
    +-- CommandError            the server said -ERR; the session goes on
    |   +-- AuthenticationError     it said so to a login
    +-- ProtocolError           the conversation cannot be trusted any more; the connection is broken
        +-- ConnectionLost          the server hung up before its reply was whole
        +-- LimitExceeded           a reply passed a limit
        +-- ConnectionBusy          the connection is another thread's or process's; nothing was sent
        +-- ConnectionBroken        an OSError broke the connection before (also an OSError)
            +-- ConnectionTimedOut      it was a time-out (also a TimeoutError)

Socket, TLS and time-out errors (``OSError``, ``ssl.SSLError``, ``TimeoutError``) are not wrapped; they leave the
connection broken too, and what is asked of it afterwards raises a `ProtocolError` that is an ``OSError`` as well.

Owns the classes, and what an error says to a person. ``args``, ``str()`` and ``repr()`` are poplib's, because programs
compare them; what a person wants to know besides is in the notes that a traceback shows, and with all the rest in
``explanation``, a sentence whose every character a terminal may be given. Every class takes any arguments, as poplib's
does. No exception ever holds a command's arguments: they may be secrets.
"""

import poplib

from pop3fast._framing import FramingError, FramingLimitError
from pop3fast._replies import TEMPORARY_CODES, code_in_words, counted, printable, readable, response_code

error_proto = poplib.error_proto

EOF = "-ERR EOF"
"""What a connection that ended says: poplib's own words, which programs compare with."""


class CommandError(error_proto):
    """The server answered -ERR. The connection is in step: further commands may be given.

    ``args`` is ``(response,)``, as poplib's.
    """

    __module__ = "pop3fast"

    response: bytes
    """The status line, without its line end; empty where the error was made of anything else."""
    command: str
    """The verb of the command that was refused; empty for the greeting and where it is not known."""
    number: int | None
    """The message number the command was about, if it was about one."""
    where: str = ""
    """Host, port and step, for an error of `connect`."""

    def __init__(self, *args: object, command: str = "", number: int | None = None) -> None:
        """Keep *args*, of which the server's response is the first, the *command*'s verb and a message's *number*."""
        super().__init__(*args)
        response = args[0] if args else b""
        self.response = response if isinstance(response, bytes) else b""
        self.command = ""
        self.number = None
        name_command(self, command, number)

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

    @property
    def explanation(self) -> str:
        """What was refused and in which words, for a person."""
        said = readable(self.response) or _in_own_words(self)
        return ": ".join(filter(None, (self.where, _about(self), said)))


class AuthenticationError(CommandError):
    """The server refused a login, or did not prove itself to us. The connection is in step, but for the latter."""

    __module__ = "pop3fast"

    reason: str = ""
    """What is known besides the response, for a person: what the server said about an OAuth token, why the client broke
    the exchange off."""

    @property
    def explanation(self) -> str:
        """What was refused, in which words and why, for a person."""
        return f"{super().explanation} ({self.reason})" if self.reason else super().explanation


class ProtocolError(error_proto):
    """The conversation cannot be trusted any more: the connection is broken, and only ``close()`` is left."""

    __module__ = "pop3fast"

    where: str = ""
    """Host, port and step, for an error of `connect`."""
    during: str = ""
    """The verb of the command whose reply was awaited."""

    @property
    def explanation(self) -> str:
        """What went wrong, for a person."""
        return ": ".join(filter(None, (self.where, self._what())))

    def _what(self) -> str:
        said = self.args[0] if len(self.args) == 1 else None
        if not isinstance(said, bytes):
            return _in_own_words(self)
        # What greets instead of a POP3 server says what it is; behind a command it may be a line of a message.
        return f"no POP3 reply: {counted(said) if self.during else repr(readable(said))}"


class ConnectionLost(ProtocolError):  # noqa: N818 - a public name that says what happened
    """The server hung up before its reply was whole. ``args`` are poplib's.

    Each later command raises it again; nothing is sent.
    """

    __module__ = "pop3fast"

    def _what(self) -> str:
        text = super()._what()
        return f"{text}: {_hung_up(self.during)}" if self.args == (EOF,) else text


class LimitExceeded(ProtocolError):  # noqa: N818 - a public name that says what happened
    """A reply passed a limit: ``_MAXLINE`` for a line, ``POP3.max_octets`` for a multi-line response."""

    __module__ = "pop3fast"


class ConnectionBusy(ProtocolError, RuntimeError):  # noqa: N818 - a public name that says what happened
    """Another thread waits for a reply on this connection, or another process owns it. Nothing was sent.

    The connection is not broken: the other thread or process goes on with it, and whoever gets this error cannot.
    """

    __module__ = "pop3fast"


class ConnectionBroken(ProtocolError, OSError):  # noqa: N818 - a public name that says what happened
    """An ``OSError`` broke the connection before; nothing was sent. Whoever expects that error gets one again."""

    __module__ = "pop3fast"

    def __init__(self, *args: object) -> None:
        """Keep *args* as they are: an ``OSError`` would take two for a number and its meaning."""
        Exception.__init__(self, *args)


class ConnectionTimedOut(ConnectionBroken, TimeoutError):  # noqa: N818 - a public name that says what happened
    """A ``TimeoutError`` broke the connection before; nothing was sent."""

    __module__ = "pop3fast"


class InsecureTLSWarning(UserWarning):
    """TLS without a context verifies neither certificate nor host name. That is what poplib does."""

    __module__ = "pop3fast"


def unasked(octets: bytes) -> ProtocolError:
    """Return the error for *octets* that are there already: they would be taken for the next command's reply."""
    return ProtocolError(f"the server sent what nothing had asked for: {counted(octets)}")


def protocol_error(error: FramingError) -> ProtocolError:
    """Return the exception that the caller of a command gets for *error* of the framer."""
    kind = LimitExceeded if isinstance(error, FramingLimitError) else ProtocolError
    return kind(str(error))


def broken_by(error: BaseException) -> type[ProtocolError]:
    """Return the exception for a command on a connection that *error* broke before."""
    if isinstance(error, TimeoutError):
        return ConnectionTimedOut
    if isinstance(error, ConnectionLost):
        return ConnectionLost
    return ConnectionBroken if isinstance(error, OSError) else ProtocolError


def name_command(error: error_proto, command: str, number: int | None = None) -> None:
    """Have *error* say which *command* it is about, and which message, if it is about one."""
    if isinstance(error, CommandError):
        error.command, error.number = command, number
        _note(error, f"in answer to {_about(error)}" if command else "")
    elif isinstance(error, ProtocolError):
        error.during = command
        _note(error, _hung_up(command) if error.args == (EOF,) else "")


def name_reason(error: AuthenticationError, reason: str) -> None:
    """Have *error* say why, unless it does."""
    if not error.reason:
        error.reason = reason
        _note(error, reason)


def name_place(error: CommandError | ProtocolError, where: str) -> None:
    """Have *error* say *where* it happened."""
    error.where = where
    _note(error, where)


def _note(error: BaseException, text: str) -> None:
    if text and text not in getattr(error, "__notes__", ()):
        error.add_note(text)


def _about(error: CommandError) -> str:
    return error.command if error.number is None else f"{error.command} {error.number}"


def _hung_up(command: str) -> str:
    awaited = f" before its reply to {command} was whole" if command else ""
    return f"the server hung up{awaited}"


def _in_own_words(error: error_proto) -> str:
    """Return ``str()`` of an error, safe for a terminal: the words may be a program's."""
    return printable(str(error))
