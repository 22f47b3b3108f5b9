"""The command line: `pop3fast`, `python -m pop3fast`.

Owns the arguments, the help and the exit statuses; what a command does is elsewhere. Exit status: 0 all well; 1 some
messages failed (each is named), or the standard output cannot be written; 2 usage; 3 no connection or TLS; 4 login
refused, or no password; 5 destination not writable; 130 interrupted; 141 nobody reads what is said. An error is one
line, never a traceback.
"""

import argparse
import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pop3fast import __version__
from pop3fast.cli import _fetching
from pop3fast.cli._config import default_config
from pop3fast.cli._parser import Parser, RefusedSecret
from pop3fast.cli._selection import selected
from pop3fast.cli._settings import COUNT, add_options, expanded, parser_of
from pop3fast.cli._text import OutputFailed, OutputGone, UsageError, complain, in_words
from pop3fast.fetch import exit_status

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
    command = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = command.run
    try:
        with _streams(), _protocol_log(on=getattr(command, "debug", False)):
            return run(command)
    except UsageError as error:
        complain(str(error))
        return _USAGE
    except Exception as error:  # noqa: BLE001 - no memory, no thread, a fault of ours: one line, whatever it is
        complain(in_words(error))
        return exit_status(error)
    except OutputFailed as error:
        complain(f"the standard output cannot be written: {error}")
        return _FAILED
    except OutputGone:
        return _OUTPUT_GONE
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            print(file=sys.stderr)  # the shell's prompt begins a line
        if command.run is _fetch:
            complain("interrupted; what was delivered stays delivered, and is remembered")
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="pop3fast", description="Retrieve mail by POP3, fast.")
    parser.add_argument(
        "--version", action="version", version=f"pop3fast {__version__}", help="say which version it is"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_fetch(commands)
    _add_list(commands)
    _add_capa(commands)
    _add_demo(commands)
    return parser


def _add_fetch(commands: Any) -> None:  # noqa: ANN401 - argparse has no public name for what adds commands
    fetch = _command(
        commands,
        "fetch",
        _fetch,
        "get new mail down into a Maildir, an mbox or a folder of files",
        "Fetch new messages. Each arrives once, and counts only when it is safe on the disk, whatever happens on the "
        "way. Nothing is deleted from the server without --delete or --delete-after.",
    )
    what = fetch.add_argument_group("what is fetched, and where to")
    add_options(what, "fetch")
    what.add_argument("--dry-run", action="store_true", help="say what would be fetched and deleted, and do nothing")
    what.add_argument(
        "--accept-uid-change",
        action="store_true",
        help="fetch all messages again when the server has changed every unique-id",
    )
    what.add_argument(
        "--fetch-again",
        action="append",
        nargs="?",
        const="all",
        metavar="UID",
        help="take messages for new that were fetched or refused before: this one (several times, if need be), or all",
    )
    many = fetch.add_argument_group("several mailboxes")
    many.add_argument(
        "--jobs", type=parser_of(COUNT), metavar="N", help="fetch so many mailboxes at the same time (default: 8)"
    )
    said = fetch.add_mutually_exclusive_group()
    said.add_argument(
        "-q", "--quiet", action="store_true", help="say only what went wrong, and what stays on the server"
    )
    said.add_argument("-v", "--verbose", action="store_true", help="say a line for each message")
    said.add_argument("--json", action="store_true", help="say a JSON object for each message, and one at the end")


def _add_list(commands: Any) -> None:  # noqa: ANN401
    list_ = _command(
        commands,
        "list",
        _list,
        "show number, octets and unique-id of each message",
        "Show what is in a mailbox: message numbers, sizes in octets, unique-ids. Nothing is fetched or changed.",
    )
    list_.add_argument("--headers", action="store_true", help="show date, sender and subject, too")
    list_.add_argument("--json", action="store_true", help="a JSON object for each message")


def _add_capa(commands: Any) -> None:  # noqa: ANN401
    capa = _command(
        commands,
        "capa",
        _capa,
        "show what a server can do",
        "Show what a server says that it can do (CAPA). When a user is named, it logs in before: many say more then.",
    )
    capa.add_argument("--json", action="store_true", help="a JSON object for each capability")


def _add_demo(commands: Any) -> None:  # noqa: ANN401
    demo = commands.add_parser(
        "demo",
        help="retrieve a large mailbox with poplib and with pop3fast, and compare",
        description="Start an embedded server with a large mailbox on this machine, retrieve every message with "
        "poplib and with pop3fast, check each, and show what it took. Nothing leaves the machine. The exit status "
        "is 1 when a message was not what the server had been given.",
    )
    demo.add_argument(
        "--messages", type=parser_of(COUNT), default=10_000, metavar="N", help="how many (default: 10000)"
    )
    demo.set_defaults(run=_run_demo, parser=demo)


def _command(
    commands: Any,  # noqa: ANN401
    name: str,
    run: Callable[[argparse.Namespace], int],
    words: str,
    description: str,
) -> argparse.ArgumentParser:
    """Add a command that is about an account."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=words, description=description, usage="%(prog)s [OPTIONS] URL|NAME..."
    )
    parser.add_argument(
        "accounts",
        nargs="*",
        metavar="URL",
        help="pop3s://[user@]host[:port], pop3:// (STLS) or pop3+plain:// (no TLS); or names in the configuration",
    )
    parser.add_argument("--all", action="store_true", help="every account in the configuration")
    login = parser.add_argument_group(
        "logging in",
        "A password comes from --password-command, --password-file, $POP3FAST_PASSWORD, netrc ($NETRC or ~/.netrc) or "
        "a prompt.",
    )
    add_options(login, "login")
    login.add_argument("--password", "--token", action=RefusedSecret, help=argparse.SUPPRESS)
    config = default_config().replace("%", "%%")  # argparse puts values in for what begins with one
    login.add_argument("--config", type=expanded, metavar="FILE", help=f"the accounts by name (default: {config})")
    login.add_argument("--debug", action="store_true", help="show the protocol on standard error, without secrets")
    parser.set_defaults(run=run, parser=parser)
    return parser


def _fetch(command: argparse.Namespace) -> int:
    if not command.accounts and any("://" in uid for uid in command.fetch_again or ()):
        raise UsageError("behind --fetch-again stands a URL: write it before, or write --fetch-again=all")
    return _fetching.fetch(selected(command), command)


def _list(command: argparse.Namespace) -> int:
    from pop3fast.cli import _look  # noqa: PLC0415 - it reads headers, and a fetch does not

    return _look.look_at(selected(command), command, _look.list_)


def _capa(command: argparse.Namespace) -> int:
    from pop3fast.cli import _look  # noqa: PLC0415 - as above

    return _look.look_at(selected(command), command, _look.capa)


def _run_demo(command: argparse.Namespace) -> int:
    from pop3fast.cli import _demo  # noqa: PLC0415 - it brings a whole server

    return _demo.run(command.messages)


@contextlib.contextmanager
def _streams() -> Iterator[None]:
    """Let the standard streams be there, and no letter be the end of a command.

    What was closed when the program began becomes ``/dev/null``: otherwise the next file that is opened, as an mbox,
    would get its number, and what the password command complains of. What a terminal's character set lacks is escaped.
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
