"""`pop3fast import-config`: what fetchmail, getmail and mpop are told, in our words; nothing is left out in silence."""

import re
import shlex
from pathlib import Path

import pytest

from commandline import PASSWORD, Here, at_terminal, pop3fast, private
from maildrops import delivered, mail
from pop3fast.cli._arguments import make_parser
from pop3fast.cli._config import read_config
from pop3fast.cli._settings import Settings
from pop3fast.testing import MailboxServer

MPOP = """\
# two mailboxes of one provider, and one of another
defaults
tls on
delivery maildir ~/Mail/in
timeout 60

account first
host pop.example.org
tls_starttls off
user ada.lovelace
passwordeval "gpg2 --no-tty -q -d ~/.mpop.gpg"

account second : first
user bob@example.org
password "se#cret \\"x"
keep on

account company
host mail.example.com
user company1
delivery mda "/usr/bin/procmail -f '%F' -d $USER"
skipsize 200k
killsize 10m
auth scram-sha-1
tls_certcheck off
filter if [ "`grep "^X-Spam: Yes"`" ]; then exit 2; fi

account default : first
"""

FETCHMAIL = """\
# fetched every five minutes
set daemon 300
set postmaster "root"
defaults protocol pop3, timeout 120
poll pop.example.org via 192.0.2.7 with port 995 and interval 3:
  user "ada" there with password "it's \\"secret\\"" is "ada" here and wants ssl, sslcertck, keep, fetchall
  user 'bob' there has pass hidden is bob here options ssl mda "/usr/bin/procmail -d %T" limit 100000 expunge 20
  no rewrite
skip mail.example.net proto POP3 user cyd sslfingerprint "AA:BB"
poll imap.example.org protocol IMAP user "dan" password "x"
"""

GETMAIL = """\
[retriever]
type = SimplePOP3SSLRetriever
server = pop.example.org
username = ada@example.org
password_command = ("pass", "show", "two words")
timeout = 90
ca_certs = /etc/ssl/our.pem

[destination]
type = Maildir
path = ~/Mail/

[options]
delete_after = 14
read_all = false
max_message_size = 500000
message_log = ~/getmail.log
verbose = 1

[filter-spam]
type = Filter_external
"""


def imported(home: Path, text: str, name: str = "rc") -> tuple[dict[str, Settings], str]:
    """Return what is made of *text*, as our configuration reads it and as it is written."""
    out = pop3fast(home, "import-config", private(home / name, text), status=0).out
    return read_config(private(home / "config.toml", out)), out


def test_an_mpoprc(tmp_path: Path) -> None:
    accounts, out = imported(tmp_path, MPOP)
    assert accounts == {
        "first": Settings(
            url="pop3s://ada.lovelace@pop.example.org",
            password_command="sh -c 'gpg2 --no-tty -q -d ~/.mpop.gpg'",
            to="maildir:~/Mail/in",
            timeout=60,
            delete=True,
        ),
        "second": Settings(
            url="pop3s://bob%40example.org@pop.example.org",
            password='se#cret \\"x',
            to="maildir:~/Mail/in",
            timeout=60,
            delete=False,
        ),
        "company": Settings(
            url="pop3://company1@mail.example.com",
            to="pipe:sh -c '/usr/bin/procmail -f '\"'\"'%F'\"'\"' -d $USER'",
            timeout=60,
            max_size=200 * 1024,
            mechanism="SCRAM-SHA-1",
            delete=True,
        ),
    }
    assert "delete = true  # what mpop does where nothing is said" in out
    for note in (
        "# line 21: %F, the envelope's sender: it stays as it is in the command",
        "# line 23: killsize: `pop3fast show NAME --larger SIZE --delete` deletes what is too large",
        "# line 25: tls_certcheck: certificates are always verified; ca-file trusts one of your own",
        "# line 26: filter: no counterpart",
    ):
        assert f"{note}\n" in out
    assert "grep" not in out


