"""Many messages in one loop: the blocking side of the pipeline, and one by one where a server does not pipeline.

Owns what a loop over messages is: its order, which error is raised at which message's turn, and that the session is in
step wherever the loop is left. The pipeline decides what may be in flight, and `_conversation` moves the octets.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeAlias, TypeVar

from pop3fast._asking import Conversation
from pop3fast._batch import Batch
from pop3fast._conversation import await_batch, exchange, in_step, within
from pop3fast._deadline import Deadline
from pop3fast._errors import CommandError, ConnectionLost, unasked
from pop3fast._hooks import read_bytes, session_of
from pop3fast._stream import ReplyStream

T = TypeVar("T")

OnError: TypeAlias = Callable[[CommandError], object]


def pipelined(
    pop: Conversation,
    batch: Batch[T],
    on_error: OnError | None,
    deadline: Deadline | None,
) -> Iterator[T]:
    """Yield what comes of each command of *batch*, in order, with many in flight.

    A refused command raises its `CommandError` at its turn, or goes to *on_error*. However the loop ends, the
    replies that are still to come are taken, and thrown away, before the next command's.
    """
    arrived = batch.arrived
    try:
        while True:
            while arrived:
                outcome = arrived.popleft()
                if not isinstance(outcome, CommandError):
                    yield outcome
                elif on_error is None:
                    raise outcome
                else:
                    on_error(outcome)
            if batch.ended:
                # Another thread may have taken the last replies since the loop above; then they are there now.
                if not arrived:
                    return
            elif deadline is None:
                await_batch(pop, batch)
            else:
                with within(pop, deadline):
                    await_batch(pop, batch)
    finally:
        batch.abandoned = True
        arrived.clear()


def one_by_one(
    pop: Conversation,
    batch: Batch[T],
    on_error: OnError | None,
    deadline: Deadline | None,
) -> Iterator[T]:
    """Do the same with one command in flight at a time, through the hooks."""
    while lines := batch.next_lines(1, 1):
        try:
            with within(pop, deadline):
                body = _body_of_reply(pop, lines[0], has_body=batch.has_body)
                _check_nothing_is_left_over(pop)
        except CommandError as error:
            batch.take_refusal(error.response)
            if on_error is None or not in_step(pop):
                raise
            on_error(error)
        else:
            yield from batch.take_bodies([body])


def _body_of_reply(pop: Conversation, line: str, *, has_body: bool) -> bytes:
    """Send one command and return the body of its reply: nothing for a command that has none."""
    if has_body:
        return exchange(pop, line, lambda: read_bytes(pop))
    pop._shortcmd(line)
    return b""


def _check_nothing_is_left_over(pop: Conversation) -> None:
    """Raise the error for octets that came after the last reply: then nobody knows whether that was one."""
    file: object = pop.file
    # If the server has hung up since, the next command finds out.
    with suppress(ConnectionLost):
        if type(file) is ReplyStream and (octets := file.unexpected()):
            raise session_of(pop).break_(unasked(octets))
