"""The configuration of fetchmail: words that follow one another, in any number of lines.

Owns what each of them means here. fetchmail's defaults count, too: it deletes what it has fetched, and gives it to the
mail server of the machine.
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pop3fast.cli._import_words import Server, Table, shell_pipe, url_of, without_shell

# Within a word, # and quotation marks are a part of it.
_TOKEN = re.compile(r"""#[^\n]*|"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s,;:=]+)|[\s,;:=]+""", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

# Words that are there to be read, and mean nothing.
_NOISE = frozenset({"and", "with", "has", "wants", "options", "there", "here", "the"})

_BEGIN = frozenset({"poll", "skip", "server", "defaults", "set"})

# What follows is a name or a password, whatever else it may mean.
_BEFORE_NAMES = frozenset({"user", "password", "is", "to"})

# Each with a value behind it.
_WITH_VALUE = frozenset({"via", "protocol", "port", "auth", "timeout", "interval", "qvirtual", "bad-header"})
_WITH_VALUE |= {"password", "passwordfile", "passwordfd", "esmtpname", "esmtppassword", "principal", "properties"}
_WITH_VALUE |= {"limit", "fetchlimit", "fetchsizelimit", "batchlimit", "expunge", "warnings", "fastuidl", "interface"}
_WITH_VALUE |= {"mda", "bsmtp", "smtpname", "smtpaddress", "preconnect", "postconnect", "plugin", "plugout", "monitor"}
_WITH_VALUE |= {"sslproto", "sslcertfile", "sslcertpath", "sslfingerprint", "sslcert", "sslkey", "sslcommonname"}

# With one or more. Who gets the mail on this machine (is, to) is said by the destination here.
_WITH_VALUES = frozenset({"is", "to", "aka", "localdomains", "folder", "smtphost", "fetchdomains", "antispam"})
_WITH_VALUES |= {"envelope"}

# Alone, or behind "no".
_FLAGS = frozenset({"keep", "flush", "limitflush", "fetchall", "rewrite", "forcecr", "stripcr", "pass8bits", "lmtp"})
_FLAGS |= {"dropstatus", "dropdelivered", "mimedecode", "idle", "forceidle", "dns", "uidl", "checkalias", "tracepolls"}
_FLAGS |= {"ssl", "sslcertck", "bouncemail", "spambounce", "softbounce", "envelope"}

_SAME = {
    "proto": "protocol",
    "username": "user",
    "service": "port",
    "pass": "password",
    "authenticate": "auth",
    "preauth": "auth",
    "preauthenticate": "auth",
    "local": "localdomains",
    "folders": "folder",
    "smtp": "smtphost",
    "pre": "preconnect",
    "post": "postconnect",
    "pass8": "pass8bits",
    "mimedec": "mimedecode",
}


class _Word(NamedTuple):
    line: int
    text: str
    is_quoted: bool


@dataclass
class _User:
    """What is said of a user, in front of whom stands what is said of the server."""

    line: int
    name: str | None = None
    values: dict[str, _Word] = field(default_factory=dict)
    flags: dict[str, _Word] = field(default_factory=dict)
    unknown: list[_Word] = field(default_factory=list)
    """What else is said. It may be a piece of a password, and is not repeated."""

    def like(self, line: int, name: str | None) -> "_User":
        """Return another, of whom the same is said so far."""
        return _User(line, name, dict(self.values), dict(self.flags), [*self.unknown])


def read_fetchmail(text: str, _: str) -> list[Table]:
    """Return the mailboxes of a fetchmailrc, one for each user of each server."""
    words = [*_words(text)]
    defaults = _User(0)
    tables: list[Table] = []
    settings: list[tuple[_Word, str]] = []
    place = 0
    while place < len(words):
        begin = words[place]
        end = next((n for n in range(place + 1, len(words)) if _begins(words, n)), len(words))
        behind = words[place + 1 : end]
        kind = begin.text.lower()
        if kind == "set":
            settings.append((begin, " ".join(word.text for word in behind[:1])))
        elif kind == "defaults":
            defaults = next(_users(behind, _User(0), None))
        elif kind in _BEGIN and behind:
            tables += _tables(kind, behind[0].text, list(_users(behind[1:], defaults, begin)))
        place = end
    for word, what in settings:
        for table in tables[:1]:
            table.lacks(word.line, f"set {what}", _INSTEAD.get(f"set {what.lower()}", ""))
    return tables


def _begins(words: list[_Word], place: int) -> bool:
    is_name = _key(words[place - 1]) in _BEFORE_NAMES and _key(words[place - 2]) not in _BEFORE_NAMES | {"auth"}
    return _key(words[place]) in _BEGIN and not is_name


def _words(text: str) -> Iterator[_Word]:
    for found in _TOKEN.finditer(text):
        quoted = found[1] if found[1] is not None else found[2]
        line = text.count("\n", 0, found.start()) + 1
        if quoted is not None:
            yield _Word(line, _ESCAPED.sub(r"\1", quoted), is_quoted=True)
        elif found[3]:
            yield _Word(line, found[3], is_quoted=False)


def _key(word: _Word) -> str:
    """Return what a word means to fetchmail; empty where it is only a value."""
    text = "" if word.is_quoted else word.text.lower()
    return _SAME.get(text, text)


def _is_value(word: _Word) -> bool:
    key = _key(word)
    known = _NOISE | _WITH_VALUE | _WITH_VALUES | _FLAGS | {"user", "no"}
    return key not in known and key.removeprefix("no") not in _FLAGS


