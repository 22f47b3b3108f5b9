"""Which certificates are trusted, and under which name: the context, the account and the command line."""

import asyncio
import hashlib
import ssl
import subprocess
from pathlib import Path

import pytest

import pop3fast as library
from commandline import PASSWORD, pop3fast, private
from pop3fast import aio
from pop3fast.fetch import Account
from pop3fast.testing import CERTIFICATE, MailboxServer
from scripted import ScriptedServer

CERTIFICATES = Path(__file__).parent / "certificates"
SELF_SIGNED = str(CERTIFICATES / "self_signed.pem")
OTHER_NAME = str(CERTIFICATES / "other_name.pem")


def fingerprint_of(path: str) -> str:
    pem = Path(path).read_text("ascii")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN CERT") :])).hexdigest()


RIGHT = fingerprint_of(SELF_SIGNED)
WRONG = "0" * 64


@pytest.mark.parametrize("scheme", ["pop3s", "pop3"])
@pytest.mark.parametrize("shown", [RIGHT, RIGHT.upper(), ":".join(RIGHT[at : at + 2] for at in range(0, 64, 2))])
@pytest.mark.filterwarnings("error")
def test_a_fingerprint_trusts_one_certificate_whoever_signed_it(scheme: str, shown: str) -> None:
    with MailboxServer(
        [b"x"], tls=scheme == "pop3s", stls=scheme == "pop3", password=PASSWORD, certificate=SELF_SIGNED
    ) as server:
        url = f"{scheme}://user@127.0.0.1:{server.port}"
        with Account(url, password=PASSWORD, fingerprint=shown).connect() as pop:
            assert pop.stat()[0] == 1

        async def count() -> int:
            async with aio.connect(url, password=PASSWORD, context=library.tls_context(fingerprint=shown)) as pop:
                return (await pop.stat())[0]

        assert asyncio.run(count()) == 1


@pytest.mark.parametrize("scheme", ["pop3s", "pop3"])
def test_another_fingerprint_shows_the_one_that_was_seen_and_nothing_is_sent(scheme: str) -> None:
    seen = ":".join(RIGHT[at : at + 2] for at in range(0, 64, 2)).upper()
    with MailboxServer(
        [b"x"], tls=scheme == "pop3s", stls=scheme == "pop3", password=PASSWORD, certificate=SELF_SIGNED
    ) as server:
        url = f"{scheme}://user@127.0.0.1:{server.port}"
        with pytest.raises(ssl.SSLCertVerificationError, match=f"another fingerprint than was given: {seen}"):
            Account(url, password=PASSWORD, fingerprint=WRONG).connect()

        async def connect() -> None:
            await aio.connect(url, password=PASSWORD, context=library.tls_context(fingerprint=WRONG))

        with pytest.raises(ssl.SSLCertVerificationError, match=f"another fingerprint than was given: {seen}"):
            asyncio.run(connect())
        assert {command.split()[0] for command in server.commands} <= {b"CAPA", b"STLS"}


def test_a_secret_is_shown_to_the_one_certificate_that_is_trusted_and_to_none_that_is_not() -> None:
    with MailboxServer([b"x"], tls=True, password=PASSWORD, certificate=SELF_SIGNED) as server:
        context = library.tls_context(fingerprint=RIGHT)
        with library.POP3_SSL(server.host, server.port, context=context) as pop:
            pop.login("user", PASSWORD)
        nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        nobody.check_hostname = False
        nobody.verify_mode = ssl.CERT_NONE
        with (
            library.POP3_SSL(server.host, server.port, context=nobody) as pop,
            pytest.raises(library.error_proto, match="would show the secret"),
        ):
            pop.login("user", PASSWORD)


def test_a_name_that_the_certificate_has_in_the_place_of_the_host_s() -> None:
    with MailboxServer([b"x"], tls=True, password=PASSWORD, certificate=OTHER_NAME) as server:
        url = f"pop3s://user@127.0.0.1:{server.port}"
        account = Account(url, password=PASSWORD, ca_file=OTHER_NAME, tls_name="pop.example.net")
        with account.connect() as pop:
            assert pop.stat()[0] == 1
        wrong = Account(url, password=PASSWORD, ca_file=OTHER_NAME, tls_name="pop.example.org")
        with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'pop\.example\.org'"):
            wrong.connect()

        async def count() -> int:
            context = library.tls_context(ca_file=OTHER_NAME, tls_name="pop.example.net")
            async with aio.connect(url, password=PASSWORD, context=context) as pop:
                return (await pop.stat())[0]

        assert asyncio.run(count()) == 1


def test_a_client_s_certificate_is_shown_to_a_server_that_wants_one() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    context.load_verify_locations(SELF_SIGNED)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # in which a refusal comes in the handshake
    server = ScriptedServer(b"+OK hi\r\n", [b"+OK\r\n"] * 3, tls=True)
    server._context = context
    with server:
        url = f"pop3s://user@127.0.0.1:{server.port}"
        client = Account(url, password="x", ca_file=CERTIFICATE, client_cert=SELF_SIGNED, mechanism="USER")
        with client.connect() as pop:
            assert pop.getwelcome() == b"+OK hi"


