"""`aio.process_many`: coroutine functions as handlers, of many mailboxes at once, and nothing lost when they end."""

import asyncio
import gc
import io
import threading
from contextlib import ExitStack, aclosing
from pathlib import Path

import pytest

from aio.running import run, until
from destinations import Box
from maildrops import Maildrop, account_of, delivered, mail
from pop3fast import aio
from pop3fast.fetch import Account, HandledMessage, MessageRefused, Progress, process_mailbox
from pop3fast.fetch import _writer as writer
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer
from shapes import GREETING
from waiting import wait_until

MESSAGES = [mail(number) for number in range(1, 4)]


@pytest.fixture(autouse=True)
def state(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def test_messages_of_many_mailboxes_are_handled_at_the_same_time_and_those_of_one_in_order(state: str) -> None:
    async def main() -> None:
        together = asyncio.Barrier(4)
        inside: set[str] = set()
        done: dict[str, list[bytes]] = {}
        told: dict[str, int] = {}

        async def handle(message: HandledMessage) -> None:
            assert threading.current_thread() is threading.main_thread()
            who = accounts_of[message.content]
            assert who not in inside
            inside.add(who)
            await together.wait()
            inside.remove(who)
            done.setdefault(who, []).append(message.content)

        async def progress(account: Account, how_far: Progress) -> None:
            told[str(account)] = how_far.messages

        with ExitStack() as stack:
            accounts_of: dict[bytes, str] = {}
            accounts = []
            for box in range(4):
                contents = [mail(10 * box + number) for number in range(3)]
                accounts_of |= dict.fromkeys(contents, str(box))
                accounts.append(account_of(stack.enter_context(MailboxServer(contents))))
            many = aio.process_many(accounts, handle, state=state, delete=True, progress=progress)
            reports = [report async for report in many]
        assert sorted((report.account, report.fetched, report.deleted, report.error) for report in reports) == sorted(
            (str(account), 3, 3, None) for account in accounts
        )
        assert done == {str(box): [mail(10 * box + number) for number in range(3)] for box in range(4)}
        assert told == {str(account): 3 for account in accounts}

    run(main)


def test_what_fails_is_named_put_aside_after_so_many_attempts_and_the_others_go_on(state: str, tmp_path: Path) -> None:
    attempts: list[int] = []

    async def handle(message: HandledMessage) -> None:
        await asyncio.sleep(0)
        if message.content == MESSAGES[1]:
            attempts.append(message.attempt)
            raise ValueError("bad")
        if message.content == MESSAGES[2]:
            raise MessageRefused("spam")

    async def main() -> None:
        aside = f"eml:{tmp_path}/failed"
        with MailboxServer(MESSAGES) as server:
            for _ in range(2):
                many = aio.process_many([account_of(server)], handle, state=state, attempts=2, quarantine=aside)
                reports = [report async for report in many]
            assert [len(report.quarantined) for report in reports] == [1]
        assert attempts == [1, 2]
        assert delivered(aside) == MESSAGES[1:]

    run(main)


def test_a_message_has_the_same_key_in_every_attempt_and_another_one_in_every_mailbox(state: str) -> None:
    called: list[tuple[bytes, str, int]] = []

    async def handle(message: HandledMessage) -> None:
        await asyncio.sleep(0)
        called.append((message.content, message.key, message.attempt))
        raise ValueError("not now")

    async def main() -> None:
        with MailboxServer(MESSAGES) as one, MailboxServer(MESSAGES) as other:
            for _ in range(2):
                async for report in aio.process_many([account_of(one), account_of(other)], handle, state=state):
                    assert (report.fetched, len(report.failures)) == (0, 3)

    run(main)
    firsts = {(content, key) for content, key, attempt in called if attempt == 1}
    assert len({key for _, key in firsts}) == 6
    assert sorted(called) == sorted((*first, attempt) for first in firsts for attempt in (1, 2))


def test_a_handler_that_cancels_itself_has_failed_and_ends_no_other(state: str) -> None:
    handled: list[bytes] = []

    async def handle(message: HandledMessage) -> None:
        if message.content == MESSAGES[0]:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        handled.append(message.content)

    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            many = aio.process_many([account_of(server)], handle, state=state, delete=True)
            (report,) = [report async for report in many]
        assert (report.deleted, [failed.number for failed in report.failures], report.error) == (2, [1], None)
        assert "attempt 1 of 3 failed: CancelledError" in report.failures[0].why

    run(main)
    assert handled == MESSAGES[1:]


def test_one_object_as_quarantine_of_many_is_used_by_one_fetch_at_a_time(state: str) -> None:
    inside: list[str] = []

    def watch(what: str, _: object) -> None:
        if what == "open":
            inside.append(what)
        elif what == "close":
            inside.clear()
        assert len(inside) <= 2  # it is opened when a fetch begins and when its session does

    async def handle(_: HandledMessage) -> None:
        raise ValueError("never")

    async def main() -> None:
        box = Box(trouble=watch)
        with ExitStack() as stack:
            accounts = [account_of(stack.enter_context(MailboxServer([mail(number)]))) for number in range(6)]
            many = aio.process_many(accounts, handle, state=state, attempts=1, quarantine=box)
            assert [len(report.quarantined) async for report in many] == [1] * 6
        assert sorted(content for _, content in box.delivered) == sorted(mail(number) for number in range(6))

    run(main)


def test_a_message_of_more_than_it_may_have_in_memory_lies_in_a_file(state: str) -> None:
    in_files: list[bool] = []

    async def handle(message: HandledMessage) -> None:
        with message.open() as file:
            in_files.append(not isinstance(file, io.BytesIO))
            assert file.read() == message.content

    async def main() -> None:
        with MailboxServer([mail(1), mail(2, 5_000)]) as server:
            many = aio.process_many([account_of(server)], handle, state=state, spool_octets=1_000)
            assert [report.fetched async for report in many] == [2]

    run(main)
    assert in_files == [False, True]


def test_what_ends_one_mailbox_is_in_its_report_and_ends_no_other(state: str) -> None:
    async def handle(_: HandledMessage) -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        with MailboxServer(MESSAGES) as server, ScriptedServer(b"-ERR closed\r\n", []) as closed:
            many = aio.process_many([account_of(closed), account_of(server)], handle, state=state)
            reports = sorted([(report.fetched, report.error is None) async for report in many])
        assert reports == [(0, False), (3, True)]

    run(main)


def test_when_its_loop_is_closed_the_threads_end_and_nothing_more_counts_as_done(state: str) -> None:
    called: list[tuple[bytes, int]] = []
    inside, go_on = threading.Event(), threading.Event()
    complaints: list[object] = []  # from the call that is left in the middle, and that nobody waits for any more

    def handle(message: HandledMessage) -> None:
        called.append((message.content, message.attempt))
        if message.content == MESSAGES[0] and message.attempt == 1:
            inside.set()
            assert go_on.wait(50)

    async def leave() -> list[object]:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        many = aio.process_many([account_of(quick), account_of(server)], handle, state=state, delete=True)
        left: list[object] = [many, await anext(many)]
        await until(inside.is_set)
        return left

    with MailboxServer([mail(9)]) as quick, MailboxServer(MESSAGES) as server:
        loop = asyncio.new_event_loop()
        left = loop.run_until_complete(leave())
        loop.close()
        wait_until(lambda: not any(thread.name == "pop3fast-aio-fetch" for thread in threading.enumerate()))
        go_on.set()
        report = process_mailbox(account_of(server), handle, state=state, delete=True)
    del left
    gc.collect()
    assert (report.deleted, report.failures) == (3, [])
    assert sorted(called) == sorted([(mail(9), 1), (MESSAGES[0], 1), (MESSAGES[0], 2), *((m, 1) for m in MESSAGES[1:])])


def test_a_plain_function_is_called_in_a_thread_and_holds_up_no_loop(state: str) -> None:
    async def main() -> None:
        turned = threading.Event()

        def handle(_: HandledMessage) -> None:
            assert threading.current_thread() is not threading.main_thread()
            assert turned.wait(20)

        async def turn() -> None:
            turned.set()

        with MailboxServer(MESSAGES) as server:
            waiting = asyncio.create_task(turn())
            reports = [report async for report in aio.process_many([account_of(server)], handle, state=state)]
            await waiting
        assert [report.fetched for report in reports] == [3]

    run(main)


def test_leaving_the_loop_cancels_what_is_under_way_and_what_was_done_is_not_done_again(state: str) -> None:
    called: list[bytes] = []
    cancelled: list[bytes] = []

    async def main() -> None:
        second = asyncio.Event()

        async def handle(message: HandledMessage) -> None:
            called.append(message.content)
            if message.content == MESSAGES[1]:
                second.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled.append(message.content)
                    raise

        async def take() -> None:
            async with aclosing(aio.process_many([account_of(server)], handle, state=state, delete=True)) as many:
                async for _ in many:
                    pass

        with MailboxServer(MESSAGES) as server:
            taking = asyncio.create_task(take())
            await second.wait()
            taking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await taking
            await until(lambda: bool(cancelled))

            def go_on(message: HandledMessage) -> None:
                called.append(message.content)
                assert message.content != MESSAGES[1] or message.attempt == 2

            await until(lambda: not any(thread.name.startswith("pop3fast") for thread in threading.enumerate()))
            report = await asyncio.to_thread(process_mailbox, account_of(server), go_on, state=state, delete=True)
            assert (report.deleted, report.failures) == (3, [])

    run(main)
    assert called == [MESSAGES[0], MESSAGES[1], MESSAGES[1], MESSAGES[2]]


def test_quirk_q46_a_slow_coroutine_lets_no_server_end_the_session(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "NUDGE_SECONDS", 0.001)
    drop = Maildrop(*((b"u%d" % number, content) for number, content in enumerate(MESSAGES)))
    heard = threading.Event()
    drop.instead = lambda command: heard.set() if command == b"NOOP" else None

    async def handle(_: HandledMessage) -> None:
        await until(heard.is_set)

    async def main() -> None:
        with ScriptedServer(GREETING, drop) as server:
            many = aio.process_many([account_of(server)], handle, state=state, delete=True)
            assert [(report.deleted, report.sessions) async for report in many] == [(3, 1)]

    run(main)


def test_arguments_that_make_no_sense_are_told_at_once() -> None:
    async def main() -> None:
        with MailboxServer(MESSAGES) as server:
            for wrong in ({"at_once": 0}, {"attempts": 0}, {"quarantine": "nowhere"}):
                with pytest.raises(ValueError, match=r"at least|a destination is"):
                    await anext(aio.process_many([account_of(server)], print, **wrong))

    run(main)
