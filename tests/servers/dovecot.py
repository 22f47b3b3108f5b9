"""Dovecot 2.3, whole and unprivileged: its master, login, mail and authentication processes all run as one plain user.

Owns Dovecot's configuration.  It must never include a file of the machine's own (`!include`, `conf.d`), so what a test
sees does not depend on how the machine's mail is set up.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from servers.base import Account, RealServer, UnavailableError, find_program

_CONFIGURATION = """\
protocols = pop3
listen = 127.0.0.1
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log

default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
first_valid_gid = 1

ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
# Refusals are tested, not guarded against: none of them may make the next test wait.  Half a second is left, the period
# of a timer inside Dovecot.
auth_failure_delay = 0
mail_max_userip_connections = 0

mail_location = maildir:~/INBOX
# The mail lives for seconds; waiting for the disk would only slow the tests down.
mail_fsync = never
namespace inbox {{
  inbox = yes
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/passwords/%u
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={folder}/homes/%u
}}

# chroot needs root, and there is nothing here to lock away.
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service pop3-login {{
  chroot =
  # One process for all logins, not one for each: what is measured here is not fork().
  service_count = 0
  inet_listener pop3 {{
    port = {plain_port}
  }}
  inet_listener pop3s {{
    port = {tls_port}
    ssl = yes
  }}
}}
{settings}
"""


class DovecotServer(RealServer):
    """Dovecot with Maildir, a passwd-file and a static userdb; a user logs in by its bare name.

    `mechanisms` are the SASL mechanisms (and APOP) that it offers, in Dovecot's words.  `settings` is configuration
    text put behind everything else, so that it can also override.
    """

    name: ClassVar[str] = "dovecot"

    def __init__(self, *, mechanisms: Sequence[str] = ("plain",), settings: str = "") -> None:
        super().__init__()
        self.mechanisms = tuple(mechanisms)
        self.settings = settings

    @classmethod
    def check(cls) -> None:
        """Raise UnavailableError when dovecot, its POP3 part or openssl is missing, or dovecot is not 2.3."""
        dovecot = find_program("dovecot", "dovecot")
        find_program("openssl", "openssl")
        version = subprocess.run([dovecot, "--version"], capture_output=True, check=True, text=True, timeout=10).stdout
        if not version.startswith("2.3."):
            raise UnavailableError(f"dovecot {version.split()[0]} has another configuration language than 2.3")
        if not (_libexec(dovecot) / "pop3").exists():
            # Debian splits it: dovecot-core alone has no POP3.
            raise UnavailableError("dovecot-pop3d not installed")

    def choose_account(self) -> Account:
        """Run as nobody, or as whoever runs the tests: Dovecot needs no more."""
        return Account.unprivileged()

    def configure(self) -> list[str]:
        """Write dovecot.conf; give ``dovecot -F``."""
        path = self.folder / "dovecot.conf"
        run = self.folder / "run"
        run.mkdir(mode=0o755, exist_ok=True)
        text = _CONFIGURATION.format(
            folder=self.folder,
            user=self.account.user,
            group=self.account.group,
            certificate=self.certificate.certificate,
            key=self.certificate.key,
            mechanisms=" ".join(self.mechanisms),
            plain_port=self.plain_port,
            tls_port=self.tls_port,
            settings=self.settings,
        )
        path.write_text(text, encoding="utf-8")
        self.account.take(run, path)
        return [find_program("dovecot", "dovecot"), "-F", "-c", str(path)]

    def admit(self, user: str, password: str) -> None:
        """Give the user a passwd-file of its own: a common one is read again only once a second."""
        passwords = self.folder / "passwords"
        passwords.mkdir(mode=0o700, exist_ok=True)
        entry = passwords / user
        entry.write_text(f"{user}:{{PLAIN}}{password}\n", encoding="utf-8")
        self.account.take(passwords, entry)


def _libexec(dovecot: str) -> Path:
    """Give the folder of the service programs that belong to the `dovecot` at that path."""
    doveconf = shutil.which("doveconf", path=f"{Path(dovecot).parent}:/usr/bin")
    if doveconf is None:
        return Path("/usr/lib/dovecot")
    command = [doveconf, "-c", "/dev/null", "-d", "-h", "libexec_dir"]
    return Path(subprocess.run(command, capture_output=True, check=True, text=True, timeout=10).stdout.strip())
