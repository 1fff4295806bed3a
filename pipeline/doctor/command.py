"""doctor: check versions, registry stages, history, runs and their files; --fix fixes what it can under the model's lock."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from pipeline import signing, tracking
from pipeline.doctor import backup, complete, place, runs, stages
from pipeline.doctor.finding import Checked, Finding, Registry, counted
from pipeline.project import Project
from pipeline.tracking import lock
from pipeline.tracking.lock import Lock

_FIXABLE: Sequence[Callable[[Registry], Checked]] = (stages.check, runs.check, runs.check_versions, backup.check)


def run(fix: bool, project: Project, accept: str = "") -> bool:
    """Print each problem with its meaning and remedy; with `fix`, fix what can be fixed safely.

    Args:
        fix: May write.
        project: Names the model.
        accept: The reason why the gaps of the history are acknowledged; "" for not.

    Returns:
        Whether there is no problem, or none any more.

    Raises:
        LockedError: another process changes the model's stages just now.
        TrackingError: the store cannot be used or does not answer.
    """
    if not place.check(project.workspace, fix):  # first: a copy must not be connected with the files of the original
        return False
    if fix or accept:
        signing.check_ready(project.workspace.allowed_signers, project.params.promote.require_signature)
    with tracking.store_guard(project.workspace):
        if accept:
            client = tracking.connect(project.workspace)
            with lock.held(client, project.model) as held:
                stages.accept(Registry(client, project), held, accept)
        return _check(Registry(tracking.connect(project.workspace), project), fix)


def _check(registry: Registry, fix: bool) -> bool:
    # Once: what these find has no fix, and the lock is taken below.
    before = [check(registry) for check in (runs.check_lock, runs.check_files, complete.check)]
    can_lock = all(finding.fix for finding in before[0].findings)
    with lock.held(registry.client, registry.model) if fix and can_lock else nullcontext() as held:
        checked = [*before, *(check(registry) for check in _FIXABLE)]
        findings = _findings(checked)
        print(f"{registry.model}: {counted(len(findings), 'problem') if findings else 'no problems found'}")
        if not findings:
            print(f"checked {', '.join(each.what for each in checked)}")
            return True
        _print(findings)
        left = _fix(registry, held, findings) if held else findings
    _conclude(fix, findings, left)
    return not left


def _findings(checked: Sequence[Checked]) -> Sequence[Finding]:
    return [finding for each in checked for finding in each.findings]


def _fix(registry: Registry, held: Lock, findings: Sequence[Finding]) -> Sequence[Finding]:
    """Fix what can be fixed, and return the problems that are left."""
    for finding in findings:
        if finding.fix:
            finding.fix(held)
    unfixable = [finding for finding in findings if not finding.fix]
    again = _findings([check(registry) for check in _FIXABLE])
    return [*unfixable, *(finding for finding in again if finding not in unfixable)]


def _print(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    for number, finding in enumerate(findings, start=1):
        table.add_row()
        table.add_row(str(number), "problem", finding.problem, style="bold")
        table.add_row("", "meaning", finding.meaning)
        table.add_row("", "--fix", finding.remedy, style="" if finding.fix else "yellow")
    Console(highlight=False, markup=False, emoji=False).print(table)


def _conclude(fix: bool, findings: Sequence[Finding], left: Sequence[Finding]) -> None:
    print()
    if not fix:
        fixable = sum(finding.fix is not None for finding in findings)
        can = f"`python -m pipeline doctor --fix` fixes {fixable} of {len(findings)}"
        print(can if fixable else "no automatic fix for any of these")
        return
    remain = [str(number) for number, finding in enumerate(findings, start=1) if finding in left]
    print(f"fixed {len(findings) - len(remain)} of {len(findings)}" + (f"; not fixed: {', '.join(remain)}" if remain else ""))
    if new := [finding for finding in left if finding not in findings]:
        print(f"found after fixing: {counted(len(new), 'problem')}")
        _print(new)
