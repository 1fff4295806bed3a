"""Which versions promote compares a candidate with, in a real registry, and the count of the candidates."""

import pytest

from pipeline.errors import RefusedError
from pipeline.project import Project
from pipeline.promotion import command
from pipeline.promotion.record import Row
from pipeline.tracking.manifest import MANIFEST
from tests.compare.trainings import MODEL, Trainings
from tests.promotion.checkouts import BETTER, MEDIUM, WEAK, promote_to, records, stage_of

pytestmark = pytest.mark.usefixtures("predicted_here")
WORSE, WORSE_THAN_BEST = "not worse than production", "not worse than the best so far in production"


def rows(candidates: Trainings) -> dict[str, Row]:
    return {row.rule: row for row in records(candidates)[-1].rows}


def test_archiving_production_first_opens_no_way_around_the_gate(candidates: Trainings) -> None:
    promote_to(candidates, BETTER, "staging")
    promote_to(candidates, BETTER, "production")
    command.archive(BETTER, "", Project.load(candidates.workspace))
    promote_to(candidates, MEDIUM, "staging")
    with pytest.raises(RefusedError, match=f"version 2 was refused for production: failed {WORSE}"):
        promote_to(candidates, MEDIUM, "production")
    assert "accuracy 0.5000 vs. 0.8750 of version 3 (last in production)" in rows(candidates)[WORSE].detail
    assert rows(candidates)[WORSE_THAN_BEST].detail.startswith("version 3 (last in production) is the best of 1")
    assert stage_of(candidates, MEDIUM) == "staging"
    promote_to(candidates, BETTER, "staging")
    promote_to(candidates, BETTER, "production")
    assert rows(candidates)[WORSE].detail == "version 3 itself was the last in production"


@pytest.fixture
def forced(candidates: Trainings) -> str:
    """A candidate, in staging, better than production, which was forced there over a better one; its number."""
    for version, force in ((BETTER, False), (WEAK, True)):
        promote_to(candidates, version, "staging", "we know", force)
        promote_to(candidates, version, "production", "we know", force)
    promote_to(candidates, MEDIUM, "staging")
    return MEDIUM


def test_a_version_better_than_production_but_not_than_the_best_before_it_is_refused(
    candidates: Trainings, forced: str
) -> None:
    with pytest.raises(RefusedError, match=f"version {forced} was refused for production: failed {WORSE_THAN_BEST};"):
        promote_to(candidates, forced, "production")
    assert rows(candidates)[WORSE].verdict == "passed"
    assert "accuracy 0.5000 vs. 0.8750 of version 3 (was in production)" in rows(candidates)[WORSE_THAN_BEST].detail


@pytest.mark.parametrize("deleted", [True, False], ids=["deleted", "unreadable"])
def test_a_best_version_that_is_gone_is_named(candidates: Trainings, forced: str, deleted: bool) -> None:
    if deleted:
        candidates.client.delete_model_version(MODEL, BETTER)
    else:
        candidates.client.set_model_version_tag(MODEL, BETTER, MANIFEST, "{}")
    promote_to(candidates, forced, "production")
    row = rows(candidates)[WORSE_THAN_BEST]
    assert row.verdict == "nothing to compare"
    why = "version 3 (0.8750) was deleted" if deleted else "version 3 (was in production) cannot be compared: "
    assert row.detail.startswith(why)


def test_the_candidates_judged_on_the_test_images_are_counted_once_each(candidates: Trainings) -> None:
    promote_to(candidates, MEDIUM, "staging", dry=True)
    for version in (WEAK, BETTER):
        promote_to(candidates, version, "staging", "we know", force=True)
    promote_to(candidates, BETTER, "production")
    promote_to(candidates, MEDIUM, "staging")
    assert [record.candidates for record in records(candidates)] == [1, 2, 2, 3]
    row = rows(candidates)["candidates judged on these images"]
    assert (row.value, row.verdict, row.detail) == (3, "no rule", "the 3rd candidate judged on these images")
    assert records(candidates)[-1].accuracy == 0.5
    assert len(records(candidates)[-1].test_digest) == 64
