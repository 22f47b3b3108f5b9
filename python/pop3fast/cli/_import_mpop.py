"""The configuration of mpop, line by line.

Owns what each of its commands means here. mpop's defaults count, too: it deletes what it has fetched, and uses no TLS
unless it is told to.
"""

import re
from typing import NamedTuple

from pop3fast.cli._import_words import Server, Table, shell_pipe, size_of, url_of, without_shell

_LINE = re.compile(r"\s*(\w+)(?:\s+(.*?))?\s*")
_ON = frozenset({"", "on"})


class _Said(NamedTuple):
    line: int
    value: str


def read_mpop(text: str, _: str) -> list[Table]:
    """Return the accounts of an mpoprc."""
    defaults: dict[str, _Said] = {}
    accounts: dict[str, dict[str, _Said]] = {}
    current = defaults
    for number, line in enumerate(text.splitlines(), 1):
        found = _LINE.fullmatch(line)
        if found is None or line.lstrip().startswith("#"):
            continue
        word, value = found[1].lower(), _unquoted(found[2] or "")
        if word == "defaults":
            current = defaults
        elif word == "account":
            name, _colon, parents = (part.strip() for part in value.partition(":"))
            current = accounts[name] = dict(defaults)
            for parent in filter(None, map(str.strip, parents.split(","))):
                current.update(accounts.get(parent, {}))
        else:
            current[word] = _Said(number, value)
    # `account default : other` says only which is used when none is named.
    return [_table(name, said) for name, said in accounts.items() if name != "default" or not _is_alias(said, accounts)]


def _is_alias(said: dict[str, _Said], accounts: dict[str, dict[str, _Said]]) -> bool:
    return any(said == other for name, other in accounts.items() if name != "default")


def _table(name: str, said: dict[str, _Said]) -> Table:
    table = Table(name)
    left = dict(said)

    def take(word: str) -> str | None:
        found = left.pop(word, None)
        return None if found is None else found.value

    server = Server(take("host") or "", take("port"), take("user"))
    tls, starttls = take("tls") in _ON, take("tls_starttls") in {None, "", "on"}
    table.say("url", url_of(server, "pop3+plain" if not tls else "pop3" if starttls else "pop3s"))
    if not tls:
        table.notes.append("mpop uses no TLS here; pop3s:// does, and keeps the password secret")
    if "password" in left:
        # Inherited from another account, perhaps: the password itself counts.
        left.pop("passwordeval", None)
    for word, key in _TEXTS.items():
        value = take(word)
        if value and value != "system":
            table.say(key, without_shell(value) if key == "password-command" else value)
    if (fingerprint := left.pop("tls_fingerprint", None)) is not None and fingerprint.value:
        table.say_fingerprint(fingerprint.line, "tls_fingerprint", fingerprint.value)
    proxy, port = take("proxy_host"), take("proxy_port")
    if proxy:
        # mpop has the proxy look names up.
        table.say("proxy", f"socks5h://{proxy}:{port or 1080}")
    _deliver(table, left)
    keep = take("keep")
    table.say("delete", keep not in _ON, "" if keep is not None else "what mpop does where nothing is said")
    table.say_number("max-size", str(size_of(take("skipsize") or "", 1)))
    table.say_number("timeout", take("timeout"))
    _auth(table, left)
    uidls = take("uidls_file") or "~/.mpop_uidls/%U_at_%H"
    table.import_seen(uidls.replace("%U", server.user or "").replace("%H", server.host))
    for word, one in left.items():
        if word not in _NEEDLESS:
            table.lacks(one.line, word, _INSTEAD.get(word, ""))
    return table


def _deliver(table: Table, left: dict[str, _Said]) -> None:
    found = left.pop("delivery", None)
    kind, _, where = ("", "", "") if found is None else found.value.partition(" ")
    where = _unquoted(where.strip())
    if kind in {"maildir", "mbox"}:
        table.say("to", f"{kind}:{where}")
    elif kind == "mda" and found is not None:
        table.say("to", shell_pipe(where))
        if "%F" in where:
            table.lacks(found.line, "%F, the envelope's sender", "it stays as it is in the command")
    else:
        table.say("to", "maildir:~/Mail", "nothing that is known here says where the mail goes")
        if found is not None:
            table.lacks(found.line, f"delivery {kind}")


def _auth(table: Table, left: dict[str, _Said]) -> None:
    found = left.pop("auth", None)
    if found is None or found.value in {"", "on"}:
        return
    method = found.value.upper()
    if method in _MECHANISMS:
        table.say("mechanism", method)
    else:
        table.lacks(found.line, f"auth {found.value}")


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


_TEXTS = {
    "password": "password",
    "passwordeval": "password-command",
    "tls_trust_file": "ca-file",
    "tls_cert_file": "client-cert",
    "tls_key_file": "client-key",
    "tls_host_override": "tls-name",
    "source_ip": "source-address",
}
_MECHANISMS = frozenset({"USER", "APOP", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "EXTERNAL"})
_NEEDLESS = frozenset({"pipelining", "received_header"})
_INSTEAD = {
    "only_new": "only what is new is ever fetched",
    "killsize": "`pop3fast show NAME --larger SIZE --delete` deletes what is too large",
    "tls_certcheck": "certificates are always verified; ca-file trusts one of your own",
}
