"""The tables that expectations look at: images, near-duplicate pairs, and summaries by column, class, split and drift."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline.dataset import SPLITS, Description
from pipeline.validate import drift
from pipeline.validate.features import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

TableName = Literal["columns", "images", "classes", "splits", "pairs", "drifts"]


def build(features: "pd.DataFrame", pairs: "pd.DataFrame", description: Description) -> "Mapping[TableName, pd.DataFrame]":
    """Return the tables over `features`; what is computed from a column that it lacks is missing.

    Returns:
        columns  one row per declared column: column, type (missing where the column is), declared
        images   `features` itself
        classes  one row per split and class: split, class_name, images, images_if_any (missing where there are none)
        splits   one row per split: split, images, class_imbalance, pixel_mean, pixel_std, pixel_span (grey levels)
        pairs    `pairs` with the difference again in the one column that applies: across, within (splits), conflict (of labels)
        drifts   one row per comparison with train: column, psi, chance, and feature_drift or class_drift (PSI beyond chance)
    """
    complete = features.reindex(columns=list(COLUMNS))
    classes = _classes(complete, description.class_names)
    return {
        "columns": _columns(features),
        "images": features,
        "classes": classes,
        "splits": _splits(complete, classes),
        "pairs": _pairs(pairs),
        "drifts": _drifts(complete, description),
    }


def _columns(features: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    found = {column: str(dtype) for column, dtype in features.dtypes.items()}
    types = pd.Series([found.get(column) for column in COLUMNS], dtype="str")
    return pd.DataFrame({"column": list(COLUMNS), "type": types, "declared": list(COLUMNS.values())})


def _classes(features: "pd.DataFrame", class_names: tuple[str, ...]) -> "pd.DataFrame":
    import pandas as pd

    rows = pd.MultiIndex.from_product([SPLITS, range(len(class_names))], names=["split", "label"])
    frame = features.value_counts(["split", "label"]).reindex(rows, fill_value=0).rename("images").reset_index()
    names = [class_names[label] for label in frame["label"]]
    return frame.assign(class_name=names, images_if_any=frame["images"].where(frame["images"] > 0))


def _splits(features: "pd.DataFrame", classes: "pd.DataFrame") -> "pd.DataFrame":
    """Summarise each split; mean and spread are over all its pixels: its images have one size, so means and squares average."""
    features = features.assign(square=features["contrast"] ** 2 + features["pixel_mean"] ** 2)
    groups = features.groupby("split")
    present = classes.groupby("split")["images_if_any"]
    frame = groups.agg(images=("row", "size"), pixel_mean=("pixel_mean", "mean"), square=("square", "mean"))
    frame["pixel_std"] = np.sqrt(frame["square"] - frame["pixel_mean"] ** 2)
    frame["pixel_span"] = groups["pixel_max"].max() - groups["pixel_min"].min()
    frame["class_imbalance"] = present.max() / present.min()
    return frame.drop(columns="square").reindex(list(SPLITS)).rename_axis("split").reset_index()


def _pairs(pairs: "pd.DataFrame") -> "pd.DataFrame":
    """Sort pairs into conflicts and others; exact duplicates of one class have expectations of their own."""
    difference, conflict = pairs["difference"], pairs["class_name"] != pairs["other_class_name"]
    near, across = ~conflict & ~pairs["exact"], pairs["split"] != pairs["other_split"]
    return pairs.assign(
        across=difference.where(near & across), within=difference.where(near & ~across), conflict=difference.where(conflict)
    )


def _drifts(features: "pd.DataFrame", description: Description) -> "pd.DataFrame":
    import pandas as pd

    profiles = {split: drift.profile(features[features["split"] == split], description) for split in SPLITS}
    rows = [
        {"column": f"{found.name}, {split} against train", "psi": found.psi, "chance": found.chance, kind: found.beyond_chance}
        for split in ("test", "validation")
        for found in drift.between(profiles[split], profiles["train"])
        for kind in ["class_drift" if found.name == drift.CLASS_SHARES else "feature_drift"]
    ]
    return pd.DataFrame(rows)
