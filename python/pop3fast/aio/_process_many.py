"""process_many: a function, which may be a coroutine function, is called with each new message of many mailboxes.

Owns the way from the threads that fetch to the loop on which the function runs. What its outcome means is decided by
the same code as for `pop3fast.fetch.process_many`.
"""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from pathlib import PurePath
from typing import Unpack

from pop3fast.aio._fetch_many import LIMIT, Work
from pop3fast.aio._threads import asked, told
from pop3fast.fetch import Account, Destination, FetchReport, HandledMessage, Job, MessageDeferred, Options, Progress
from pop3fast.fetch._processing import HandlingJobs, Task, Wishes
from pop3fast.fetch.destinations._handler import ATTEMPTS
from pop3fast.fetch.destinations._outgoing import SPOOL_OCTETS

Handle = Callable[[HandledMessage], object]
"""What is called with each message; it may be a coroutine function. Any other is called in a thread of its own."""


async def process_many(  # noqa: PLR0913 - each by its name, all but the first two with a default
    accounts: Iterable[Account],
    handle: Handle,
    *,
    at_once: int = LIMIT,
    state: str | None = None,
    attempts: int = ATTEMPTS,
    quarantine: str | PurePath | Destination | None = None,
    spool_octets: int = SPOOL_OCTETS,
    progress: Callable[[Account, Progress], object] | None = None,
    **wishes: Unpack[Wishes],
) -> AsyncGenerator[FetchReport, None]:
    """Do what `pop3fast.fetch.process_many` does, with *at_once* mailboxes at a time; ``async for`` gets the reports.

    *handle* is awaited on the loop with one message of a mailbox after the other, and with those of several mailboxes
    at the same time. Leaving the loop, or cancelling it, cancels the calls of *handle* under way, and each counts as
    an attempt; what was done is remembered. *progress*, and what is raised, are as for `fetch_many`.
    """
    if at_once < 1:
        raise ValueError(f"at_once is the number of mailboxes at a time, at least 1: {at_once!r}")
    task = Task(handle, state, attempts, quarantine, spool_octets, Options(**wishes))
    if quarantine is not None and not isinstance(quarantine, str | PurePath):
        at_once = 1  # one object is used by one fetch at a time

    async def tell(job: Job, how_far: Progress) -> None:
        if progress is not None:
            await told(progress, job.account, how_far)

    handling = HandlingJobs(accounts, task, lambda message: _call(work, handle, message))
    work = Work(handling.jobs, at_once, None if progress is None else tell)
    async with aclosing(work.done()) as reports:
        async for report in reports:
            yield handling.completed(report)


def _call(work: Work, handle: Handle, message: HandledMessage) -> Exception | None:
    """Have *handle* called on the loop, and return what it raised. Called in a thread that fetches."""
    said = work.on_loop(asked, handle, message)
    if said is None:
        return MessageDeferred("the fetch was interrupted")
    try:
        said.result()
    except Exception as error:  # noqa: BLE001 - whatever it is, the message is not done
        return error
    return None
