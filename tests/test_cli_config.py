"""The configuration file: what it may say, and that every error names table and key and never a value."""

import pwd
import re
from pathlib import Path

import pytest

from commandline import private
from pop3fast.cli import main
from pop3fast.cli._arguments import make_parser
from pop3fast.cli._config import default_config, read_config
from pop3fast.cli._settings import (
    ABOUT,
    COMMAND,
    COUNT,
    DAYS,
    FILE,
    FLAG,
    IP_VERSION,
    SECONDS,
    SECRETS,
    SIZE,
    SYNC,
    TEXT,
    Settings,
    from_arguments,
    key_of,
)
from pop3fast.cli._text import UsageError, plural, printable, shown_size, shown_time
from pop3fast.fetch.accounts._private import MAX_OCTETS

ACCOUNT = '[work]\nurl = "pop3s://ada@mail.example.org"\nto = "maildir:~/Mail"\n'


def written(tmp_path: Path, text: str, mode: int = 0o600) -> str:
    return private(tmp_path / "config.toml", text, mode)


# What of each kind a file may say, and what that means; a kind that has no example here fails the next test.
EXAMPLES = {
    TEXT.words: ('"pop3s://ada@mail.example.org"', "pop3s://ada@mail.example.org"),
    FILE.words: ('"/some/file"', "/some/file"),
    COMMAND.words: ('"cat secret"', "cat secret"),
    SECONDS.words: ("600.5", 600.5),
    DAYS.words: ("0", 0),
    COUNT.words: ("5", 5),
    SIZE.words: ('"10M"', 10 * 2**20),
    FLAG.words: ("true", True),
    IP_VERSION.words: ("6", 6),
    SYNC.words: ('"batch"', "batch"),
}


def test_every_setting_can_be_made(tmp_path: Path) -> None:
    examples = {name: EXAMPLES[about.kind.words] for name, about in ABOUT.items()}
    text = "[work]\n" + "".join(f"{key_of(name)} = {value}\n" for name, (value, _) in examples.items())
    settings = read_config(written(tmp_path, text))["work"]
    assert settings.said() == {name: meant for name, (_, meant) in examples.items()}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (ACCOUNT + "delet = true", r"config\.toml: \[work\] has an unknown key on line 4; did you mean 'delete'\?"),
        (ACCOUNT + "xyzzy = 1", r"\[work\] has an unknown key on line 4$"),
        (ACCOUNT + "delete_after = 3", "did you mean 'delete-after'"),
        (ACCOUNT + 'delete = "yes"', r"\[work\]: 'delete' has to be true or false"),
        (ACCOUNT + "delete = 1", "'delete' has to be true or false"),
        (ACCOUNT + "limit = true", "'limit' has to be a whole number"),
        (ACCOUNT + "limit = 1.5", "'limit' has to be a whole number"),
        (ACCOUNT + 'max-size = "secret"', "'max-size' has to be a number of octets"),
        (ACCOUNT + "timeout = 0", "'timeout' has to be a number of seconds above 0"),
        (ACCOUNT + "timeout = nan", "'timeout' has to be"),
        (ACCOUNT + "timeout = 1e300", "'timeout' has to be a number of seconds above 0, and at most 1,000,000,000"),
        (ACCOUNT + "deadline = 1e10", "'deadline' has to be"),
        (ACCOUNT + f"delete-after = 1{'0' * 400}", "'delete-after' has to be"),
        (ACCOUNT + "delete-after = -1", "'delete-after' has to be a number of days"),
        (ACCOUNT + "password = 12345", "'password' has to be a text"),
        (ACCOUNT + 'user = ""', "'user' has to be a text"),
        ('[work]\nurl = "pop3s://a@b"', r"\[work\] has no 'to'"),
        ('[work]\nto = "eml:x"', r"\[work\] has no 'url'"),
        ('url = "pop3s://a@b"', "a key on line 1 stands outside of the tables"),
        ("", "has no accounts"),
        ('[work]\npassword = secret"', "is no TOML"),
    ],
)
def test_what_makes_no_sense_is_named(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why) as wrong:
        read_config(written(tmp_path, text))
    for value in ("secret", "12345"):
        assert value not in str(wrong.value)


