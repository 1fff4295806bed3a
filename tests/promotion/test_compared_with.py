"""Which versions promote compares a candidate with, in a real registry, and the count of the candidates."""

import pytest

from pipeline.errors import RefusedError
from pipeline.project import Project
from pipeline.promotion import command
from pipeline.promotion.record import Row
from pipeline.tracking.manifest import MANIFEST
from tests.compare.trainings import MODEL, Trainings
from tests.promotion.checkouts import BETTER, MEDIUM, WEAK, printed, promote_to, records, stage_of

pytestmark = pytest.mark.usefixtures("predicted_here")
WORSE, WORSE_THAN_BEST = "not worse than production", "not worse than the best so far"


def rows(candidates: Trainings) -> dict[str, Row]:
    return {row.rule: row for row in records(candidates)[-1].rows}


def test_archiving_production_first_opens_no_way_around_the_gate(candidates: Trainings) -> None:
    promote_to(candidates, MEDIUM, "staging", dry=True)  # counts nothing
    promote_to(candidates, BETTER, "staging")
    promote_to(candidates, BETTER, "production")
    command.archive(BETTER, "", Project.load(candidates.workspace))
    promote_to(candidates, MEDIUM, "staging")
    with pytest.raises(RefusedError, match=f"version 2 was refused for production: failed {WORSE}"):
        promote_to(candidates, MEDIUM, "production")
    assert "accuracy 0.5000 vs. 0.8750 of version 3 (last in production)" in rows(candidates)[WORSE].detail
    assert rows(candidates)[WORSE_THAN_BEST].detail.startswith("version 3 (last in production) is the best of 1")
    assert stage_of(candidates, MEDIUM) == "staging"

    count = rows(candidates)["candidates judged on these images"]
    assert (count.value, count.verdict, count.detail) == (2, "no rule", "the 2nd candidate judged on these images")
    assert [record.candidates for record in records(candidates)] == [1, 1, None, 2, 2]
    assert (records(candidates)[-1].accuracy, len(records(candidates)[-1].test_digest)) == (0.5, 64)


def test_a_version_better_than_production_but_not_than_the_best_before_it_is_refused(
    candidates: Trainings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Production was forced there over a better version; of that, if its files changed or it is gone, the row says so."""
    for version, force in ((BETTER, False), (WEAK, True)):
        promote_to(candidates, version, "staging", "we know", force)
        promote_to(candidates, version, "production", "we know", force)
    promote_to(candidates, MEDIUM, "staging")
    with pytest.raises(RefusedError, match=f"version 2 was refused for production: failed {WORSE_THAN_BEST};"):
        promote_to(candidates, MEDIUM, "production")
    assert rows(candidates)[WORSE].verdict == "passed"
    assert "accuracy 0.5000 vs. 0.8750 of version 3 (was in production)" in rows(candidates)[WORSE_THAN_BEST].detail

    candidates.client.set_model_version_tag(MODEL, BETTER, MANIFEST, "{}")
    monkeypatch.setenv("COLUMNS", "1000")
    promote_to(candidates, MEDIUM, "production", dry=True)
    assert "version 3 (was in production) cannot be compared: " in printed(capsys)
    candidates.client.delete_model_version(MODEL, BETTER)
    promote_to(candidates, MEDIUM, "production")
    assert rows(candidates)[WORSE_THAN_BEST].verdict == "nothing to compare"
    assert rows(candidates)[WORSE_THAN_BEST].detail.startswith("version 3 (0.8750) was deleted")
