"""Settings: all that can be said of an account, and in which words.

Owns the names, which are the same behind ``--`` and as keys of a configuration file, and what their values have to
be. A setting that was not made is None.
"""

import argparse
import os
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from pop3fast.cli._text import UsageError

Group = Literal["file", "login", "fetch"]
"""Where a setting can be made: in a configuration file; there and for each command; there and for fetch."""

HAS_TO_BE = "has to be"
"""How an error about a value begins: it says what belongs there, and never what stands there."""

MOST = 10**9
"""Of seconds and of days: more than anybody waits. The operating system cannot count to 1e300."""

FORMS = (
    "maildir:PATH, mbox:PATH, eml:PATH, pipe:COMMAND, lmtp:HOST:PORT, imaps://user@host/FOLDER, "
    "imap://user@host/FOLDER, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///FOLDER"
)
"""What `pop3fast.fetch.destination_forms` returns: for the help alone all that a fetch needs would be imported."""

_SIZE = r"([0-9]{1,15}) ?([kKMGT]?)(?:i?B)?"
_POWERS = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}


class Kind(NamedTuple):
    """What a value has to be."""

    metavar: str
    words: str
    check: Callable[[object], object]
    """Returns the value that a configuration file's value means; raises ValueError for what makes no sense."""
    parse: Callable[[str], object]
    """Does so for an argument, which is text."""


class About(NamedTuple):
    """What a setting is."""

    kind: Kind
    group: Group
    help: str


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError
    return value


def _path(value: object) -> str:
    return expanded(_text(value))


def _number(value: object) -> float:
    # True is an int to Python, and to nobody else.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        raise ValueError
    return value


def _seconds(value: object) -> float:
    seconds = _number(value)
    if not seconds:
        raise ValueError
    return seconds


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


def _size(value: object) -> int:
    found = re.fullmatch(_SIZE, value) if isinstance(value, str) else None
    return _count(value if found is None else int(found[1]) * 1024 ** _POWERS[found[2]])


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - whoever calls knows one way to say no
    return value


def _ip_version(value: object) -> int:
    if value not in (4, 6):
        raise ValueError
    return _count(value)


def _sync(value: object) -> str:
    if value not in ("each", "batch"):
        raise ValueError
    return str(value)


TEXT = Kind("TEXT", "a text", _text, _text)
FILE = Kind("FILE", "the path of a file, as a text", _path, _path)
COMMAND = Kind("COMMAND", "a command, as a text", _text, _text)
SECONDS = Kind(
    "SECONDS", f"a number of seconds above 0, and at most {MOST:,}", _seconds, lambda text: _seconds(float(text))
)
DAYS = Kind("DAYS", f"a number of days, at most {MOST:,}", _number, lambda text: _number(float(text)))
COUNT = Kind("N", "a whole number from 1", _count, lambda text: _count(int(text)))
SIZE = Kind("SIZE", 'a number of octets, or a text as "500k", "10M" or "1G" (powers of 1024)', _size, _size)
FLAG = Kind("", "true or false", _flag, lambda text: _flag(text == "true"))
IP_VERSION = Kind("4|6", "4 or 6", _ip_version, lambda text: _ip_version(int(text)))
SYNC = Kind("each|batch", "each or batch", _sync, _sync)
EITHER = Kind("", "true or false", _flag, lambda text: _flag(text == "true"))
"""A flag that has a third meaning when it is not given."""


def _said(kind: Kind, group: Group, words: str) -> Any:  # noqa: ANN401 - each object has a value of its own there
    return About(kind, group, words)