def test_the_least_version_of_tls_is_demanded() -> None:
    assert library.tls_context(tls_min="1.3").minimum_version is ssl.TLSVersion.TLSv1_3
    assert library.tls_context(tls_min="1.2", fingerprint=WRONG).minimum_version is ssl.TLSVersion.TLSv1_2
    assert library.tls_context().verify_mode is ssl.CERT_REQUIRED
    assert library.tls_context(tls_name="x").check_hostname


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ({"fingerprint": "ab:cd"}, "64 hexadecimal digits"),
        ({"fingerprint": "x" * 64}, "64 hexadecimal digits"),
        ({"tls_min": "1.1"}, "1.2 or 1.3"),
        ({"client_key": SELF_SIGNED}, "give client_cert, too"),
        ({"context": ssl.create_default_context(), "tls_name": "x"}, "a context or what makes one"),
    ],
)
def test_what_makes_no_sense_is_a_value_error(wishes: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Account("pop3s://a@h", password="x", **wishes)  # type: ignore[arg-type]  # that is the point
    if "context" not in wishes:
        with pytest.raises(ValueError, match=why):
            library.tls_context(**wishes)  # type: ignore[arg-type]  # as above


def test_the_command_line_has_them_all(tmp_path: Path) -> None:
    env = {"POP3FAST_PASSWORD": PASSWORD}
    with MailboxServer([b"x"], tls=True, password=PASSWORD, certificate=SELF_SIGNED) as server:
        url = f"pop3s://user@127.0.0.1:{server.port}"
        for command in (["list"], ["capa"], ["fetch", "--to", "eml:box"]):
            run = [command[0], url, *command[1:], "--fingerprint"]
            pop3fast(tmp_path, *run, RIGHT, "--tls-min", "1.2", "--client-cert", SELF_SIGNED, env=env, status=0)
            ran = pop3fast(tmp_path, *run, WRONG, env=env, status=3)
            assert ran.err.count("\n") == 1
            assert f"another fingerprint than was given: {RIGHT[:2].upper()}:" in ran.err
        table = f'[a]\nurl = "{url}"\nto = "eml:x"\nfingerprint = "{RIGHT}"\ntls-min = "1.3"\n'
        pop3fast(tmp_path, "check", "--config", private(tmp_path / "config", table), env=env, status=0)
    for arguments, why in (
        (["--fingerprint", "ab"], "64 hexadecimal digits"),
        (["--tls-min", "1"], "1.2 or 1.3"),
        (["--client-cert", "nothing"], "cannot read nothing: No such file or directory"),
        (["--client-key", SELF_SIGNED], "give client_cert, too"),
    ):
        ran = pop3fast(tmp_path, "list", url, *arguments, env=env, status=2)
        assert why in ran.err


def test_openssl_shows_the_same_fingerprint() -> None:
    try:
        shown = subprocess.run(
            ["openssl", "x509", "-in", SELF_SIGNED, "-noout", "-fingerprint", "-sha256"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
    except FileNotFoundError:
        pytest.skip("no openssl")
    assert shown.strip().partition("=")[2].replace(":", "").lower() == RIGHT


def test_with_a_name_or_a_fingerprint_the_rest_is_what_python_does_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usual = ssl.create_default_context

    def of_a_newer_python(*, cafile: str | None = None) -> ssl.SSLContext:
        context = usual(cafile=cafile)
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    monkeypatch.setattr(ssl, "create_default_context", of_a_newer_python)
    expected = of_a_newer_python()
    for context in (
        library.tls_context(),
        library.tls_context(tls_name="x"),
        library.tls_context(tls_name="x", ca_file=SELF_SIGNED),
        library.tls_context(fingerprint=RIGHT),
    ):
        assert context.verify_flags == expected.verify_flags
        assert context.keylog_filename == expected.keylog_filename == str(tmp_path / "keys")


def test_whoever_does_not_log_in_keeps_to_them_too(tmp_path: Path) -> None:
    with MailboxServer([b"x"], tls=True, certificate=SELF_SIGNED) as server:
        run = ["capa", f"pop3s://127.0.0.1:{server.port}", "--fingerprint"]
        pop3fast(tmp_path, *run, RIGHT, status=0)
        assert "another fingerprint than was given" in pop3fast(tmp_path, *run, WRONG, status=3).err
    with MailboxServer([b"x"], tls=True, certificate=OTHER_NAME) as server:
        run = ["capa", f"pop3s://127.0.0.1:{server.port}", "--ca-file", OTHER_NAME, "--tls-name"]
        pop3fast(tmp_path, *run, "pop.example.net", status=0)
        assert "not valid for 'pop.example.org'" in pop3fast(tmp_path, *run, "pop.example.org", status=3).err
