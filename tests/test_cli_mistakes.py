"""The commonest mistakes, and the sentence that answers each: what a person reads, as a whole."""

import re
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import pytest

from commandline import PASSWORD, Here, environment, plain_url, pop3fast, private
from pop3fast import AuthenticationError, connect
from pop3fast._location import parse_url
from pop3fast.cli import main
from pop3fast.cli._advice import advice
from pop3fast.cli._settings import ABOUT, closest, key_of
from pop3fast.cli._text import in_words
from pop3fast.fetch import Account, FetchReport, Job, Options, fetch_mailbox, import_seen
from pop3fast.testing import MailboxServer
from scripted import Reply, ScriptedServer

ENV = {"POP3FAST_PASSWORD": PASSWORD}
CERTIFICATES = Path(__file__).parent / "certificates"


def last_line(home: Path, *arguments: str, status: int = 3) -> str:
    return pop3fast(home, *arguments, env=ENV, status=status).err.splitlines()[-1].removeprefix("pop3fast: ")


# A port for the other kind of TLS.


@pytest.mark.parametrize("command", [["list"], ["capa"], ["fetch", "--to", "eml:box"]], ids=" ".join)
def test_tls_on_a_plain_port(command: list[str], tmp_path: Path) -> None:
    with MailboxServer([], password=PASSWORD) as server:
        said = last_line(tmp_path, command[0], f"pop3s://user@127.0.0.1:{server.port}", *command[1:])
    url = f"pop3://127.0.0.1:{server.port}"
    assert said == f"no TLS from the first octet on this port: try {url}, which turns it on (STLS)"


@pytest.mark.parametrize("scheme", ["pop3", "pop3+plain"])
def test_no_tls_on_a_port_for_tls(scheme: str, tmp_path: Path) -> None:
    with ScriptedServer(Reply(b"", then="stall")) as server:
        url = f"{scheme}://user@127.0.0.1:{server.port}"
        said = last_line(tmp_path, "list", url, "--timeout", "1")
    url = f"pop3s://127.0.0.1:{server.port}"
    assert said == f"a port that says nothing may be one for TLS from the first octet: try {url}"


def test_a_silence_behind_the_greeting_says_nothing_about_the_port(tmp_path: Path) -> None:
    with ScriptedServer(b"+OK hi\r\n", lambda _: Reply(b"", then="stall")) as server:
        ran = pop3fast(tmp_path, "list", plain_url(server), "--timeout", "1", env=ENV, status=3)
    assert ran.err == f"pop3fast: 127.0.0.1:{server.port}, login: timed out\n"


# Certificates.

SELF_SIGNED = (
    "the certificate is self-signed; if the server is yours, get the certificate, compare it with the server's, and "
    "trust it by --ca-file server.pem"
)


def test_a_certificate_that_is_self_signed(tmp_path: Path) -> None:
    with MailboxServer([], tls=True, password=PASSWORD, certificate=CERTIFICATES / "self_signed.pem") as server:
        url = f"pop3s://user@127.0.0.1:{server.port}"
        ran = pop3fast(tmp_path, "list", url, env=ENV, status=3)
        show = f"openssl s_client -connect 127.0.0.1:{server.port} </dev/null | openssl x509"
        assert ran.err.splitlines() == [
            f"pop3fast: 127.0.0.1:{server.port}, TLS handshake: certificate verify failed: self-signed certificate",
            f"pop3fast: {SELF_SIGNED}: {show} >server.pem",
        ]
        # What the advice says works.
        private(tmp_path / "server.pem", ssl.get_server_certificate(server.address))
        pop3fast(tmp_path, "list", url, "--ca-file", "server.pem", env=ENV, status=0)
    with MailboxServer([], stls=True, password=PASSWORD, certificate=CERTIFICATES / "self_signed.pem") as server:
        said = last_line(tmp_path, "list", f"pop3://user@127.0.0.1:{server.port}")
    assert f"-connect 127.0.0.1:{server.port} -starttls pop3 <" in said


def test_a_certificate_for_another_name(tmp_path: Path) -> None:
    certificate = str(CERTIFICATES / "other_name.pem")
    with MailboxServer([], tls=True, password=PASSWORD, certificate=certificate) as server:
        arguments = [f"pop3s://user@127.0.0.1:{server.port}", "--ca-file", certificate]
        said = last_line(tmp_path, "list", *arguments)
    assert said == (
        "the certificate is for another name than 127.0.0.1: put one of its names into the URL, or say it by "
        "--tls-name; this shows them: "
        f"openssl s_client -connect 127.0.0.1:{server.port} </dev/null | openssl x509 -noout -ext subjectAltName"
    )