class Settings:
    """What was said of one account. No repr shows it: there are secrets in it."""

    url: str | None = _said(TEXT, "file", "pop3s://[user@]host[:port], pop3:// (STLS), or pop3+plain:// (no TLS)")
    password: str | None = _said(TEXT, "file", "the password, in a file that is nobody else's")
    user: str | None = _said(TEXT, "login", "the user who logs in, unless the URL names one")
    password_command: str | None = _said(COMMAND, "login", "a command that prints the password (run without a shell)")
    password_file: str | None = _said(
        FILE, "login", "a file with the password, which only you can read (- is the standard input)"
    )
    token_command: str | None = _said(COMMAND, "login", "a command that prints an OAuth 2 access token")
    password_keyring: bool | None = _said(
        FLAG, "login", "the password is in the system's keyring, where keyring set HOST USER puts it (extra keyring)"
    )
    oauth: str | None = _said(TEXT, "file", "whose tokens log in: microsoft, google or other (pop3fast oauth login)")
    oauth_client_id: str | None = _said(TEXT, "file", "the program's id at the provider")
    oauth_client_secret_file: str | None = _said(FILE, "file", "a file with its secret, which only you can read")
    oauth_tenant: str | None = _said(TEXT, "file", "the organisation (microsoft)")
    oauth_keyring: bool | None = _said(FLAG, "file", "keep the tokens in the system's keyring (extra keyring)")
    oauth_token_url: str | None = _said(TEXT, "file", "the token server (other)")
    oauth_device_url: str | None = _said(TEXT, "file", "where a login on another device begins (other)")
    oauth_scope: str | None = _said(TEXT, "file", "what is asked for there (other)")
    mechanism: str | None = _said(TEXT, "login", "how to log in: SCRAM-SHA-256, PLAIN, USER, ... (default: the best)")
    ca_file: str | None = _said(FILE, "login", "certificates to trust instead of the system's (PEM)")
    client_cert: str | None = _said(
        FILE, "login", "a certificate to show to the server (PEM), with its key unless that has a file of its own"
    )
    client_key: str | None = _said(FILE, "login", "the file of that certificate's key (PEM)")
    fingerprint: str | None = _said(
        TEXT, "login", "trust the one certificate that has this SHA-256 (hexadecimal), whoever signed it"
    )
    tls_name: str | None = _said(TEXT, "login", "the name that the certificate has to have (default: the host's)")
    tls_min: str | None = _said(TEXT, "login", "the lowest version of TLS: 1.2 or 1.3 (default: 1.2)")
    proxy: str | None = _said(
        TEXT, "login", "go through a proxy: socks5://host[:port], socks5h:// or http:// (default: $ALL_PROXY)"
    )
    source_address: str | None = _said(TEXT, "login", "connect from this address of this machine")
    ip_version: int | None = _said(IP_VERSION, "login", "connect by this version of IP only")
    timeout: float | None = _said(SECONDS, "login", "how long to wait for the server each time (default: 60)")
    deadline: float | None = _said(SECONDS, "login", "how long a session may take in all (default: no limit)")
    to: str | None = _said(TEXT, "fetch", f"where the mail goes: {FORMS}")
    state: str | None = _said(
        FILE,
        "fetch",
        "what remembers which messages were fetched: a file (default: beside the mail), or postgresql://...",
    )
    delete: bool | None = _said(FLAG, "fetch", "delete delivered messages from the server")
    delete_after: float | None = _said(
        DAYS, "fetch", "delete messages from the server DAYS days after their delivery (default: never)"
    )
    since_last: bool | None = _said(FLAG, "fetch", "fetch only messages that came since the last fetch")
    max_size: int | None = _said(
        SIZE, "fetch", "leave messages of more than SIZE octets on the server (500k, 20M; default: no limit)"
    )
    limit: int | None = _said(COUNT, "fetch", "fetch at most N messages (default: all)")
    headers_only: bool | None = _said(FLAG, "fetch", "fetch headers only; the messages count as not fetched")
    checkpoint_messages: int | None = _said(
        COUNT, "fetch", "when deleting, begin a new session after every N messages (default: 500)"
    )
    checkpoint_octets: int | None = _said(
        SIZE, "fetch", "when deleting, begin a new session after every SIZE octets (default: 50,000,000)"
    )
    forget_after: float | None = _said(
        DAYS, "fetch", "forget that a message was fetched when no listing has had it for DAYS days (default: 30)"
    )
    trust_sizes: bool | None = _said(
        EITHER, "fetch", "trust the sizes that the server lists, or do not (default: learned from the messages)"
    )
    filter: str | None = _said(
        COMMAND, "fetch", "a command that gets each new message: exit status 0 deliver, 90 skip, 91 leave, 92 delete"
    )
    filter_headers: bool | None = _said(FLAG, "fetch", "the filter gets the header only, before the message is fetched")
    drop_status: bool | None = _said(
        FLAG,
        "fetch",
        "deliver messages without the headers that say what was read or deleted (Status and others): "
        "senders can set them",
    )
    sessions: int | None = _said(
        COUNT,
        "fetch",
        "fetch over N sessions at once where the server answers one command at a time (default: 1)",
    )
    sync: Literal["each", "batch"] | None = _said(
        SYNC,
        "fetch",
        "make the file of each message durable by itself, or those of a batch at once (maildir:, eml:; default: each)",
    )
    recipient: str | None = _said(TEXT, "fetch", "for whom the mail is (pipe:, lmtp:; default: the user who logs in)")
    to_password_command: str | None = _said(
        COMMAND, "fetch", "a command that prints the password for the server that the mail goes to (imaps:)"
    )
    to_token_command: str | None = _said(
        COMMAND, "fetch", "a command that prints an OAuth 2 access token for that server"
    )
    to_ca_file: str | None = _said(FILE, "fetch", "certificates to trust for that server instead of the system's (PEM)")
    pipe_timeout: float | None = _said(
        SECONDS, "fetch", "how long a program (pipe:) may take for one message (default: 600)"
    )
    to_create: bool | None = _said(FLAG, "fetch", "make the folder that the mail goes to, when it is missing (imaps:)")
    jobs_per_account: int | None = _said(
        COUNT, "fetch", "deliver N messages at once (pipe:, lmtp:; default: 1, in the order of the mailbox)"
    )
    import_seen: str | None = _said(
        FILE, "fetch", "where getmail, mpop or fetchmail keeps what it fetched: these messages are not new"
    )
    on_success: str | None = _said(
        COMMAND, "fetch", "a command to run when a fetch of the account has ended well (without a shell)"
    )
    on_failure: str | None = _said(COMMAND, "fetch", "a command to run when a fetch of the account has failed")
    from_now: bool | None = _said(FLAG, "fetch", "at the first fetch, what is on the server does not count as new")
    patience: float | None = _said(SECONDS, "fetch", "how long to wait for a mailbox that is in use (default: 900)")

    def __init__(self, **said: Any) -> None:  # noqa: ANN401 - each of the settings above has a type of its own
        """Begin with what was *said*. Raises TypeError for what is no setting."""
        if unknown := said.keys() - ABOUT.keys():
            raise TypeError(f"no settings: {', '.join(sorted(unknown))}")
        vars(self).update(dict.fromkeys(ABOUT) | said)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, Settings) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # they are compared, and no key of anything

    def but(self, **said: Any) -> "Settings":  # noqa: ANN401 - as above
        """Return these settings, with what was *said* instead."""
        return Settings(**vars(self) | said)

    def over(self, others: "Settings") -> "Settings":
        """Return *others*, with what these say instead. Where these name a source of a secret, no other counts."""
        mine = self.said()
        if mine.keys() & SECRETS:
            others = others.but(**dict.fromkeys(SECRETS))
        return others.but(**mine)

    def said(self) -> dict[str, object]:
        """Return what was said."""
        return {name: value for name, value in vars(self).items() if value is not None}


