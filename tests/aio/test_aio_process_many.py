"""`aio.process_many`: coroutine functions as handlers, of many mailboxes at once, and nothing lost when they end."""

import asyncio
import threading
from contextlib import ExitStack, aclosing
from pathlib import Path

import pytest

from aio.running import run, until
from maildrops import Maildrop, account_of, delivered, mail
from pop3fast import aio
from pop3fast.fetch import HandledMessage, MessageRefused, Progress, process_mailbox
from pop3fast.fetch import _writer as writer
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer
from shapes import GREETING

MESSAGES = [mail(number) for number in range(1, 4)]


@pytest.fixture(autouse=True)
def state(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def test_messages_of_many_mailboxes_are_handled_at_the_same_time_and_those_of_one_in_order(state: str) -> None:
    async def main() -> None:
        together = asyncio.Barrier(4)
        inside: set[str] = set()
        done: dict[str, list[bytes]] = {}
        told: list[int] = []

        async def handle(message: HandledMessage) -> None:
            assert threading.current_thread() is threading.main_thread()
            who = accounts_of[message.content]
            assert who not in inside
            inside.add(who)
            await together.wait()
            inside.remove(who)
            done.setdefault(who, []).append(message.content)

        async def progress(_: object, how_far: Progress) -> None:
            told.append(how_far.messages)

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
        assert max(told) == 3

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
