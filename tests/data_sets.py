"""Data sets that tests write as ingest does."""

from collections.abc import Mapping
from pathlib import Path

from pipeline import dataset
from pipeline.dataset import Description, SourceFile, Split, SplitName


def write(
    folder: Path, name: str, class_names: tuple[str, ...], splits: Mapping[SplitName, Split], sources: tuple[SourceFile, ...]
) -> Description:
    """Write arrays and dataset.json into the empty `folder`; equal arguments give equal bytes.

    Returns:
        The content of dataset.json.
    """
    for split_name in dataset.SPLITS:
        split = splits[split_name]
        dataset.write_split(folder / split_name, [split.images], split.images.shape, split.labels, split.source_index)
    return dataset.seal(folder, name, class_names, sources)
