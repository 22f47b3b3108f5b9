"""The command line: `pop3fast`, `python -m pop3fast`.

Owns the exit statuses, and what becomes of the standard streams; what a command does is elsewhere. Exit status: 0 all
well; 1 some messages failed (each is named), or the standard output cannot be written; 2 usage; 3 no connection or
TLS; 4 login refused, or no password; 5 destination not writable; 6 another run has the account; 130 interrupted; 141
nobody reads what is said. An error is one line, never a traceback.
"""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pop3fast.cli._arguments import make_parser
from pop3fast.cli._text import OutputFailed, OutputGone, UsageError, complain, in_words

if TYPE_CHECKING:
    from pop3fast.cli._settings import Settings

_FAILED = 1
_USAGE = 2
_OUTPUT_GONE = 141  # what a shell says of a program that SIGPIPE ended: 128 and its number
_INTERRUPTED = 130  # the same of control-C

_STREAMS = {"stdin": "r", "stdout": "w", "stderr": "w"}
"""In the order of their numbers: what is opened gets the lowest that is free."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `arguments` are those of the command line unless given. Returns the exit status.

    Raises SystemExit for --help (0) and for wrong usage (2), as argparse does.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    command = make_parser(*given[:1]).parse_args(given)
    try:
        with _streams(), _protocol_log(on=getattr(command, "debug", False)):
            return _COMMANDS[command.command](command)
    except UsageError as error:
        complain(str(error))
        return _USAGE
    except Exception as error:  # noqa: BLE001 - no memory, no thread, a fault of ours: one line, whatever it is
        from pop3fast.fetch import exit_status  # noqa: PLC0415 - as in_words does

        complain(in_words(error))
        return exit_status(error)
    except OutputFailed as error:
        complain(f"the standard output cannot be written: {error}")
        return _FAILED
    except OutputGone:
        return _OUTPUT_GONE
    except KeyboardInterrupt as interrupt:
        with contextlib.suppress(OSError):
            print(file=sys.stderr)  # the shell's prompt begins a line
        for note in getattr(interrupt, "__notes__", ()):
            complain(note)
        return _INTERRUPTED


def _selected(command: argparse.Namespace, *, or_all: bool = False) -> "dict[str, Settings]":
    from pop3fast.cli._selection import selected  # noqa: PLC0415 - as below

    return selected(command, or_all=or_all)


def _fetch(command: argparse.Namespace) -> int:
    if not command.accounts and any("://" in uid for uid in command.fetch_again or ()):
        raise UsageError("--fetch-again is followed by a URL: write the URL before it, or write --fetch-again=all")
    from pop3fast.cli import _fetching  # noqa: PLC0415 - a command that is asked for its help needs none of it

    return _fetching.fetch(_selected(command), command)


def _fleet(command: argparse.Namespace) -> int:
    from pop3fast.cli import _fleet  # noqa: PLC0415 - it brings an event loop

    return _fleet.fleet(_selected(command, or_all=True), command)


def _list(command: argparse.Namespace) -> int:
    from pop3fast.cli import _look  # noqa: PLC0415 - as above

    return _look.look_at(_selected(command), command, _look.list_)


def _capa(command: argparse.Namespace) -> int:
    from pop3fast.cli import _look  # noqa: PLC0415 - as above

    return _look.look_at(_selected(command), command, _look.capa)


def _show(command: argparse.Namespace) -> int:
    from pop3fast.cli import _look, _show  # noqa: PLC0415 - as above

    _show.check_arguments(command)
    return _look.look_at(_selected(command), command, _show.show)


def _check(command: argparse.Namespace) -> int:
    from pop3fast.cli import _check  # noqa: PLC0415 - as above

    return _check.check(_selected(command, or_all=True))


def _status(command: argparse.Namespace) -> int:
    from pop3fast.cli import _status  # noqa: PLC0415 - as above

    return _status.status(_selected(command, or_all=True), command)


def _oauth(command: argparse.Namespace) -> int:
    from pop3fast.cli import _oauth  # noqa: PLC0415 - as above

    return _oauth.log_in(_selected(command))


def _import_config(command: argparse.Namespace) -> int:
    from pop3fast.cli import _importing  # noqa: PLC0415 - as above

    return _importing.import_config(command.file)


def _completion(command: argparse.Namespace) -> int:
    from pop3fast.cli import _completion  # noqa: PLC0415 - as above

    return _completion.completion(command.shell)


def _demo(command: argparse.Namespace) -> int:
    from pop3fast.cli import _demo  # noqa: PLC0415 - it brings a whole server

    return _demo.run(command.messages)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "fetch": _fetch,
    "fleet": _fleet,
    "list": _list,
    "show": _show,
    "check": _check,
    "status": _status,
    "capa": _capa,
    "oauth": _oauth,
    "import-config": _import_config,
    "completion": _completion,
    "demo": _demo,
}


@contextlib.contextmanager
def _streams() -> Iterator[None]:
    """Make sure that the standard streams exist, and that no command ends because a character cannot be written.

    A stream that was closed when the program began becomes ``/dev/null``: otherwise the next file that is opened, an
    mbox for instance, would get its number, and with it the complaints of a password command. What a terminal's
    character set lacks is escaped.
    """
    missing = [(name, mode) for name, mode in _STREAMS.items() if getattr(sys, name) is None]
    for name, mode in missing:
        nowhere = open(os.devnull, mode, encoding="utf-8")  # noqa: PTH123, SIM115 - it stays open to the very end
        os.set_inheritable(nowhere.fileno(), True)  # noqa: FBT003 - the name says what is true
        setattr(sys, name, nowhere)
    before = [(stream, stream.errors) for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    for stream, _ in before:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in before:
            stream.reconfigure(errors=errors)


@contextlib.contextmanager
def _protocol_log(*, on: bool) -> Iterator[None]:
    if not on:
        yield
        return
    import logging  # noqa: PLC0415 - takes long, and few want to see the protocol

    logger = logging.getLogger("pop3fast")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
