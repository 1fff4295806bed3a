"""Archives as sources: zip and tar, checked as a whole before anything of them is written, then unpacked into a folder.

Refused: names that leave the folder, links, devices, encrypted members, archives inside, and more than what a set of images
can be. Sizes are those that the headers promise; a member that holds more than it promised stops the unpacking.
"""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pipeline.errors import SourceError
from pipeline.ingest.folder import is_ignored
from pipeline.ingest.source import FullError, is_plain

_TAR = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz")
_MAX_MEMBERS = 2_000_000
_MAX_NAME = 1000  # characters
_MAX_PART = 200  # bytes of UTF-8; file systems take 255
_MAX_RATIO = 100  # unpacked / packed: of drawings in BMP it is about 50, of a bomb 1,000
_ALWAYS_FINE = 1024**3  # bytes, whatever the ratio
_MAX_HEADER = 1024**2  # bytes of a tar's extended header, which tarfile reads into memory
_BLOCK = 1024 * 1024  # bytes
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class _Member:
    name: str
    size: int  # bytes, as promised
    handle: Any  # what the archive opens it by


class _SmallHeaders(tarfile.TarInfo):
    """A member whose extended header fits in memory."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: Any) -> "_SmallHeaders":
        member = super().frombuf(buf, encoding, errors)
        extended = member.type in (b"x", b"g", b"X", b"L", b"K")
        if extended and member.size > _MAX_HEADER:
            raise tarfile.ReadError(f"a header of {member.size:,} bytes")
        return member


def is_archive(name: str) -> bool:
    """Return whether `name` is that of an archive which `unpack` reads."""
    return name.lower().endswith((".zip", *_TAR))


def find(source: Path) -> Path | None:
    """Return the archive that `source` is, or the only thing in it; None if there is none.

    Raises:
        SourceError: it is of a kind that cannot be read.
    """
    if source.is_file():
        path = source
    else:
        entries = [path for path in source.iterdir() if not is_ignored(path.name) and path.suffix not in (".dvc", ".md")]
        if len(entries) != 1 or not entries[0].is_file():
            return None
        path = entries[0]
    if is_archive(path.name):
        return path
    if path.name.lower().endswith((".7z", ".rar", ".tar.zst")):
        raise SourceError(f"{path} is an archive, but neither .zip nor .tar(.gz, .xz, .bz2): unpack it, or save it as .zip")
    return None


def unpack(path: Path, folder: Path) -> None:
    """Write the files in the archive at `path` into the empty `folder`; nothing is written unless all members are acceptable.

    Raises:
        SourceError: the archive is damaged, or a member cannot be accepted.
        FullError: `folder` cannot be written.
    """
    try:
        zipped = path.name.lower().endswith(".zip")
        archive: Any = zipfile.ZipFile(path) if zipped else tarfile.open(path, tarinfo=_SmallHeaders)  # noqa: SIM115 (closed below)
        with archive:
            members = _check(path, _members(archive, path), shutil.disk_usage(folder).free)
            for member in members:
                with archive.open(member.handle) if zipped else archive.extractfile(member.handle) as stream:
                    _write(stream, folder / member.name, member, path)
    except _BROKEN as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"{path} is not an intact archive ({reason}). Get the file again") from None
    except FullError:
        raise
    except OSError as error:
        raise SourceError(f"{path} cannot be unpacked ({error.strerror or error}). Get the file again") from None


def _members(archive: zipfile.ZipFile | tarfile.TarFile, path: Path) -> Iterator[_Member]:
    """Yield the files among the members, one after the other: of a compressed tar, each must be unpacked to reach the next."""
    if isinstance(archive, zipfile.ZipFile):
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if stat.S_ISLNK(mode):
                raise _refused(path, info.filename, "is a link")
            if info.flag_bits & 1:
                raise _refused(path, info.filename, "is encrypted")
            yield _Member(_decoded(info), info.file_size, info)
        return
    for entry in archive:
        if entry.issym() or entry.islnk():
            raise _refused(path, entry.name, f"is a link to {entry.linkname!r}")
        if not entry.isfile() and not entry.isdir():
            raise _refused(path, entry.name, "is neither a file nor a folder")
        yield _Member(entry.name + ("/" if entry.isdir() else ""), entry.size, entry)


def _decoded(info: zipfile.ZipInfo) -> str:
    """Return the name of a member; macOS writes UTF-8 without saying so, some Windows programs write backslashes."""
    name = info.filename
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _check(path: Path, members: Iterator[_Member], free: int) -> list[_Member]:
    """Return the files to unpack, without what systems leave in archives."""
    kept: dict[str, _Member] = {}
    limit = max(_ALWAYS_FINE, _MAX_RATIO * path.stat().st_size)
    total = 0
    for number, member in enumerate(members):
        if number >= _MAX_MEMBERS:
            raise SourceError(f"{path} holds more than {_MAX_MEMBERS:,} files: unpack it, and set ingest.source to the folder")
        place = PurePosixPath(member.name)
        if place.is_absolute() or ".." in place.parts or member.name[1:2] == ":":
            raise _refused(path, member.name, "leaves the folder that it is unpacked into")
        if not is_plain(str(place).replace("Icon\r", "")) or _is_too_long(place):
            raise _refused(path, member.name, "has a name that is not UTF-8, cannot be printed, or is too long")
        if member.name.endswith("/") or any(map(is_ignored, place.parts)):
            continue
        if is_archive(place.name) or place.name.lower().endswith((".7z", ".rar")):
            raise _refused(path, member.name, "is an archive itself")
        if str(place) in kept:
            raise _refused(path, member.name, "is there twice")
        total += member.size
        if total > limit:
            raise SourceError(
                f"{path} unpacks to more than {limit:,} bytes, {_MAX_RATIO} times its size: if it is no bomb, unpack it, and "
                "set ingest.source to the folder"
            )
        kept[str(place)] = _Member(str(place), member.size, member.handle)
    if total > free:
        raise SourceError(f"{path} unpacks to {total:,} bytes, but the disk has {free:,} left: free disk space")
    if not kept:
        raise SourceError(f"{path} holds no files: put the images in, one folder per class")
    return list(kept.values())


def _is_too_long(place: PurePosixPath) -> bool:
    return len(str(place)) > _MAX_NAME or any(len(part.encode(errors="replace")) > _MAX_PART for part in place.parts)


def _refused(path: Path, name: str, problem: str) -> SourceError:
    return SourceError(f"{path}: member {name!a} {problem}: make the archive again without it")


def _write(stream: IO[bytes], target: Path, member: _Member, path: Path) -> None:
    left = member.size
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("xb")
    except FileExistsError:
        raise _refused(path, member.name, "is a file and a folder at once, or differs from another only in case") from None
    except OSError as error:
        raise FullError(error.errno, error.strerror, str(target)) from None
    with file:
        while block := stream.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise _refused(path, member.name, f"holds more than the {member.size:,} bytes that it promises")
            try:
                file.write(block)
            except OSError as error:
                raise FullError(error.errno, error.strerror) from None
    if left:
        raise _refused(path, member.name, f"holds {left:,} bytes less than it promises")
