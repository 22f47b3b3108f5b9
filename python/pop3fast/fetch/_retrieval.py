"""Retrieval: messages of one session from the server to the writer.

Owns how each is fetched: small ones many at a time, large ones in pieces and in constant memory; and whose fault it is
when the connection is lost in the middle. Never deletes.
"""

from collections import deque
from collections.abc import Iterator
from itertools import groupby

from pop3fast import POP3, CommandError, ConnectionLost, Message, ProtocolError, error_proto
from pop3fast.fetch._fingerprint import fingerprint
from pop3fast.fetch._plan import Item, remembered_as
from pop3fast.fetch._run import Run
from pop3fast.fetch._writer import Writer, header_of

LARGE_OCTETS = 8 * 2**20
"""Messages above this are not held in memory as a whole, nor are those of which nobody knows how large they are."""

PROVEN_REPLIES = 100
"""A server that answered so many pipelined commands can pipeline: that it hung up then was not because of it."""


class Retrieval:
    """Fetches messages over one connection."""

    def __init__(self, run: Run, pop: POP3) -> None:
        """Fetch over *pop*."""
        self._run = run
        self._pop = pop
        self._answered = 0

    def fetch(self, items: list[Item], writer: Writer) -> None:
        """Hand *items* to *writer*, in this order; those that the server refuses are named in the report.

        Raises `ProtocolError` or ``OSError`` when the connection is lost, and what made the writer stop.
        """
        for large, group in groupby(items, self._is_large):
            if large:
                for item in group:
                    self._fetch_large(item, writer)
            else:
                self._fetch_small(list(group), writer)

    def fingerprints(self, numbers: list[int]) -> dict[int, bytes]:
        """Return the fingerprints of messages, by TOP; none when the server has no TOP.

        Raises `ProtocolError` or ``OSError`` when the connection is lost; then TOP is not used again in this run.
        """
        found: dict[int, bytes] = {}
        if not self._run.may_top:
            return found
        # The first alone: a server without TOP counts bad commands, and hangs up at the twentieth (quirk q43).
        for some in (numbers[:1], numbers[1:]):
            self._run.may_top = False
            messages = self._pop.top_many(some, 0, pipelining=self.pipelining(), on_error=lambda _: None)
            for message in messages:
                found[message.number] = fingerprint(header_of(message.content))
            self._run.may_top = True
            if not found:
                break
        return found

    def _is_large(self, item: Item) -> bool:
        return not self._run.options.headers_only and not 0 < item.size <= LARGE_OCTETS

    def pipelining(self) -> bool | None:
        """Return how commands are to be pipelined in this run: as CAPA says (None), or not at all."""
        return None if self._run.may_pipeline and self._run.door.asks_capabilities else False

    def _fetch_small(self, items: list[Item], writer: Writer) -> None:
        run, options = self._run, self._run.options
        awaited = deque(items)

        def refused(error: CommandError) -> None:
            run.give_up(awaited.popleft(), str(error))

        many = self._pop.top_many if options.headers_only else self._pop.retr_many
        messages = many([item.number for item in items], pipelining=self.pipelining(), on_error=refused)
        while (message := self._next(messages, awaited)) is not None:
            item = awaited.popleft()
            content = header_of(message.content) if options.headers_only else message.content
            writer.put(item, remembered_as(item.identity, options), content)
            run.received(item, len(content))

    def _next(self, messages: Iterator[Message], awaited: deque[Item]) -> Message | None:
        try:
            message = next(messages, None)
        except (error_proto, OSError) as error:
            self._lost(awaited[0], error, pipelined=self.pipelining() is None and self._pop.supports("PIPELINING"))
            raise _trouble(error) from error
        self._answered += 1
        return message

    def _fetch_large(self, item: Item, writer: Writer) -> None:
        run = self._run
        writer.begin(item, remembered_as(item.identity, run.options))
        try:
            octets = self._pop.retr_into(item.number, writer, progress=run.receiving)
        except CommandError as error:
            writer.abandon()
            run.give_up(item, str(error))
            if not self._pop.in_step:
                raise _trouble(error) from error
        except (error_proto, OSError) as error:
            writer.abandon()
            if error is not run.callback_failure:
                self._lost(item, error, pipelined=False)
            raise
        else:
            writer.end()
            run.received(item, octets)

    def _lost(self, item: Item, error: Exception, *, pipelined: bool) -> None:
        """Draw the conclusions from a connection that was lost when *item* was awaited."""
        self._run.broke(item, str(error))
        hung_up = isinstance(error, ConnectionLost) and self._answered >= PROVEN_REPLIES
        if pipelined and isinstance(error, error_proto) and not hung_up:
            self._run.may_pipeline = False


def _trouble(error: Exception) -> Exception:
    """Return what *error* is once the connection is lost: no refusal, after which the session would go on."""
    return ProtocolError(str(error)) if isinstance(error, CommandError) else error
