"""Run the expectations with Great Expectations, and report in plain values what each of them found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline import environment
from pipeline.params import ValidateParams
from pipeline.validate.suite import Rule
from pipeline.validate.tables import TableName

if TYPE_CHECKING:
    import pandas as pd

    Tables = Mapping[TableName, pd.DataFrame]

KEPT_ROWS = 24
"""How many flagged rows an outcome keeps; `flagged_count` counts all of them."""
_ROWS: Mapping[TableName, str] = {"classes": "class counts", "totals": "classes", "drifts": "comparisons"}
_VALUES = {
    "also_in": "also in",
    "suggested": "suggested:",
    "labelled": "labels:",
    "relative_contrast": "contrast",
    "feature_drift": "PSI beyond chance",
    "class_drift": "PSI beyond chance",
    **dict.fromkeys(("across", "within", "conflict"), "difference"),
}
"""What a column is called in front of its value, where its own name would not do."""
_FLOOD = "validate.max_flagged_share"
# With `unexpected_index_column_names` it looks up every flagged row by itself: 91 s in place of 8 s where all of 70,000 images
# are bad. Without, rows come as labels of the frame's index.
_FLAGGED_ROWS = {"result_format": "COMPLETE", "return_unexpected_index_query": False}


@dataclass(frozen=True)
class Flagged:
    """One row that fails an expectation; what does not apply is None."""

    value: str | float | None  # the offending one
    text: str  # the same for people: `contrast 0`
    column: str | None = None
    split: str | None = None
    row: int | None = None  # in the split's arrays
    source_index: int | None = None
    file: str | None = None  # its name in the source
    class_name: str | None = None
    other_split: str | None = None  # this and the next: the other image of a pair
    other_row: int | None = None
    other_source_index: int | None = None
    other_file: str | None = None
    other_class_name: str | None = None
    label_probability: float | None = None

    @property
    def brief(self) -> str:
        """The files, or the rows without source and class: `test row 5 and train row 7`."""
        if self.row is None:
            return self.places[0]
        first = self.file or f"{self.split} row {self.row}"
        second = self.other_file or f"{self.other_split} row {self.other_row}"
        return first if self.other_row is None else f"{first} and {second}"

    @property
    def places(self) -> tuple[str, ...]:
        """Which image, images of a pair, or row of another table: `train row 5 (shirt/1.png, class Shirt)`."""
        if self.row is None:
            return (" ".join(part for part in (self.column, self.split, self.class_name) if part),)
        place = _place(self.split, self.row, self.file or f"source {self.source_index}", self.class_name)
        if self.other_row is None:
            return (place,)
        source = self.other_file or f"source {self.other_source_index}"
        return place, _place(self.other_split, self.other_row, source, self.other_class_name)

    def __str__(self) -> str:
        return f"{' and '.join(self.places)}: {self.text}"


def _place(split: str | None, row: int, source: str, class_name: str | None) -> str:
    return f"{split} row {row} ({source}, {f'class {class_name}' if class_name else 'no class'})"


@dataclass(frozen=True)
class Outcome:
    """What one expectation found."""

    id: str
    severity: Literal["stop", "warn"]
    description: str
    passed: bool
    observed: str
    observed_min: float | None  # None where the observed values are not numbers
    observed_max: float | None
    limit: str
    checked: str  # how many rows of what: "70,000 images"
    finding: str  # what failed: "3 of 70,000 images are blank"; empty where it passed
    key: str  # of params.yaml, with the limit; empty where there is none
    remedy: str  # the way out; empty where it passed
    fits: bool  # False for an estimate that flags so much that it says nothing about these data
    flagged_count: int
    flagged: tuple[Flagged, ...]  # the first KEPT_ROWS

    @property
    def verdict(self) -> Literal["passed", "warned", "failed"]:
        """What follows from it: only `failed` ends the pipeline."""
        if self.passed:
            return "passed"
        return "failed" if self.severity == "stop" else "warned"


def load() -> None:
    """Load Great Expectations, which takes longer than its checks."""
    with environment.loading():
        import great_expectations.expectations  # noqa: F401


def check(tables: "Tables", rules: Sequence[Rule], params: ValidateParams) -> tuple[Outcome, ...]:
    """Return every expectation's outcome, in the order of `rules`."""
    import great_expectations as gx

    asset = _context().data_sources.add_pandas("tables").add_dataframe_asset("tables")
    definition = asset.add_batch_definition_whole_dataframe("tables")
    results = {}
    for name, frame in tables.items():
        batch = definition.get_batch({"dataframe": frame})
        validation = batch.validate(_suite(gx, name, rules), result_format=_FLAGGED_ROWS)
        results.update({result.expectation_config.meta["id"]: result for result in validation.results})
    return tuple(_outcome(rule, params, results[rule.id], tables[rule.table]) for rule in rules)


