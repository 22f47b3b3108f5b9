"""Where passwords come from: what is stripped, what is refused and with which words, and that no error shows one."""

import netrc
import os
import pwd
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fast.fetch import SecretError
from pop3fast.fetch.accounts import _private as private
from pop3fast.fetch.accounts._netrc import Login, find_login
from pop3fast.fetch.accounts._passwords import netrc_login, read_password_file, run_password_command

SECRET = "correct-horse-battery"


def prints(octets: bytes) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import sys; sys.stdout.buffer.write({octets!r})")


def written(path: Path, content: str | bytes, mode: int = 0o600) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("octets", "password"),
    [
        (b"secret\n", "secret"),
        (b"secret\r\n", "secret"),
        (b"secret", "secret"),
        (b" secret \n", " secret "),
        ("pässword\n".encode(), "pässword"),
    ],
)
def test_exactly_one_line_end_is_taken_off(octets: bytes, password: str, tmp_path: Path) -> None:
    assert run_password_command(prints(octets)) == password
    assert read_password_file(written(tmp_path / "file", octets)) == password


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_of_several_lines_that_a_command_prints_the_first_is_the_password(line_end: bytes, tmp_path: Path) -> None:
    # As `pass` shows an entry: the password, and notes below it, in whatever character set.
    entry = line_end.join([b"secret ", b"user: j\xfcrgen", b"url: \0", b""])
    assert run_password_command(prints(entry)) == "secret "
    # A file is the password and nothing else.
    with pytest.raises(SecretError):
        read_password_file(written(tmp_path / "file", entry))


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"\nsecret\n", "empty|more than one line"),
        (b"sec\rret\n", "more than one line"),
        (b"secret\r", "more than one line"),
        (b"secret\r\r\n", "more than one line"),
        (b"sec\0ret", "NUL"),
        (b"secret\xff", "no UTF-8"),
    ],
)
def test_what_is_no_password_is_refused_and_not_shown(octets: bytes, why: str, tmp_path: Path) -> None:
    path = written(tmp_path / "file", octets)
    reads: list[Callable[[], object]] = [lambda: run_password_command(prints(octets)), lambda: read_password_file(path)]
    for read in reads:
        with pytest.raises(SecretError, match=why) as refused:
            read()
        assert "secret" not in str(refused.value)
        assert refused.value.__cause__ is None


@pytest.mark.parametrize("octets", [b"secret\n\n", b"secret\nPASS"])
def test_a_file_with_more_than_a_password_is_refused(octets: bytes, tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="more than one line") as refused:
        read_password_file(written(tmp_path / "file", octets))
    assert "secret" not in str(refused.value)


def test_a_command_that_fails_is_named_by_its_status_and_not_by_what_it_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SecretError) as failed:
        run_password_command(f"{sys.executable} -c 'import sys; print(\"{SECRET}\"); sys.exit(7)'")
    assert str(failed.value) == "the password command failed with exit status 7"
    assert SECRET not in "".join(capfd.readouterr())


@pytest.mark.parametrize("command", ["", "  ", "unclosed 'quote", "/no/such/program --secret x"])
def test_a_command_that_cannot_be_run_says_so_without_itself(command: str) -> None:
    with pytest.raises(SecretError, match="the password command") as failed:
        run_password_command(command)
    assert "secret" not in str(failed.value)


def test_a_command_gets_no_shell() -> None:
    assert run_password_command(f"{sys.executable} -c 'import sys; print(sys.argv[1])' '$HOME;id'") == "$HOME;id"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777])
def test_a_file_that_others_can_get_at_is_refused_with_what_to_run(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "my file", f"machine host login ada password {SECRET}\n", mode)
    monkeypatch.setenv("NETRC", path)
    for read in (lambda: read_password_file(path), lambda: netrc_login("host", "ada")):
        with pytest.raises(SecretError) as refused:
            read()
        assert str(refused.value).endswith(f"run: chmod 600 '{path}'")
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_ones_own_is_read(mode: int, tmp_path: Path) -> None:
    assert read_password_file(written(tmp_path / "file", SECRET, mode)) == SECRET


def test_a_file_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "file", SECRET)
    monkeypatch.setattr(os, "geteuid", lambda: Path(path).stat().st_uid + 1)
    with pytest.raises(SecretError, match=r"belongs to another user .*run: chown .* && chmod 600 "):
        read_password_file(path)


