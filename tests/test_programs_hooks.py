"""Hooks that are wrapped, as tracers and libraries for trying again do it, are used like a program's own."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

import pop3fast
from scripted import ScriptedServer

HELLO = b"+OK ready\r\n"
OK = b"+OK\r\n"
MESSAGE = b"+OK\r\nSubject: hello\r\n\r\nHello.\r\n..\r\n.\r\n"
CONTENT = b"Subject: hello\r\n\r\nHello.\r\n.\r\n"
RETRIEVED = (b"+OK", [b"Subject: hello", b"", b"Hello.", b"."], len(CONTENT))


class Proxy:
    """What wrapt makes of a method, in small: whatever it is asked, it says what the method would say."""

    def __init__(self, wrapped: Any, called: list[str]) -> None:  # noqa: ANN401
        self.wrapped, self.called = wrapped, called

    def __get__(self, instance: object, owner: type) -> "Proxy":
        return Proxy(self.wrapped.__get__(instance, owner), self.called)

    def __getattr__(self, name: str) -> object:
        return getattr(self.wrapped, name)

    @property  # type: ignore[misc]  # as wrapt has it
    def __class__(self) -> Any:  # noqa: ANN401
        return self.wrapped.__class__

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401
        self.called.append(self.wrapped.__name__)
        return self.wrapped(*arguments)


def as_wrapt_does(hook: Any, called: list[str]) -> Any:  # noqa: ANN401
    return Proxy(hook, called)


def by_wrapt(hook: Any, called: list[str]) -> Any:  # noqa: ANN401
    wrapt = pytest.importorskip("wrapt")

    def wrapper(wrapped: Any, _: object, arguments: Any, __: object) -> Any:  # noqa: ANN401
        called.append(wrapped.__name__)
        return wrapped(*arguments)

    return wrapt.FunctionWrapper(hook, wrapper)


def by_functools(hook: Any, called: list[str]) -> Any:  # noqa: ANN401
    @functools.wraps(hook)
    def wrapper(*arguments: Any) -> Any:  # noqa: ANN401
        called.append(hook.__name__)
        return hook(*arguments)

    return wrapper


def by_partialmethod(hook: Any, called: list[str]) -> Any:  # noqa: ANN401
    return functools.partialmethod(by_functools(hook, called))


HOOKS = ["_putline", "_putcmd", "_getline", "_getresp", "_getlongresp", "_shortcmd", "_longcmd"]


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("wrap", [as_wrapt_does, by_wrapt, by_functools, by_partialmethod])
@pytest.mark.parametrize("where", ["class", "subclass"])
def test_a_hook_that_is_wrapped_is_used(
    hook: str, wrap: Callable[[Any, list[str]], Any], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    wrapped = wrap(vars(poplib_like(hook))[hook], called)
    kind = type("Traced", (pop3fast.POP3,), {hook: wrapped} if where == "subclass" else {})
    with ScriptedServer(HELLO, [MESSAGE, OK, MESSAGE, MESSAGE]) as server:
        if where == "class":
            monkeypatch.setattr(pop3fast.POP3, hook, wrapped)
        pop = kind(*server.address, 10)
        assert pop.retr(1) == RETRIEVED
        assert pop.dele(1) == b"+OK"
        assert hook in called
        if hook in {"_putline", "_putcmd", "_getline", "_getresp"}:
            called.clear()
            assert [message.content for message in pop.retr_many([1], pipelining=True)] == [CONTENT]
            assert pop.retr_bytes(1) == CONTENT
            assert called.count(hook) >= 2
        pop.close()


def poplib_like(hook: str) -> type:
    """Return the class of ours that has *hook*."""
    return next(kind for kind in pop3fast.POP3.__mro__ if hook in vars(kind))


def test_a_hook_of_another_connection_reads_from_that_connection() -> None:
    with ScriptedServer(HELLO, [MESSAGE]) as one, ScriptedServer(HELLO, [OK]) as other:
        first, second = pop3fast.POP3(*one.address, 10), pop3fast.POP3(*other.address, 10)
        first._putcmd("RETR 1")
        second._getline = first._getline  # type: ignore[method-assign]
        second._putcmd("NOOP")
        assert second._getlongresp() == RETRIEVED
        first.close()
        second.close()