def build_data_docs(tables: "Tables", rules: Sequence[Rule], folder: Path) -> None:
    """Write Great Expectations' own pages, Data Docs, into `folder`: `index.html` and two pages per table.

    They load their style and script from the network (20 files of CDNs); without it they are bare text.
    """
    import great_expectations as gx

    context = _context()
    for site in list(context.get_site_names()):
        context.delete_data_docs_site(site)  # an ephemeral context has one in a temporary folder
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    context.add_data_docs_site("docs", {"class_name": "SiteBuilder", "store_backend": store, "site_index_builder": index})
    for name, frame in tables.items():
        batch = context.data_sources.add_pandas(name).add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
        suite = context.suites.add(_suite(gx, name, rules))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        definition.run(batch_parameters={"dataframe": frame}, result_format="SUMMARY")
    context.build_data_docs(site_names=["docs"])


def _context() -> Any:
    """Return a context in memory: nothing is written, and nothing a user configured is read."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context


def _suite(gx: Any, table: TableName, rules: Sequence[Rule]) -> Any:
    """Return the expectations on `table`, each with its id and its description."""
    expectations = []
    for rule in rules:
        if rule.table == table:
            rule.expectation.meta = {"id": rule.id}
            rule.expectation.description = f"{rule.id}: {rule.description}, {rule.limit}"
            expectations.append(rule.expectation)
    return gx.ExpectationSuite(name=table, expectations=expectations)


def _outcome(rule: Rule, params: ValidateParams, result: Any, frame: "pd.DataFrame") -> Outcome:
    rows = frame.loc[result.result.get("unexpected_index_list") or []]
    if rule.order and len(rows):
        rows = rows.sort_values(rule.order, kind="stable")
    checked = f"{len(frame):,} {_ROWS.get(rule.table, rule.table)}"
    error = _error(result)
    fits = not rule.estimate or len(rows) <= params.max_flagged_share * len(frame)
    finding = error or f"{len(rows):,} of {checked} {_verb(rule.problem, len(rows))}"
    if rule.table == "data":
        checked = f"{frame['images'].sum():,} images"
        finding = f"the {checked} {rule.problem}"
    if not fits:
        finding = f"this check does not fit these data: it flags {len(rows):,} of {checked}"
    lowest, highest = _extremes(rule, frame)
    if lowest is not None:
        observed = number(lowest) if lowest == highest else f"{number(lowest)} – {number(highest)}"
    elif rule.column == "dtype":
        observed = ", ".join(sorted(frame["dtype"].unique()))
    else:
        observed = f"{len(rows):,} flagged" if len(rows) else "none flagged"
    return Outcome(
        id=rule.id,
        severity=rule.severity(params) if fits else "warn",
        description=rule.description,
        passed=bool(result.success),
        observed=error or observed,
        observed_min=lowest,
        observed_max=highest,
        limit=rule.limit,
        checked=checked,
        finding="" if result.success else finding,
        key=rule.key if fits else _FLOOD,
        remedy="" if result.success else rule.remedy(params) if fits else f"ignore it, or raise {_FLOOD} to see what it flags",
        fits=fits,
        flagged_count=len(rows),
        flagged=tuple(_flagged(row, rule.column) for row in _records(rows[: KEPT_ROWS if fits else 0])),
    )


def _verb(problem: str, count: int) -> str:
    """Return `problem` with its verb in the singular for one: "are blank" → "is blank"."""
    verb, rest = problem.split(" ", 1)
    return f"{ {'are': 'is', 'have': 'has', 'show': 'shows'}[verb] if count == 1 else verb } {rest}"


def _records(rows: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return `rows` as plain Python values, None where one is missing."""
    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return [{str(column): value for column, value in record.items()} for record in records]


def _flagged(row: Mapping[str, Any], column: str) -> Flagged:
    known = {field.name for field in fields(Flagged)} - {"value", "text"}
    if column != "suggested":
        known.remove("label_probability")
    text = f"{_VALUES.get(column, column.replace('_', ' '))} {number(row[column])}"
    return Flagged(row[column], text, **{key: value for key, value in row.items() if key in known})


def _error(result: Any) -> str:
    """Return why an expectation could not be checked, such as a column that is missing; empty where it could."""
    info = result.exception_info
    problems = [info] if "raised_exception" in info else list(info.values())
    messages = [problem["exception_message"] for problem in problems if problem["raised_exception"]]
    return f"not checked: {' '.join(str(messages[0]).split())}" if messages else ""


def _extremes(rule: Rule, frame: "pd.DataFrame") -> tuple[float | None, float | None]:
    column = rule.column
    if rule.table == "pairs" or column not in frame or frame[column].dtype.kind not in "iuf" or frame[column].isna().all():
        return None, None
    return frame[column].min().item(), frame[column].max().item()


def number(value: str | float | None) -> str:
    """Return `value` for people: numbers with five digits."""
    if value is None:
        return "missing"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
