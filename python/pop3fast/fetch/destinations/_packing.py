"""How a message is packed for a store: as it is, by gzip or by zstd; the same octets for the same message, each time.

Owns where zstd comes from: the standard library, from Python 3.14 on, or a copy of that for older ones.
"""

import zlib
from collections.abc import AsyncIterable, Iterator
from typing import BinaryIO, Protocol, cast

SUFFIXES = {"": "", "gzip": ".gz", "zstd": ".zst"}
"""What the names of packed objects end in, by the word for how they are packed."""

LEVEL = 6
"""What gzip itself takes: most of what can be gained, and mail is packed faster than it is received."""

PIECE_OCTETS = 2**20
"""What is packed at a time of a message that is too large for memory."""


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Decompressor(Protocol):
    def decompress(self, data: bytes, /) -> bytes: ...


class _AsItIs:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def decompress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


class _Gzip:
    """Writes the same octets for the same message: no time, and no name."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(LEVEL, wbits=16 + zlib.MAX_WBITS)

    def compress(self, data: bytes, /) -> bytes:
        return self._deflate.compress(data)

    def flush(self) -> bytes:
        return self._deflate.flush()


def packed(content: bytes, compress: str) -> bytes:
    """Return *content* as it is stored: the same octets each time."""
    compressor = _compressor(compress)
    return compressor.compress(content) + compressor.flush()


def pack(file: BinaryIO, compress: str) -> Iterator[bytes]:
    """Yield the rest of *file* as it is stored."""
    compressor = _compressor(compress)
    for piece in iter(lambda: file.read(PIECE_OCTETS), b""):
        if octets := compressor.compress(piece):
            yield octets
    if octets := compressor.flush():
        yield octets


async def unpack(pieces: AsyncIterable[bytes], compress: str) -> AsyncIterable[bytes]:
    """Yield what was packed. Raises ``EOFError``, `zlib.error` or zstd's error for what is not that."""
    decompressor = _decompressor(compress)
    async for piece in pieces:
        yield decompressor.decompress(bytes(piece))


def _compressor(compress: str) -> _Compressor:
    if compress == "zstd":
        return cast("_Compressor", _zstd().ZstdCompressor())
    return _Gzip() if compress else _AsItIs()


def _decompressor(compress: str) -> _Decompressor:
    if compress == "zstd":
        return cast("_Decompressor", _zstd().ZstdDecompressor())
    return zlib.decompressobj(16 + zlib.MAX_WBITS) if compress else _AsItIs()


def _zstd() -> "_Zstd":
    try:
        from compression import zstd  # type: ignore[import-not-found] # noqa: PLC0415 - new in Python 3.14
    except ImportError:
        from backports import zstd  # noqa: PLC0415 - an extra
    return cast("_Zstd", zstd)


class _Zstd(Protocol):
    def ZstdCompressor(self) -> object: ...  # noqa: N802 - the standard library's name

    def ZstdDecompressor(self) -> object: ...  # noqa: N802


def check_packing(compress: str) -> None:
    """Raise ``ImportError`` where *compress* needs a package that is not installed."""
    _compressor(compress)
