"""Arguments: what can follow `pop3fast` on the command line, and what its help says.

The one source of the help, of the completions of shells and of the manual page. Owns names, metavariables and which
option belongs to which command; what a setting means is the settings' own.
"""

import argparse
from typing import Any, Literal

from pop3fast import __version__
from pop3fast.cli._parser import Parser, RefusedSecret
from pop3fast.cli._settings import COUNT, SECONDS, SIZE, add_option, add_options, expanded, parser_of

SHELLS = ("bash", "zsh", "fish")


GROUPS = {
    "connecting": ("proxy", "source_address", "ip_version", "timeout", "deadline"),
    "certificates and TLS": ("ca_file", "client_cert", "client_key", "fingerprint", "tls_name", "tls_min"),
    "logging in": ("user", "mechanism"),
    "where the mail goes": ("to", "state", "recipient", "pipe_timeout", "jobs_per_account"),
    "what is deleted from the server": ("delete", "delete_after", "checkpoint_messages", "checkpoint_octets"),
    "running unattended": ("patience", "forget_after", "on_success", "on_failure", "sessions", "sync"),
    "what is fetched": (),
}
"""Which settings stand together. Others stand where their names begin alike, or in the last."""

EXAMPLES = {
    "fetch": """examples:
  pop3fast fetch pop3s://user@mail.example.org --to maildir:~/Mail
  pop3fast fetch work home --delete-after 30
  pop3fast fetch --all --every 300 --log ~/pop3fast.log --quiet""",
    "fleet": """examples:
  pop3fast fleet --state postgresql://pop3fast@db.example.org/mail --to "s3://archive/{name}"
  pop3fast fleet --state postgresql://pop3fast@db.example.org/mail --every 60 --log ~/fleet.log --quiet""",
    "list": """examples:
  pop3fast list pop3s://user@mail.example.org --headers
  pop3fast list --all --json""",
    "show": """examples:
  pop3fast show work 12 | less
  pop3fast show work 12 --delete
  pop3fast show work --larger 20M --delete""",
    "check": """examples:
  pop3fast check
  pop3fast check work home""",
    "status": """examples:
  pop3fast status
  pop3fast status --prometheus >/var/lib/prometheus/node-exporter/pop3fast.prom""",
    "capa": """examples:
  pop3fast capa pop3s://mail.example.org""",
}
"""What the help of each command ends with."""