@pytest.mark.parametrize(
    ("port", "url"),
    [
        ("port 995", "pop3s://ada@pop.example.org"),
        ("port 9950", "pop3s://ada@pop.example.org:9950"),
        ("service pop3s", "pop3s://ada@pop.example.org"),
        ("service 995", "pop3s://ada@pop.example.org"),
        ("service POP3", "pop3s://ada@pop.example.org:110"),
        ('port "pop-3"', "pop3s://ada@pop.example.org:110"),
        ("service mymail", "pop3s://ada@pop.example.org"),
    ],
)
def test_a_port_of_fetchmail_may_have_a_name(port: str, url: str, tmp_path: Path) -> None:
    accounts, out = imported(tmp_path, f'poll pop.example.org proto pop3 {port}\n user "ada" password "x" ssl\n')
    assert accounts["pop.example.org-ada"].url == url
    said = "# line 1: port or service: it is no number: put the number into the URL\n"
    assert (said in out) == ("mymail" in port)


def test_a_fetchmailrc(tmp_path: Path) -> None:
    accounts, out = imported(tmp_path, FETCHMAIL)
    assert accounts == {
        "pop.example.org-ada": Settings(
            url="pop3s://ada@192.0.2.7",
            password='it\'s "secret"',
            to="maildir:~/Mail",
            timeout=120,
            delete=False,
        ),
        "pop.example.org-bob": Settings(
            url="pop3s://bob@192.0.2.7",
            password="hidden",
            to="pipe:sh -c '/usr/bin/procmail -d %T'",
            timeout=120,
            max_size=100_000,
            checkpoint_messages=20,
            delete=True,
        ),
        "mail.example.net-cyd": Settings(
            url="pop3://cyd@mail.example.net", to="maildir:~/Mail", timeout=120, delete=True
        ),
    }
    for note in (
        "# line 5: interval: no counterpart",
        "# line 6: fetchall: only what is new is ever fetched",
        "# line 2: set daemon: `pop3fast fetch --all --every SECONDS`, or a timer of systemd or cron",
        "# line 3: set postmaster: no counterpart",
        "# fetchmail skips this one unless it is named",
        "# line 9: sslfingerprint: it is an MD5; fingerprint takes the SHA-256 of the certificate",
        "# fetchmail goes on without TLS where the server has none; pop3:// does not",
    ):
        assert f"{note}\n" in out
    assert out.count("delete = true  # what fetchmail does where nothing is said") == 2
    assert "imap.example.org" not in out


@pytest.mark.parametrize("word", ["auth", "authenticate", "preauth"])
def test_how_fetchmail_logs_in_is_no_password(word: str, tmp_path: Path) -> None:
    accounts, out = imported(tmp_path, f"poll h proto pop3 {word} password user ada password '{PASSWORD}'\n")
    assert accounts["h-ada"].password == PASSWORD
    assert "# line 1: auth: no counterpart\n" in out


def test_a_server_of_fetchmail_begins_behind_a_way_to_log_in(tmp_path: Path) -> None:
    rc = "defaults proto pop3 auth password\npoll h user ada pass poll auth password\npoll j user poll pass x\n"
    accounts, _ = imported(tmp_path, rc)
    assert [(one.url, one.password) for one in accounts.values()] == [("pop3://ada@h", "poll"), ("pop3://poll@j", "x")]


@pytest.mark.parametrize("secret", ["se#cret", "it's", 'a"b', "here", "keep", "poll"])
def test_a_password_of_fetchmail_without_quotation_marks(secret: str, tmp_path: Path) -> None:
    accounts, _ = imported(tmp_path, f"poll h proto pop3 user ada password {secret} ssl no keep # as always\n")
    assert accounts == {
        "h-ada": Settings(url="pop3s://ada@h", password=secret, to="maildir:~/Mail", delete=True),
    }


