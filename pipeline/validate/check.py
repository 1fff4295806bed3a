"""Runs the expectations with Great Expectations and says in plain values what each of them found."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from pipeline import environment
from pipeline.dataset import Description
from pipeline.params import ValidateParams
from pipeline.validate import suite, tables
from pipeline.validate.suite import Rule
from pipeline.validate.tables import TableName

if TYPE_CHECKING:
    import pandas as pd

KEPT_FAULTS = 24
"""How many rows at fault an outcome keeps; how many there are is its `fault_count`."""
_SAID = {"also_in": "also in ", "suggested": "perhaps "}
_NAMES: Mapping[TableName, str] = {
    "classes": "class counts",
    "pairs": "pairs of copies",
    "drifts": "comparisons",
}
# With `unexpected_index_column_names` it looks up every row at fault by itself: 91 s in place of 8 s where all of 70,000
# pictures are bad. Without, rows come as labels of the frame's index.
_ROWS_AT_FAULT = {"result_format": "COMPLETE", "return_unexpected_index_query": False}


@dataclass(frozen=True)
class Fault:
    """One row at fault; what does not apply to it is None."""

    value: str | float | None  # the offending one
    column: str | None = None
    split: str | None = None
    row: int | None = None  # in the split's arrays
    source_index: int | None = None
    class_name: str | None = None
    other_split: str | None = None  # this and the next: the other picture of a pair
    other_row: int | None = None
    other_source_index: int | None = None
    other_class_name: str | None = None
    label_probability: float | None = None

    def __str__(self) -> str:
        return f"{self.name}{' and ' * bool(self.other_name)}{self.other_name}: {said(self.value)}"

    @property
    def brief(self) -> str:
        """The same without source and class of a picture: `test row 5 and train row 7: 0.0031`."""
        if self.row is None:
            return str(self)
        other = "" if self.other_row is None else f" and {self.other_split} row {self.other_row}"
        return f"{self.split} row {self.row}{other}: {said(self.value)}"

    @property
    def name(self) -> str:
        """Which row, for a person: `train row 5 (source 812, Shirt)`."""
        if self.row is None:
            return " ".join(part for part in (self.column, self.split, self.class_name) if part)
        return _place(self.split, self.row, self.source_index, self.class_name)

    @property
    def other_name(self) -> str:
        """The other picture of a pair, in the same words; empty where there is none."""
        if self.other_row is None:
            return ""
        return _place(self.other_split, self.other_row, self.other_source_index, self.other_class_name)


_PLACES = tuple(field.name for field in fields(Fault) if field.name not in ("value", "label_probability"))


@dataclass(frozen=True)
class Outcome:
    """What one expectation found."""

    id: str
    severity: suite.Severity
    description: str
    passed: bool
    observed: str
    observed_min: float | None  # None where the observed values are not numbers
    observed_max: float | None
    limit: str
    checked: str  # of how many rows the faults are: "70,000 pictures"
    fault_count: int
    faults: tuple[Fault, ...]  # the first KEPT_FAULTS

    @property
    def verdict(self) -> Literal["passed", "warned", "failed"]:
        """What follows from it: only `failed` ends the pipeline."""
        if self.passed:
            return "passed"
        return "failed" if self.severity == "stop" else "warned"

    @property
    def fault_share(self) -> str:
        """How much is at fault: `3 of 70,000 pictures at fault`."""
        return _share(self.fault_count, self.checked)


def load() -> None:
    """Loads Great Expectations, which takes longer than its checks."""
    with environment.loading():
        import great_expectations.expectations  # noqa: F401


def check(
    features: "pd.DataFrame",
    pairs: "pd.DataFrame",
    description: Description,
    params: ValidateParams,
) -> tuple[Outcome, ...]:
    """Every expectation's outcome on the frames `features` and `pairs`, in the order of the suite."""
    load()
    rules = suite.rules(description, params)
    frames = tables.build(features, pairs, description)
    results = _results(frames, rules)
    return tuple(_outcome(rule, suite.severity(rule.id, params), results[rule.id], frames[rule.table]) for rule in rules)


