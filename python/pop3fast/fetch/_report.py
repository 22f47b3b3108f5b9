"""What came of a fetch, for a program and for its exit status.

Owns the words for it. A report can be pickled: it may come from another machine. It holds no message and no secret.
"""

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from pop3fast import AuthenticationError, error_proto
from pop3fast.fetch._errors import AccountBusy, DestinationError, SecretError, StateError

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NO_CONNECTION: Final = 3
EXIT_LOGIN_REFUSED: Final = 4
EXIT_NOT_WRITABLE: Final = 5
EXIT_BUSY: Final = 6
"""Another run has the account now: nothing is wrong, and nothing was done."""
EXIT_INTERRUPTED: Final = 130


class Named(NamedTuple):
    """A message, and what there is to say of it."""

    number: int
    """Its message number, in the session where it was last listed."""
    uid: bytes
    """Its unique-id, as the server gave it."""
    size: int
    """Its octets by the scan listing; 0 when they are not known."""
    why: str = ""
    """Why it failed, or is kept. May be shown on a terminal."""

    def __str__(self) -> str:
        text = f"message {self.number} (unique-id {ascii(self.uid)[1:]})"
        return f"{text}: {self.why}" if self.why else text


class Delivered(NamedTuple):
    """A message that is safe and remembered."""

    message: Named
    """Which one it is."""
    path: str | None
    """The file that it was put into; None where the destination puts it into no file."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a message begins. It is somebody's mail, so no repr shows it, and no error or log that has one."""

    octets: bytes = field(repr=False)
    """Its header, as far as its first octets have it (64 KiB at most)."""


Doing: TypeAlias = Literal["connecting", "logging in", "listing", "receiving", "waiting"]
"""What a fetch does."""


class Progress(NamedTuple):
    """How far a fetch is, as far as is known while it runs."""

    messages: int
    """How many messages were received, since the beginning."""
    messages_in_all: int
    """How many it will be at the end."""
    octets: int
    """The octets received, those of a message under way included."""
    octets_in_all: int
    """How many it will be at the end, by the scan listing."""
    seconds: float
    """Since the beginning."""
    message: Named | None
    """The message that has just been received, if it is about one."""
    doing: Doing = "receiving"
    """What has just begun, or goes on."""
    why: str = ""
    """What is waited for. May be shown on a terminal."""
    until: float | None = None
    """When waiting will end, in seconds since 1970."""
    delivered: tuple[Delivered, ...] = ()
    """The messages that have just become safe, if it is about some."""
    listed: int = 0
    """While it is listing: how many messages have been listed so far."""
    begins: Beginning | None = None
    """How `message` begins, so that its subject can be shown."""


@dataclass
class FetchReport:
    """What came of one fetch. It is complete when the fetch has ended, by itself or by `error`."""

    account: str
    """Whose mail it was: ``user on host:port``."""
    destination: str
    """Where it went, in the words of the destination."""
    fetched: int = 0
    """How many messages were delivered, and are remembered."""
    octets: int = 0
    """Their octets, as received."""
    seen: int = 0
    """How many of the messages that were listed had been fetched before."""
    skipped: int = 0
    """How many new messages the filter skipped. They count as seen from now on."""
    discarded: int = 0
    """How many the filter had deleted from the server. They are counted in `deleted`, too."""
    deleted: int = 0
    """How many were deleted, and the server said so at the end of the session."""
    deletions_unknown: int = 0
    """How many were marked as deleted in a session of which the server did not say that it ended well: the next
    complete listing tells."""
    forgotten: int = 0
    """How many messages were forgotten: no complete listing had them for `Options.forget_after` days."""
    sessions: int = 0
    """How many times the server was logged in to."""
    seconds: float = 0.0
    """How long it took, pauses included."""
    login_delay: float = 0.0
    """The seconds between two logins that the server asks for (LOGIN-DELAY); 0 when it has not asked for any."""
    helpful_sessions: int = 0
    """So many sessions at once would have made the fetch about as many times faster (`Options.sessions`); 0 where more
    of them would not help."""
    failures: list[Named] = field(default_factory=list)
    """The messages that could not be fetched; they are on the server, and the next fetch tries again."""
    quarantined: list[Named] = field(default_factory=list)
    """With a handler: the messages that were put aside now: it failed on them too often. They count as fetched."""
    left: list[Named] = field(default_factory=list)
    """The new messages that were left on the server: for their size, for the limit, for where they are listed, or
    because they were refused before."""
    refused: list[Named] = field(default_factory=list)
    """Those of `left` that the destination refused in an earlier fetch (`Options.fetch_again`)."""
    kept: list[Named] = field(default_factory=list)
    """The messages that were to be deleted and were not."""
    warnings: list[str] = field(default_factory=list)
    """Sentences for a person."""
    to_fetch: list[Named] = field(default_factory=list)
    """Of a dry run: what would be fetched."""
    to_delete: list[Named] = field(default_factory=list)
    """Of a dry run: what would be deleted, as far as it comes whole."""
    error: Exception | None = None
    """What ended the fetch before its time. What was delivered before stays delivered, and is remembered."""

    @property
    def ok(self) -> bool:
        """Whether all went well."""
        return self.exit_status == EXIT_OK

    @property
    def exit_status(self) -> int:
        """The exit status of a program whose work this was: 0 when all went well."""
        if self.error is not None:
            return exit_status(self.error)
        return EXIT_FAILED if self.failures else EXIT_OK

    def raise_for_error(self) -> None:
        """Raise what ended the fetch before its time, if anything did. Messages that failed are in `failures`."""
        if self.error is not None:
            raise self.error


def exit_status(error: BaseException) -> int:
    """Return the exit status of a program that *error* ends."""
    if isinstance(error, AuthenticationError | SecretError):
        return EXIT_LOGIN_REFUSED
    if isinstance(error, AccountBusy):
        return EXIT_BUSY
    if isinstance(error, DestinationError | StateError):
        return EXIT_NOT_WRITABLE
    if isinstance(error, error_proto | OSError):
        return EXIT_NO_CONNECTION
    if isinstance(error, ValueError):
        return EXIT_USAGE
    return EXIT_INTERRUPTED if isinstance(error, KeyboardInterrupt) else EXIT_FAILED
