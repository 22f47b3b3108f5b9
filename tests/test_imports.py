"""What is imported when: the start of a command that runs every five minutes is most of what it takes.

Each looks in a process of its own at which modules are there, and at no clock.
"""

import subprocess
import sys

import pytest

HEAVY = {"asyncio", "email.message", "email.utils", "hmac", "http", "json", "logging", "tempfile", "traceback"}
"""What takes a millisecond and more, or brings along what does, and is needed by a few only."""

OF_THE_CLIENT = HEAVY | {
    *("concurrent.futures", "copy", "dataclasses", "hashlib", "importlib", "inspect", "ipaddress", "pathlib"),
    *("subprocess", "threading", "urllib", "weakref", "pop3fast._dial", "pop3fast._route"),
}
OF_THE_COMMAND = {"asyncio", "email.message", "email.utils", "imaplib", "json", "random", "subprocess", "tempfile"}

MOST_PATTERNS = 3
"""What a greeting and a command are compared with in every session, and one to spare. Each takes a tenth of a
millisecond and more."""


def imported_by(statement: str, before: str = "import poplib") -> set[str]:
    """Return the modules that are there after *statement*, and were not after what comes *before*."""
    # Without ``site``, which imports more in some installations; the package is found by the path of this process.
    code = f"import sys; {before}; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    ran = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.split())


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))


def test_the_client_imports_nothing_heavy() -> None:
    modules = imported_by("import pop3fast")
    assert "pop3fast._client" in modules
    assert not modules & OF_THE_CLIENT
    assert not any(module.startswith(("pop3fast.aio", "pop3fast.fetch", "pop3fast.cli")) for module in modules)


def test_a_command_that_is_asked_for_its_help_imports_nothing_that_fetches() -> None:
    # From 3.14 on argparse brings dataclasses for its colours.
    usual = "import argparse, poplib; argparse.ArgumentParser(usage='').format_help()"
    modules = imported_by("from pop3fast.cli._main import make_parser; make_parser('fetch').format_help()", usual)
    assert "pop3fast.cli._arguments" in modules
    assert not modules & OF_THE_CLIENT, modules & OF_THE_CLIENT
    assert not any(module.startswith(("pop3fast.aio", "pop3fast.fetch")) for module in modules)


def test_the_command_imports_no_destination_that_it_does_not_use() -> None:
    modules = imported_by("import pop3fast.cli._fetching")
    assert "pop3fast.fetch.destinations._maildir" in modules
    assert not modules & OF_THE_COMMAND
    for name in ("destinations._imap", "destinations._lmtp", "destinations._mbox", "destinations._objects"):
        assert f"pop3fast.fetch.{name}" not in modules
    assert not any(module.startswith("pop3fast.fetch.memory._postgres") for module in modules)


def test_no_pattern_is_compiled_for_what_most_sessions_never_hear() -> None:
    """A dozen of them took a twelfth of the time of the whole import."""
    imported_by(
        "import re; compiled = []; real = re.compile; "
        "re.compile = lambda *a, **k: compiled.append(a) or real(*a, **k); "
        f"import pop3fast; re.compile = real; assert 0 < len(compiled) <= {MOST_PATTERNS}, compiled"
    )


def test_nobody_listens_before_logging_is_imported_and_whoever_imports_it_later_hears() -> None:
    statement = (
        "import pop3fast._protocol_log as log; assert not log.is_on(); import logging; assert not log.is_on(); "
        "logging.getLogger('pop3fast').setLevel(logging.DEBUG); assert log.is_on()"
    )
    assert "logging" in imported_by(statement)


def test_nobody_listens_while_another_thread_is_importing_logging() -> None:
    imported_by(
        "import pop3fast._protocol_log as log; sys.modules['logging'] = type(sys)('logging'); assert not log.is_on(); "
        "del sys.modules['logging']; import logging; logging.getLogger('pop3fast').setLevel(logging.DEBUG); "
        "assert log.is_on()"
    )
