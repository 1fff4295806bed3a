"""A folder in any storage that fsspec opens, other than a web server: s3://, gs://, az://, sftp://, file:// and more."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import SourceError
from pipeline.ingest import listing, transfer
from pipeline.ingest.listing import Entry


@dataclass(frozen=True)
class Storage:
    """The folder at `url`, which ends with /."""

    url: str

    def address(self, path: str) -> str:
        """The URL of the file at `path`."""
        return f"{self.url}{path}"

    def inspect(self, path: str) -> Entry:
        """What the storage says about the file at `path`.

        Raises:
            SourceError: it is of unknown size.
            UnavailableError: it cannot be had.
        """
        system, root = self._system()
        with transfer.explained():
            info = system.info(f"{root.rstrip('/')}/{path}")
        return listing.entry(path, info, self.address(path))

    def files(self) -> Iterator[Entry]:
        """Every file below, a folder at a time.

        Raises:
            SourceError: the URL is a file, or something in it cannot be used.
            UnavailableError: a folder cannot be had.
        """
        system, root = self._system()
        with transfer.explained():
            for folder, folders, files in system.walk(root, detail=True, on_error="raise"):
                if "" in files and files[""]["size"]:
                    raise SourceError(f"{self.url} is a file: give the folder that it lies in")
                inner = self._path(folder, root)
                for name in [name for name in folders if not listing.takes(_join(inner, name), self.url)]:
                    del folders[name]  # then walk leaves it out
                if folders and inner.count("/") + 2 > listing.DEEPEST:
                    raise listing.too_deep(self.url)
                for name, info in files.items():
                    path = _join(inner, name)
                    if name and listing.takes(path, self.url) and (info := _followed(info, system, root)):
                        yield listing.entry(path, info, self.address(path))

    def _system(self) -> tuple[Any, str]:
        """The file system, and the folder's path in it.

        Raises:
            SourceError: nothing here can open such a URL.
        """
        from fsspec.core import url_to_fs

        try:
            system, root = url_to_fs(self.url)
        except (ValueError, ImportError) as error:  # the latter names the package
            raise SourceError(f"{self.url} cannot be opened: {' '.join(str(error).split())}") from None
        return system, root

    def _path(self, folder: str, root: str) -> str:
        """`folder` relative to `root`."""
        if folder != root and not folder.startswith(f"{root.rstrip('/')}/"):
            raise SourceError(f"{self.url} lists {folder!a}, which does not lie in it")
        return folder.removeprefix(root).strip("/")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _followed(info: Mapping[str, Any], system: Any, root: str) -> Mapping[str, Any]:
    """What a link on a disk leads to, else `info` itself; empty for what is no file.

    Raises:
        SourceError: the link leaves the folder, or leads to none of its files.
    """
    if not info.get("islink"):
        return info if info["type"] == "file" else {}
    target = Path(info["name"]).resolve()
    if not target.is_relative_to(Path(root).resolve()) or not target.is_file():
        raise SourceError(f"{info['name']} is a link that leaves {root} or leads to no file: copy what it points to")
    followed: Mapping[str, Any] = system.info(info["name"])
    return followed
