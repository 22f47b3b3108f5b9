"""The harness keeps its promises: a server is gone after its block, and a missing one is named, never passed over.

Owns no expectation about POP3.
"""

import poplib
import socket
from pathlib import Path

import pytest

from servers import DovecotServer, MailutilsServer, RealServer, UnavailableError, base, require

SERVERS = [DovecotServer, MailutilsServer]


@pytest.mark.parametrize("kind", SERVERS)
def test_nothing_is_left_of_a_server_after_its_block(kind: type[DovecotServer | MailutilsServer]) -> None:
    require(kind)
    with kind() as server:
        client = poplib.POP3(server.host, server.plain_port, timeout=10)
        ports = (server.plain_port, server.tls_port)
        inside = server.folder
    # A session was still open; it ends with the server.
    with pytest.raises(poplib.error_proto, match=r"EOF|Server shutting down"):
        client.noop()
    client.close()
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, port), timeout=1)
    assert not inside.exists()
    assert not _processes_in(inside)


@pytest.mark.parametrize("kind", SERVERS)
def test_no_process_of_a_server_runs_as_root(kind: type[DovecotServer | MailutilsServer]) -> None:
    require(kind)
    with kind() as server, socket.create_connection((server.host, server.plain_port), timeout=10):
        owners = {uid for path in _processes_in(server.folder) for uid in _uids_of(path)}
    assert owners == {server.account.uid}
    assert 0 not in owners


@pytest.mark.parametrize("kind", SERVERS)
def test_a_mailbox_can_be_made_and_filled_again_while_the_server_runs(
    kind: type[DovecotServer | MailutilsServer],
) -> None:
    require(kind)
    with kind() as server:
        second = server.add_mailbox("second", [b"Subject: one\n\n1\n", b"Subject: two\n\n2\n"])
        assert _subjects(server, second) == [b"Subject: one", b"Subject: two"]
        second.fill([b"Subject: three\n\n3\n"])
        assert _subjects(server, second) == [b"Subject: three"]
        with pytest.raises(ValueError, match="already has a mailbox of 'second'"):
            server.add_mailbox("second")


@pytest.mark.parametrize(("kind", "reason"), [(DovecotServer, "dovecot"), (MailutilsServer, "mailutils-pop3d")])
def test_a_missing_server_is_named(
    kind: type[RealServer], reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(base, "_PROGRAM_PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match=f"^{reason} not installed$"):
        kind.check()
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"^{reason} not installed$"):
        require(kind)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=f"^{reason} not installed, and in CI"):
        require(kind)


def test_a_server_that_ends_at_once_is_reported_with_its_log() -> None:
    require(DovecotServer)
    server = DovecotServer(settings="nonsense")
    with pytest.raises(RuntimeError, match=r"^dovecot did not start:\n.*Error in configuration"), server:
        pass
    assert not server.folder.exists()


def _subjects(server: RealServer, mailbox: base.Mailbox) -> list[bytes]:
    client = poplib.POP3(server.host, server.plain_port, timeout=10)
    client.user(mailbox.user)
    client.pass_(mailbox.password)
    first = [client.retr(number)[1][0] for number in range(1, client.stat()[0] + 1)]
    client.quit()
    return first


def _uids_of(process: Path) -> set[int]:
    """Give the real, effective, saved and file system user of a process; nothing when it has ended.

    Not the owner of its /proc entry: that is root while a process that changed its user has not yet called exec().
    """
    try:
        status = (process / "status").read_text("ascii", "replace")
    except OSError:
        return set()
    return {int(uid) for line in status.splitlines() if line.startswith("Uid:") for uid in line.split()[1:]}


def _processes_in(folder: Path) -> list[Path]:
    """Give the /proc entries of the processes that name `folder` on their command line or work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            working = (process / "cwd").readlink()
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if working.is_relative_to(folder) or str(folder).encode() in command:
            found.append(process)
    return found