@pytest.mark.parametrize("value", ["[1]", "[]", "{ a = 1 }", "1979-05-27", "07:32:00", "inf", "-0.5"])
def test_whatever_toml_has_is_a_value_or_is_refused_in_words(value: str, tmp_path: Path) -> None:
    for name, about in ABOUT.items():
        key = key_of(name)
        where = written(tmp_path, f"[one]\n{key} = {value}\n")
        with pytest.raises(UsageError, match=re.escape(f"[one]: {key!r} has to be {about.kind.words}")):
            read_config(where)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the configuration .*: No such file"):
        read_config(str(tmp_path / "nothing"))
    (tmp_path / "latin").write_bytes(b"[w\xfcrk]")
    with pytest.raises(UsageError, match="no UTF-8"):
        read_config(str(tmp_path / "latin"))
    (tmp_path / "endless").write_bytes(b"#" * (MAX_OCTETS + 1))
    with pytest.raises(UsageError, match="endless is larger than"):
        read_config(str(tmp_path / "endless"))
    (tmp_path / "deep").write_bytes(b"a = " + b"[" * 100_000)
    with pytest.raises(UsageError, match="deep is no TOML"):
        read_config(str(tmp_path / "deep"))


def test_a_password_may_stand_in_a_private_file_only(tmp_path: Path) -> None:
    path = written(tmp_path, ACCOUNT, 0o644)
    assert read_config(path)["work"].password is None
    path = written(tmp_path, ACCOUNT + 'password = "secret"', 0o640)
    with pytest.raises(UsageError, match=rf"\[work\] has a password: .*run: chmod 600 {path}") as wrong:
        read_config(path)
    assert "secret" not in str(wrong.value)
    path = written(tmp_path, ACCOUNT + 'password = "secret"')
    assert read_config(path)["work"].password == "secret"
    assert "secret" not in repr(read_config(path))


def test_an_argument_is_over_the_file_and_a_secret_over_all_others() -> None:
    file = Settings(url="pop3s://a@b", password="secret", delete=True, timeout=5)
    said = Settings(password_command="cat x", timeout=6).over(file)
    assert said == Settings(url="pop3s://a@b", password_command="cat x", delete=True, timeout=6)
    assert Settings(limit=1).over(file).password == "secret"
    assert ABOUT.keys() >= set(SECRETS)


def test_where_the_configuration_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert default_config() == str(tmp_path / ".config/pop3fast/config.toml")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "x"))
    assert default_config() == str(tmp_path / "x/pop3fast/config.toml")


def test_where_nobody_has_a_home_paths_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert default_config() == "~/.config/pop3fast/config.toml"
    assert FILE.parse("~/x") == "~/x"
    with pytest.raises(SystemExit) as ended:
        main(["fetch", "--help"])
    assert ended.value.code == 0


def test_a_path_may_begin_at_home_whether_it_is_an_argument_or_in_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    files = [key_of(name) for name, about in ABOUT.items() if about.kind is FILE and about.group != "file"]
    assert {"password-file", "ca-file", "state", "import-seen"} <= {*files}
    text = ACCOUNT + "".join(f'{key} = "~/{key}"\n' for key in files)
    read = read_config(written(tmp_path, text))["work"].said()
    arguments = [*(f"--{key}=~/{key}" for key in files), "--config=~/c"]
    command = make_parser().parse_args(["fetch", *arguments])
    assert command.config == f"{tmp_path}/c"
    for settings in (read, from_arguments(command).said()):
        assert {key: settings[key.replace("-", "_")] for key in files} == {key: f"{tmp_path}/{key}" for key in files}
    # Not a file's path, but the standard input.
    assert FILE.parse("-") == "-"


@pytest.mark.parametrize("command", ["fetch", "list", "capa"])
def test_every_option_says_in_one_line_what_it_does(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for name, about in ABOUT.items():
        if about.group == "login" or (command == "fetch" and about.group == "fetch"):
            assert f"--{key_of(name)}" in said
            assert about.help
            assert "\n" not in about.help
    assert "--password " not in said


@pytest.mark.parametrize(
    ("text", "octets"),
    [("1", 1), ("500k", 512_000), ("10M", 10_485_760), ("1 GB", 2**30), ("2KiB", 2048), ("1T", 2**40)],
)
def test_sizes(text: str, octets: int) -> None:
    assert SIZE.parse(text) == SIZE.check(text) == SIZE.check(octets) == octets


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5M", "M", "1E", "1 000", "٣", "1" * 20])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        SIZE.parse(text)


def test_how_things_are_shown() -> None:
    sizes = [shown_size(octets) for octets in (0, 1, 999, 1000, 12_345, 999_499, 999_600, 5 * 10**9, 10**16)]
    assert sizes == [
        "0 octets", "1 octet", "999 octets", "1 kB", "12.3 kB", "999 kB", "1 MB", "5 GB", "1e+04 TB",
    ]  # fmt: skip
    assert [shown_time(seconds) for seconds in (0, 59.9, 61, 3661)] == ["0:00", "0:59", "1:01", "1:01:01"]
    assert [plural(number, "message") for number in (0, 1, 1000)] == ["0 messages", "1 message", "1,000 messages"]
    assert printable("a\u3000b\x1b\u202e\ud800c") == r"a b\x1b\u202e\ud800c"
    assert len(printable("x" * 1000)) == 503
