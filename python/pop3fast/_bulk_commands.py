"""BulkCommands: the methods for many messages at once, by one command or by many in flight.

Owns the listings as Python values, and the choice of the loop. `_bulk_loop` says what a loop is, `_pipeline` what may
be in flight.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from pop3fast import _replies
from pop3fast._authorization import AuthorizationCommands, what_it_can_do
from pop3fast._batch import DEFAULT_WINDOW, message_numbers
from pop3fast._batches import MessageNumber, batch_of, deadline_of, message_maker, pieces_of
from pop3fast._bulk_loop import OnError, one_by_one, pipelined
from pop3fast._conversation import can_pipeline, exchange, take_note, within
from pop3fast._deadline import Deadline
from pop3fast._errors import CommandError, ProtocolError, error_proto
from pop3fast._framing import parse_sizes, parse_unique_ids
from pop3fast._hooks import read_listing, session_of
from pop3fast._listings import Together, may_ask_along, parsed
from pop3fast._message import Message, Piece

T = TypeVar("T")


class _Options(NamedTuple):
    """How a loop over messages is to be done, apart from which."""

    window: int
    pipelining: bool | None
    on_error: OnError | None
    deadline: Deadline | None


def _options(
    verb: str,
    window: int,
    pipelining: bool | None,  # noqa: FBT001 - as its callers were given it
    on_error: OnError | None,
    deadline: float | None,
) -> _Options:
    return _Options(window, pipelining, on_error, deadline_of(verb, window, deadline))


class BulkCommands(AuthorizationCommands):
    """The second part of `POP3`."""

    def sizes(self) -> dict[int, int]:
        """Return message number to octets, for all messages (LIST, RFC 1939 section 5).

        Octets are 0 where the server gave none that can be read. They are the server's word: some round, or count
        line ends as one octet. Raises `ProtocolError` when a line of the listing has no message number; the connection
        is broken then.
        """
        return _listing(self, "LIST", parse_sizes)

    def uids(self) -> dict[int, str]:
        """Return message number to unique-id, for all messages (UIDL, RFC 1939 section 7).

        Decoded as Latin-1, so that ``uid.encode("latin-1")`` gives the server's octets; empty where it sent none.
        Raises `ProtocolError` when a line of the listing has no message number; the connection is broken then.
        """
        return _unique_ids(self)

    def uids_and_sizes(self, *, pipelining: bool | None = None) -> tuple[dict[int, str], dict[int, int]]:
        """Return what `uids` and `sizes` give, in one round trip where the server can pipeline.

        When it cannot, or *pipelining* is False, one is asked for after the other. Raises what these raise; after a
        `CommandError`, whose ``command`` says which of them was refused, the session goes on.
        """
        session = session_of(self)
        along = can_pipeline(self) and may_ask_along(session, pipelining)
        if not along and not _may_pipeline(self, pipelining):
            return _unique_ids(self), _listing(self, "LIST", parse_sizes)
        asked = Together(with_capabilities=along)
        asked.bodies.update(pipelined(self, asked.batch, asked.refuse, None))
        if along:
            session.capabilities = _replies.known(asked.capabilities(session.break_))

        def read(command: str, parse: Callable[[bytes], dict[int, T]]) -> dict[int, T]:
            if command in asked.refused:
                return _empty_or_refused(self, asked.refused[command])
            if self.read_ahead:
                take_note(session, command, asked.bodies[command])
            return parsed(asked.bodies[command], parse, session.break_)

        uids, sizes = read("UIDL", parse_unique_ids), read("LIST", parse_sizes)
        session.unique_ids = uids
        return dict(uids), sizes

    def retr_many(
        self,
        numbers: Iterable[MessageNumber] | None = None,
        *,
        window: int = DEFAULT_WINDOW,
        pipelining: bool | None = None,
        on_error: OnError | None = None,
        deadline: float | None = None,
    ) -> Iterator[Message]:
        """Yield the messages of *numbers*, or all that LIST shows, in that order (RFC 1939 section 5).

        Up to *window* commands are in flight, and no more than 2,048 octets of them, where the server says PIPELINING
        (RFC 2449 section 6.6) or *pipelining* is True. A message that is refused raises its `CommandError` at its turn,
        or goes to *on_error*, and the others come. When the conversation is lost, what came whole is yielded first.

        The loop may be left at any point, and other commands may be given inside it: each gets its own reply. Memory
        does not grow with the number of messages; while the loop is busy elsewhere, nothing is read.

        *deadline* is the seconds that the loop may take in all, after which it raises ``TimeoutError`` and the
        connection is broken.
        """
        options = _options("RETR", window, pipelining, on_error, deadline)
        return _many(self, "RETR", numbers, message_maker(session_of(self).unique_ids), "", options)

    def top_many(
        self,
        numbers: Iterable[MessageNumber] | None = None,
        howmuch: int = 0,
        *,
        window: int = DEFAULT_WINDOW,
        pipelining: bool | None = None,
        on_error: OnError | None = None,
        deadline: float | None = None,
    ) -> Iterator[Message]:
        """Yield, as `retr_many` does, the header and the first *howmuch* lines of the body (RFC 1939 section 7)."""
        options = _options("TOP", window, pipelining, on_error, deadline)
        return _many(self, "TOP", numbers, message_maker(session_of(self).unique_ids), f" {howmuch:d}", options)

    def retr_pieces(
        self,
        numbers: Iterable[MessageNumber] | None = None,
        *,
        sizes: Mapping[int, int] | None = None,
        window: int = DEFAULT_WINDOW,
        ahead: int | None = None,
        pipelining: bool | None = None,
        on_error: OnError | None = None,
        deadline: float | None = None,
    ) -> Iterator[Piece]:
        """Yield the messages of *numbers* as `retr_many` does, in pieces of at most 64 KiB: for messages of any size.

        Most messages are one piece, which is first and last. A message is whole with its last piece; when the
        conversation is lost before, that is raised, and its pieces are worth nothing. *sizes*, as the method of that
        name gives them, and *ahead* bound how many octets are asked for ahead of time (2 MiB): the more, the faster it
        is over a long, wide line, and the longer it takes to leave the loop early.

        Memory is constant as long as the loop is gone through: a command that is given inside it has what is in
        flight kept for the loop, the next message at least. A subclass with poplib's hooks gets each message in one
        piece. (RFC 1939 section 5.)
        """
        options = _options("RETR", window, pipelining, on_error, deadline)
        wanted, listed = _wanted(self, numbers, options.deadline)
        # One by one, too, is a pipeline, of one command: the other way has whole messages.
        most = window if _may_pipeline(self, pipelining) else 1
        batch = pieces_of(wanted, listed, sizes=sizes, window=most, ahead=ahead)
        run = pipelined if can_pipeline(self) else one_by_one
        return run(self, batch, on_error, options.deadline)

    def dele_many(
        self,
        numbers: Iterable[MessageNumber],
        *,
        window: int = DEFAULT_WINDOW,
        pipelining: bool | None = None,
        on_error: OnError | None = None,
    ) -> int:
        """Mark the messages of *numbers* as deleted; return how many were (RFC 1939 section 5).

        As `retr_many`, but *numbers* has to be given: otherwise it is a ``TypeError``. When it raises, messages behind
        the refused one may have been marked too; `rset` unmarks all.
        """
        if numbers is None:
            raise TypeError("say which messages are to be deleted")
        options = _options("DELE", window, pipelining, on_error, None)
        marked = _many(self, "DELE", numbers, lambda number, _: number, "", options)
        return sum(1 for _ in marked)


def _many(
    pop: BulkCommands,
    verb: str,
    numbers: Iterable[MessageNumber] | None,
    make: Callable[[int, bytes], T],
    arguments: str,
    options: _Options,
) -> Iterator[T]:
    wanted, listed = _wanted(pop, numbers, options.deadline)
    batch = batch_of(verb, wanted, listed, make, arguments=arguments, window=options.window)
    run = pipelined if _may_pipeline(pop, options.pipelining) else one_by_one
    return run(pop, batch, options.on_error, options.deadline)


def _wanted(
    pop: BulkCommands, numbers: Iterable[MessageNumber] | None, deadline: Deadline | None
) -> "tuple[array[int] | None, dict[int, int]]":
    """Return the *numbers* that were asked for, or what LIST shows."""
    if numbers is not None:
        return message_numbers(numbers), {}
    with within(pop, deadline):
        return None, _listing(pop, "LIST", parse_sizes)


def _may_pipeline(pop: BulkCommands, pipelining: bool | None) -> bool:  # noqa: FBT001 - as its callers were given it
    if pipelining is None:
        pipelining = _replies.pipelines(what_it_can_do(pop))
    return pipelining and can_pipeline(pop)


# Listings.


def _unique_ids(pop: BulkCommands) -> dict[int, str]:
    """Return what `POP3.uids` does, and remember it for the messages that are to come."""
    uids = _listing(pop, "UIDL", parse_unique_ids)
    session_of(pop).unique_ids = uids
    return dict(uids)


def _listing(pop: BulkCommands, command: str, parse: Callable[[bytes], dict[int, T]]) -> dict[int, T]:
    try:
        body = exchange(pop, command, lambda: read_listing(pop))
    except CommandError as error:
        return _empty_or_refused(pop, error)
    return parsed(body, parse, session_of(pop).break_)


def _empty_or_refused(pop: BulkCommands, error: CommandError) -> dict[int, T]:
    # Quirk q64: old servers answer -ERR for a maildrop that is empty.
    if session_of(pop).in_step:
        try:
            if _replies.parse_stat(pop._shortcmd("STAT").split())[0] == 0:
                return {}
        except ProtocolError:
            raise
        except error_proto:  # then STAT says nothing about it
            pass
    raise error
