"""params.yaml as frozen, strict records, one per stage, and one for `promote`.

Strict means: an unknown key, a wrong type ("10" for 10) and a value out of range are errors that name the key. The whole
file is checked whichever stage runs, so that a slip in `register` is found before training, not after it.
"""

import difflib
import shlex
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic.dataclasses import dataclass

from pipeline.errors import ParamsError

Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

EXPECTATIONS = (
    "columns-present",
    "columns-typed",
    "image-height",
    "image-width",
    "image-channels",
    "image-type",
    "labels-in-range",
    "classes-all-present",
    "enough-images",
    "enough-images-per-class",
    "classes-balanced",
    "no-blank-images",
    "darkest-pixel-in-range",
    "brightest-pixel-in-range",
    "pixel-range-used",
    "no-almost-blank-images",
    "no-inverted-images",
    "no-lost-regions",
    "no-clipped-images",
    "images-unique",
    "no-image-in-two-splits",
    "splits-agree-on-labels",
    "no-near-duplicates-across-splits",
    "no-near-duplicates-within-a-split",
    "duplicates-agree-on-class",
    "features-do-not-drift",
    "class-shares-do-not-drift",
    "no-label-issues",
)
"""What `validate.stop` can name, in the order of the suite (a test holds the two equal)."""


class Section(BaseModel):
    """One section of params.yaml."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


KNOWN = ("fashion-mnist", "digits")  # their name, classes and files are fixed
ClassName = Annotated[str, Field(min_length=1, max_length=200)]


class IngestParams(Section):
    """The data, its size, and its splits."""

    dataset: Literal["fashion-mnist", "digits", "folder", "csv", "idx", "npz"]
    source: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(pattern="^([a-z0-9][a-z0-9-]{0,62})?$")]
    class_names: Annotated[tuple[ClassName, ...], Field(strict=False)]  # YAML knows lists, not tuples
    channels: Literal[1, 3]
    image_size: Annotated[int, Field(ge=8, le=512)]
    resize: Literal["stretch", "pad", "crop"]
    on_damaged: Literal["stop", "skip"]
    validation_fraction: Fraction
    test_fraction: Fraction
    seed: Seed

    @property
    def dataset_name(self) -> str:
        """The name that experiment and model are named after."""
        return self.name or self.dataset

    @model_validator(mode="after")
    def own_data_is_named_and_known_data_is_not(self) -> Self:
        """Keep models of the user's own data apart from those of a known data set."""
        known = self.dataset in KNOWN
        if known and (self.name or self.class_names):
            raise ValueError(f"name and class_names are for your own data: leave them empty for {self.dataset}")
        if not known and not self.name:
            raise ValueError(f"name is empty: {self.dataset} is your own data; set it, or use `run --name shirts`")
        if self.name in KNOWN:
            raise ValueError(f"name = {self.name!r} is the name of a known data set: choose another")
        return self

    @model_validator(mode="after")
    def class_names_can_be_used(self) -> Self:
        """Refuse names that tables, plots and file names cannot hold."""
        for name in self.class_names:
            if self.class_names.count(name) > 1:
                raise ValueError(f"class_names holds {name!r} twice")
            if any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in name) or name != name.strip():
                raise ValueError(f"class_names holds {name!r}: remove control characters and surrounding spaces")
        return self

    @model_validator(mode="after")
    def source_is_a_path(self) -> Self:
        """Refuse a URL, which DVC would track as a dependency that needs a plug-in."""
        if "://" in self.source:
            raise ValueError("source is a path, not a URL: `dvc import-url URL data/source` brings the data here")
        return self


class ValidateParams(Section):
    """What the data must look like."""

    min_images: Count
    min_images_per_class: Count
    max_class_imbalance: Annotated[float, Field(ge=1)]
    min_contrast: Share
    min_pixel_range: Annotated[int, Field(ge=0, le=255)]
    max_feature_drift: Annotated[float, Field(ge=0)]
    max_class_drift: Annotated[float, Field(ge=0)]
    min_contrast_ratio: Share
    min_class_similarity: Annotated[float, Field(ge=-1, le=1)]
    max_blank_band_share: Share
    max_clipped_share: Share
    near_duplicate_difference: Annotated[float, Field(ge=0, le=0.01)]  # the search for candidates is tuned for these
    max_flagged_share: Share
    stop: list[str]

    @field_validator("stop")
    @classmethod
    def names_are_expectations(cls, stop: list[str]) -> list[str]:
        """Refuse an unknown name: a typo would turn a failure into a warning."""
        for name in stop:
            if name not in EXPECTATIONS:
                near = difflib.get_close_matches(name, EXPECTATIONS, n=1)
                meant = f"did you mean {near[0]}?" if near else f"known: {', '.join(EXPECTATIONS)}"
                raise ValueError(f"{name!r} is not an expectation ({meant})")
        return stop


class Recipe(Section):
    """How one architecture is trained: everything beside the network itself that shapes its weights."""

    epochs: Count
    batch_size: Count
    optimizer: Literal["sgd", "adam"]
    learning_rate: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Share
    schedule: Literal["constant", "triangular", "cosine"]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    flip: Literal["none", "random", "alternating"]
    shift: Annotated[int, Field(ge=0)]
    erase: Annotated[float, Field(ge=0, lt=1)]
    ema: Annotated[float, Field(ge=0, lt=1)]
    flip_averaging: bool
    calibrate: bool
    precision: Literal["float32", "bfloat16"]