def test_a_certificate_that_has_expired(tmp_path: Path) -> None:
    certificate = str(CERTIFICATES / "expired.pem")
    with MailboxServer([], tls=True, password=PASSWORD, certificate=certificate) as server:
        arguments = [f"pop3s://user@127.0.0.1:{server.port}", "--ca-file", certificate]
        said = last_line(tmp_path, "list", *arguments)
    assert said == "the certificate has expired, and the server needs a new one; unless the clock here is wrong"


def test_a_certificate_of_an_authority_that_nobody_knows(tmp_path: Path) -> None:
    with MailboxServer([], tls=True, password=PASSWORD) as server:
        said = last_line(tmp_path, "list", f"pop3s://user@127.0.0.1:{server.port}")
    assert said == (
        "nobody here knows the authority that signed the certificate: --ca-file takes that authority's own certificate "
        "(PEM); those of public ones come with the system's package ca-certificates"
    )


def test_a_server_whose_tls_is_too_old(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def old(path: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(path)
        return context

    monkeypatch.setattr("pop3fast.testing._threads.server_context", old)
    with MailboxServer([], tls=True, password=PASSWORD) as server:
        said = last_line(tmp_path, "list", f"pop3s://user@127.0.0.1:{server.port}", "--ca-file", server.certificate)
    assert said == "the server has no TLS that is safe (1.2 or newer): only its operator can change that"


# Providers that take no password.


WANTED = {
    "pop.gmail.com": "Gmail takes an app password (https://myaccount.google.com/apppasswords) or an OAuth 2 token "
    "(--token-command), not the password of the account, and POP has to be on in its settings",
    "outlook.office365.com": "Microsoft takes an OAuth 2 token (--token-command) and no password, and POP has to be on "
    "for the mailbox",
    "pop.mail.yahoo.com": "Yahoo takes an app password, which you make in the account's security settings, not the "
    "password of the account",
    "p01.mail.me.com": "iCloud has no POP3: its mail is to be had by IMAP only",
}


@pytest.mark.parametrize(("host", "sentence"), WANTED.items(), ids=WANTED)
def test_a_provider_that_wants_more_than_a_password(
    host: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    resolve = socket.getaddrinfo

    def resolve_here(name: str, *rest: Any, **more: Any) -> list[Any]:  # noqa: ANN401
        return [*resolve("127.0.0.1" if name == host else name, *rest, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    monkeypatch.setenv("POP3FAST_PASSWORD", "wrong")
    monkeypatch.chdir(tmp_path)
    with MailboxServer([], password=PASSWORD) as server:
        for command in (["list"], ["fetch", "--to", "eml:box"]):
            assert main([command[0], f"pop3+plain://user@{host}:{server.port}", *command[1:]]) == 4
            assert capsys.readouterr().err.splitlines()[-1] == f"pop3fast: {sentence}"


def test_a_refused_login_elsewhere_has_no_advice_and_a_token_another() -> None:
    refused = AuthenticationError(b"-ERR no")
    assert advice(refused, parse_url("pop3s://mail.example.org")) == ""
    assert advice(refused, parse_url("pop3s://notgmail.com")) == ""
    assert "https://mail.google.com/" in advice(refused, parse_url("pop3s://pop.gmail.com"), by_token=True)


@pytest.mark.parametrize("command", ["check", "list"])
@pytest.mark.parametrize("key", ['oauth = "microsoft"\noauth-client-id = "id"', 'token-command = "echo token"'])
def test_a_token_that_is_refused_has_no_advice_about_a_password(
    here: Here, monkeypatch: pytest.MonkeyPatch, command: str, key: str
) -> None:
    def refuse(_: Account) -> NoReturn:
        raise AuthenticationError(b"-ERR no")

    monkeypatch.setattr(Account, "connect", refuse)
    table = f'[work]\nurl = "pop3s://me@outlook.office365.com"\nto = "eml:box"\n{key}\n'
    ran = here(command, "work", "--config", private(here.home / "config", table), status=4)
    assert "the scope of a token for Microsoft" in ran.err


# URLs, and what is taken for one.


A_PASSWORD_IN_THE_URL = (
    "a URL with a password in it ends up in logs and lists of processes: use --password-command, --password-file, "
    "$POP3FAST_PASSWORD or an entry in ~/.netrc; a colon in the user's name is %3A"
)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("pop3s://user@2001:db8::1", "an IPv6 address stands in brackets, as in pop3s://user@[2001:db8::1]:995"),
        ("pop3s://::1", "an IPv6 address stands in brackets, as in pop3s://user@[2001:db8::1]:995"),
        ("pop3s://user@host:p:w", "not a URL: its host or its port cannot be one"),
        ("pop3s://EXAMPLE:user@mail.example.org", A_PASSWORD_IN_THE_URL),
    ],
)
def test_a_url_that_is_none(url: str, sentence: str, tmp_path: Path) -> None:
    assert pop3fast(tmp_path, "list", url, env=ENV, status=2).err == f"pop3fast: {sentence}\n"


def test_a_colon_in_the_user_s_name_as_the_sentence_says(tmp_path: Path) -> None:
    with MailboxServer([b"x"], user="EXAMPLE:user", password=PASSWORD) as server:
        pop3fast(tmp_path, "list", plain_url(server, "EXAMPLE%3Auser@"), env=ENV, status=0)


def test_a_server_without_a_scheme(tmp_path: Path) -> None:
    how = "a server is named by a URL, as in pop3s://user@mail.example.org (TLS), pop3:// (STLS) or pop3+plain:// (no "
    how += "TLS)"
    config = private(tmp_path / "config.toml", '[work]\nurl = "pop3s://a@b"\nto = "eml:x"\n')
    for argument in ("localhost", "mail.example.org", "user@host", "localhost:110"):
        ran = pop3fast(tmp_path, "list", argument, env=ENV, status=2)
        assert ran.err == (
            f"pop3fast: the account is no URL, and there is no configuration {tmp_path}/.config/pop3fast/config.toml "
            f"that could have it by name; {how}\n"
        )
        ran = pop3fast(tmp_path, "list", argument, "--config", config, env=ENV, status=2)
        assert ran.err == f"pop3fast: {config} has no account of that name; it has 'work'; {how}\n"
    ran = pop3fast(tmp_path, "list", "wrok", "--config", config, env=ENV, status=2)
    assert ran.err == f"pop3fast: {config} has no account of that name; it has 'work'\n"


@pytest.mark.parametrize("command", ["list", "fetch"])
def test_a_host_is_named_once(command: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    to = ["--to", "eml:box"] if command == "fetch" else []
    ran = pop3fast(tmp_path, command, f"pop3s://user@127.0.0.1:{port}", *to, env=ENV, status=3)
    assert ran.err.count("127.0.0.1") == 1
    # And nothing is said of messages where there was no connection.
    assert ran.out == ""


def test_an_ipv6_address_is_in_brackets_wherever_it_is_named() -> None:
    account = Account("pop3s://user@[::1]:1", password="x")
    assert str(account) == "user on [::1]:1"
    with pytest.raises(OSError, match=r"\[::1\]:1, connection: ") as failed:
        connect("pop3s://user@[::1]:1")
    assert in_words(failed.value).startswith("[::1]:1, ")


# Passwords.


@pytest.mark.parametrize("command", ["gpg -d mail.gpg | head -1", "cat mail && true", "echo x >y"])
def test_a_pipe_in_a_password_command(command: str, tmp_path: Path) -> None:
    said = last_line(tmp_path, "list", "pop3s://a@b", "--password-command", command, status=4)
    assert said == (
        "the password command is run without a shell, and a | or > in it means nothing: write sh -c '...' around it"
    )


def test_a_home_or_a_variable_in_a_password_command(tmp_path: Path) -> None:
    how = "it is run without a shell, which alone knows ~ and $: write sh -c '...' around it"
    said = last_line(tmp_path, "list", "pop3s://a@b", "--password-command", "~/bin/pass", status=4)
    assert said == f"the password command cannot be run: No such file or directory; {how}"
    said = last_line(tmp_path, "list", "pop3s://a@b", "--password-command", "test -e $HOME", status=4)
    assert said == f"the password command failed with exit status 1; {how}"
    said = last_line(tmp_path, "list", "pop3s://a@b", "--password-command", "false", status=4)
    assert said == "the password command failed with exit status 1"


BOM = "\ufeff"


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    with MailboxServer([b"x"], uids=["one"], password=PASSWORD) as server:
        url = plain_url(server)
        password = private(tmp_path / "password", f"{BOM}{PASSWORD}\r\n")
        pop3fast(tmp_path, "list", url, "--password-file", password, status=0)
        netrc = private(tmp_path / "netrc", f"{BOM}machine 127.0.0.1 login user password {PASSWORD}\n")
        pop3fast(tmp_path, "list", url, env={"NETRC": netrc}, status=0)
        config = private(tmp_path / "config", f'{BOM}[work]\nurl = "{url}"\nto = "eml:box"\n')
        seen = private(tmp_path / "seen", f"{BOM}user@127.0.0.1 one\n")
        ran = pop3fast(tmp_path, "fetch", "work", "--config", config, "--import-seen", seen, env=ENV, status=0)
        assert "0 messages fetched (0 octets), 1 fetched before" in ran.out


def test_a_file_in_utf_16(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes("[work]".encode("utf-16"))
    (tmp_path / "file").chmod(0o600)
    why = "file is UTF-16, as some editors write it: save it as UTF-8"
    assert last_line(tmp_path, "list", "work", "--config", "file", status=2) == why
    assert last_line(tmp_path, "list", "pop3s://a@b", "--password-file", "file", status=4) == why


# Options and keys.


def test_a_wrong_option_is_answered_in_three_lines(tmp_path: Path) -> None:
    ran = pop3fast(tmp_path, "fetch", "pop3s://a@b", "--to", "eml:x", "--delte", status=2)
    assert ran.err.splitlines() == [
        "usage: pop3fast fetch [OPTIONS] URL|NAME...",
        "pop3fast fetch: error: argument 5 makes no sense here; did you mean --delete?",
        "try: pop3fast fetch --help",
    ]
    ran = pop3fast(tmp_path, "list", "pop3s://a@b", "--delete", status=2)
    assert ran.err.splitlines()[1] == "pop3fast list: error: argument 3 makes no sense here"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("dest", "to"),
        ("destination", "to"),
        ("host", "url"),
        ("pass-command", "password-command"),
        ("user_name", "user"),
        ("delte", "delete"),
        ("delete_after", "delete-after"),
        ("deleted", "delete"),
        ("max-message-size", "max-size"),
        ("xyzzy", None),
    ],
)
def test_a_suggestion_is_what_was_meant(word: str, meant: str | None) -> None:
    assert closest(word, map(key_of, ABOUT)) == meant


@pytest.mark.parametrize(
    "word", ["dest", "date", "later", "keep", "select", "dele-after-dark", "undelete", "leave-after"]
)
def test_no_suggestion_ever_deletes_by_mistake(word: str) -> None:
    assert closest(word, map(key_of, ABOUT)) not in {"delete", "delete-after"}


# In Python.


def test_a_size_as_a_text() -> None:
    with pytest.raises(TypeError, match=r"^max_size is a number of octets, as 20 \* 2\*\*20, and not a text$"):
        Options(max_size="20M")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^delete_after is a number, and not a text$"):
        Options(delete_after="30")  # type: ignore[arg-type]


def test_a_text_where_an_account_is_wanted(tmp_path: Path) -> None:
    how = re.escape("says an Account, as in Account('pop3s://user@mail.example.org', password=...), and not a str")
    with pytest.raises(TypeError, match=f"^whose mail is fetched {how}$"):
        fetch_mailbox("pop3s://user@mail.example.org", f"maildir:{tmp_path}/box")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=f"^whose mail is fetched {how}$"):
        Job("work", f"maildir:{tmp_path}/box")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^the URL of an account is a text, as 'pop3s://user@host', not a PosixPath$"):
        Account(tmp_path, password="x")  # type: ignore[arg-type]


def test_a_path_is_as_good_as_its_text(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with MailboxServer([b"x", b"y"], uids=["one", "two"], tls=True) as server:
        private(seen, "user@127.0.0.1 one\n")
        url = f"pop3s://user@127.0.0.1:{server.port}"
        account = Account(url, password=server.password, ca_file=Path(server.certificate))
        to, state = f"eml:{tmp_path}/box", tmp_path / "state"
        assert import_seen(account, to, seen, state=state) == 1
        report: FetchReport = fetch_mailbox(account, to, state=state)
    assert (report.error, report.fetched, report.seen) == (None, 1, 1)
    assert state.exists()


# Another operating system.


@pytest.mark.parametrize("arguments", [["list", "pop3s://a@b"], ["fetch", "--help"], []], ids=" ".join)
def test_windows_is_answered_in_one_sentence(arguments: list[str], tmp_path: Path) -> None:
    program = "import sys; sys.modules['fcntl'] = None; from pop3fast.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "pop3fast: this needs a POSIX system (Linux, macOS, BSD); on Windows it runs in WSL\n",
    )
