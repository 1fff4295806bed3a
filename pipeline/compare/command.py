"""compare: is B better than A, on the same test pictures? A table in the terminal, and a page with all that changed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import tracking
from pipeline.compare import comparison, models, report
from pipeline.compare.comparison import Comparison
from pipeline.evaluate.wording import percent
from pipeline.project import Project
from pipeline.workspace import replacing

if TYPE_CHECKING:
    from rich.table import Table

_WIDE = 78  # characters; below, the table shows B and the difference only
_TONES = {"better": "green", "worse": "bold red"}


def run(a: str, b: str, project: Project) -> None:
    """Prints the comparison and writes reports/compare-A-B.html.

    Args:
        a: A version, an alias, or a run's id or its beginning.
        b: Likewise; what is asked about.
        project: Whose registry is asked, and whose data is answered where the stored answers are of other data.

    Raises:
        TrackingError: the tracking store cannot be used or does not answer.
        PipelineError: the two cannot be compared; see `models.pair`.
    """
    found = between(tracking.connect(project.workspace), a, b, project)
    path = write(found, project)
    _show(found, project.workspace.shown(path))


def between(client: Any, a: str, b: str, project: Project) -> Comparison:
    """B compared with A; arguments and errors as of `models.pair`."""
    return comparison.compare(models.pair(client, a, b, project))


def write(found: Comparison, project: Project) -> Path:
    """Writes the page of `found`, and returns where: evidence for whoever decides between the two."""
    names = (each.source.version or each.source.run_id[:8] for each in (found.pair.a, found.pair.b))
    path = project.workspace.comparison(*names)
    with replacing(path) as aside:
        aside.write_text(report.html(found), encoding="utf-8")
    return path


def _show(found: Comparison, page: str) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    console.print(f"A is {found.pair.a.source.name}, B is {found.pair.b.source.name}")
    if found.pair.scored_again:
        console.print(f"{found.pair.scored_again}.")
    console.print(_table(found, console.width >= _WIDE))
    console.print(found.headline, style=_TONES.get(found.verdict, ""))
    console.print(found.evidence)
    for verdict, tone in _TONES.items():
        if said := ", ".join(_class(each) for each in found.classes if each.verdict == verdict):
            console.print(f"{verdict} at {said}", style=tone)
    console.print(f"look at {page}")


def _class(each: comparison.ClassChange) -> str:
    return f"{each.name} (recall {percent(each.recall[0])} → {percent(each.recall[1])})"


def _table(found: Comparison, wide: bool) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if wide else None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("score", no_wrap=True)
    for name in ("A", "B", "B - A", "95 % interval", "") if wide else ("B", "B - A"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for each in found.changes:
        score = each.score
        cells = [score.said(each.b), score.said_change(each.b - each.a)]
        if wide:
            interval = score.said_changes(each.interval.low, each.interval.high)
            cells = [score.said(each.a), *cells, interval, each.verdict]
        table.add_row(score.name, *cells, style=_TONES.get(each.verdict, ""))
    return table