def test_the_names_behind_a_word_of_fetchmail_are_its_own(tmp_path: Path) -> None:
    line = "poll h aka a b proto pop3 local c d user ada is keep bob = carl here folder in out ssl\n"
    accounts, out = imported(tmp_path, line)
    assert accounts["h-ada"].url == "pop3s://ada@h"
    assert accounts["h-ada"].delete is True
    assert re.findall("# line 1: ([a-z]+):", out) == ["aka", "localdomains", "folder"]


@pytest.mark.parametrize(
    "line",
    [
        f"user ada esmtppassword {PASSWORD}",
        f"user ada pass 'x' anything '{PASSWORD}'",
        f"user ada pass x, {PASSWORD}",
        f"user ada pass x no {PASSWORD}",
    ],
)
def test_no_word_of_fetchmail_that_may_be_a_secret_is_repeated(line: str, tmp_path: Path) -> None:
    ran = pop3fast(tmp_path, "import-config", private(tmp_path / "rc", f"poll h proto pop3\n{line}\n"), status=0)
    assert PASSWORD not in ran.out + ran.err
    assert re.search("# line 2: .*: no counterpart\n", ran.out)


@pytest.mark.parametrize(
    "text",
    [
        'poll h proto pop3 user ada password x smtphost "relay\nurl = 1"\n',
        GETMAIL.replace("type = Maildir", "type = Something\n  url = 1"),
    ],
)
def test_what_is_said_beside_a_value_stays_in_its_line(text: str, tmp_path: Path) -> None:
    accounts, _ = imported(tmp_path, text, "work.rc")
    assert [account.to for account in accounts.values()] == ["maildir:~/Mail"]


def test_a_getmailrc(tmp_path: Path) -> None:
    accounts, out = imported(tmp_path, GETMAIL, "work.rc")
    assert accounts == {
        "work": Settings(
            url="pop3s://ada%40example.org@pop.example.org",
            password_command="pass show 'two words'",
            ca_file="/etc/ssl/our.pem",
            to="maildir:~/Mail",
            timeout=90,
            delete_after=14,
            max_size=500_000,
        )
    }
    for note in (
        "# line 15: read_all: only what is new is ever fetched",
        "# line 17: message_log: --json writes a line for each message",
        "# line 20: [filter-spam]: no counterpart",
    ):
        assert f"{note}\n" in out


def test_the_file_of_what_getmail_has_seen_is_named_as_getmail_names_it(tmp_path: Path) -> None:
    (tmp_path / ".getmail").mkdir()
    private(tmp_path / ".getmail" / "oldmail-h-995-domain-user-box", "one\0001700000000\n")
    rc = "[retriever]\ntype = SimplePOP3SSLRetriever\nserver = h\nusername = domain/user/box\n"
    _, out = imported(tmp_path, rc)
    assert 'import-seen = "~/.getmail/oldmail-h-995-domain-user-box"' in out


def test_the_line_of_a_key_of_getmail_is_not_that_of_a_longer_one(tmp_path: Path) -> None:
    rc = "[retriever]\ntype = SimplePOP3Retriever\nserver = h\n[options]\nmessage_log_verbose = 1\nmessage_log = x\n"
    _, out = imported(tmp_path, rc)
    assert "# line 6: message_log: " in out


@pytest.mark.parametrize(
    ("command", "ours"),
    [
        ("pass show mail", "pass show mail"),
        ("PASSWORD_STORE_DIR=/x pass show mail", "sh -c 'PASSWORD_STORE_DIR=/x pass show mail'"),
    ],
)
def test_a_command_of_mpop_that_needs_a_shell_gets_one(command: str, ours: str, tmp_path: Path) -> None:
    accounts, _ = imported(tmp_path, f"account a\nhost h\nuser u\npasswordeval {command}\n")
    assert accounts["a"].password_command == ours