def _users(words: list[_Word], defaults: _User, begin: _Word | None) -> Iterator[_User]:
    """Yield what *words* say of each user; of one without a name, when they name none."""
    server = defaults.like(0 if begin is None else begin.line, None)
    current = server
    rest = deque(words)
    while rest:
        word = rest.popleft()
        if _key(word) == "user":
            if current is not server:
                yield current
            current = server.like(word.line, (rest.popleft() if rest else word).text)
        elif _key(word) not in _NOISE:
            _add(current, word, rest)
    yield current


def _add(user: _User, word: _Word, rest: deque[_Word]) -> None:
    """Note what *word* says of *user*, with as much of the *rest* as belongs to it."""
    key = _key(word)
    if key == "no" and rest:
        word = rest.popleft()
        key = f"no{_key(word)}"
    if key in _WITH_VALUE and rest:
        user.values[key] = rest.popleft()._replace(line=word.line)
    elif key in _WITH_VALUES and rest:
        value = rest.popleft()
        if key not in {"is", "to"}:
            user.values[key] = value._replace(line=word.line)
        while rest and _is_value(rest[0]):
            rest.popleft()
    elif key.removeprefix("no") in _FLAGS:
        user.flags[key] = word
    else:
        user.unknown.append(word)


def _tables(kind: str, name: str, users: list[_User]) -> list[Table]:
    tables = []
    for user in users:
        protocol = user.values.pop("protocol", None)
        if protocol is not None and protocol.text.lower() not in _POP:
            continue
        table = _table(name, user)
        if protocol is not None and protocol.text.lower() == "apop":
            table.say("mechanism", "APOP")
        if kind == "skip":
            table.notes.append("fetchmail skips this one unless it is named")
        tables.append(table)
    return tables


def _table(name: str, user: _User) -> Table:
    values, flags = user.values, user.flags
    table = Table(name if user.name is None else f"{name}-{user.name}")
    via = values.pop("via", None)
    server = Server(name if via is None else via.text, _port(table, values.pop("port", None)), user.name)
    table.say("url", url_of(server, _scheme(table, user)))
    for word, key in _TEXTS.items():
        if (text := values.pop(word, None)) is not None:
            table.say(key, text.text)
    if (command := values.pop("postconnect", None)) is not None:
        table.say("on-success", without_shell(command.text), "fetchmail runs it after a failure, too")
    for word, key in (
        ("limit", "max-size"),
        ("fetchlimit", "limit"),
        ("expunge", "checkpoint-messages"),
        ("timeout", "timeout"),
    ):
        number = values.pop(word, None)
        table.say_number(key, None if number is None else number.text)
    _deliver(table, user)
    if flags.pop("dropstatus", None) is not None:
        table.say("drop-status", value=True)
    is_said = "keep" in flags or "nokeep" in flags
    table.say("delete", "keep" not in flags, "" if is_said else "what fetchmail does where nothing is said")
    table.import_seen("~/.fetchids")
    for word, one in sorted({**values, **flags}.items(), key=lambda item: item[1].line):
        if word not in _NEEDLESS:
            table.lacks(one.line, word, _INSTEAD.get(word, ""))
    for line in sorted({word.line for word in user.unknown}):
        table.lacks(line, "a word that is not known here")
    return table


def _port(table: Table, port: _Word | None) -> str | None:
    if port is None or port.text.isdecimal():
        return None if port is None else port.text
    number = _SERVICES.get(port.text.lower())
    if number is None:
        table.lacks(port.line, "port or service", "it is no number: put the number into the URL")
    return number


def _scheme(table: Table, user: _User) -> str:
    protocol = user.values.pop("sslproto", None)
    if protocol is not None and protocol.text.lower() in {"tls1.3", "tls1.3+"}:
        table.say("tls-min", "1.3")
    if user.flags.pop("ssl", None) is not None:
        return "pop3s"
    if protocol is not None and not protocol.text:
        table.notes.append("fetchmail uses no TLS here; pop3s:// does, and keeps the password secret")
        return "pop3+plain"
    table.notes.append("fetchmail goes on without TLS where the server has none; pop3:// does not")
    return "pop3"


def _deliver(table: Table, user: _User) -> None:
    command, host = user.values.pop("mda", None), user.values.pop("smtphost", None)
    if command is not None:
        table.say("to", shell_pipe(command.text))
        if "%F" in command.text or "%T" in command.text:
            table.lacks(command.line, "%F and %T, the envelope's addresses", "they stay as they are in the command")
    else:
        where = "the mail server of this machine" if host is None else f"the mail server {host.text}"
        table.say("to", "maildir:~/Mail", f"fetchmail gives the mail to {where}: say where it is to go")


_POP = frozenset({"pop3", "auto", "apop", "kpop", "rpop", "pop2", "sdps"})
"""Its words for protocols that are POP, or may be."""

_SERVICES = {"pop3": "110", "pop-3": "110", "pop3s": "995", "spop3": "995"}
"""The ports of services, which fetchmail may know by the names that Debian's /etc/services has for them, too."""

_TEXTS = {
    "password": "password",
    "passwordfile": "password-file",
    "sslcertfile": "ca-file",
    "sslcert": "client-cert",
    "sslkey": "client-key",
    "sslcommonname": "tls-name",
}
_NEEDLESS = frozenset({"keep", "nokeep", "uidl", "sslcertck", "nofetchall", "norewrite", "nossl", "nodropstatus"})
_INSTEAD = {
    "fetchall": "only what is new is ever fetched",
    "flush": "what was fetched before is deleted by delete = true",
    "nosslcertck": "certificates are always verified; ca-file trusts one of your own",
    "sslfingerprint": "it is an MD5; fingerprint takes the SHA-256 of the certificate",
    "set daemon": "`pop3fast fetch --all --every SECONDS`, or a timer of systemd or cron",
    "set logfile": "`pop3fast fetch --log FILE`",
    "set idfile": "import-seen names the file",
}
