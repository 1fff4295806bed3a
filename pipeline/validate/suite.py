"""The expectations, made from the data set's description and the limits in params.yaml.

An id is a promise to whoever reads validation.json: keep it when the wording or the way of checking changes. Each
expectation answers one question, so that one defect fails one of them: a class that is absent is not also "too small".
"""

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.dataset import Description
from pipeline.params import ValidateParams
from pipeline.validate.tables import TableName

Severity = Literal["stop", "warn"]
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
    order: str = ""  # the rows at fault are told by this column, the lowest first; else in their own order


def rules(description: Description, params: ValidateParams) -> tuple[Rule, ...]:
    """Every expectation, in the order a reader wants them."""
    return (
        *_schema(),
        *_shape(description),
        *_labels(description, params),
        *_pixels(params),
        *_outliers(params),
        *_copies(),
        *_near_copies(params),
        *_drift(params),
        _suspects(),
    )


def severity(slug: str, params: ValidateParams) -> Severity:
    """Whether a broken expectation ends the pipeline. A suspected label never does: the pictures know no better than we."""
    return "warn" if slug in params.warn or slug == "no-label-issues" else "stop"


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
        _whole("image-height", "every picture is as high as dataset.json says", "height", height, height),
        _whole("image-width", "every picture is as wide as dataset.json says", "width", width, width),
        _whole("image-channels", "every picture has its colour channels", "channels", channels, channels),
        _rule(uint8, "every picture is stored as whole grey levels", "uint8", "pictures", "dtype"),
    )


def _labels(description: Description, params: ValidateParams) -> tuple[Rule, ...]:
    last, least, ratio = description.classes - 1, params.min_images_per_class, params.max_class_imbalance
    enough = "every class that is there has enough pictures, in every split"
    return (
        _whole("labels-in-range", "every label is one of the classes", "label", 0, last),
        _between("classes-all-present", "every class has a picture in every split", "classes", "images", 1, None),
        _between("enough-images-per-class", enough, "classes", "images_if_any", least, None),
        _between("classes-balanced", "largest class / smallest class, per split", "splits", "class_imbalance", None, ratio),
    )


def _pixels(params: ValidateParams) -> tuple[Rule, ...]:
    blank, span = params.min_contrast, "brightest minus darkest pixel, per split: not scaled to 0 – 1"
    mean, std = (params.pixel_mean_min, params.pixel_mean_max), (params.pixel_std_min, params.pixel_std_max)
    return (
        _between("no-blank-images", "contrast (standard deviation) within every picture", "pictures", "contrast", blank, None),
        _whole("darkest-pixel-in-range", "the darkest pixel of every picture", "pixel_min", 0, 255),
        _whole("brightest-pixel-in-range", "the brightest pixel of every picture", "pixel_max", 0, 255),
        _between("pixel-range-used", span, "splits", "pixel_span", MIN_PIXEL_SPAN, None),
        _between("pixel-mean-in-limits", "mean over all pixels, per split", "splits", "pixel_mean", *mean),
        _between("pixel-spread-in-limits", "standard deviation over all pixels, per split", "splits", "pixel_std", *std),
    )


def _copies() -> tuple[Rule, ...]:
    import great_expectations.expectations as gxe

    unique = gxe.ExpectCompoundColumnsToBeUnique(column_list=["split", "digest"], meta={"id": "images-unique"})
    apart = gxe.ExpectColumnValuesToBeNull(column="also_in", meta={"id": "no-image-in-two-splits"})
    return (
        _rule(unique, "no picture is twice in one split, pixel for pixel", "no copies", "pictures", "digest", "digest"),
        _rule(apart, "no picture is in two splits, pixel for pixel", "no copies", "pictures", "also_in", "digest"),
    )


def _outliers(params: ValidateParams) -> tuple[Rule, ...]:
    ratio, least, most = params.min_contrast_ratio, params.min_class_similarity, params.max_blank_band_share
    contrast = "contrast of every picture / the median of its class: no picture is almost blank"
    class_similarity = "correlation of every picture with the mean of its class: no picture is inverted"
    band = "share of every picture in one stretch of one level, beyond the median of its class: no part is lost"
    return (
        _between("no-almost-blank-images", contrast, "pictures", "contrast_ratio", ratio, None, "contrast_ratio"),
        _between("no-inverted-images", class_similarity, "pictures", "class_similarity", least, None, "class_similarity"),
        _between("no-lost-regions", band, "pictures", "blank_band_share", None, most),
    )


def _near_copies(params: ValidateParams) -> tuple[Rule, ...]:
    leak = "no picture is in two splits but for a shift by a pixel, brightness, contrast or compression"
    repeat = "no picture is twice in one split but for a shift by a pixel, brightness, contrast or compression"
    conflict = "copies and near copies have one class"
    limit = f"none below {params.near_duplicate_difference:g}"
    return (
        _none("no-near-duplicates-across-splits", leak, limit, "pairs", "leak", "difference"),
        _none("no-near-duplicates-within-a-split", repeat, limit, "pairs", "repeat", "difference"),
        _none("duplicates-agree-on-class", conflict, "one class", "pairs", "conflict", "difference"),
    )


def _drift(params: ValidateParams) -> tuple[Rule, ...]:
    pixels = "PSI beyond chance of brightness, contrast and foreground fraction, test and validation against train"
    classes = "PSI beyond chance of the class shares, test and validation against train"
    return (
        _between("features-do-not-drift", pixels, "drifts", "feature_drift", None, params.max_feature_drift),
        _between("class-shares-do-not-drift", classes, "drifts", "class_drift", None, params.max_class_drift),
    )


def _suspects() -> Rule:
    wording = "no label is contradicted by a model that did not see it (confident learning)"
    return _none("no-label-issues", wording, "none suspected", "pictures", "suggested", "label_probability")


def _between(
    slug: str, description: str, table: TableName, column: str, low: float | None, high: float | None, order: str = ""
) -> Rule:
    """`column` of every row of `table` lies in low … high, both included; a missing value passes."""
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high, meta={"id": slug})
    return _rule(expectation, description, _limit(low, high), table, column, order)


def _whole(slug: str, description: str, column: str, low: int, high: int) -> Rule:
    """`column` of every picture is a whole number in low … high; as a set, because a range costs a Python call per picture."""
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(range(low, high + 1)), meta={"id": slug})
    return _rule(expectation, description, _limit(low, high), "pictures", column)


def _none(slug: str, description: str, limit: str, table: TableName, column: str, order: str) -> Rule:
    """`column` is missing in every row of `table`: it holds what is wrong where something is."""
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnValuesToBeNull(column=column, meta={"id": slug})
    return _rule(expectation, description, limit, table, column, order)


def _rule(expectation: Any, description: str, limit: str, table: TableName, column: str, order: str = "") -> Rule:
    return Rule(expectation.meta["id"], description, limit, table, column, expectation, order)


def _limit(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"≥ {low:g}" if low is not None else f"≤ {high:g}"
    return f"{low:g}" if low == high else f"{low:g} – {high:g}"
