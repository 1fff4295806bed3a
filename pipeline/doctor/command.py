"""doctor: what is wrong with the registry, its history, the runs and their files; --fix mends it under the model's lock."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from pipeline import tracking
from pipeline.doctor import files, locks, moves, runs
from pipeline.doctor.finding import Examined, Finding, Registry, counted
from pipeline.project import Project
from pipeline.promotion import lock
from pipeline.promotion.lock import Lock

_MENDABLE: Sequence[Callable[[Registry], Examined]] = (moves.examine, runs.examine)


def run(fix: bool, project: Project) -> bool:
    """Prints what is wrong, what it means, and what --fix does about it; with `fix` does that.

    Args:
        fix: Mend what can be mended without harm.
        project: Names the data set, and has its store.

    Returns:
        Whether nothing is wrong, or nothing any more.

    Raises:
        LockedError: another process changes the model's stages just now.
        TrackingError: the store cannot be used or does not answer.
    """
    if not tracking.has_store(project.workspace):
        print("nothing to look at: there is no tracking store yet; `python -m pipeline run` makes it")
        return True
    with tracking.store_guard(project.workspace):
        return _examine(Registry(tracking.connect(project.workspace), project), fix)


def _examine(registry: Registry, fix: bool) -> bool:
    before = [locks.examine(registry), files.examine(registry)]  # once: there is nothing to mend about files
    can_lock = all(finding.mend for finding in before[0].findings)
    with lock.held(registry.client, registry.model) if fix and can_lock else nullcontext() as held:
        examined = [*before, *(check(registry) for check in _MENDABLE)]
        findings = _findings(examined)
        _show(registry, examined, findings)
        left = _mend(registry, held, findings) if held else findings
    _conclude(fix, findings, left)
    return not left


def _findings(examined: Sequence[Examined]) -> Sequence[Finding]:
    return [finding for each in examined for finding in each.findings]


def _mend(registry: Registry, held: Lock, findings: Sequence[Finding]) -> Sequence[Finding]:
    """Mends what can be mended, and returns what is wrong after that."""
    for finding in findings:
        if finding.mend:
            finding.mend(held)
    hopeless = [finding for finding in findings if not finding.mend]
    again = _findings([check(registry) for check in _MENDABLE])
    return [*hopeless, *(finding for finding in again if finding not in hopeless)]


def _show(registry: Registry, examined: Sequence[Examined], findings: Sequence[Finding]) -> None:
    if not findings:
        print(f"{registry.model}: nothing is wrong")
        print(f"looked at {', '.join(each.what for each in examined)}")
        return
    print(f"{registry.model}: {counted(len(findings), 'finding')}")
    _print(findings)


def _print(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    for number, finding in enumerate(findings, start=1):
        table.add_row()
        table.add_row(str(number), "found", finding.found, style="bold")
        table.add_row("", "means", finding.means)
        table.add_row("", "--fix", finding.fix, style="" if finding.mend else "yellow")
    Console(highlight=False, markup=False, emoji=False).print(table)


def _conclude(fix: bool, findings: Sequence[Finding], left: Sequence[Finding]) -> None:
    if not findings:
        return
    print()
    mendable = len([finding for finding in findings if finding.mend])
    if not fix:
        print(
            f"`python -m pipeline doctor --fix` mends {mendable} of {len(findings)}" if mendable else "--fix mends none of this"
        )
        return
    remain = [str(number) for number, finding in enumerate(findings, start=1) if finding in left]
    print(f"mended {len(findings) - len(remain)} of {len(findings)}" + (f"; not mended: {', '.join(remain)}" if remain else ""))
    if new := [finding for finding in left if finding not in findings]:
        print(f"and what came to light by that: {counted(len(new), 'finding')}")
        _print(new)