class _Groups:
    """The groups of options in a command's help."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser
        self._groups: dict[str, argparse._ArgumentGroup] = {}

    def of(self, setting: str) -> argparse._ArgumentGroup:
        """Return the group in which a *setting* stands."""
        title = next((title for title, names in GROUPS.items() if setting in names), None)
        if title is None:
            begins = {"password": "logging in", "token": "logging in", "to_": "where the mail goes"}
            title = next((there for begin, there in begins.items() if setting.startswith(begin)), [*GROUPS][-1])
        if title not in self._groups:
            self._groups[title] = self._parser.add_argument_group(title)
        return self._groups[title]


def make_parser(begins: str = "") -> argparse.ArgumentParser:
    """Return what reads a command line; the command's name will be in ``command``.

    Where the line *begins* with the name of a command, it knows no other one: to describe all of them takes as long as
    a tenth of a fetch of nothing.
    """
    parser = Parser(prog="pop3fast", description="Retrieve mail by POP3, fast.")
    parser.add_argument("--version", action="version", version=f"pop3fast {__version__}", help="print the version")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    every = {
        "fetch": _add_fetch,
        "fleet": _add_fleet,
        "list": _add_list,
        "show": _add_show,
        "check": _add_check,
        "status": _add_status,
        "capa": _add_capa,
        "oauth": _add_oauth,
        "import-config": _add_import_config,
        "completion": _add_completion,
        "demo": _add_demo,
    }
    for name in [begins] if begins in every else every:
        every[name](commands)
    return parser


def _add_fetch(commands: Any) -> None:  # noqa: ANN401 - argparse has no public name for what adds commands
    fetch = _command(
        commands,
        "fetch",
        "fetch new mail into a Maildir, an mbox, a folder of files, or elsewhere",
        "Fetch new messages. Each arrives once, and counts only when it is safe on the disk, whatever happens on the "
        "way. Nothing is deleted from the server without --delete or --delete-after.",
    )
    groups = _Groups(fetch)
    add_options(groups.of, "fetch")
    what = groups.of("max_size")
    what.add_argument("--dry-run", action="store_true", help="print what would be fetched and deleted, and do nothing")
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
        help="fetch messages again that were fetched or refused before: the one with this unique-id (may be repeated), "
        "or all",
    )
    by_itself = groups.of("patience")
    add_option(by_itself, "--jobs", COUNT, "fetch N mailboxes at the same time (default: 8)")
    add_option(
        by_itself,
        "--every",
        SECONDS,
        "fetch each mailbox again, about every SECONDS seconds, until SIGTERM (default: fetch once)",
    )
    _add_what_is_said(fetch, by_itself, verbosely="print a line for each message, with its subject")


def _add_fleet(commands: Any) -> None:  # noqa: ANN401
    fleet = _command(
        commands,
        "fleet",
        "be one of several workers that share all accounts and fetch them again and again",
        "Fetch the mail of the accounts that are named, or of all, again and again until SIGTERM. Other workers with "
        "the same state, here or on other machines, share them: each is one worker's at a time, and those of a "
        "worker that dies are taken over by others within minutes.",
        usage="[OPTIONS] [URL|NAME...]",
    )
    groups = _Groups(fleet)
    add_options(groups.of, "fetch")
    by_itself = groups.of("patience")
    add_option(
        by_itself,
        "--every",
        SECONDS,
        "fetch each mailbox about every SECONDS seconds; later and later where that fails (default: 300)",
        300.0,
    )
    add_option(by_itself, "--at-once", COUNT, "hold at most N sessions at once in this worker (default: 1000)", 1000)
    add_option(
        by_itself,
        "--per-host",
        COUNT,
        "hold at most N sessions with a host at once, in all workers together (default: 8)",
        8,
    )
    _add_what_is_said(fleet, by_itself, verbosely="print a line for each fetch, also where nothing is new")
    fleet.set_defaults(dry_run=False, accept_uid_change=False, fetch_again=None)


def _add_what_is_said(parser: argparse.ArgumentParser, by_itself: "argparse._ArgumentGroup", *, verbosely: str) -> None:
    by_itself.add_argument(
        "--log",
        type=expanded,
        metavar="FILE",
        help="add a JSON object for each event to this file; SIGHUP opens it anew",
    )
    said = parser.add_argument_group("what is printed").add_mutually_exclusive_group()
    said.add_argument(
        "-q", "--quiet", action="store_true", help="print only what went wrong, and what stays on the server"
    )
    said.add_argument("-v", "--verbose", action="store_true", help=verbosely)
    said.add_argument("--json", action="store_true", help="print a JSON object for each message, and one at the end")


def _add_list(commands: Any) -> None:  # noqa: ANN401
    list_ = _command(
        commands,
        "list",
        "show number, octets and unique-id of each message",
        "Show what is in a mailbox: message numbers, sizes in octets, unique-ids. Nothing is fetched or changed.",
    )
    list_.add_argument("--headers", action="store_true", help="show date, sender and subject, too")
    list_.add_argument("--json", action="store_true", help="a JSON object for each message")


def _add_capa(commands: Any) -> None:  # noqa: ANN401
    capa = _command(
        commands,
        "capa",
        "show what a server can do",
        "Show what a server says that it can do (CAPA). When a user is named, it logs in before: many say more then.",
    )
    capa.add_argument("--json", action="store_true", help="a JSON object for each capability")


def _add_show(commands: Any) -> None:  # noqa: ANN401
    show = _command(
        commands,
        "show",
        "write one message to the standard output, or delete it",
        "Write a message to the standard output, as the server has it; on a terminal, characters that it would obey "
        "are escaped. Or delete it from the server without fetching it: one that is too large, or that nobody wants.",
        usage="[OPTIONS] URL|NAME [NUMBER]",
        nargs=1,
    )
    show.add_argument("number", nargs="?", type=parser_of(COUNT), metavar="NUMBER", help="its number, as list shows it")
    add_option(
        show,
        "--larger",
        SIZE,
        "with --delete, in the place of a number: every message of more octets (500k, 20M: powers of 1024)",
    )
    show.add_argument("--delete", action="store_true", help="delete it from the server, without fetching it")


def _add_check(commands: Any) -> None:  # noqa: ANN401
    _command(
        commands,
        "check",
        "try everything that a fetch needs, and fetch nothing",
        "Read the configuration, connect, log in and look at the destination, for the accounts that are named or for "
        "all. Says what works, and how to mend what does not. Nothing is fetched or changed. The exit status is that "
        "of a fetch.",
        usage="[OPTIONS] [URL|NAME...]",
    ).add_argument("--to", metavar="DEST", help="look at this destination")


def _add_status(commands: Any) -> None:  # noqa: ANN401
    status = _command(
        commands,
        "status",
        "show what is known of each account, without asking a server",
        "Show when a fetch of each account last ended well and how many messages are remembered, for the accounts that "
        "are named or for all. Nobody is connected to, and no password is needed.",
        usage="[OPTIONS] [URL|NAME...]",
    )
    status.add_argument("--to", metavar="DEST", help="where the mail goes: what was fetched is remembered beside it")
    status.add_argument("--state", type=expanded, metavar="FILE", help="the file that remembers what was fetched")
    said = status.add_mutually_exclusive_group()
    said.add_argument("--json", action="store_true", help="a list of JSON objects, one for each account")
    said.add_argument(
        "--prometheus", action="store_true", help="for the textfile collector of Prometheus' node exporter"
    )


def _add_oauth(commands: Any) -> None:  # noqa: ANN401
    oauth = commands.add_parser(
        "oauth",
        help="log in at Microsoft 365 or Google, for tokens",
        description="Log in for the accounts that are named, whose tables in the configuration have oauth and "
        "oauth-client-id. Tokens are kept and renewed from then on, and no password is needed.",
    )
    oauth.add_argument("action", choices=("login",), metavar="login", help="what to do")
    oauth.add_argument("accounts", nargs="+", metavar="NAME", help="names in the configuration")
    oauth.add_argument(
        "--config",
        type=expanded,
        metavar="FILE",
        help="the accounts by name (default: ~/.config/pop3fast/config.toml)",
    )
    oauth.set_defaults(parser=oauth)


def _add_import_config(commands: Any) -> None:  # noqa: ANN401
    imported = commands.add_parser(
        "import-config",
        help="turn a configuration of fetchmail, getmail or mpop into one of pop3fast",
        description="Write what a fetchmailrc, a getmailrc or an mpoprc says as a configuration of pop3fast, to the "
        "standard output. What has no counterpart is a comment with the number of its line.",
    )
    imported.add_argument("file", type=expanded, metavar="FILE", help="the other program's configuration")
    imported.set_defaults(parser=imported)


def _add_completion(commands: Any) -> None:  # noqa: ANN401
    completion = commands.add_parser(
        "completion",
        help="write what lets a shell complete commands and options",
        description="Write a script for a shell to the standard output: for bash into "
        "~/.local/share/bash-completion/completions/pop3fast, for zsh as _pop3fast into a folder of $fpath, for fish "
        "into ~/.config/fish/completions/pop3fast.fish.",
    )
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    completion.set_defaults(parser=completion)


def _add_demo(commands: Any) -> None:  # noqa: ANN401
    demo = commands.add_parser(
        "demo",
        help="retrieve a large mailbox with poplib and with pop3fast, and compare",
        description="Start an embedded server with a large mailbox on this machine, retrieve every message with "
        "poplib and with pop3fast, check each, and show what it took. Nothing leaves the machine. The exit status "
        "is 1 when a message was not what the server had been given.",
    )
    add_option(demo, "--messages", COUNT, "how many (default: 10000)", 10_000)
    demo.set_defaults(parser=demo)


def _command(
    commands: Any,  # noqa: ANN401
    name: str,
    words: str,
    description: str,
    usage: str = "[OPTIONS] URL|NAME...",
    nargs: int | Literal["*"] = "*",
) -> argparse.ArgumentParser:
    """Add a command that is about an account."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=words, description=description, usage=f"%(prog)s {usage}", epilog=EXAMPLES[name]
    )
    parser.add_argument(
        "accounts",
        nargs=nargs,
        metavar="URL",
        help="pop3s://[user@]host[:port], pop3:// (STLS) or pop3+plain:// (no TLS); or names in the configuration",
    )
    if nargs == "*":
        parser.add_argument("--all", action="store_true", help="every account in the configuration")
    groups = _Groups(parser)
    add_options(groups.of, "login")
    login = groups.of("user")
    login.description = (
        "A password comes from --password-command, --password-file, $POP3FAST_PASSWORD, netrc ($NETRC or ~/.netrc) or "
        "a prompt."
    )
    login.add_argument("--password", "--token", action=RefusedSecret, help=argparse.SUPPRESS)
    login.add_argument(
        "--config",
        type=expanded,
        metavar="FILE",
        help="the accounts by name (default: ~/.config/pop3fast/config.toml)",
    )
    groups.of("timeout").add_argument(
        "--debug", action="store_true", help="show the protocol on standard error, without secrets"
    )
    parser.set_defaults(parser=parser)
    return parser
