"""Statements inside zip and gzip archives.

An archive is opened one level deep and within limits. It is refused as a whole if anything in it is
suspicious.
"""

import gzip
import io
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO

from billing.statements.errors import ArchiveRefused
from billing.statements.limits import MAX_ARCHIVE_MEMBERS, MAX_FILE_BYTES

_CHUNK = 65_536
# Files that macOS and Windows add to every zip; they are ignored.
_CLUTTER = ("__MACOSX/", ".DS_Store", "Thumbs.db")
# Flag bit of an encrypted zip member.
_ENCRYPTED = 0x1
# Errors of zipfile and zlib for damage, an unknown compression method, or a password.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    UnicodeDecodeError,
)


def members_of_zip(source: BinaryIO) -> Iterator[tuple[str, BinaryIO]]:
    """Yield the name and content of each file in a zip.

    Each is unpacked to a temporary file that exists until the next one is requested. The size limit
    counts the unpacked bytes, not the sizes that the zip's directory claims.

    Raises ArchiveRefused for too many or too large files, a path that leads out of the archive, a
    link, encryption, or damage.
    """
    try:
        archive = zipfile.ZipFile(source)
    except _ZIP_ERRORS as error:
        raise ArchiveRefused(reason=f"damaged: {error}") from None
    with archive:
        members = [member for member in archive.infolist() if not _is_clutter(member)]
        _check_members(members)
        remaining = MAX_FILE_BYTES
        for member in members:
            with tempfile.TemporaryFile() as plain:
                remaining -= _unpack(archive, member, plain, remaining)
                yield member.filename, plain


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, plain: IO[bytes], limit: int) -> int:
    position = f"member {member.filename[:80]!a}"
    try:
        with archive.open(member) as packed:
            return _copy(packed, plain, limit, position)
    except _ZIP_ERRORS as error:
        raise ArchiveRefused(position, reason=f"damaged: {error}") from None


def _is_clutter(member: zipfile.ZipInfo) -> bool:
    return (
        member.is_dir()
        or member.filename.startswith(_CLUTTER)
        or member.filename.endswith(_CLUTTER)
    )


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    if not members:
        raise ArchiveRefused(reason="it is empty")
    if len(members) > MAX_ARCHIVE_MEMBERS:
        raise ArchiveRefused(reason=f"more than {MAX_ARCHIVE_MEMBERS} files")
    if sum(member.file_size for member in members) > MAX_FILE_BYTES:
        raise ArchiveRefused(reason=f"more than {MAX_FILE_BYTES} bytes unpacked")
    for member in members:
        name = member.filename.replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or ":" in name.split("/")[0]:
            raise ArchiveRefused(
                f"member {name[:80]!a}", reason="a path that leads out of the archive"
            )
        if stat.S_ISLNK(member.external_attr >> 16):
            raise ArchiveRefused(f"member {name[:80]!a}", reason="a link")
        if member.flag_bits & _ENCRYPTED:
            raise ArchiveRefused(f"member {name[:80]!a}", reason="encrypted")


@contextmanager
def inside_gzip(source: BinaryIO) -> Iterator[BinaryIO]:
    """Unpack a gzip file to a temporary file.

    Raises ArchiveRefused for damage, trailing bytes, or too large a content.
    """
    with tempfile.TemporaryFile() as plain:
        try:
            with gzip.GzipFile(fileobj=source) as packed:
                _copy(packed, plain, MAX_FILE_BYTES, "gzip")
        except (OSError, zlib.error, EOFError) as error:
            raise ArchiveRefused(reason=f"damaged: {error}") from None
        yield plain


def _copy(packed: IO[bytes] | gzip.GzipFile, plain: IO[bytes], limit: int, position: str) -> int:
    size = 0
    while chunk := packed.read(_CHUNK):
        size += len(chunk)
        if size > limit:
            raise ArchiveRefused(position, reason=f"more than {MAX_FILE_BYTES} bytes unpacked")
        plain.write(chunk)
    plain.seek(0, io.SEEK_SET)
    return size
