"""Faults and what they leave: each is injected into a real checkout, taken away, and the user's command repeated.

`FAULTS=all` injects all of `table.FAULTS` and rewrites the table of docs/reliability.md; else a few of each kind.
"""

import os

import pytest

from tests.faults import results
from tests.faults.injections import NotInjectedError
from tests.faults.judge import judge
from tests.faults.laboratory import STATES, Laboratory
from tests.faults.table import FAULTS, Fault

_ALL = os.environ.get("FAULTS") == "all"


def _marked(fault: Fault) -> object:
    group = pytest.mark.xdist_group(fault.store)  # for --dist=loadgroup: then each store's states are made once
    marks = [group] if fault.sample == "short" else [group, pytest.mark.exhaustive]
    return pytest.param(fault, id=fault.id, marks=marks)


@pytest.mark.parametrize("fault", [_marked(fault) for fault in FAULTS if _ALL or fault.sample])
def test_nothing_is_lost_doubled_or_changed(fault: Fault, laboratories: dict[str, Laboratory]) -> None:
    lab = laboratories[fault.store]
    expected = lab.expected("staged" if fault.promoted else fault.result)
    lab.expected(fault.result)
    lab.enter(fault.state)
    try:
        done = fault.inject(lab, fault.command)
    except NotInjectedError as reason:
        pytest.fail(f"the fault did not happen: {reason}")
    output = done.output
    if fault.promoted and not done.code:
        with lab.serving():
            promoted = lab.run(STATES["staged"].command)
        output += promoted.output
    verdict = judge(lab.facts(), expected)
    results.note(fault, done.code == 0, verdict, output)
    assert done.code == 0, output
    assert verdict, f"lost {verdict.lost}\ndoubled {verdict.doubled}\ndiffering {verdict.differing}\n{output}"