def test_getmail_keeps_where_nothing_is_said(tmp_path: Path) -> None:
    text = (
        re.sub(r"delete_after = 14\n", "", GETMAIL).replace("SimplePOP3SSL", "SimplePOP3").replace("Maildir", "Mboxrd")
    )
    accounts, out = imported(tmp_path, text, "getmailrc")
    assert list(accounts) == ["pop.example.org"]
    account = accounts["pop.example.org"]
    assert (account.url, account.delete, account.to) == (
        "pop3+plain://ada%40example.org@pop.example.org",
        False,
        "mbox:~/Mail/",
    )
    assert "delete = false  # what getmail does where nothing is said" in out


GETMAIL_HERE = (
    "[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {port}\nusername = user\n"
    "password = {password}\n[destination]\ntype = Maildir\npath = box/\n"
)


@pytest.mark.parametrize(
    ("text", "seen", "line"),
    [
        (
            "account a\nhost 127.0.0.1\nport {port}\nuser user\npassword {password}\nkeep on\ndelivery maildir box\n",
            ".mpop_uidls/user_at_127.0.0.1",
            "# Generated by somebody\n 1 127.0.0.1 user\none\n",
        ),
        (
            'poll 127.0.0.1 proto pop3 port {port} user "user" password "{password}" keep sslproto ""\n',
            ".fetchids",
            "user@127.0.0.1 one\n",
        ),
        (
            GETMAIL_HERE,
            ".getmail/oldmail-127.0.0.1-{port}-user",
            "one\0001700000000\n",
        ),
    ],
    ids=["mpop", "fetchmail", "getmail"],
)
def test_what_is_written_fetches_what_the_other_program_had_not(
    text: str, seen: str, line: str, tmp_path: Path
) -> None:
    with MailboxServer([mail(1), mail(2)], uids=["one", "two"], password=PASSWORD) as server:
        old = tmp_path / seen.format(port=server.port)
        old.parent.mkdir(parents=True, exist_ok=True)
        private(old, line)
        _, out = imported(tmp_path, text.format(port=server.port, password=PASSWORD))
        private(tmp_path / "config.toml", out.replace("maildir:~/Mail", "maildir:box"))
        ran = pop3fast(tmp_path, "fetch", "--all", "--config", "config.toml", status=0)
        assert "1 message fetched" in ran.out
        assert server.deleted == []
    assert delivered(f"maildir:{tmp_path}/box") == [mail(2)]


def test_where_the_list_of_the_other_program_is_missing_it_says_so(tmp_path: Path) -> None:
    accounts, out = imported(tmp_path, "account a\nhost h\nuser u\n")
    assert accounts["a"].import_seen is None
    assert "# there is no ~/.mpop_uidls/u_at_h: what was fetched before would come again\n" in out
    assert "# mpop uses no TLS here; pop3s:// does, and keeps the password secret\n" in out


def test_a_password_is_written_into_a_file_and_to_no_terminal(tmp_path: Path) -> None:
    path = private(tmp_path / "rc", f'poll h proto pop3 user "u" password "{PASSWORD}"\n')
    assert f'password = "{PASSWORD}"' in pop3fast(tmp_path, "import-config", path, status=0).out
    shown = at_terminal(tmp_path, "import-config", path)
    assert shown.status == 0
    assert PASSWORD not in shown.out
    assert "# password: not shown at a terminal" in shown.out


@pytest.mark.parametrize(
    ("text", "why"),
    [("nothing of theirs\n", "is no fetchmailrc, getmailrc or mpoprc"), ("[retriever]\nno key\n", "is no getmailrc")],
)
def test_a_file_of_none_of_them_is_status_2_and_not_quoted(text: str, why: str, tmp_path: Path) -> None:
    ran = pop3fast(tmp_path, "import-config", private(tmp_path / "rc", text), status=2)
    assert why in ran.err
    assert "theirs" not in ran.err
    assert "no key" not in ran.err
    assert "cannot read" in pop3fast(tmp_path, "import-config", "nothing", status=2).err


