"""What is behind a URL of an object store: the store, and what its errors mean to a person.

Owns all that is particular to obstore, a library around the stores of S3, Google, Azure and a folder, which signs, asks
again and waits as each of them wants it. Its words never get further than here: there may be a secret in them.
"""

import os
import re
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from pop3fast.fetch._errors import DestinationError, destination_error
from pop3fast.fetch.destinations._packing import SUFFIXES

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

ASK_AGAIN = 8
"""How often a request that was throttled or got no answer is sent again, after waits that double from 0.1 s."""

ASK_AGAIN_SECONDS = 60
"""How long a request is tried; then the mail waits for the next fetch, as it does when any destination is down."""

OPTIONS = {
    "s3": ("endpoint", "region", "compress"),
    "gs": ("endpoint", "compress"),
    "az": ("account", "endpoint", "compress"),
    "file": ("compress",),
}
"""What may stand behind the ``?`` of each. An option that would mean nothing there is an error."""

WRONG_URL = {
    "s3": "an object store is s3://BUCKET/PREFIX, with ?endpoint=URL&region=NAME&compress=gzip (or zstd) if need be",
    "gs": "an object store is gs://BUCKET/PREFIX, with ?endpoint=URL&compress=gzip (or zstd) if need be",
    "az": "an object store is az://CONTAINER/PREFIX, with ?account=NAME&endpoint=URL&compress=gzip if need be",
    "file": "a folder of objects is file:///PATH, with ?compress=gzip (or zstd) if need be",
}

MISSING_EXTRA = "it takes a package that is not installed: pip install 'pop3fast[objects]'"

_CODE = re.compile(r"<Code>(\w{1,80})</Code>")
_STATUS = re.compile(r"status code: (\d{3} [A-Za-z ]{1,40})")

SENTENCES = {
    "NoSuchBucket": "there is no such bucket",
    "SlowDown": "the store takes no more requests now (SlowDown)",
    "AccessDenied": "the store does not allow it (AccessDenied)",
    "SignatureDoesNotMatch": "the secret key is wrong (SignatureDoesNotMatch)",
    "InvalidAccessKeyId": "the access key is wrong (InvalidAccessKeyId)",
    "ContainerNotFound": "there is no such container",
}
"""What the commonest answers of stores mean."""

NO_CREDENTIALS = "there are no credentials: set the variables of the store's own programs, such as AWS_ACCESS_KEY_ID"

PARTS = {
    # Where nothing says who may write, obstore asks the machine's own service at this address.
    "169.254.169.254": NO_CREDENTIALS,
    "redential": NO_CREDENTIALS,
    "error sending request": "the store does not answer: look at the endpoint, and at the network",
}
"""What to say where a part of obstore's words is certain."""


class Bucket(NamedTuple):
    """What a URL says."""

    scheme: str
    name: str
    """The bucket or container; empty for a folder."""
    prefix: str
    """What each object's name begins with; for ``file:`` the folder."""
    endpoint: str
    region: str
    account: str
    compress: str

    @property
    def suffix(self) -> str:
        """What the names of packed objects end in."""
        return SUFFIXES[self.compress]

    def store(self) -> "ObjectStore":
        """Return the store. Raises ``ImportError`` without the extra, and what obstore does for what makes no sense.

        Who may write there is found as each cloud's own programs find it: variables, files, the machine's role.
        """
        from obstore.store import AzureStore, GCSStore, LocalStore, S3Store  # noqa: PLC0415 - an extra

        if self.scheme == "file":
            return LocalStore(self.prefix, mkdir=True)
        client: ClientConfig = {"allow_http": self.endpoint.startswith("http://")}
        retry: RetryConfig = {"max_retries": ASK_AGAIN, "retry_timeout": timedelta(seconds=ASK_AGAIN_SECONDS)}
        prefix = self.prefix or None
        endpoint = "base_url" if self.scheme == "gs" else "endpoint"
        said = {endpoint: self.endpoint, "region": self.region, "account_name": self.account}
        config = {key: value for key, value in said.items() if value}
        made: dict[str, Callable[..., ObjectStore]] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
        return made[self.scheme](self.name, prefix=prefix, config=config, client_options=client, retry_config=retry)


def parse_bucket(url: str) -> Bucket:
    """Return what *url* says. Raises `ValueError`, which does not quote it, for what makes no sense."""
    try:
        parts = urlsplit(url)
        wrong = WRONG_URL[parts.scheme]
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else []
    except ValueError:
        raise ValueError("this is no URL of an object store") from None
    options = dict(pairs)
    if parts.username is not None or parts.password is not None:
        raise ValueError("keys do not belong in a URL, which ends up in logs: the store's own variables are for them")
    if set(options) - set(OPTIONS[parts.scheme]) or len(options) < len(pairs):
        raise ValueError(f"{wrong}; its options are {', '.join(OPTIONS[parts.scheme])}, each once")
    if options.get("compress", "") not in SUFFIXES:
        raise ValueError("compress= is gzip or zstd")
    prefix = unquote(parts.path).strip("/")
    is_file = parts.scheme == "file"
    if bool(parts.netloc) == is_file or (is_file and not prefix) or parts.fragment:
        raise ValueError(wrong)
    if not (prefix + parts.netloc).isprintable() or {".", ".."} & set(prefix.split("/")):
        raise ValueError("the name of an object store has a control character, or a . or .. between slashes")
    said = {name: options.get(name, "") for name in ("endpoint", "region", "account", "compress")}
    return Bucket(parts.scheme, parts.netloc, f"/{prefix}" if is_file else prefix, **said)


def store_error(path: str, tried: str, error: Exception) -> DestinationError:
    """Return what obstore's *error* means. Of its words only what is certain to be no secret is used."""
    if isinstance(error, DestinationError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        return destination_error(path, tried, error)
    return DestinationError(path, tried, _in_words(error))


def _in_words(error: Exception) -> str:
    if isinstance(error, ImportError):
        return MISSING_EXTRA
    if isinstance(error, TimeoutError):
        return "it was interrupted before the store had answered"
    words = str(error)
    if (code := _CODE.search(words)) is not None:
        return SENTENCES.get(code[1], f"the store answered {code[1]}")
    if (status := _STATUS.search(words)) is not None:
        return f"the store answered {status[1].strip()}"
    for part, sentence in PARTS.items():
        if part in words:
            return sentence
    return f"obstore raised {type(error).__name__}"


def sync(folder: str, names: Iterable[str]) -> None:
    """Make objects in a *folder* durable, with the folders that they are in. Raises ``OSError``."""
    files = [Path(folder, name) for name in names]
    folders = {Path(folder), Path(folder).parent, *(file.parent for file in files)}
    for path in [*files, *folders]:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
