"""The command line: `pop3fast`, `python -m pop3fast`.

Owns the arguments, the help and the exit statuses; what a command does is elsewhere. Exit status: 0 all well; 1 some
messages failed (each is named); 2 usage; 130 interrupted.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from pop3fast import _demo

_INTERRUPTED = 130  # what a shell says of a program that ended with control-C: 128 and SIGINT's number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; `arguments` are those of the command line unless given. Returns the exit status.

    Raises SystemExit for --help (0) and for wrong usage (2), as argparse does.
    """
    command = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = command.run
    try:
        return run(command)
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the shell's prompt begins a line
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pop3fast", description="Retrieve mail by POP3, fast.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    demo = commands.add_parser(
        "demo",
        help="retrieve a large mailbox with poplib and with pop3fast, and compare",
        description="Start an embedded server with a large mailbox on this machine, retrieve every message with "
        "poplib and with pop3fast, check each, and show what it took. Nothing leaves the machine. The exit status "
        "is 1 when a message was not what the server had been given.",
    )
    demo.add_argument("--messages", type=_positive, default=10_000, metavar="N", help="how many (default: 10000)")
    demo.set_defaults(run=lambda command: _demo.run(command.messages))
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number
