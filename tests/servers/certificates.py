"""A certificate for 127.0.0.1 and localhost, made with the openssl command line program.

Owns one self-signed certificate and its key in a folder it is given.  It must never read the machine's OpenSSL
configuration, whose defaults differ from one distribution to the next, and never write outside the folder.
"""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

#: Two days: a run that crosses midnight, or a clock that is a little slow, must not meet an expired certificate.
VALID_DAYS = 2

# Everything that ssl.VERIFY_X509_STRICT (the default from Python 3.13) wants of a certificate that vouches for itself.
_REQUEST = """\
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = localhost
[extensions]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = IP:127.0.0.1, DNS:localhost
"""


@dataclass(frozen=True)
class Certificate:
    """A certificate that is its own authority: clients trust `certificate`, only the server reads `key`."""

    certificate: Path
    key: Path

    def client_context(self) -> ssl.SSLContext:
        """Give a context that verifies the chain and the host name, and trusts this certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))


def make_certificate(openssl: str, folder: Path) -> Certificate:
    """Make an elliptic-curve certificate in `folder` with the program `openssl`.

    An elliptic curve because its key is made in milliseconds; an RSA key takes up to a second.
    Raises RuntimeError with what openssl printed when it fails.
    """
    request = folder / "certificate.cnf"
    made = Certificate(certificate=folder / "certificate.pem", key=folder / "key.pem")
    request.write_text(_REQUEST, encoding="ascii")
    command = [openssl, "req", "-config", str(request), "-x509", "-new", "-nodes", "-days", str(VALID_DAYS)]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-keyout", str(made.key), "-out", str(made.certificate)]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=30)
    if done.returncode != 0:
        raise RuntimeError(f"openssl could not make a certificate: {done.stderr.strip()}")
    made.key.chmod(0o600)
    return made