ABOUT: dict[str, About] = {name: each for name, each in vars(Settings).items() if isinstance(each, About)}
"""What each setting is, by its name."""

SECRETS = ("password", "password_command", "password_file", "token_command", "password_keyring", "oauth")


def key_of(name: str) -> str:
    """Return how a setting is called in a file, and behind ``--``."""
    return name.replace("_", "-")


MEANT = {
    "dest": "to",
    "destination": "to",
    "maildir": "to",
    "mailbox": "to",
    "mbox": "to",
    "folder": "to",
    "output": "to",
    "server": "url",
    "host": "url",
    "username": "user",
    "user-name": "user",
    "login": "user",
    "pass-command": "password-command",
    "passwordeval": "password-command",
    "pass-file": "password-file",
    "auth": "mechanism",
    "cafile": "ca-file",
    "tls-trust-file": "ca-file",
    "bindaddr": "source-address",
    "source-ip": "source-address",
    "state-file": "state",
    "max-message-size": "max-size",
}
"""What other programs call a setting, and people who come from them."""

DELETES = frozenset({"delete", "delete-after"})


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return which of the *known* names was probably meant by *word*, if any.

    Never one that deletes, unless *word* begins with "delete" in letters that are almost those: whoever tries a
    suggestion out must not lose mail by it.
    """
    import difflib  # noqa: PLC0415 - for this alone

    word = word.lower().replace("_", "-")
    names = set(known)
    if MEANT.get(word) in names:
        return MEANT[word]
    alike = difflib.get_close_matches(word, names, 3)
    surely = difflib.get_close_matches(word, names & DELETES, 1, 0.8) if word.startswith("del") else []
    return next((name for name in alike if name not in DELETES or name in surely), None)


def expanded(path: str) -> str:
    """Return *path* with the user's home for ``~``; as it is where nobody knows that."""
    return os.path.expanduser(path)  # noqa: PTH111 - Path's raises an exception where there is no home


def add_options(group_of: "Callable[[str], argparse._ArgumentGroup]", group: Group) -> None:
    """Let a command's arguments make the settings of *group*; each stands where *group_of* its name says."""
    for name, (kind, its_group, words) in ABOUT.items():
        if its_group != group:
            continue
        option, parser = f"--{key_of(name)}", group_of(name)
        if kind is FLAG:
            parser.add_argument(option, action="store_true", default=None, help=words)
        elif kind is EITHER:
            parser.add_argument(option, action=argparse.BooleanOptionalAction, default=None, help=words)
        else:
            add_option(parser, option, kind, words)
        if kind is IP_VERSION:
            for version in (4, 6):
                of_one = f"connect by IPv{version} only"
                parser.add_argument(f"-{version}", action="store_const", const=version, dest=name, help=of_one)


def add_option(
    parser: "argparse._ActionsContainer", option: str, kind: Kind, words: str, default: object = None
) -> None:
    """Let *option* be followed by a value of a *kind*; *words* are its help."""
    parser.add_argument(option, type=parser_of(kind), metavar=kind.metavar, default=default, help=words)


def from_arguments(command: argparse.Namespace) -> Settings:
    """Return the settings that the arguments of a command make."""
    return Settings(**{name: getattr(command, name, None) for name in ABOUT})


def parser_of(kind: Kind) -> Callable[[str], object]:
    """Return what makes a value of an argument's text, and says which *kind* it has to be."""

    def parse(text: str) -> object:
        try:
            return kind.parse(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{HAS_TO_BE} {kind.words}") from None

    return parse


def demand(value: str | None, what: str) -> str:
    """Return *value*; it has to be there."""
    if value is None:
        raise UsageError(what)
    return value
