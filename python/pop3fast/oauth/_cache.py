"""Where tokens are kept between two runs: a file that is this user's alone, or the keyring of the system.

Owns that no two processes renew the same token at once: a refresh token is often good for one time only.
"""

import contextlib
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Protocol

from pop3fast.fetch import SecretError
from pop3fast.fetch.accounts._keyring import load_keyring
from pop3fast.fetch.accounts._private import read_private
from pop3fast.fetch.memory._state_home import home_folder

SERVICE = "pop3fast"
"""The service to which the entries in a keyring belong."""

_PLAIN = re.compile(r"[^A-Za-z0-9@._-]+")


class Tokens(NamedTuple):
    """What a token server gave. No repr shows it."""

    access: str
    """The access token, which logs in."""
    expires: float
    """When the access token expires, in seconds since 1970."""
    refresh: str = ""
    """What gives another one; empty where there is none."""

    def __repr__(self) -> str:
        return f"<tokens, until {self.expires:.0f}>"


class Cache(Protocol):
    """Where one login is kept."""

    def read(self) -> Tokens | None:
        """Return what was written last, None when there is nothing. Raises `SecretError`."""
        ...

    def write(self, tokens: Tokens) -> None:
        """Keep *tokens* instead. Raises `SecretError`."""

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Let nobody else read or write meanwhile. Raises `SecretError`."""
        ...


def default_token_path(name: str) -> str:
    """Return the file of the login *name*, in ``$XDG_STATE_HOME/pop3fast/tokens/``."""
    shown = _PLAIN.sub("-", name).strip("-.")[:40]
    digest = sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return f"{home_folder()}/tokens/{shown}-{digest}.json"


class TokenFile:
    """A file. It is made with no rights for others, in a folder that has none."""

    def __init__(self, path: str) -> None:
        """Keep tokens in *path*."""
        self.path = path

    def read(self) -> Tokens | None:
        """Return what was written last. Raises `SecretError` for a file that others can get at."""
        try:
            return _parsed(read_private(self.path), self.path)
        except FileNotFoundError:
            return None

    def write(self, tokens: Tokens) -> None:
        """Keep *tokens* instead, all or nothing. Raises `SecretError`."""
        try:
            number, path = tempfile.mkstemp(dir=self._folder())  # which makes it for this user alone
            try:
                with open(number, "wb") as file:  # noqa: PTH123 - a descriptor
                    file.write(_formed(tokens))
                    file.flush()
                    # With a half-written file the login would be lost.
                    os.fsync(file.fileno())
                Path(path).replace(self.path)
                # The server may take only the newest refresh token, which must not be gone after a power cut.
                _sync_folder_of(self.path)
            except BaseException:
                Path(path).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise SecretError(f"the token cannot be kept in {self.path}: {error.strerror}") from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else read or write meanwhile. Raises `SecretError`."""
        try:
            self._folder()
            lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SecretError(f"the token in {self.path} cannot be locked: {error.strerror}") from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError as error:  # as of a file system that has no locks
                raise SecretError(f"the token in {self.path} cannot be locked: {error.strerror}") from None
            yield
        finally:
            os.close(lock)

    def _folder(self) -> Path:
        folder = Path(self.path).parent
        # Whose tokens lie there is nobody else's business either.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder


class TokenKeyring:
    """An entry in the keyring of the system (extra ``keyring``)."""

    def __init__(self, name: str) -> None:
        """Keep tokens under *name*."""
        self._name = name
        # A keyring has no locks.
        self._lock = TokenFile(default_token_path(name))

    def read(self) -> Tokens | None:
        """Return what was written last. Raises `SecretError`."""
        found = load_keyring().get(SERVICE, self._name)
        return None if found is None else _parsed(found.encode(), "the keyring")

    def write(self, tokens: Tokens) -> None:
        """Keep *tokens* instead. Raises `SecretError`."""
        load_keyring().put(SERVICE, self._name, _formed(tokens).decode())

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Let nobody else read or write meanwhile. Raises `SecretError`."""
        return self._lock.alone()


def _sync_folder_of(path: str) -> None:
    # Only a power cut can still lose the token. Where a folder cannot be read or synced, no more can be done.
    with contextlib.suppress(OSError):
        folder = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _formed(tokens: Tokens) -> bytes:
    return json.dumps(tokens._asdict()).encode("ascii")


def _parsed(octets: bytes, where: str) -> Tokens:
    try:
        found = json.loads(octets)
        return Tokens(str(found["access"]), float(found["expires"]), str(found["refresh"]))
    except (ValueError, TypeError, KeyError):
        # The error that was raised may show a part of the token.
        raise SecretError(f"what is kept in {where} is no token of pop3fast: take it away, and log in again") from None
