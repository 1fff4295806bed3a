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

    @property
    def key(self) -> str:
        """The params key that holds the limit; empty where there is none to choose."""
        return REMEDIES[self.id][0]

    @property
    def estimate(self) -> bool:
        """Whether it compares images with what is usual: one that flags many does not fit the data."""
        return self.id in (
            "no-almost-blank-images",
            "no-inverted-images",
            "no-lost-regions",
            "no-clipped-images",
            "no-label-issues",
        )

    def severity(self, params: ValidateParams) -> Literal["stop", "warn"]:
        """Return whether a failure ends the pipeline: those of shape and type, whose limit is not a choice, always do."""
        return "stop" if self.id in params.stop or self.id in _SCHEMA else "warn"

    def remedy(self, params: ValidateParams) -> str:
        """Return the way out: what to do about the data, which key holds the limit, and how to continue regardless."""
        key, advice = REMEDIES[self.id]
        limit = f", or change {key}" if key else ""
        return f"{advice}{limit}" + (f", or remove {self.id} from validate.stop" if self.id in params.stop else "")


_SCHEMA = (
    *("columns-present", "columns-typed", "image-height", "image-width", "image-channels", "image-type"),
    *("darkest-pixel-in-range", "brightest-pixel-in-range"),
)
_LOOK, _SERIES = "look at these images", "remove the copies; put images of one series into one split"
REMEDIES = {
    **dict.fromkeys(_SCHEMA, ("", "run ingest again: dvc repro -s -f ingest")),
    "labels-in-range": ("ingest.class_names", "correct the labels or name every class"),
    "classes-all-present": ("ingest.validation_fraction", "add images of the class to that split or remove the class"),
    "enough-images": ("validate.min_images", "add images"),
    "enough-images-per-class": ("validate.min_images_per_class", "add images of these classes or remove them"),
    "classes-balanced": ("validate.max_class_imbalance", "add images of these classes"),
    "no-blank-images": ("validate.min_contrast", "remove these images"),
    "pixel-range-used": ("validate.min_pixel_range", "scale the images to 0 – 255"),
    "no-almost-blank-images": ("validate.min_contrast_ratio", _LOOK),
    "no-inverted-images": ("validate.min_class_similarity", _LOOK),
    "no-lost-regions": ("validate.max_blank_band_share", _LOOK),
    "no-clipped-images": ("validate.max_clipped_share", _LOOK),
    "images-unique": ("", "remove the copies"),
    "no-image-in-two-splits": ("", _SERIES),
    "splits-agree-on-labels": ("", "keep each image under its correct label only"),
    "no-near-duplicates-across-splits": ("validate.near_duplicate_difference", _SERIES),
    "no-near-duplicates-within-a-split": ("validate.near_duplicate_difference", "remove the copies"),
    "duplicates-agree-on-class": ("validate.near_duplicate_difference", "keep each image under its correct label only"),
    "features-do-not-drift": ("validate.max_feature_drift", "see that both splits come from one source"),
    "class-shares-do-not-drift": ("validate.max_class_drift", "give both splits the same mix of classes"),
    "no-label-issues": ("", "look at these labels and correct the wrong ones"),
}
"""Id → the params key with its limit, and what to do about the data."""


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
    few = "have too few images"
    balance = "images of the largest class / of each other one, less what chance explains"
    most = params.max_class_imbalance
    return (
        _integer(
            "labels-in-range", "label", "every label is one of the classes", "have an unknown label", 0, description.classes - 1
        ),
        _between("classes-all-present", "classes", "images", "every class has an image in every split", "are zero", 1),
        _between("enough-images", "data", "images", "the data set has enough images", "are too few", params.min_images),
        _between(
            "enough-images-per-class", "totals", "images", "every class has enough images", few, params.min_images_per_class
        ),
        _between("classes-balanced", "totals", "class_imbalance", balance, "are rare", None, most),
    )


def _pixels(params: ValidateParams) -> tuple[Rule, ...]:
    span = "brightest less darkest pixel of all images: not scaled to 0 – 1"
    contrast = "contrast (standard deviation of the pixels) of every image / range of all pixels"
    return (
        _between("no-blank-images", "images", "relative_contrast", contrast, "are blank", params.min_contrast),
        _integer("darkest-pixel-in-range", "pixel_min", "the darkest pixel of every image", "are out of range", 0, 255),
        _integer("brightest-pixel-in-range", "pixel_max", "the brightest pixel of every image", "are out of range", 0, 255),
        _between("pixel-range-used", "data", "pixel_range", span, "have a narrow range", params.min_pixel_range),
    )


def _within_class(params: ValidateParams) -> tuple[Rule, ...]:
    contrast = "contrast of every image / the median of its class: no image is almost blank"
    similarity = "correlation of every image with the mean of its class: no image is inverted"
    band = "share of every image in one stretch of one level, beyond the median of its class: no part is lost"
    clipped = "share of every image at 0 or 255, beyond the median of its class: no image is over- or underexposed"
    ratio, least, most = params.min_contrast_ratio, params.min_class_similarity, params.max_blank_band_share
    return (
        _between("no-almost-blank-images", "images", "contrast_ratio", contrast, "are almost blank", ratio),
        _between("no-inverted-images", "images", "class_similarity", similarity, "are probably inverted", least),
        _between("no-lost-regions", "images", "blank_band_share", band, "have a large blank band", None, most),
        _between("no-clipped-images", "images", "clipped_share", clipped, "are clipped", None, params.max_clipped_share),
    )


def _duplicates(params: ValidateParams) -> tuple[Rule, ...]:
    import great_expectations.expectations as gxe

    unique = gxe.ExpectCompoundColumnsToBeUnique(column_list=["split", "digest"])
    once, apart = "no image is twice in one split, pixel for pixel", "no image is in two splits, pixel for pixel"
    but = "but for a shift by one pixel, brightness, contrast or compression"
    within, across = f"no image is twice in one split, {but}", f"no image is in two splits, {but}"
    agree, labelled = "duplicates and near-duplicates have one label", "an image that is in two splits has one label"
    limit = f"difference > {params.near_duplicate_difference:g}"
    return (
        Rule("images-unique", "images", "digest", once, "are duplicates", "no duplicates", unique, "digest"),
        _none("no-image-in-two-splits", "images", "also_in", apart, "are in another split too", "no duplicates", "digest"),
        _none("splits-agree-on-labels", "images", "labelled", labelled, "have two labels", "one label", "digest"),
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
