"""Runs the expectations with Great Expectations and says in plain values what each of them found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


@dataclass(frozen=True)
class Fault:
    """One row at fault; what does not apply to it is None."""

    value: str | float | None  # the offending one
    column: str | None = None
    split: str | None = None
    row: int | None = None  # in the split's arrays
    source_index: int | None = None
    class_name: str | None = None

    def __str__(self) -> str:
        return f"{self.name}: {said(self.value)}"

    @property
    def name(self) -> str:
        """Which row, for a person: `train row 5 (source 812, Shirt)`."""
        if self.row is None:
            return " ".join(part for part in (self.column, self.split, self.class_name) if part)
        return f"{self.split} row {self.row} (source {self.source_index}, {self.class_name or 'no class'})"


@dataclass(frozen=True)
class Outcome:
    """What one expectation found."""

    id: str
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
    def fault_share(self) -> str:
        """How much is at fault: `3 of 70,000 pictures at fault`."""
        return _share(self.fault_count, self.checked)


def check(features: "pd.DataFrame", description: Description, params: ValidateParams) -> tuple[Outcome, ...]:
    """Every expectation's outcome on the frame `features`, in the order of the suite."""
    with environment.loading():
        import great_expectations  # noqa: F401  # here, because nearly all its time is spent while it loads
    rules = suite.rules(description, params)
    frames = tables.build(features, description.class_names)
    results = {name: _results(name, frame, rules) for name, frame in frames.items()}
    return tuple(_outcome(rule, results[rule.table][rule.id], frames[rule.table]) for rule in rules)


def _results(name: TableName, frame: "pd.DataFrame", rules: Sequence[Rule]) -> Mapping[str, Any]:
    """Great Expectations' result per rule id; the context lives in memory only, so nothing is written."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas(name).add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe(name).get_batch({"dataframe": frame})
    expectations = [rule.expectation for rule in rules if rule.table == name]
    # With `unexpected_index_column_names` it looks up every row at fault by itself: 91 s in place of 8 s where all of 70,000
    # pictures are bad. Without, rows come as labels of the frame's index.
    validation = batch.validate(
        gx.ExpectationSuite(name=name, expectations=expectations),
        result_format={"result_format": "COMPLETE", "return_unexpected_index_query": False},
    )
    return {result.expectation_config.meta["id"]: result for result in validation.results}


def _outcome(rule: Rule, result: Any, frame: "pd.DataFrame") -> Outcome:
    rows = frame.loc[result.result.get("unexpected_index_list") or []]
    if rule.column in ("digest", "also_in"):
        rows = rows.sort_values("digest", kind="stable")  # copies lie beside each other
    lowest, highest = _extremes(rule.column, frame)
    return Outcome(
        id=rule.id,
        description=rule.description,
        passed=bool(result.success),
        observed=_trouble(result) or _observed(rule, frame, lowest, highest, len(rows)),
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
    keys = {key: row[key] for key in ("column", "split", "row", "source_index", "class_name") if key in row}
    return Fault(value=f"also in {row[column]}" if column == "also_in" else row[column], **keys)


def _trouble(result: Any) -> str:
    """Why an expectation could not be checked, such as a column that is missing; empty where it could."""
    info = result.exception_info
    problems = [info] if "raised_exception" in info else list(info.values())
    messages = [problem["exception_message"] for problem in problems if problem["raised_exception"]]
    return f"not checked: {' '.join(str(messages[0]).split())}" if messages else ""


def _extremes(column: str, frame: "pd.DataFrame") -> tuple[float | None, float | None]:
    if column not in frame or frame[column].dtype.kind not in "iuf" or frame[column].isna().all():
        return None, None
    return frame[column].min().item(), frame[column].max().item()


def _observed(rule: Rule, frame: "pd.DataFrame", lowest: float | None, highest: float | None, faults: int) -> str:
    if lowest is not None:
        return said(lowest) if lowest == highest else f"{said(lowest)} – {said(highest)}"
    if rule.column == "dtype":
        return ", ".join(sorted(frame["dtype"].unique()))
    return _share(faults, _size(rule, frame))


def _size(rule: Rule, frame: "pd.DataFrame") -> str:
    return f"{len(frame):,} {'class counts' if rule.table == 'classes' else rule.table}"


def _share(count: int, of: str) -> str:
    return f"{count:,} of {of} at fault" if count else "none at fault"


def said(value: str | float | None) -> str:
    """`value` for a person: numbers with five digits."""
    if value is None:
        return "missing"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
