"""The expectations, made from the data set's description and the limits in params.yaml.

An id is a promise to whoever reads validation.json: keep it when the wording or the way of checking changes. Each
expectation answers one question, so that one defect fails one of them: a class that is absent is not also "too small".
"""

from dataclasses import dataclass
from typing import Any

from pipeline.dataset import Description
from pipeline.params import ValidateParams
from pipeline.validate.tables import TableName

MIN_PIXEL_SPAN = 128  # grey levels, half of what 8 bits hold: pictures scaled to 0-1 or 0-16 stay far below


@dataclass(frozen=True)
class Rule:
    """One expectation: its name, what it says in plain words, and what Great Expectations is to check."""

    id: str
    description: str
    limit: str
    table: TableName
    column: str  # where the observed value stands
    expectation: Any  # of Great Expectations


def rules(description: Description, params: ValidateParams) -> tuple[Rule, ...]:
    """Every expectation, in the order a reader wants them."""
    return (*_schema(), *_shape(description), *_labels(description, params), *_pixels(params), *_copies())


def _schema() -> tuple[Rule, ...]:
    import great_expectations.expectations as gxe

    present = gxe.ExpectColumnValuesToNotBeNull(column="type", meta={"id": "columns-present"})
    typed = gxe.ExpectColumnPairValuesToBeEqual(
        column_A="type", column_B="declared", ignore_row_if="either_value_is_missing", meta={"id": "columns-typed"}
    )
    return (
        _rule(present, "the table of pictures has every column", "all there", "columns", "type"),
        _rule(typed, "every column has its declared type", "as declared", "columns", "type"),
    )


def _shape(description: Description) -> tuple[Rule, ...]:
    import great_expectations.expectations as gxe

    height, width, channels = description.image_shape
    uint8 = gxe.ExpectColumnValuesToBeInSet(column="dtype", value_set=["uint8"], meta={"id": "image-type"})
    return (
        _between("image-height", "every picture is as high as dataset.json says", "pictures", "height", height, height),
        _between("image-width", "every picture is as wide as dataset.json says", "pictures", "width", width, width),
        _between("image-channels", "every picture has its colour channels", "pictures", "channels", channels, channels),
        _rule(uint8, "every picture is stored as whole grey levels", "uint8", "pictures", "dtype"),
    )


def _labels(description: Description, params: ValidateParams) -> tuple[Rule, ...]:
    last, least, ratio = description.classes - 1, params.min_images_per_class, params.max_class_imbalance
    enough = "every class that is there has enough pictures, in every split"
    return (
        _between("labels-in-range", "every label is one of the classes", "pictures", "label", 0, last),
        _between("classes-all-present", "every class has a picture in every split", "classes", "images", 1, None),
        _between("enough-images-per-class", enough, "classes", "images_if_any", least, None),
        _between("classes-balanced", "largest class / smallest class, per split", "splits", "class_imbalance", None, ratio),
    )


def _pixels(params: ValidateParams) -> tuple[Rule, ...]:
    blank, span = params.min_contrast, "brightest minus darkest pixel, per split: not scaled to 0 – 1"
    mean, std = (params.pixel_mean_min, params.pixel_mean_max), (params.pixel_std_min, params.pixel_std_max)
    return (
        _between("no-blank-images", "contrast (standard deviation) within every picture", "pictures", "contrast", blank, None),
        _between("darkest-pixel-in-range", "the darkest pixel of every picture", "pictures", "pixel_min", 0, 255),
        _between("brightest-pixel-in-range", "the brightest pixel of every picture", "pictures", "pixel_max", 0, 255),
        _between("pixel-range-used", span, "splits", "pixel_span", MIN_PIXEL_SPAN, None),
        _between("pixel-mean-in-limits", "mean over all pixels, per split", "splits", "pixel_mean", *mean),
        _between("pixel-spread-in-limits", "standard deviation over all pixels, per split", "splits", "pixel_std", *std),
    )


def _copies() -> tuple[Rule, ...]:
    import great_expectations.expectations as gxe

    unique = gxe.ExpectCompoundColumnsToBeUnique(column_list=["split", "digest"], meta={"id": "images-unique"})
    apart = gxe.ExpectColumnValuesToBeNull(column="also_in", meta={"id": "no-image-in-two-splits"})
    return (
        _rule(unique, "no picture is twice in one split, pixel for pixel", "no copies", "pictures", "digest"),
        _rule(apart, "no picture is in two splits, pixel for pixel", "no copies", "pictures", "also_in"),
    )


def _between(slug: str, description: str, table: TableName, column: str, low: float | None, high: float | None) -> Rule:
    """`column` of every row of `table` lies in low … high, both included; a missing value passes."""
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high, meta={"id": slug})
    return _rule(expectation, description, _limit(low, high), table, column)


def _rule(expectation: Any, description: str, limit: str, table: TableName, column: str) -> Rule:
    return Rule(expectation.meta["id"], description, limit, table, column, expectation)


def _limit(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"≥ {low:g}" if low is not None else f"≤ {high:g}"
    return f"{low:g}" if low == high else f"{low:g} – {high:g}"
