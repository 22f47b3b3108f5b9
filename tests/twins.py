"""The asyncio client with the face of the blocking one, so that one table of dialogues is for both.

Every method runs the loop until its coroutine has ended; between the calls the loop stands still, as a program that
does something else does. Nothing is added and nothing is mended here: what differs between the clients has to show.
"""

import asyncio
import importlib.util
import inspect
import os
import select
import selectors
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from threading import get_ident
from types import ModuleType, TracebackType
from typing import Any, ClassVar, Self, cast

import pytest

import pop3fast
from pop3fast import _deadline, aio
from pop3fast._commands import row, verb_of
from pop3fast._session import Session
from pop3fast.aio._queue import lines, short
from pop3fast.testing import MailboxServer
from scripted import ScriptedServer
from servers.comparison import assert_same
from shapes import MANY
from test_bulk import TIMEOUT, Wire


class Twin:
    """`aio.POP3` behind the names of `pop3fast.POP3`."""

    _all: ClassVar[list["Twin"]] = []
    _runners: ClassVar[dict[int, asyncio.Runner]] = {}
    factory: ClassVar[Callable[[], asyncio.AbstractEventLoop] | None] = None
    """What makes a loop, if it is not to be asyncio's own."""

    pop: aio.POP3

    def __init__(
        self, host: str, port: int, timeout: float | None = 60.0, context: ssl.SSLContext | None = None
    ) -> None:
        self._begin()
        scheme = "pop3+plain" if context is None else "pop3s"
        try:
            # How it is made is for test_connect; a thread for each would be slow on a busy machine.
            sock = socket.create_connection((host, port), timeout)
            self.pop = self.run(
                self.connected(f"{scheme}://{host}:{port}", timeout=timeout, context=context, sock=sock)
            )
        except BaseException:
            self._all.remove(self)
            raise

    async def connected(self, url: str, **given: Any) -> aio.POP3:
        return await aio.connect(url, **given)

    @classmethod
    def of_url(cls, url: str, **given: Any) -> "Twin":
        twin = cls.__new__(cls)
        twin._begin()
        try:
            twin.pop = twin.run(twin.connected(url, **given))
        except BaseException:
            cls._all.remove(twin)
            raise
        return twin

    @classmethod
    def of_server(cls, server: Any, **given: Any) -> "Twin":
        """Do what `shapes.connect` does."""
        tls = given.pop("tls", False)
        return cls(server.host, server.port, given.pop("timeout", 5.0), server.client_context if tls else None, **given)

    @classmethod
    def close_all(cls) -> None:
        """Close what was left open."""
        while cls._all:
            twin = cls._all.pop()
            if hasattr(twin, "pop"):
                twin.close()
        while cls._runners:
            cls._runners.popitem()[1].close()

    def _begin(self) -> None:
        # A loop costs more than a session, so all of a test's sessions share one; but each thread has its own.
        factory = type(self).factory
        self.runner = self._runners.setdefault(get_ident(), asyncio.Runner(loop_factory=factory))
        self.loop = self.runner.get_loop()
        if factory is None:
            # One clock for both, which a test may put forward.
            self.loop.time = self._now  # type: ignore[method-assign]
        self._all.append(self)

    @staticmethod
    def _now() -> float:
        return _deadline.monotonic()  # type: ignore[attr-defined]  # a name that tests exchange

    @property
    def sock(self) -> "Twin | None":
        """None when it is closed, as the blocking client's is."""
        return None if self.pop._pop3fast.closed else self

    file = sock

    def session_of(self) -> Session:
        """Return what is known of the session, as the blocking client's function does."""
        session: Session = self.pop._pop3fast.session
        return session

    @property
    def _tls_established(self) -> bool:
        is_tls: bool = self.pop._pop3fast.is_tls
        return is_tls

    def wait_for_octets(self) -> None:
        """Wait until the kernel has something for the client, while the loop stands still."""
        if not self.pop.in_step:  # they came soon, and ended the connection, of which nothing may be left
            return
        made = self.pop._pop3fast.wire.transport.get_extra_info("socket")
        if made.fileno() < 0:
            return
        assert select.select([made.fileno()], [], [], 5)[0]

    def settimeout(self, seconds: float) -> None:
        """Wait so long from here on."""
        patience = self.pop._pop3fast.patience
        patience.timeout = seconds
        if patience._timer is not None:
            patience._timer.cancel()
            patience._timer = None

    def gettimeout(self) -> float | None:
        seconds: float | None = self.pop._pop3fast.patience.timeout
        return seconds

    def set_debuglevel(self, level: int) -> None:
        """Do nothing: the asyncio client has one way to read a reply."""

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def __enter__(self) -> Self:
        self.run(self.pop.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.run(self.pop.__aexit__(kind, error, traceback))

    def close(self) -> None:
        self.run(self.pop.close())

    def quit(self) -> bytes:
        answer: bytes = self.run(self.pop.quit())
        return answer

    def __repr__(self) -> str:
        return repr(self.pop)

    @property
    def max_octets(self) -> int | None:
        value: int | None = self.pop.max_octets
        return value

    @max_octets.setter
    def max_octets(self, most: int | None) -> None:
        self.pop.max_octets = most

    @property
    def welcome(self) -> bytes:
        value: bytes = self.pop.welcome
        return value

    @property
    def in_step(self) -> bool:
        value: bool = self.pop.in_step
        return value

    @property
    def pipelining_given_up(self) -> str | None:
        why: str | None = self.pop.pipelining_given_up
        return why

    def getwelcome(self) -> bytes:
        welcome: bytes = self.pop.getwelcome()
        return welcome

    def retr_many(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        return self.steps(lambda: self.pop.retr_many(*arguments, **named))

    def top_many(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        return self.steps(lambda: self.pop.top_many(*arguments, **named))

    def retr_pieces(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        return self.steps(lambda: self.pop.retr_pieces(*arguments, **named))

    def steps(self, make: Callable[[], AsyncIterator[Any]]) -> Iterator[Any]:
        async def begin() -> AsyncIterator[Any]:
            return make()

        async def step(of: AsyncIterator[Any]) -> Any:
            return await anext(of)

        loop = self.run(begin())  # which says at once what makes no sense

        def steps() -> Iterator[Any]:
            try:
                while True:
                    try:
                        yield self.run(step(loop))
                    except StopAsyncIteration:
                        return
            finally:
                if not self.loop.is_closed():
                    self.run(loop.aclose())

        return steps()

    def _shortcmd(self, line: str) -> Any:
        """Give a command of a program's own, for which the asyncio client has no method."""
        return self.run(self._by_hand(line, short))

    _putcmd = _shortcmd
    """Without hooks, whoever sends waits for the reply as well."""

    def _longcmd(self, line: str) -> Any:
        return self.run(self._by_hand(line, lines))

    async def _by_hand(self, line: str, take: Any) -> Any:
        own, verb = self.pop._pop3fast, verb_of(line)
        return await (own.command(line, take) if row(verb).alone else own.ask(verb, line, take))

    def __getattr__(self, name: str) -> Any:
        if name == "pop":  # it is not connected yet
            raise AttributeError(name)
        method = getattr(self.pop, name)
        if not inspect.iscoroutinefunction(method):
            return method
        return lambda *arguments, **named: self.run(method(*arguments, **named))


class RecordedTwin(Twin):
    """What `test_bulk.RecordedPOP3` is, for the asyncio client."""

    def __init__(self, host: str, port: int, timeout: float | None = 60.0) -> None:
        super().__init__(host, port, timeout)
        self.wire = Wire()
        theirs: Any = self.pop._pop3fast.wire
        theirs.write = self._recorded(theirs.write, "sent", lambda octets: octets)
        theirs.buffer_updated = self._recorded(
            theirs.buffer_updated, "received", lambda octets: theirs.get_buffer(-1)[:octets]
        )

    def _recorded(self, work: Callable[[Any], Any], what: str, octets_of: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def recorded(given: Any) -> Any:
            self.wire.events.append((what, bytes(octets_of(given))))
            return work(given)

        return recorded


class _Public:
    """The package, with another `connect`."""

    __name__ = "pop3fast"
    connect = staticmethod(Twin.of_url)
    POP3 = POP3_SSL = Twin

    def __getattr__(self, name: str) -> Any:
        return getattr(pop3fast, name)


@contextmanager
def connected(server: Any, *, timeout: float = TIMEOUT, buffer_octets: int | None = None) -> Iterator[RecordedTwin]:
    """Do what `test_bulk.connected` does; the buffers are as large as they are."""
    assert buffer_octets is None
    host, port = server.address
    pop = RecordedTwin(host, port, timeout)
    try:
        yield pop
    finally:
        pop.close()


@contextmanager
def logged_in(server: MailboxServer, *, timeout: float = TIMEOUT) -> Iterator[RecordedTwin]:
    """Do what `test_bulk.logged_in` does."""
    with connected(server, timeout=timeout) as pop:
        pop.user(server.user)
        pop.pass_(server.password)
        pop.wire.events.clear()
        yield pop


def time_out_when_it_stalls(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what `waiting.time_out_when_it_stalls` does: time flies once *server* stalls. It may have one client."""
    ahead = 0.0

    def now() -> float:
        nonlocal ahead
        ahead += 3600.0 if server.stalls_for else 0.0
        return time.monotonic() + ahead

    wait = selectors.DefaultSelector.select

    def wait_shortly(selector: Any, timeout: float | None = None) -> Any:
        return wait(selector, 0.001 if timeout is None else min(timeout, 0.001))

    monkeypatch.setattr(_deadline, "monotonic", now)
    # A loop looks at its clock when it has waited.
    monkeypatch.setattr(selectors.DefaultSelector, "select", wait_shortly)


_HOOKS = "it is about poplib's hooks or its file, which the asyncio client has not"
_ONE_LOOP = "from a callback, or from another thread, no command of a session can be given: the event loop is elsewhere"
_PROCESS = "it starts a process with the blocking client; see test_aio for what is received ahead"
_SHARED = "it is about what both clients share, and asks no server"
_SIGNAL = "a signal's exception in the middle of the event loop is nothing that a program can go on after"
_SOONER = "octets that nobody asked for are found when they come, and so before the reply in front of them is believed"
_ENCODING = "its commands are always sent in UTF-8"
_DEBUG = "the asyncio client prints no debug lines; what it records is in the log"
_WRITES = "a write on an event loop waits for nothing, and so for no server that waits for us"
_APOP = "after STLS the drop-in takes the time stamp from before it, as poplib does; the asyncio client never does"
_FETCH = "it is about a fetch, which is the same on an event loop: see test_aio_fetch_many"
_TRUSTED = "a session of aio is always one of connect(), which was told by the URL what to trust"
_IN_STEP = "what a file or a progress raises leaves the session in step: the rest of the message is thrown away"

DIFFERENCES = {
    "test_quirks::test_quirk_q67_a_listing_without_numbers_breaks_the_connection": _HOOKS,
    "test_quirks::test_quirk_q110_a_reply_that_overtakes_the_end_of_the_one_before_breaks_the_connection": _HOOKS,
    "test_quirks::test_quirk_q66_a_whole_listing_in_answer_to_list_of_one_is_nobody_elses_reply": _SOONER,
    "test_quirks::test_quirk_q96_a_dot_line_that_the_server_did_not_stuff_breaks_the_connection_and_forges_nothing": (
        _SOONER
    ),
    "test_bulk_broken::test_what_an_earlier_reply_left_over_is_not_the_first_of_a_loop": _SOONER,
    "test_bulk::test_with_4_kb_buffers_and_a_server_that_does_not_read_while_it_writes_5000_messages_finish": _WRITES,
    "test_bulk::test_without_its_limit_on_octets_the_client_would_wait_for_ever_there": _WRITES,
    "test_bulk::test_an_audit_hook_that_forbids_a_command_has_it_not_sent": _HOOKS,
    "test_quirks::test_quirk_q14_a_greeting_that_is_an_error_says_why_and_nothing_stays_open": (
        "it looks at the socket; see test_connect"
    ),
    "test_stls::test_a_session_over_tls_knows_that_it_is_one": "it names the class for TLS; see test_aio",
    "test_bulk::test_each_command_is_printed_as_a_single_one_is": _DEBUG,
    "test_client::test_a_certificate_that_is_not_trusted_is_the_ssl_modules_own_error": "see test_connect",
    "test_limits::test_max_octets_may_be_set_on_the_class_and_none_is_no_limit": "it names the class",
    "test_stls::test_stls_turns_tls_on_and_forgets_nothing_it_needs": "it looks at the socket; see test_aio",
    "test_bulk_pieces::test_with_hooks_of_a_subclass_messages_come_whole": _HOOKS,
    "test_retr_into::test_retr_into_does_not_spin_on_a_file_that_takes_nothing": _IN_STEP,
    "test_retr_into::test_retr_into_loses_nothing_in_a_raw_file_that_would_block": _IN_STEP,
    "test_retr_into::test_a_file_or_progress_that_raises_breaks_the_connection": _IN_STEP,
    "test_retr_into::test_a_command_given_by_progress_is_an_error_and_neither_reply_is_crossed": _ONE_LOOP,
    "test_retr_into::test_a_reply_read_by_progress_is_an_error_and_the_connection_broken": _HOOKS,
    "test_retr_into::test_a_command_of_another_thread_is_an_error_at_once_and_neither_reply_is_crossed": _ONE_LOOP,
    "test_login::test_a_command_given_by_an_authobject_is_refused_and_not_sent": _ONE_LOOP,
    "test_login::test_a_command_of_another_thread_does_not_come_between_challenge_and_answer": _ONE_LOOP,
    "test_login::test_a_secret_is_not_shown_where_nobody_was_verified": _TRUSTED,
    "test_retr_into::test_a_session_closed_by_another_thread_ends_the_wait": _ONE_LOOP,
    "test_retr_into::test_a_session_closed_by_progress_stays_closed": _ONE_LOOP,
    "test_connect::test_each_scheme_connects_and_logs_in": "it names the class and its socket; see test_aio",
    "test_connect::test_a_context_that_verifies_nothing_is_a_warning": "it names the caller's line; see test_aio",
    "test_every_octet::test_a_wait_that_failed_in_a_hook_breaks_the_connection_too": _HOOKS,
    "test_every_octet::test_a_limit_that_was_passed_in_a_hook_breaks_the_connection_too": _HOOKS,
    "test_every_octet::test_a_session_that_broke_in_a_hook_ends_without_quit": _HOOKS,
    "test_every_octet::test_commands_may_be_pipelined_by_hand": _HOOKS,
    "test_every_octet::test_a_command_that_waits_is_refused_while_replies_pipelined_by_hand_are_unread": _HOOKS,
    "test_every_octet::test_an_interrupt_in_a_hook_leaves_the_connection_broken_too": _HOOKS,
    "test_every_octet::test_a_server_that_hangs_up_between_two_commands_is_found_before_the_next": (
        "it looks at the socket; see test_aio"
    ),
    "test_stls::test_quirk_apop_after_stls_takes_the_time_stamp_from_before_it_as_poplib_does_and_login_does_not": (
        _APOP
    ),
    "test_real_servers::test_apop_logs_in_as_poplibs_does": _APOP,
    "test_real_servers::test_utf8_rpop_and_apop_after_login_are_poplibs": _APOP,
    "test_real_servers::test_after_quit_there_is_no_socket_and_no_file": _HOOKS,
    "test_secrets::test_a_sasl_exchange_by_hand_prints_no_secret": _HOOKS,
    "test_secrets::test_a_sasl_exchange_that_failed_hides_nothing_of_the_next_command": _DEBUG,
    "test_secrets::test_a_secret_that_cannot_be_encoded_is_not_in_the_error": _ENCODING,
    "test_secrets::test_what_is_no_secret_stays_in_the_error_as_poplib_has_it": _ENCODING,
    "test_secrets_mail::test_what_greets_instead_of_a_pop3_server_is_named": "its error names the server too",
    "test_protocol_log::test_of_a_loop_that_goes_one_by_one_each_status_line_is_recorded": (
        "its loops are one thing to it, one by one or not: that a message came is not said of each"
    ),
    "test_protocol_log::test_a_subclass_with_hooks_of_its_own_is_recorded_alike": _HOOKS,
    "test_client::test_a_connection_that_was_never_made_can_be_closed": "only connect() makes a session",
    "test_client::test_a_refusal_in_poplibs_manner_leaves_the_session_going": _HOOKS,
    "test_client::test_an_error_of_a_hooks_own_breaks_the_connection": _HOOKS,
    "test_programs_errors::test_the_end_of_a_with_block_masks_nothing": _HOOKS,
}
"""Tests, by module and name, that fail with the asyncio client, and why they may."""

NOT_ASKED = {
    "test_limits::test_quirk_q101_fifty_megabytes_into_a_file_in_constant_memory": (
        "a file is handed a megabyte at a time, because calling it in a thread costs as much as that"
    ),
    "test_every_octet::test_an_interrupt_in_mid_reply_leaves_the_connection_broken_and_never_a_wrong_reply": _SIGNAL,
    "test_login::test_an_interrupt_in_an_authobject_breaks_the_connection_at_once": (
        "an interrupt is delivered to the loop, which cancels the login; see test_aio_cancelling"
    ),
    "test_bulk_loop::test_a_loop_that_waits_stops_the_server": (
        "what comes meanwhile is received, within bounds; see test_a_slow_loop_stops_the_server_and_other_tasks_go_on"
    ),
    "test_bulk_loop::test_interrupts_at_random_moments_never_cross_a_reply": _SIGNAL,
    "test_bulk_loop::test_memory_does_not_grow_however_slow_the_loop": _PROCESS,
    "test_bulk_pieces::test_memory_does_not_grow_with_the_size_of_a_message": _PROCESS,
    "test_small_buffers::test_commands_inside_a_loop_find_room_in_a_buffer_of_2048_octets_too": (
        "what comes is received at once, so such a command finds nothing in flight, and what a loop asks for behind it "
        "stays within what a first trial may have; see test_aio_small_buffers"
    ),
    "test_hostile::test_time_is_linear_in_the_octets": _SHARED,
    "test_hostile::test_memory_is_no_more_than_a_multiple_of_the_octets": _SHARED,
    "test_hostile::test_any_octets_give_a_value_or_an_error_of_ours": _SHARED,
    "test_hostile::test_any_dialogue_gives_answers_or_an_error_of_ours": _SHARED,
    "test_hostile::test_a_scram_server_that_is_nearly_right_gets_an_error_of_ours": _SHARED,
    "test_hostile::test_a_scram_server_may_end_with_anything": _SHARED,
    "test_hostile::test_what_is_shown_of_a_server_is_short_and_safe": _SHARED,
    "test_late_acknowledgements::test_sixty_messages_that_come_quickly_are_asked_for_one_at_a_time": _SHARED,
    "test_late_acknowledgements::test_so_they_are_where_the_server_opens_its_mailbox_first": _SHARED,
    "test_late_acknowledgements::test_so_is_each_further_loop": _SHARED,
    "test_late_acknowledgements::test_what_a_long_line_gains_is_gained_there_too": _SHARED,
    "test_late_acknowledgements::test_each_loop_is_decided_by_itself_and_once": _SHARED,
    "test_late_acknowledgements::"
    "test_a_server_that_does_not_show_it_pipelines_is_sent_few_commands_together_after_many_alone": _SHARED,
    "test_late_acknowledgements::test_a_loop_takes_no_longer_than_one_command_after_the_other": _SHARED,
    "test_late_acknowledgements::test_what_it_may_cost_is_what_a_loop_waits_that_sends_them_together_at_once": _SHARED,
    "test_programs_errors::test_every_exception_is_looked_at": _SHARED,
    "test_programs_errors::test_every_exception_takes_any_arguments": _SHARED,
    "test_round_trips::test_a_fetch_has_its_first_mail_behind_four_commands_that_it_waits_for": _FETCH,
    "test_round_trips::test_a_second_fetch_has_its_first_mail_behind_so_many_round_trips": _FETCH,
    "test_round_trips::test_the_answer_to_quit_is_not_waited_for_where_nothing_is_marked": _FETCH,
    "test_secrets::test_what_of_a_command_is_shown": _SHARED,
    "test_secrets::test_nothing_of_a_line_inside_a_sasl_exchange_is_shown": _SHARED,
}
"""Tests, by module and name, of which holding them again would say nothing about the asyncio client, or another thing
each time, and why."""

LESS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "test_alone_in_flight": {"way": lambda way: way.name != "login"},  # _TRUSTED
    "test_quirks::test_quirks_q94_q98_a_message_ends_only_where_the_server_says_so": {
        "prepare": lambda prepare: prepare.__name__ == "<lambda>"  # _HOOKS
    },
    "test_every_octet::test_a_second_reply_in_the_same_segment_is_nobodys_reply": {
        "shape": lambda shape: shape in MANY  # _SOONER
    },
    "test_every_octet::test_a_reply_octet_by_octet_is_the_reply_as_a_whole": {"how": lambda how: how != "octets read"},
    "test_secrets": {"level": lambda level: level == 0},  # _DEBUG
    "test_secrets_login": {"level": lambda level: level == 0},  # _DEBUG
    "test_programs_errors": {"then": lambda then: then not in {"a hook", "the file"}},  # _HOOKS
    "test_real_servers": {"commands": lambda commands: commands[0][0] != "apop"},  # _APOP
    "test_protocol_log::test_secrets_are_masked_and_so_is_every_line_of_a_sasl_exchange": {
        "level": lambda level: level == 0  # _DEBUG
    },
}
"""Of which parameters of a module's tests, or of one test, only these values are for the asyncio client, and why."""

INSTEAD: dict[str, dict[str, object]] = {
    "test_quirks": {"connect": Twin.of_server},
    "test_hostile": {"connect": Twin.of_server, "pop3fast": _Public()},
    "test_limits": {"connect": Twin.of_server},
    "test_login": {"connect": Twin.of_server, "pop3fast": _Public()},
    "test_retr_into": {"connect": Twin.of_server},
    "test_bulk": {"POP3": Twin, "connected": connected, "logged_in": logged_in},
    "test_bulk_broken": {"POP3": Twin},
    "test_bulk_loop": {"POP3": Twin, "pop3fast": _Public()},
    "test_bulk_pieces": {"POP3": Twin, "connected": connected, "logged_in": logged_in},
    "test_connect": {"connect": Twin.of_url},
    "test_stls": {"connect": Twin.of_server, "POP3": Twin},
    "test_every_octet": {"POP3": Twin, "connect": Twin.of_server, "wait_for_octets": Twin.wait_for_octets},
    "test_secrets": {"POP3": Twin},
    "test_secrets_login": {
        "POP3": Twin,
        "pop3fast": _Public(),
        "time_out_when_it_stalls": time_out_when_it_stalls,
    },
    "test_secrets_mail": {"connect": Twin.of_server},
    "test_deadline": {"connect": Twin.of_url, "connect_plainly": Twin.of_server},
    "test_protocol_log": {"connect": Twin.of_server},
    "test_client": {"POP3": Twin, "connect": Twin.of_server},
    "test_round_trips": {"connected": connected, "session_of": Twin.session_of},
    "test_alone_in_flight": {"RecordedPOP3": RecordedTwin},
    "test_programs_errors": {"connect": Twin.of_server, "POP3": Twin},
    "test_late_acknowledgements": {"POP3": Twin},
    "test_small_buffers": {"POP3": Twin},
    "test_real_logins": {"pop3fast": _Public()},
    "test_real_servers": {
        "pop3fast": _Public(),
        "assert_same": partial(assert_same, ours=cast("ModuleType", _Public())),
    },
}
"""The modules whose dialogues both clients hold, and what makes a session in the place of the blocking client's."""


FAILED = os.environ.get("POP3FAST_TWINS_FAILED")
"""A file. Where it is named, what is said to differ is held in the place of everything else, and what fails is named
there: see `test_aio_twins`."""


def held_again(name: str) -> dict[str, object]:
    """Return the tests and fixtures of module *name*, loaded once more, for the asyncio client."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(INSTEAD[name])
    again: dict[str, object] = {"HELD_AGAIN": name}
    for attribute, value in vars(module).items():
        test = f"{name}::{attribute}"
        if type(value).__name__ == "FixtureFunctionDefinition":
            again[attribute] = value
        elif attribute.startswith("test_") and FAILED is not None:
            if test in DIFFERENCES:
                again[attribute] = _held_until_it_fails(test, value, Path(FAILED))
        elif attribute.startswith("test_") and test not in DIFFERENCES and test not in NOT_ASKED:
            for values in {**LESS.get(name, {}), **LESS.get(test, {})}.items():
                _take_only(value, *values)
            again[attribute] = value
    return again


def _held_until_it_fails(name: str, test: Callable[..., None], failed: Path) -> Callable[..., None]:
    """Return *test* so that it passes always, and no more of its parameters are tried when one has failed."""
    has_failed = False

    @wraps(test)
    def held(*arguments: object, **named: object) -> None:
        nonlocal has_failed
        if has_failed:
            return
        try:
            test(*arguments, **named)
        except BaseException:  # noqa: BLE001 - whatever it is, a time-out too: here is what is looked for
            has_failed = True
            with failed.open("a", encoding="utf-8") as file:
                file.write(f"{name}\n")

    return held


def _take_only(test: object, parameter: str, wanted: Callable[[Any], bool]) -> None:
    marks: list[pytest.Mark] = getattr(test, "pytestmark", []) if inspect.isfunction(test) else []
    for place, mark in enumerate(marks):
        if mark.args[:1] == (parameter,):
            left = [value for value in mark.args[1] if wanted(value)]
            others = {name: value for name, value in mark.kwargs.items() if name != "ids"}  # there may be fewer
            marks[place] = pytest.mark.parametrize(parameter, left, **others).mark
