"""How the commands get to a server: through a proxy or not, from an address, by one version of IP."""

import socket

import pytest

from commandline import PASSWORD, Here, plain_url, private
from pop3fast.cli._proxies import has_password, proxy_for
from pop3fast.testing import MailboxServer
from socks5 import socks_proxy

ENV = {"POP3FAST_PASSWORD": PASSWORD}
URL = "pop3+plain://user@mail.example.org"
PROXY = "socks5h://proxy"


@pytest.mark.parametrize("command", [["list"], ["capa"], ["check"], ["fetch", "--to", "eml:box"]], ids=" ".join)
def test_a_command_goes_through_the_proxy_of_the_option_and_of_the_environment(command: list[str], here: Here) -> None:
    with MailboxServer([b"x"], password=PASSWORD) as server:
        with socks_proxy({("mail.example.org", 110): server.address}) as ((host, port), asked):
            proxy = f"socks5h://{host}:{port}"
            here(command[0], URL, *command[1:], "--proxy", proxy, env=ENV, status=0)
            assert asked == [("mail.example.org", 110)]
            here(command[0], URL, *command[1:], env={**ENV, "ALL_PROXY": proxy}, status=0)
            assert asked == [("mail.example.org", 110)] * 2
            # What is near is not asked of a proxy.
            to = ["--to", "eml:near"] if command[0] == "fetch" else []
            here(command[0], plain_url(server), *to, "--proxy", proxy, env=ENV, status=0)
            assert len(asked) == 2


@pytest.mark.parametrize(
    ("host", "no_proxy", "is_used"),
    [
        ("mail.example.org", "", True),
        ("mail.example.org", "example.org", False),
        ("mail.example.org", "x, .EXAMPLE.org", False),
        ("mail.example.org", "*.example.org", False),
        ("mail.example.org", "*", False),
        ("myexample.org", "example.org", True),
        ("mail.example.org", ",", True),
        ("192.0.2.1", "192.0.2.0/24", False),
        ("192.0.2.1", "192.0.2.2", True),
        ("2001:db8::1", "[2001:db8::1]", False),
        ("127.0.0.9", "", False),
        ("::1", "", False),
        ("localhost", "", False),
    ],
)
def test_who_is_reached_without_a_proxy(host: str, no_proxy: str, is_used: bool) -> None:  # noqa: FBT001 - from the table
    for environment in ({"ALL_PROXY": PROXY, "NO_PROXY": no_proxy}, {"all_proxy": PROXY, "no_proxy": no_proxy}):
        assert proxy_for(None, host, environment) == (PROXY if is_used else None)
    assert proxy_for(PROXY, host, {"no_proxy": no_proxy}) == (PROXY if is_used else None)
    assert proxy_for(None, host, {}) is None


def test_the_password_of_a_proxy_is_no_argument_and_in_no_file_that_others_can_read(here: Here) -> None:
    proxy = "socks5://user:hunter2@proxy"
    ran = here("list", URL, "--proxy", proxy, env=ENV, status=2)
    assert ran.err == "pop3fast: the URL of a proxy with a password in it is for $ALL_PROXY or the configuration\n"
    config = private(here.home / "c", f'[work]\nurl = "{URL}"\nto = "eml:x"\nproxy = "{proxy}"\n', 0o644)
    ran = here("list", "work", "--config", config, env=ENV, status=2)
    assert ran.err.startswith(f"pop3fast: [work] has a password: {config} holds a password, and others can get at it")
    assert not has_password("socks5://user@proxy:1080")


def test_a_proxy_that_is_none_is_a_mistake_and_one_that_is_not_there_no_connection(here: Here) -> None:
    ran = here("list", URL, "--proxy", "proxy", env=ENV, status=2)
    assert ran.err.startswith("pop3fast: a proxy is socks5://host[:port], ")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ran = here("list", URL, "--proxy", f"http://127.0.0.1:{port}", env=ENV, status=3)
    assert ran.err == "pop3fast: mail.example.org:110, connection: the proxy: Connection refused\n"


def test_a_source_address_and_a_version_of_ip(here: Here) -> None:
    with MailboxServer([b"x"], password=PASSWORD) as server:
        url = plain_url(server)
        here("list", url, "-4", "--source-address", "127.0.0.2", env=ENV, status=0)
        ran = here("list", url, "-6", env=ENV, status=3)
        assert ran.err == f"pop3fast: 127.0.0.1:{server.port}, connection: the host has no address of IPv6\n"
        ran = here("list", url, "--source-address", "192.0.2.77", env=ENV, status=3)
        assert ": cannot connect from 192.0.2.77: " in ran.err
        config = private(here.home / "c", f'[work]\nurl = "{url}"\nto = "eml:x"\nip-version = 6\n')
        here("list", "work", "--config", config, env=ENV, status=3)
        here("list", "work", "-4", "--config", config, env=ENV, status=0)
