"""Compressed files as streams that give all that stands before damage.

Which files are read, and what becomes of damage, is in files.py.
"""

import io
import zlib
from pathlib import Path
from typing import Any

BUFFER_BYTES = 1 << 16
DAMAGE = (EOFError, zlib.error)  # what reading a damaged file raises, besides OSError
CODEC_OF_SUFFIX = {".gz": "gzip", ".zst": "zstd"}
_CODEC_OF_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}  # no JSON begins with these


def codec_of_name(path: Path) -> str | None:
    """The compression that the suffix of a file names."""
    return CODEC_OF_SUFFIX.get(path.suffix.lower())


def codec_of_content(raw: io.BufferedReader) -> str | None:
    """The compression that the first bytes of a file show; nothing is read past."""
    start = raw.peek(4)[:4]
    return next((codec for magic, codec in _CODEC_OF_MAGIC.items() if start.startswith(magic)), None)


def decompressed(raw: io.BufferedReader, codec: str | None) -> io.BufferedReader:
    """The content of a file, up to where it is damaged.

    Args:
        codec: gzip, zstd, or None for a file that is not compressed
    """
    readers: dict[str | None, type[_Gzip | _Zstd]] = {"gzip": _Gzip, "zstd": _Zstd}
    return raw if codec is None else io.BufferedReader(readers[codec](raw), buffer_size=BUFFER_BYTES)


class _Gzip(io.RawIOBase):
    """Content of a gzip file: all of its members, zero bytes behind them passed over, and all that stands before damage.

    Readers of whole buffers (Python's gzip, pyarrow) keep back what they made of the buffer in which they meet damage.
    """

    def __init__(self, raw: io.BufferedReader) -> None:
        self._raw = raw
        self._input = b""
        self._member: Any = None  # zlib's decompressor, between members None
        self._num_members = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer. Raises EOFError or zlib.error once all that stands before the damage was read."""
        while True:
            self._input = self._input or self._raw.read1(BUFFER_BYTES)
            if self._member is None:
                if self._num_members:
                    self._input = self._input.lstrip(b"\0")
                    if not self._input and self._raw.peek(1):
                        continue
                if not self._input:
                    return 0
                self._member = zlib.decompressobj(wbits=31)
                self._num_members += 1
            elif not self._input:
                raise EOFError("the file was cut off")
            data = self._piece(len(buffer))
            if self._member.eof:
                self._input, self._member = self._member.unused_data, None
            else:
                self._input = self._member.unconsumed_tail
            if data:
                buffer[: len(data)] = data
                return len(data)

    def _piece(self, size: int) -> bytes:
        """The next bytes; where damage is met, as many as come before it."""
        before = self._member.copy()
        try:
            return bytes(self._member.decompress(self._input, size))
        except zlib.error:
            if size == 1:
                raise
            self._member = before
            return self._piece(max(1, size // 8))


class _Zstd(io.RawIOBase):
    """Content of a zstd file, all frames of it, up to the block that is damaged.

    By pyarrow's reader, because zstandard's takes a file that was cut off for a whole one. It keeps back what it made of the
    piece in which it meets damage; then the file is read again, from the last good piece on in smaller ones.
    """

    def __init__(self, raw: io.BufferedReader) -> None:
        self._raw = raw
        self._sizes = [BUFFER_BYTES, 1 << 8, 1]
        self._position = 0
        self._open()

    def _open(self) -> None:
        import pyarrow as pa  # programs are run, and other files read, without it

        self._raw.seek(0)
        self._stream = pa.CompressedInputStream(_Borrowed(self._raw), "zstd")
        left = self._position
        while left and (data := self._stream.read(min(left, self._sizes[0]))):
            left -= len(data)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer. Raises OSError once all that stands before the damage was read."""
        while True:
            try:
                data = self._stream.read(min(len(buffer), self._sizes[0]))
                break
            except OSError as error:
                if error.errno is not None or len(self._sizes) == 1:
                    raise
                self._open()
                del self._sizes[0]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class _Borrowed(io.RawIOBase):
    """A file that stays open when its reader is closed."""

    def __init__(self, raw: io.BufferedReader) -> None:
        self._raw = raw

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer."""
        return self._raw.readinto(buffer)
