"""Data sets that tests write as ingest does."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline import dataset
from pipeline.dataset import Description, SourceFile, Split, SplitName


def write(
    folder: Path,
    name: str,
    class_names: tuple[str, ...],
    splits: Mapping[SplitName, Split],
    sources: tuple[SourceFile, ...],
    files: Mapping[SplitName, Sequence[str]] | None = None,
) -> Description:
    """Write arrays and dataset.json into the empty `folder`; equal arguments give equal bytes.

    Returns:
        The content of dataset.json.
    """
    for split_name in dataset.SPLITS:
        split = splits[split_name]
        names = files[split_name] if files else None
        arrays = split.images.shape, split.labels, split.source_index
        dataset.write_split(folder / split_name, [split.images], *arrays, names)
    return dataset.seal(folder, name, class_names, sources)


def flip(path: Path, place: int = -1) -> None:
    """Flip a bit of a file, as a rotting disk does: size, time and permissions stay."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[place] ^= 1
    path.chmod(0o644)  # DVC's cache is read-only
    path.write_bytes(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
