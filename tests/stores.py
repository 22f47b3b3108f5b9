"""Object stores in the tests' own process, and the faults that real ones show: S3's (moto), Google's and Azure's.

Owns no expectation. A fault is a function of a request (`Asked`) that says what becomes of it.
"""

import re
import socket
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any, ClassVar, NamedTuple, Self, cast
from urllib.parse import parse_qs

import pytest

from pop3fast.fetch.destinations._bucket import parse_bucket

BUCKET = "mail"


class Asked(NamedTuple):
    """A request."""

    method: str
    name: str
    """Of the object, with its prefix."""
    nth: int
    """How many requests of this method came for it before."""


class Answer(NamedTuple):
    """An answer instead of the store's. *late* is none: the store does what it was asked for, and hangs up."""

    status: str
    code: str = ""
    late: bool = False


SLOW_DOWN = Answer("503 Slow Down", "SlowDown")
DENIED = Answer("403 Forbidden", "AccessDenied")
LOST = Answer("", late=True)


def no_fault(_: Asked) -> Answer | None:
    """Let the store answer."""
    return None


Start = Callable[..., Any]
"""WSGI's `start_response`."""


@dataclass
class Store:
    """The server; its one bucket is `BUCKET`."""

    scheme = "s3"
    options: ClassVar[dict[str, str]] = {"region": "us-east-1"}
    variables: ClassVar[dict[str, str]] = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "the-secret-key"}
    """What lets somebody write there."""

    fault: Callable[[Asked], Answer | None] = no_fault
    asked: list[Asked] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        self._app = self._made()
        pytest.importorskip("obstore")
        from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415 - moto's own

        class Quiet(WSGIRequestHandler):
            def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
                pass

        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def _made(self) -> Callable[[dict[str, Any], Start], Iterable[bytes]]:
        """Return the application that answers. Skips the test where it is not installed."""
        moto_server = pytest.importorskip("moto.server")
        app = moto_server.DomainDispatcherApplication(moto_server.create_backend_app)
        return cast("Callable[[dict[str, Any], Start], Iterable[bytes]]", app)

    def reset(self) -> None:
        """Begin with an empty bucket and without a fault."""
        self.fault = no_fault
        self._request("POST", f"{self.endpoint}/moto-api/reset")
        self._request("PUT", f"{self.endpoint}/{BUCKET}")
        self.asked.clear()

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def url(self, prefix: str = "archive", **options: str) -> str:
        """Return what a person writes for it."""
        said = {"endpoint": self.endpoint, **self.options, **options}
        return f"{self.scheme}://{BUCKET}/{prefix}?" + "&".join(f"{key}={value}" for key, value in said.items())

    def objects(self) -> dict[str, bytes]:
        """Return what is stored, by name and in its order."""
        from moto.s3.models import s3_backends  # noqa: PLC0415 - is skipped where it is not installed

        keys = s3_backends["123456789012"]["aws"].buckets[BUCKET].keys
        return {name: keys[name].value for name in sorted(keys)}

    def mail(self) -> dict[str, bytes]:
        """Return the objects that are no index."""
        return {name: octets for name, octets in self.objects().items() if "/index/" not in name}

    def change(self, name: str, octets: bytes | None) -> None:
        """Put *octets* where *name* is, or take it away."""
        import obstore  # noqa: PLC0415 - is skipped where it is not installed

        bucket = parse_bucket(self.url("")).store()
        self.fault, fault = no_fault, self.fault
        if octets is None:
            obstore.delete(bucket, name)
        else:
            obstore.put(bucket, name, octets)
        self.fault = fault

    @staticmethod
    def _request(method: str, url: str) -> None:
        request = urllib.request.Request(url, method=method)  # noqa: S310 - http
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            answer.read()

    def _answer(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        name = environ["PATH_INFO"].removeprefix(f"/{BUCKET}").removeprefix("/")
        with self._lock:
            nth = sum((each.method, each.name) == (environ["REQUEST_METHOD"], name) for each in self.asked)
            asked = Asked(environ["REQUEST_METHOD"], name, nth)
            self.asked.append(asked)
        instead = self.fault(asked)
        if instead is None:
            return self._app(environ, start)
        if instead.late:
            self._app(environ, lambda *_: None)
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(instead.status, [("Content-Type", "application/xml")])
        return [f"<Error><Code>{instead.code}</Code><Message>no</Message></Error>".encode()]


class GoogleStore(Store):
    """Cloud Storage, as its XML API speaks: of an object that came in one piece, the ETag is the MD5."""

    scheme = "gs"
    options: ClassVar[dict[str, str]] = {}
    variables: ClassVar[dict[str, str]] = {"GOOGLE_BEARER_TOKEN": "the-secret-key"}
    authorized = "Bearer the-secret-key"
    nobody = ("401 Unauthorized", "AuthenticationRequired")

    def _made(self) -> Callable[[dict[str, Any], Start], Iterable[bytes]]:
        pytest.importorskip("werkzeug")
        self._kept: dict[str, tuple[bytes, str]] = {}
        self._parts: dict[str, bytes] = {}
        return self._cloud

    def reset(self) -> None:
        self.fault = no_fault
        self._kept.clear()
        self._parts.clear()
        self.asked.clear()

    def objects(self) -> dict[str, bytes]:
        return {name: self._kept[name][0] for name in sorted(self._kept)}

    def change(self, name: str, octets: bytes | None) -> None:
        del self._kept[name]
        if octets is not None:
            self._kept[name] = octets, self._etag(octets)

    def _etag(self, octets: bytes) -> str:
        return md5(octets, usedforsecurity=False).hexdigest()

    def _cloud(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        bucket, _, name = environ["PATH_INFO"].removeprefix("/").partition("/")
        octets = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        query = {key: values[0] for key, values in parse_qs(environ["QUERY_STRING"], keep_blank_values=True).items()}
        if not str(environ.get("HTTP_AUTHORIZATION", "")).startswith(self.authorized):
            return self._refuse(start, *self.nobody)
        if bucket != BUCKET:
            return self._refuse(start, "404 Not Found", self.no_bucket)
        method = environ["REQUEST_METHOD"]
        if method in {"PUT", "POST"}:
            return self._write(environ, start, name, octets, query)
        if name not in self._kept:
            return self._refuse(start, "404 Not Found", "NoSuchKey")
        kept, etag = self._kept[name]
        start("200 OK", [*self._said(etag), ("Content-Length", str(len(kept)))])
        return [kept] if method == "GET" else []

    no_bucket = "NoSuchBucket"

    def _write(
        self, environ: dict[str, Any], start: Start, name: str, octets: bytes, query: dict[str, str]
    ) -> Iterable[bytes]:
        """Take an object, or a part of one, or say that it is whole."""
        del environ  # which says it all to Azure
        if "uploads" in query:
            start("200 OK", [])
            upload = "<InitiateMultipartUploadResult><UploadId>upload</UploadId></InitiateMultipartUploadResult>"
            return [upload.encode()]
        if "partNumber" in query:
            self._parts[f"{int(query['partNumber']):06}"] = octets
            start("200 OK", self._said("part"))
            return []
        etag = self._etag(octets)
        if "uploadId" in query:
            octets, etag = b"".join(self._parts[part] for part in sorted(self._parts)), "of-parts"
        self._kept[name] = octets, etag
        start("200 OK", self._said(etag))
        return [b'<CompleteMultipartUploadResult><ETag>"of-parts"</ETag></CompleteMultipartUploadResult>']

    @staticmethod
    def _said(etag: str) -> list[tuple[str, str]]:
        return [("ETag", f'"{etag}"'), ("Last-Modified", "Wed, 25 Nov 2026 10:00:00 GMT")]

    @staticmethod
    def _refuse(start: Start, status: str, code: str) -> Iterable[bytes]:
        start(status, [("Content-Type", "application/xml")])
        return [f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()]


class AzureStore(GoogleStore):
    """Azure's Blob Storage: large objects come in blocks, and no ETag says anything of the content."""

    scheme = "az"
    options: ClassVar[dict[str, str]] = {"account": "me"}
    variables: ClassVar[dict[str, str]] = {"AZURE_STORAGE_ACCOUNT_KEY": b64encode(b"the-secret-key").decode()}
    authorized = "SharedKey me:"
    nobody = ("403 Forbidden", "AuthenticationFailed")
    no_bucket = "ContainerNotFound"

    def _etag(self, octets: bytes) -> str:
        return f"0x{hash(octets):X}"

    def _write(
        self, environ: dict[str, Any], start: Start, name: str, octets: bytes, query: dict[str, str]
    ) -> Iterable[bytes]:
        if query.get("comp") == "block":
            self._parts[query["blockid"]] = octets
        elif query.get("comp") == "blocklist":
            blocks = re.findall(rb"<(?:Uncommitted|Latest)>(.*?)</", octets)
            self._kept[name] = b"".join(self._parts[block.decode()] for block in blocks), self._etag(octets)
        elif environ.get("HTTP_X_MS_BLOB_TYPE") != "BlockBlob":
            return self._refuse(start, "400 Bad Request", "MissingRequiredHeader")
        else:
            self._kept[name] = octets, self._etag(octets)
        start("201 Created", self._said("0x1"))
        return []


STORES = {each.scheme: each for each in (Store, GoogleStore, AzureStore)}
