"""The expectations, made from the data set's description and the limits in params.yaml.

An id is a promise to whoever reads validation.json: keep it when the wording or the way of checking changes. Each
expectation answers one question, so that one defect fails one of them: a class that is absent is not also "too small". A
new one needs its id in `params.EXPECTATIONS` and its defect in tests/validate/defects.py.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pipeline.dataset import Description
from pipeline.params import ValidateParams
from pipeline.validate.tables import TableName

MIN_PIXEL_SPAN = 128  # grey levels, half of what 8 bits hold: images scaled to 0-1 or 0-16 stay far below


@dataclass(frozen=True)
class Rule:
    """One expectation: what it demands of a column, in plain words and for Great Expectations."""

    id: str
    table: TableName
    column: str  # of the observed value
    description: str
    problem: str  # of the flagged rows, after their number: "are blank"
    limit: str
    expectation: Any  # of Great Expectations
    order: str = ""  # the column that flagged rows are sorted by, lowest first; empty: they stay in the order of the table

    def severity(self, params: ValidateParams) -> Literal["stop", "warn"]:
        """Return whether a failure ends the pipeline. A label issue never does: it is an estimate."""
        return "warn" if self.id in params.warn or self.id == "no-label-issues" else "stop"


def rules(description: Description, params: ValidateParams) -> tuple[Rule, ...]:
    """Return every expectation, in the order of the report."""
    return (
        *_schema(description),
        *_classes(description, params),
        *_pixels(params),
        *_within_class(params),
        *_duplicates(params),
        *_drift(params),
        _label_issues(),
    )


def _schema(description: Description) -> tuple[Rule, ...]:
    import great_expectations.expectations as gxe

    height, width, channels = description.image_shape
    present = gxe.ExpectColumnValuesToNotBeNull(column="type")
    typed = gxe.ExpectColumnPairValuesToBeEqual(column_A="type", column_B="declared", ignore_row_if="either_value_is_missing")
    uint8 = gxe.ExpectColumnValuesToBeInSet(column="dtype", value_set=["uint8"])
    return (
        Rule("columns-present", "columns", "type", "the features have every column", "are missing", "all columns", present),
        Rule("columns-typed", "columns", "type", "every column has its type", "have another type", "declared types", typed),
        _integer("image-height", "height", "every image has the height in dataset.json", "have another height", height),
        _integer("image-width", "width", "every image has the width in dataset.json", "have another width", width),
        _integer("image-channels", "channels", "every image has its colour channels", "have other channels", channels),
        Rule("image-type", "images", "dtype", "every image is stored as uint8", "are not uint8", "uint8", uint8),
    )


def _classes(description: Description, params: ValidateParams) -> tuple[Rule, ...]:
    classes, least, ratio = description.classes, params.min_images_per_class, params.max_class_imbalance
    present, enough = "every class has an image in every split", "every class that is present has enough images, in every split"
    balance = "largest class / smallest class, per split"
    return (
        _integer("labels-in-range", "label", "every label is one of the classes", "have an unknown label", 0, classes - 1),
        _between("classes-all-present", "classes", "images", present, "are zero", 1),
        _between("enough-images-per-class", "classes", "images_if_any", enough, "are too small", least),
        _between("classes-balanced", "splits", "class_imbalance", balance, "are imbalanced", None, ratio),
    )


def _pixels(params: ValidateParams) -> tuple[Rule, ...]:
    span = "brightest minus darkest pixel, per split: not scaled to 0 – 1"
    mean, std = (params.pixel_mean_min, params.pixel_mean_max), (params.pixel_std_min, params.pixel_std_max)
    contrast = "contrast (standard deviation of the pixels) of every image"
    average, spread = "mean over all pixels, per split", "standard deviation over all pixels, per split"
    return (
        _between("no-blank-images", "images", "contrast", contrast, "are blank", params.min_contrast),
        _integer("darkest-pixel-in-range", "pixel_min", "the darkest pixel of every image", "are out of range", 0, 255),
        _integer("brightest-pixel-in-range", "pixel_max", "the brightest pixel of every image", "are out of range", 0, 255),
        _between("pixel-range-used", "splits", "pixel_span", span, "have a narrow range", MIN_PIXEL_SPAN),
        _between("pixel-mean-in-limits", "splits", "pixel_mean", average, "are out of limits", *mean),
        _between("pixel-spread-in-limits", "splits", "pixel_std", spread, "are out of limits", *std),
    )


def _within_class(params: ValidateParams) -> tuple[Rule, ...]:
    contrast = "contrast of every image / the median of its class: no image is almost blank"
    similarity = "correlation of every image with the mean of its class: no image is inverted"
    band = "share of every image in one stretch of one level, beyond the median of its class: no part is lost"
    ratio, least, most = params.min_contrast_ratio, params.min_class_similarity, params.max_blank_band_share
    return (
        _between("no-almost-blank-images", "images", "contrast_ratio", contrast, "are almost blank", ratio),
        _between("no-inverted-images", "images", "class_similarity", similarity, "are probably inverted", least),
        _between("no-lost-regions", "images", "blank_band_share", band, "have a large blank band", None, most),
    )


def _duplicates(params: ValidateParams) -> tuple[Rule, ...]:
    import great_expectations.expectations as gxe

    unique = gxe.ExpectCompoundColumnsToBeUnique(column_list=["split", "digest"])
    once, apart = "no image is twice in one split, pixel for pixel", "no image is in two splits, pixel for pixel"
    but = "but for a shift by one pixel, brightness, contrast or compression"
    within, across = f"no image is twice in one split, {but}", f"no image is in two splits, {but}"
    agree = "duplicates have one label"
    limit = f"difference > {params.near_duplicate_difference:g}"
    return (
        Rule("images-unique", "images", "digest", once, "are duplicates", "no duplicates", unique, "digest"),
        _none("no-image-in-two-splits", "images", "also_in", apart, "are in another split too", "no duplicates", "digest"),
        _none("no-near-duplicates-across-splits", "pairs", "across", across, "are across splits", limit, "difference"),
        _none("no-near-duplicates-within-a-split", "pairs", "within", within, "are within a split", limit, "difference"),
        _none("duplicates-agree-on-class", "pairs", "conflict", agree, "have different labels", "one label", "difference"),
    )


def _drift(params: ValidateParams) -> tuple[Rule, ...]:
    features = "PSI beyond chance of brightness, contrast and foreground fraction, test and validation against train"
    classes = "PSI beyond chance of the class shares, test and validation against train"
    most, shares = params.max_feature_drift, params.max_class_drift
    return (
        _between("features-do-not-drift", "drifts", "feature_drift", features, "show drift", None, most),
        _between("class-shares-do-not-drift", "drifts", "class_drift", classes, "show drift", None, shares),
    )


def _label_issues() -> Rule:
    description = "no label is contradicted by a model that did not see it (confident learning)"
    problem, limit = "have a suspicious label", "no suspicious labels"
    return _none("no-label-issues", "images", "suggested", description, problem, limit, "label_probability")


def _between(
    slug: str,
    table: TableName,
    column: str,
    description: str,
    problem: str,
    low: float | None = None,
    high: float | None = None,
) -> Rule:
    """Expect `column` of every row of `table` in low … high, both included; a missing value passes."""
    import great_expectations.expectations as gxe

    expectation = gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high)
    return Rule(slug, table, column, description, problem, _limit(low, high), expectation, column if high is None else "")


def _integer(slug: str, column: str, description: str, problem: str, low: int, high: int | None = None) -> Rule:
    """Expect `column` of every image in low … high; as a set, because a range costs a Python call per image."""
    import great_expectations.expectations as gxe

    high = low if high is None else high
    expectation = gxe.ExpectColumnValuesToBeInSet(column=column, value_set=list(range(low, high + 1)))
    return Rule(slug, "images", column, description, problem, _limit(low, high), expectation)


def _none(slug: str, table: TableName, column: str, description: str, problem: str, limit: str, order: str) -> Rule:
    """Expect `column` to be missing in every row of `table`: it names the problem where there is one."""
    import great_expectations.expectations as gxe

    return Rule(slug, table, column, description, problem, limit, gxe.ExpectColumnValuesToBeNull(column=column), order)


def _limit(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"≥ {low:g}" if low is not None else f"≤ {high:g}"
    return f"{low:g}" if low == high else f"{low:g} – {high:g}"