def test_a_file_that_is_far_too_large_is_status_2(tmp_path: Path) -> None:
    path = private(tmp_path / "rc", "account a\n" + "#\n" * 2**20)
    assert "is larger than" in pop3fast(tmp_path, "import-config", path, status=2).err


def test_no_octets_make_a_file_that_our_configuration_cannot_read(tmp_path: Path) -> None:
    strange = 'account x"y\\]\nhost h\nuser "u\x01\\"\npassword \x7f"\n'
    accounts, _ = imported(tmp_path, strange)
    assert list(accounts) == ['x"y\\]']


# The table of the documentation.

PAGE = (Path(__file__).parent.parent / "docs" / "moving.md").read_text(encoding="utf-8")
ROWS, COMMANDS = (
    [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in part.splitlines()
        if line.startswith("| ") and "`" in line
    ]
    for part in PAGE.split("What is said on the command line")
)
FRAMES = {
    "fetchmail": "poll h proto pop3 user u password p {}\n",
    "getmail": "[retriever]\ntype = {retriever}\nserver = h\nusername = u\n{}\n[destination]\n{}\n[options]\n{}\n",
    "mpop": "account a\nhost h\nuser u\n{}\n",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[3])
def test_each_line_of_the_table_is_what_import_config_says(row: list[str], here: Here) -> None:
    *theirs, ours = row
    for program, cell in zip(("fetchmail", "getmail", "mpop"), theirs, strict=True):
        for word in re.findall("`([^`]+)`", cell):
            if program == "getmail":
                section, _, said = word.partition("] ")
                parts = {"[retriever": "", "[destination": "type = Maildir\npath = x", "[options": ""}
                parts[section] = said.replace("; ", "\n")
                retriever = "" if "type = " in parts["[retriever"] else "type = SimplePOP3SSLRetriever\n"
                text = (
                    f"[retriever]\nserver = h\nusername = u\n{retriever}{parts['[retriever']}\n"
                    f"[destination]\n{parts['[destination']}\n[options]\n{parts['[options']}\n"
                )
            else:
                text = FRAMES[program].format(word.replace("; ", "\n"))
            out = here("import-config", private(here.home / "rc", text), status=0).out
            assert read_config(private(here.home / "config.toml", out))
            assert re.search(rf"^{re.escape(ours.strip('`'))}", out, re.MULTILINE), (program, word, out)


def test_the_tables_are_there() -> None:
    assert len(ROWS) >= 24
    assert len(COMMANDS) >= 9


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row[3])
def test_each_command_of_the_other_table_is_one(row: list[str]) -> None:
    program, *arguments = shlex.split(row[3].strip("`"))
    assert program == "pop3fast"
    assert make_parser().parse_args(arguments).command == arguments[0]


@pytest.mark.parametrize("cell", ["AA:BB", f"('{'a' * 64}', '{'b' * 64}')"])
def test_a_fingerprint_that_is_no_sha256_or_several_is_named(cell: str, tmp_path: Path) -> None:
    for text in (
        f"account a\nhost h\nuser u\ntls_fingerprint {cell}\n",
        f"[retriever]\ntype = SimplePOP3SSLRetriever\nserver = h\nusername = u\nssl_fingerprints = {cell}\n",
    ):
        accounts, out = imported(tmp_path, text)
        assert [account.fingerprint for account in accounts.values()] == [None]
        assert re.search(r"^# line \d: \w+_fingerprints?: it is no SHA-256, or several; ", out, re.MULTILINE)


@pytest.mark.parametrize("command", ["'pass hunter2", '("pass", "hunter2'])
def test_a_command_of_getmail_that_does_not_end_is_a_mistake_in_words_that_quote_nothing(
    command: str, here: Here
) -> None:
    text = f"[retriever]\ntype = SimplePOP3SSLRetriever\nserver = h\nusername = u\npassword_command = {command}\n"
    ran = here("import-config", private(here.home / "rc", text), status=2)
    assert ran.err == "pop3fast: a command in that getmailrc has a quotation mark that is not closed\n"
