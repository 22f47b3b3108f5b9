"""The configuration of getmail: sections of keys.

Owns what each of them means here. getmail's defaults count, too: it keeps what it has fetched on the server.
"""

import ast
import configparser
import contextlib
import re
import shlex

from pop3fast.cli._import_words import Server, Table, url_of
from pop3fast.cli._text import UsageError

_TRUE = frozenset({"true", "1", "yes", "on"})


def read_getmail(text: str, name: str) -> list[Table]:
    """Return the account of a getmailrc."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        # Its words quote the file.
        raise UsageError("that is no getmailrc: sections in brackets, and keys with =") from None
    retriever, destination, options = (_Section(parser, text, one) for one in ("retriever", "destination", "options"))
    table = Table(name if name not in {"", "getmailrc", ".getmailrc"} else retriever.look("server") or "getmail")
    kind = retriever.take("type") or ""
    if "POP3" not in kind:
        return []
    server = Server(retriever.take("server") or "", retriever.take("port"), retriever.take("username"))
    tls = "SSL" in kind
    table.say("url", url_of(server, "pop3s" if tls else "pop3+plain"))
    if not tls:
        table.notes.append("getmail uses no TLS here; pop3s:// does, and keeps the password secret")
    if kind.startswith("Multidrop"):
        table.notes.append(f"{kind}: mail for several people in one mailbox is not sorted out here")
    _log_in(table, retriever)
    _deliver(table, destination)
    _limit(table, options)
    port = server.port or ("995" if tls else "110")
    seen = _NOT_IN_NAMES.sub("-", f"oldmail-{server.host}-{port}-{server.user or ''}")
    table.import_seen(f"~/.getmail/{seen}")
    for section in (retriever, destination, options):
        for key, line in section.left():
            if key not in _NEEDLESS:
                table.lacks(line, key, _INSTEAD.get(key, ""))
    for section_name in parser.sections():
        if section_name not in {"retriever", "destination", "options"}:
            table.lacks(_line_of(text, re.escape(f"[{section_name}]")), f"[{section_name}]")
    return [table]


class _Section:
    """A section, of which is taken what is understood."""

    def __init__(self, parser: configparser.RawConfigParser, text: str, name: str) -> None:
        self._left = dict(parser.items(name)) if parser.has_section(name) else {}
        self._text = text

    def look(self, key: str) -> str | None:
        return self._left.get(key)

    def take(self, key: str) -> str | None:
        return self._left.pop(key, None)

    def left(self) -> list[tuple[str, int]]:
        return [(key, _line_of(self._text, rf"{re.escape(key)}\s*[=:]")) for key in self._left]


def _log_in(table: Table, retriever: _Section) -> None:
    command = retriever.take("password_command")
    if command is not None:
        words = shlex.join(_tuple(command))
        by_token = (retriever.take("use_xoauth2") or "").lower() in _TRUE
        table.say("token-command" if by_token else "password-command", words)
    if (password := retriever.take("password")) is not None:
        table.say("password", password)
    for theirs, ours in _FILES.items():
        if (value := retriever.take(theirs)) is not None:
            table.say(ours, value)
    lines = dict(retriever.left())
    if (fingerprints := retriever.take("ssl_fingerprints")) is not None:
        table.say_fingerprint(lines["ssl_fingerprints"], "ssl_fingerprints", fingerprints)
    table.say_number("timeout", retriever.take("timeout"))
    if (retriever.take("use_apop") or "").lower() in _TRUE:
        table.say("mechanism", "APOP")


def _deliver(table: Table, destination: _Section) -> None:
    kind, path = destination.take("type") or "", destination.take("path") or ""
    if kind == "Maildir":
        table.say("to", f"maildir:{path.rstrip('/')}")
    elif kind in {"Mboxrd", "Mbox"}:
        table.say("to", f"mbox:{path}")
    elif kind == "MDA_external":
        arguments = _tuple(destination.take("arguments") or "()")
        table.say("to", f"pipe:{shlex.join([path, *arguments])}")
        if any("%(" in argument for argument in arguments):
            table.notes.append("%(sender) and its like are not replaced in the command")
    else:
        table.say("to", "maildir:~/Mail", f"{kind or 'nothing'} is not known here: say where the mail goes")


def _limit(table: Table, options: _Section) -> None:
    delete = options.take("delete")
    table.say_number("delete-after", options.take("delete_after"))
    if "delete-after" not in table.values:
        words = "" if delete is not None else "what getmail does where nothing is said"
        table.say("delete", (delete or "").lower() in _TRUE, words)
    for key, ours in (("max_message_size", "max-size"), ("max_messages_per_session", "limit")):
        table.say_number(ours, options.take(key))


def _tuple(text: str) -> list[str]:
    """Return the words of what getmail has as a tuple of Python, or as one text. Raises `UsageError`."""
    found: object = text
    with contextlib.suppress(ValueError, SyntaxError):
        found = ast.literal_eval(text)
    if isinstance(found, tuple | list):
        return [str(word) for word in found]
    try:
        return shlex.split(str(found))
    except ValueError:
        # There may be a secret in it.
        raise UsageError("a command in that getmailrc has a quotation mark that is not closed") from None


def _line_of(text: str, begins: str) -> int:
    """Return the number of the first line of *text* that *begins* so, a regular expression."""
    lines = enumerate(text.splitlines(), 1)
    return next((number for number, line in lines if re.match(rf"\s*{begins}", line, re.IGNORECASE)), 0)


_NOT_IN_NAMES = re.compile(r"[/:;<>|]+")
"""What getmail replaces in the name of the file of what it has seen."""

_FILES = {
    "ca_certs": "ca-file",
    "certfile": "client-cert",
    "keyfile": "client-key",
    "ssl_cert_hostname": "tls-name",
}
_NEEDLESS = frozenset({"verbose", "delivered_to", "received", "use_peek"})
_INSTEAD = {
    "read_all": "only what is new is ever fetched",
    "delete_bigger_than": "`pop3fast show NAME --larger SIZE --delete` deletes what is too large",
    "message_log": "--json writes a line for each message",
}