class Recipes(Section):
    """A recipe for each architecture."""

    notebook: Recipe
    sprint: Recipe
    compact: Recipe
    default: Recipe
    large: Recipe


class SmallDataParams(Section):
    """How a recipe is adapted to few training images; the last four are lower bounds of the recipe's own values."""

    max_images: Annotated[int, Field(ge=0)]
    min_steps: Count
    shift: Annotated[float, Field(ge=0, lt=0.5)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    calibrate: bool


class TrainParams(Section):
    """How the model is trained."""

    architecture: Literal["notebook", "sprint", "compact", "default", "large"]
    horizontal_flip: bool
    warm_start: Annotated[str, Field(strict=False, coerce_numbers_to_str=True)]  # `warm_start: 3` is a version
    seed: Seed
    threads: Annotated[int, Field(ge=0)]
    record_diff: bool
    keep_checkpoints: Annotated[int, Field(ge=0)]  # read by no result, so no param of the DVC stage
    small_data: SmallDataParams
    recipes: Recipes


SliceFeature = Literal[
    "pixel_mean",
    "contrast",
    "foreground_fraction",
    "contrast_ratio",
    "class_similarity",
    "blank_band_share",
    "label_probability",
    "near_duplicate_of_train",
]


class EvaluateParams(Section):
    """How the model is judged."""

    batch_size: Count
    calibration_bins: Annotated[int, Field(ge=2, le=1000)]
    slices: list[SliceFeature]
    slice_bins: Annotated[int, Field(ge=2, le=100)]
    grid_images: Annotated[int, Field(ge=1, le=400)]


class RegisterParams(Section):
    """What a model must reach to enter the registry; None: no limit."""

    baseline_significance: Fraction | None
    min_accuracy: Share | None
    min_class_recall: Share | None
    max_calibration_error: Share | None
    min_slice_accuracy: Share | None


class PromoteParams(Section):
    """What a version must show on its way to staging and production; `promote` reads it, no stage does."""

    significance: Fraction
    max_accuracy_loss: Share
    max_calibration_loss: Share
    max_data_drift: Positive | None
    min_gain: Share | None
    max_milliseconds: Positive | None
    max_megabytes: Positive | None
    require_signature: bool
    on_promotion: str

    @field_validator("on_promotion")
    @classmethod
    def _is_a_command(cls, value: str) -> str:
        try:
            shlex.split(value)
        except ValueError as error:
            raise ValueError(f"{value!r} is no command ({str(error).lower()})") from None
        return value

    @property
    def command(self) -> Sequence[str]:
        """The program and its arguments; empty where nothing is to be called."""
        return shlex.split(self.on_promotion)


class TrackingParams(Section):
    """How long a stage waits for the tracking store; no result depends on it."""

    seconds_per_epoch: Positive
    seconds_per_stage: Positive


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Params:
    """The whole of params.yaml; a dataclass, because a pydantic model has methods named `validate` and `register`."""

    ingest: IngestParams
    validate: ValidateParams
    train: TrainParams
    evaluate: EvaluateParams
    register: RegisterParams
    promote: PromoteParams
    tracking: TrackingParams


def load(path: Path) -> Params:
    """Return the checked content of `path`.

    Raises:
        ParamsError: the file is missing, is not YAML, or breaks a rule; the message names the key and the value.
    """
    try:
        return TypeAdapter(Params).validate_python(read_yaml(path))
    except ValidationError as error:
        raise ParamsError(f"{path.name}: {'; '.join(_message(problem) for problem in error.errors())}") from None


def read_yaml(path: Path) -> Any:
    """Return the plain content of a YAML 1.2 file, read as DVC reads it.

    Raises:
        ParamsError: the file is missing, unreadable or not YAML; the message names line and column.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} does not exist: restore it with `git checkout {path.name}`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} cannot be read: {error}") from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, a date that does not exist, endless nesting
        raise ParamsError(f"{path.name} is not valid YAML: {' '.join(str(error).split())[:200]}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise ParamsError(f"{path.name} is not valid YAML at {where}: {error.problem}") from None
    except YAMLError as error:
        raise ParamsError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from None


def _message(problem: Any) -> str:
    """Return one of pydantic's findings as `train.epochs = 'ten': …`, with the way out."""
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"unknown key {key}{_nearest(problem['loc'])}"
        case "missing" if len(problem["loc"]) == 1:
            return f"the section {key} is missing: restore it with `git checkout params.yaml`"
        case "missing":
            return f"{key} is missing"
        case "dataclass_type":
            return "the file is not a mapping of sections: restore it with `git checkout params.yaml`"
        case "model_type":
            return f"{key} is not a mapping of keys: restore it with `git checkout params.yaml`"
        case "value_error":
            return f"{key}: {problem['ctx']['error']}"
    return f"{key} = {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _nearest(location: tuple[int | str, ...]) -> str:
    """Return the key that was probably meant, as a question; else the known keys."""
    keys: dict[str, Any] = get_type_hints(Params)
    for part in location[:-1]:
        keys = {name: field.annotation for name, field in keys[str(part)].model_fields.items()}
    known = list(keys)
    names = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f" (did you mean {names[0]}?)" if names else f" (known: {', '.join(known)})"