def _results(frames: "Mapping[TableName, pd.DataFrame]", rules: Sequence[Rule]) -> Mapping[str, Any]:
    """Great Expectations' result per rule id; the context lives in memory only, so nothing is written."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("tables").add_dataframe_asset("tables")
    definition = asset.add_batch_definition_whole_dataframe("tables")
    found = {}
    for name, frame in frames.items():
        batch = definition.get_batch({"dataframe": frame})
        expectations = {rule.id: rule.expectation for rule in rules if rule.table == name}
        found.update(_validated(batch, expectations.values(), {"result_format": "BOOLEAN_ONLY"}))
        # Rows at fault only where there are some: asked of all, Great Expectations takes a quarter longer.
        broken = [expectation for slug, expectation in expectations.items() if not found[slug].success]
        if broken:
            found.update(_validated(batch, broken, _ROWS_AT_FAULT))
    return found


def _validated(batch: Any, expectations: Iterable[Any], result_format: Mapping[str, Any]) -> dict[str, Any]:
    """Great Expectations' result per rule id."""
    import great_expectations as gx

    validation = batch.validate(gx.ExpectationSuite(name="rules", expectations=[*expectations]), result_format=result_format)
    return {result.expectation_config.meta["id"]: result for result in validation.results}


def _outcome(rule: Rule, severity: suite.Severity, result: Any, frame: "pd.DataFrame") -> Outcome:
    rows = frame.loc[result.result.get("unexpected_index_list") or []]
    if rule.order:
        rows = rows.sort_values(rule.order, kind="stable")
    lowest, highest = _extremes(rule, frame)
    observed = _trouble(result) or _observed(rule, frame, lowest, highest, len(rows))
    return Outcome(
        id=rule.id,
        severity=severity,
        description=rule.description,
        passed=bool(result.success),
        observed=observed,
        observed_min=lowest,
        observed_max=highest,
        limit=rule.limit,
        checked=_size(rule, frame),
        fault_count=len(rows),
        faults=tuple(_fault(row, rule.column) for row in _records(rows[:KEPT_FAULTS])),
    )


def _records(rows: "pd.DataFrame") -> list[dict[str, Any]]:
    """`rows` as plain Python values, None where one is missing."""
    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return [{str(column): value for column, value in record.items()} for record in records]


def _fault(row: Mapping[str, Any], column: str) -> Fault:
    keys = {key: row[key] for key in _PLACES if key in row}
    if column == "suggested":
        keys["label_probability"] = row["label_probability"]
    return Fault(value=f"{_SAID.get(column, '')}{row[column]}" if column in _SAID else row[column], **keys)


def _trouble(result: Any) -> str:
    """Why an expectation could not be checked, such as a column that is missing; empty where it could."""
    info = result.exception_info
    problems = [info] if "raised_exception" in info else list(info.values())
    messages = [problem["exception_message"] for problem in problems if problem["raised_exception"]]
    return f"not checked: {' '.join(str(messages[0]).split())}" if messages else ""


def _extremes(rule: Rule, frame: "pd.DataFrame") -> tuple[float | None, float | None]:
    column = rule.column
    if rule.table == "pairs" or column not in frame or frame[column].dtype.kind not in "iuf" or frame[column].isna().all():
        return None, None
    return frame[column].min().item(), frame[column].max().item()


def _observed(rule: Rule, frame: "pd.DataFrame", lowest: float | None, highest: float | None, faults: int) -> str:
    if lowest is not None:
        return said(lowest) if lowest == highest else f"{said(lowest)} – {said(highest)}"
    if rule.column == "dtype":
        return ", ".join(sorted(frame["dtype"].unique()))
    return _share(faults, _size(rule, frame))


def _size(rule: Rule, frame: "pd.DataFrame") -> str:
    return f"{len(frame):,} {_NAMES.get(rule.table, rule.table)}"


def _share(count: int, of: str) -> str:
    return f"{count:,} of {of} at fault" if count else "none at fault"


def _place(split: str | None, row: int, source_index: int | None, class_name: str | None) -> str:
    return f"{split} row {row} (source {source_index}, {class_name or 'no class'})"


def said(value: str | float | None) -> str:
    """`value` for a person: numbers with five digits."""
    if value is None:
        return "missing"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
