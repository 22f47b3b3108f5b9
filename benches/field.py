"""popa3d and Courier as Debian has them: servers that write a reply in pieces and leave Nagle's algorithm on.

Owns where they are found, installed or only unpacked (no two POP3 servers of Debian can be installed together), and
the mail that they serve, in a folder that is gone afterwards. Must never touch how the machine is configured: popa3d,
which serves the machine's users, sees users, mail and PAM of its own in a mount namespace of its own.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from benches.children import listening

USER, PASSWORD = "reader", "secret"
"""The only user; any password will do."""

# Names the folder that the packages are unpacked in, where that is not the one of `make bench-servers`.
_VARIABLE = "POP3FAST_SERVERS"
_UNPACKED = Path(__file__).parent.parent / ".venv" / "servers"

# For the one user and his mail: popa3d lets root read none.
_NOBODY = 65534


class Server(Protocol):
    """A server that can be started where nothing stands in the way."""

    def missing(self) -> str | None:
        """Return what stands in the way, as a sentence."""
        ...

    def serve(self, messages: Sequence[bytes]) -> AbstractContextManager[int]:
        """Give the port of a server that holds *messages*; end it with the block."""
        ...


class Popa3d:
    """It wants to be root, so as to become the user who logs in, and an mbox in /var/mail."""

    def missing(self) -> str | None:
        if found("usr/sbin/popa3d") is None:
            return not_there("popa3d")
        if os.geteuid() != 0:
            return "popa3d wants to be root."
        if not _may_unshare():
            return "popa3d wants a mount namespace, and none can be made here."
        return None

    @contextmanager
    def serve(self, messages: Sequence[bytes]) -> Iterator[int]:
        program = found("usr/sbin/popa3d")
        assert program is not None
        with tempfile.TemporaryDirectory() as folder:
            places = _lay_out(Path(folder), messages)
            binds = "".join(f'mount --bind "$1/{own}" {place} && ' for own, place in places.items())
            inside = [*_UNSHARE, "sh", "-c", f'{binds}shift && exec "$@"', "sh", folder]
            with listening([*inside, *_INETD, str(program)]) as port:
                yield port


class Courier:
    """Its server begins behind the login, with a Maildir; the login is `benches.inetd`'s."""

    def missing(self) -> str | None:
        return None if found("usr/lib/courier/courier/courierpop3d") else not_there("Courier")

    @contextmanager
    def serve(self, messages: Sequence[bytes]) -> Iterator[int]:
        program = found("usr/lib/courier/courier/courierpop3d")
        assert program is not None
        with tempfile.TemporaryDirectory() as folder:
            for name in ("new", "cur", "tmp"):
                Path(folder, name).mkdir()
            for number, message in enumerate(messages):
                # Marked as read, or the first session to read it would rename it under the others.
                Path(folder, "cur", f"{number:06}.bench:2,S").write_bytes(_unix(message))
            command = ["env", f"LD_LIBRARY_PATH={libraries(program)}", str(program), folder]
            with listening([*_INETD, "--login", USER, *command]) as port:
                yield port


_INETD = [sys.executable, "-m", "benches.inetd"]
_UNSHARE = ["unshare", "--mount", "--propagation", "private"]


def _may_unshare() -> bool:
    try:
        return subprocess.run([*_UNSHARE, "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0
    except FileNotFoundError:
        return False


def _lay_out(folder: Path, messages: Sequence[bytes]) -> dict[str, str]:
    """Write what popa3d is to see; return what of it belongs where."""
    # The last is where it locks itself up until somebody has logged in.
    for name in ("mail", "pam", "lib/popa3d"):
        (folder / name).mkdir(parents=True)
    users = "".join(f"{name}:x:{_NOBODY}:{_NOBODY}::/:/bin/false\n" for name in ("popa3d", USER))
    (folder / "passwd").write_text(users, encoding="ascii")
    (folder / "pam" / "popa3d").write_text(
        "auth required pam_permit.so\naccount required pam_permit.so\n", encoding="ascii"
    )
    mbox = folder / "mail" / USER
    mbox.write_bytes(b"".join(b"From sender Thu Jan  1 00:00:00 1970\n%b\n" % _unix(message) for message in messages))
    os.chown(mbox, _NOBODY, _NOBODY)
    return {"passwd": "/etc/passwd", "pam": "/etc/pam.d", "mail": "/var/mail", "lib": "/var/lib"}


def _unix(message: bytes) -> bytes:
    return message.replace(b"\r\n", b"\n")


def found(path: str) -> Path | None:
    """Return where the program *path* is, unpacked or installed."""
    roots = (Path(os.environ.get(_VARIABLE) or _UNPACKED), Path("/"))
    return next((root / path for root in roots if (root / path).exists()), None)


def libraries(program: Path) -> str:
    """Return the folders of the libraries that were unpacked with a *program*; none for one that is installed."""
    beside = program.parents[2]
    if beside == Path("/usr/lib"):
        return ""
    return ":".join(dict.fromkeys(str(path.parent) for path in beside.parent.parent.rglob("lib*.so.*")))


def not_there(name: str) -> str:
    """Return the sentence for a server that was not found."""
    return f"{name} is neither installed nor unpacked (make bench-servers)."