def test_a_file_whose_mode_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "file", SECRET)
    looks: list[int] = []
    real = os.fstat

    def changing(file: int) -> os.stat_result:
        if looks:
            os.fchmod(file, 0o644)
        looks.append(file)
        return real(file)

    monkeypatch.setattr(os, "fstat", changing)
    with pytest.raises(SecretError, match="chmod 600"):
        read_password_file(path)


def test_it_is_the_opened_file_that_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "file", "someone else's", 0o644)
    real = os.fstat

    def swapped(file: int) -> os.stat_result:
        # Between opening and looking somebody puts a file at the path that nobody would object to.
        written(tmp_path / "private", "theirs", 0o600)
        (tmp_path / "private").replace(path)
        return real(file)

    monkeypatch.setattr(os, "fstat", swapped)
    with pytest.raises(SecretError, match="chmod 600"):
        read_password_file(path)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "file", b"x" * (private.MAX_OCTETS + 1))
    with pytest.raises(SecretError, match="larger than"):
        read_password_file(path)


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "nothing")
    with pytest.raises(SecretError, match="there is no"):
        read_password_file(path)
    with pytest.raises(SecretError, match="cannot read"):
        read_password_file(str(tmp_path))
    monkeypatch.setenv("NETRC", path)
    with pytest.raises(SecretError, match=r"\$NETRC names"):
        netrc_login("host", "ada")
    monkeypatch.delenv("NETRC")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert netrc_login("host", "ada") is None
    written(tmp_path / ".netrc", f"machine host login ada password {SECRET}")
    assert netrc_login("HOST", "ada") == Login("ada", SECRET)


NETRC = r"""
# Two mailboxes on one server.
machine mail.example.org login ada password one  # of hers
machine mail.example.org
    login bob@example.org
    password "two words"
machine other.example.org login cyd account x password #three\ four
macdef init
  machine mail.example.org login eve password wrong

machine anyone.example.org password five
default login anonymous password six
"""


@pytest.mark.parametrize(
    ("host", "user", "login"),
    [
        ("mail.example.org", "ada", ("ada", "one")),
        ("Mail.Example.Org", "bob@example.org", ("bob@example.org", "two words")),
        ("mail.example.org", None, ("ada", "one")),
        ("mail.example.org", "eve", None),
        ("other.example.org", "cyd", ("cyd", "#three four")),
        ("anyone.example.org", "dan", ("dan", "five")),
        ("anyone.example.org", None, ("anonymous", "six")),
        ("nowhere.example.org", "anonymous", ("anonymous", "six")),
        ("nowhere.example.org", "ada", None),
    ],
)
def test_netrc_has_many_users_on_one_host(host: str, user: str | None, login: tuple[str, str] | None) -> None:
    assert find_login(NETRC, host, user) == login


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("password secret", "line 1: an entry begins"),
        ("\n\nmachine host login ada password", "line 3: nothing follows password"),
        ("machine", "machine names no host"),
        ("machine host login ada secret", "line 1: an entry begins"),
    ],
)
def test_a_netrc_that_makes_no_sense_is_named_by_line_and_not_quoted(text: str, why: str) -> None:
    with pytest.raises(SecretError, match=why) as failed:
        find_login(text, "host", "ada")
    assert "secret" not in str(failed.value)


def test_no_repr_shows_a_password() -> None:
    assert SECRET not in repr(Login("ada", SECRET))


@given(st.lists(st.text('ab.#\\"é!', min_size=1, max_size=6), min_size=3, max_size=3))
def test_one_entry_is_read_as_the_standard_library_reads_it(words: list[str]) -> None:
    quoted = ['"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words]
    text = f"machine {quoted[0]} login {quoted[1]} password {quoted[2]}\n"
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        expected = netrc.netrc(file.name).authenticators(words[0])
    assert expected is not None
    assert find_login(text, words[0], None) == (expected[0], expected[2])


def test_a_password_that_is_no_utf_8_is_refused_and_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "netrc", b"machine example.org login ada password caf\xe9\n")
    monkeypatch.setenv("NETRC", path)
    with pytest.raises(SecretError, match=r"is no UTF-8$") as refused:
        netrc_login("example.org")
    assert "caf" not in str(refused.value)


def test_who_has_no_home_has_no_netrc(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    assert netrc_login("example.org") is None
