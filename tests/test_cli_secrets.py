"""A password in the wrong place of a command line or a configuration is not repeated by the error that it causes."""

import tomllib
from pathlib import Path

import pytest

from pop3fast.cli import main
from pop3fast.fetch import open_destination

SECRET = "S3cr3t-Passw0rd"
URL = "pop3+plain://a@127.0.0.1:1"


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return what a command says that makes no sense."""
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status == 2, arguments
    shown = capsys.readouterr()
    return shown.out + shown.err


@pytest.mark.parametrize(
    "arguments",
    [
        [SECRET],
        [SECRET, "list", URL],
        ["list", URL, SECRET],
        ["list", SECRET],
        ["list", f"a:{SECRET}@127.0.0.1"],
        ["list", f"a:{SECRET}@127.0.0.1", "--config", "config.toml"],
        ["list", SECRET, "--config", "config.toml"],
        ["list", f"//a:{SECRET}@127.0.0.1"],
        ["list", f"imap://a:{SECRET}@127.0.0.1"],
        ["list", f"pop3s://a:{SECRET}@127.0.0.1"],
        ["list", f"pop3s://a:{SECRET}/x@127.0.0.1"],
        ["list", f"pop3s://a:x[{SECRET}]@127.0.0.1"],
        ["list", f"pop3s://a:\u2100{SECRET}@127.0.0.1"],  # which urlsplit quotes: it is two letters and a slash
        ["list", f"pop3s://127.0.0.1/{SECRET}"],
        ["list", f"pop3s://127.0.0.1#{SECRET}"],
        ["list", f"pop3s://127.0.0.1:{SECRET}"],
        ["list", URL, "--password", SECRET],
        ["list", URL, f"--password={SECRET}"],
        ["list", URL, "--passwd", SECRET],
        ["list", URL, f"--passwd={SECRET}"],
        ["list", URL, f"--pass={SECRET}"],
        ["list", URL, f"--pw={SECRET}"],
        ["list", URL, f"--{SECRET}"],
        ["list", URL, f"-p{SECRET}"],
        ["list", URL, "-p", SECRET],
        ["fetch", URL, f"-q{SECRET}"],
        ["fetch", URL, f"--delete={SECRET}"],
        ["fetch", URL, "--timeout", SECRET],
        ["fetch", URL, "--max-size", SECRET],
        ["fetch", URL, "--jobs", SECRET],
        ["fetch", URL, "--to", SECRET],
        ["fetch", URL, "--to", f"maildirs:{SECRET}"],
        ["fetch", URL, "--to", f"mbox:{SECRET}/"],
        ["demo", SECRET],
        ["demo", "--messages", SECRET],
        ["demo", f"--{SECRET}"],
    ],
    ids=" ".join,
)
def test_no_argument_that_makes_no_sense_is_quoted(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("POP3FAST_PASSWORD", "x")
    Path("config.toml").write_text(f'[work]\nurl = "{URL}"\nto = "maildir:x"\n', "utf-8")
    shown = said(capsys, *arguments)
    assert shown
    assert SECRET.lower() not in shown.lower()


@pytest.mark.parametrize(
    "table",
    [
        f'password = "{SECRET}',
        f"password = {SECRET}",
        f"password = '{SECRET}",
        f'password = """{SECRET}',
        f'password = "{SECRET}\\q"',
        f'password = ["{SECRET}"]',
        f"password = {{ {SECRET} = 1 }}",
        f'"{SECRET}" = 1',
        f"{SECRET} = 1",
        f"{SECRET}",
        f'passwort = "{SECRET}"',
        f"pass\0{SECRET} = 1",
        f'user = "{SECRET}"\nuser = "{SECRET}"',
        f'url = "pop3s://a:{SECRET}@h"\nto = "maildir:x"',
        f'url = "a:{SECRET}@h"\nto = "maildir:x"',
        f'url = "{URL}"\nto = "{SECRET}"\npassword = "x"',
        f'url = "{URL}"\nto = "maildir:x"\ntimeout = "{SECRET}"',
        f'url = "{URL}"\nto = "maildir:x"\nmax-size = "{SECRET}"',
        f"[{SECRET}",
    ],
)
@pytest.mark.parametrize("above", ["[work]\n", ""])
def test_nothing_of_a_configuration_that_makes_no_sense_is_quoted(
    table: str, above: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(above + table, "utf-8")
    path.chmod(0o600)
    shown = said(capsys, "fetch", "work", "--config", str(path))
    assert SECRET not in shown
    assert str(path) in shown or "[work]" in shown


def test_of_what_the_parser_says_only_the_place_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def loads(_: str) -> None:
        # No version says so yet.
        raise tomllib.TOMLDecodeError(f"Invalid value {SECRET!r} (at line 2, column 5)")

    monkeypatch.setattr(tomllib, "loads", loads)
    (tmp_path / "config.toml").touch(0o600)
    shown = said(capsys, "fetch", "work", "--config", str(tmp_path / "config.toml"))
    assert shown.endswith("is no TOML (at line 2, column 5)\n")


def test_what_is_known_of_an_argument_is_its_place_and_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert "error: argument 2 makes no sense here\n" in said(capsys, "demo", URL)
    assert "error: argument 2 makes no sense here; did you mean --timeout?\n" in said(capsys, "list", "--timout=5")
    assert "use --password-command" in said(capsys, "list", "--pasword=x")
    shown = said(capsys, "lst")
    # With or without quotation marks, by the version of Python.
    assert "error: argument COMMAND: makes no sense; choose from fetch, " in shown.replace("'", "")


def test_a_destination_is_not_quoted() -> None:
    for destination in (SECRET, f"x:{SECRET}", f"mbox:{SECRET}/", f"eml:{SECRET}\0"):
        with pytest.raises(ValueError, match=r"PATH|path|folder") as wrong:
            open_destination(destination)
        assert SECRET not in str(wrong.value)
