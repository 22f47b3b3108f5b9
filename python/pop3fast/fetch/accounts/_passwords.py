"""Passwords: where they come from, and which are refused.

Owns the sources that are neither a person nor an argument: a command, a file, netrc. Never uses a shell or an argument
list that others can read. No error shows a secret, or what a command printed.
"""

import os
import sys
from pathlib import Path

from pop3fast.fetch._errors import SecretError
from pop3fast.fetch.accounts._netrc import Login, find_login
from pop3fast.fetch.accounts._private import MAX_OCTETS, no_utf8, read_private

__all__ = ["Login", "checked_secret", "netrc_login", "read_password_file", "run_password_command"]

_SHELLS_WORDS = frozenset({"&", "&&", ";", "<"})
_SHELLS_BEGINNINGS = ("|", ">", "2>")
"""Words, and beginnings of words, that a shell would replace and that hardly any program understands."""

COMMAND_SECONDS = 120.0
"""How long a password command may take: somebody may have to type a passphrase or touch a key."""


def run_password_command(command: str | tuple[str, ...]) -> str:
    """Return the first line that *command* prints, without its line end: what follows is for a person, as in ``pass``.

    A string is split as a shell would, but there is no shell: for a pipe, ``sh -c '...'`` is the command. What it says
    to standard error is for the person to see. Raises `SecretError`, which shows neither command nor output.
    """
    import shlex  # noqa: PLC0415 - most passwords come from elsewhere
    import subprocess  # noqa: PLC0415 - as above

    try:
        words = shlex.split(command) if isinstance(command, str) else list(command)
        if not words:
            raise SecretError("the password command is empty")
        if any(word in _SHELLS_WORDS or word.startswith(_SHELLS_BEGINNINGS) for word in words[1:]):
            raise SecretError(
                "the password command is run without a shell, and a | or > in it means nothing: "
                "write sh -c '...' around it"
            )
        done = subprocess.run(  # noqa: S603 - the user's own command, and no shell
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=False
        )
    except OSError as error:
        raise SecretError(f"the password command cannot be run: {error.strerror}{_shells_names(words)}") from None
    except subprocess.TimeoutExpired:
        raise SecretError(f"the password command took more than {COMMAND_SECONDS:.0f} seconds") from None
    except ValueError as error:
        raise SecretError(f"the password command makes no sense: {error}") from None
    if done.returncode:
        raise SecretError(f"the password command failed with exit status {done.returncode}{_shells_names(words)}")
    # Cut off before anything is decoded: notes below the password may be in any character set.
    return _decoded(_first_line(done.stdout), "the first line that the password command printed")


def read_password_file(path: str) -> str:
    """Return what is in the file at *path*, without one line end; ``-`` is the standard input.

    Raises `SecretError` for a file that is not this user's alone, and says which command changes that.
    """
    if path == "-":
        return _decoded(sys.stdin.buffer.read(MAX_OCTETS), "the standard input")
    try:
        return _decoded(read_private(path), path)
    except FileNotFoundError:
        raise SecretError(f"there is no {path}") from None


def netrc_login(host: str, user: str | None = None) -> Login | None:
    """Return the login that ``$NETRC``, or else ``~/.netrc``, has for *host* and *user*; None when it has none.

    Without *user* it is the first for that host. Raises `SecretError` for a file that makes no sense or is not this
    user's alone.
    """
    named = os.environ.get("NETRC")
    try:
        path = named or str(Path("~/.netrc").expanduser())
    except RuntimeError:
        # Without a home there is no such file.
        return None
    try:
        text = read_private(path).decode("utf-8-sig", "surrogateescape")
    except FileNotFoundError:
        if named:
            raise SecretError(f"there is no {path}, which $NETRC names") from None
        return None
    try:
        login = find_login(text, host, user)
    except SecretError as error:
        raise SecretError(f"{path}, {error}") from None
    return None if login is None else Login(login.user, checked_secret(login.password, f"the password in {path}"))


def checked_secret(secret: str, what: str) -> str:
    """Return *secret* when it can be sent in one line, or raise `SecretError`, which calls it *what*."""
    if not secret:
        raise SecretError(f"{what} is empty")
    if any(character in secret for character in "\r\n\0"):
        raise SecretError(f"{what} has more than one line, or a NUL: that is no password")
    try:
        secret.encode()
    except UnicodeEncodeError:
        # That error shows a character of it.
        raise SecretError(f"{what} is no UTF-8") from None
    return secret


def _shells_names(words: list[str]) -> str:
    """Return a warning when *words* contain something that only a shell replaces."""
    if any(word.startswith("~") or "$" in word for word in words):
        return "; it is run without a shell, which alone knows ~ and $: write sh -c '...' around it"
    return ""


def _first_line(octets: bytes) -> bytes:
    line, line_end, _ = octets.partition(b"\n")
    return line + line_end


def _decoded(octets: bytes, what: str) -> str:
    try:
        # Quirk q36: with its line end Gmail takes the password, and then no further command.
        text = (octets[:-2] if octets.endswith(b"\r\n") else octets.removesuffix(b"\n")).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SecretError(f"{what} is {no_utf8(octets)}") from None
    return checked_secret(text, what)
