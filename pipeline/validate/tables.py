"""The tables that expectations look at: images, near-duplicate pairs, and summaries by column, class, drift and in all."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline.dataset import SPLITS, Description
from pipeline.features import COLUMNS
from pipeline.validate import drift

if TYPE_CHECKING:
    import pandas as pd

TableName = Literal["columns", "images", "classes", "totals", "data", "pairs", "drifts"]
_CHANCE = 3.0  # standard errors of the logarithm of a ratio of counts


def build(features: "pd.DataFrame", pairs: "pd.DataFrame", description: Description) -> "Mapping[TableName, pd.DataFrame]":
    """Return the tables over `features`; what is computed from a column that it lacks is missing.

    Returns:
        columns  one row per declared column: column, type (missing where the column is), declared
        images   `features` with relative_contrast (contrast / range of all pixels) and labelled (see `_labelled`), which
                 takes the place of also_in
        classes  one row per split and class: split, class_name, images
        totals   one row per class with images: class_name, images, class_imbalance (beyond chance)
        data     one row: column ("whole data set"), images, pixel_range (grey levels)
        pairs    `pairs` with the difference again in the one column that applies: across, within (splits), conflict (of labels)
        drifts   one row per comparison with train: column, psi, chance, and feature_drift or class_drift (PSI beyond chance)
    """
    import pandas as pd

    complete = features.reindex(columns=list(COLUMNS))
    pixel_range = float(complete["pixel_max"].max() - complete["pixel_min"].min())
    classes = _classes(complete, description.class_names)
    return {
        "columns": _columns(features),
        "images": _images(features, complete, pixel_range),
        "classes": classes,
        "totals": _totals(classes),
        "data": pd.DataFrame({"column": ["whole data set"], "images": [len(features)], "pixel_range": [pixel_range]}),
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
    return frame.assign(class_name=names)


def _images(features: "pd.DataFrame", complete: "pd.DataFrame", pixel_range: float) -> "pd.DataFrame":
    labelled, relative_contrast = _labelled(complete), complete["contrast"] / max(1, pixel_range)
    also_in = complete["also_in"].where(labelled.isna())
    return features.assign(relative_contrast=relative_contrast, labelled=labelled, also_in=also_in)


def _labelled(features: "pd.DataFrame") -> "pd.Series[str]":
    """Return "0 in train, 3 in test" for images, not blank, that two splits hold, pixel for pixel, under different labels."""
    copies = features[features["digest"].duplicated(keep=False) & (features["contrast"] > 0)]
    copies = copies[copies.groupby("digest")["label"].transform("nunique") > 1]
    copies = copies[copies.groupby("digest")["split"].transform("nunique") > 1]
    names = copies["class_name"] + " in " + copies["split"]
    joined = names.groupby(copies["digest"]).transform(lambda places: ", ".join(places.unique()))
    return joined.astype("str").reindex(features.index)


def _totals(classes: "pd.DataFrame") -> "pd.DataFrame":
    """Sum up each class; what chance explains of its imbalance is the error of a logarithm of counts, √(1/n + 1/m)."""
    frame = classes.groupby("label")[["images"]].sum().assign(class_name=classes.groupby("label")["class_name"].first())
    frame = frame[frame["images"] > 0].reset_index()
    largest = frame["images"].max()
    chance = np.exp(_CHANCE * np.sqrt(1 / largest + 1 / frame["images"]))
    return frame.assign(class_imbalance=np.maximum(1, largest / frame["images"] / chance))


def _pairs(pairs: "pd.DataFrame") -> "pd.DataFrame":
    """Sort pairs into conflicts and others; exact duplicates of one class or across splits have expectations of their own."""
    difference, conflict = pairs["difference"], pairs["class_name"] != pairs["other_class_name"]
    near, across = ~conflict & ~pairs["exact"], pairs["split"] != pairs["other_split"]
    return pairs.assign(
        across=difference.where(near & across),
        within=difference.where(near & ~across),
        conflict=difference.where(conflict & ~(pairs["exact"] & across)),
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
