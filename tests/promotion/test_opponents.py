"""Which versions a candidate is compared with, by records made by hand and the versions of a real registry."""

from collections.abc import Sequence

import pytest

from pipeline.promotion import opponents
from pipeline.promotion.opponents import Opponents
from pipeline.promotion.record import Entry, Kind, Record
from pipeline.tracking import Source
from tests.promotion.registry import MODEL, Registry

HERE, ELSEWHERE = "aa" * 32, "bb" * 32  # digests of test splits


def entry(
    version: str, accuracy: float | None, digest: str = HERE, target: str = "production", kind: Kind = "promote"
) -> Entry:
    source = "production" if kind == "archive" else "staging"
    record = Record(
        kind=kind,
        who="somebody",
        when="2026-01-31T18:30:00+00:00",
        model=MODEL,
        version=version,
        source=source,
        target="archived" if kind == "archive" else target,
        replaced=None,
        reason="",
        rows=(),
        git_commit=None,
        evidence="",
        weights_digest=f"weights of {version}",
        run_id="",
        test_digest=digest,
        accuracy=accuracy,
    )
    return Entry(record, "done", "")


def chosen(registry: Registry, current: str | None, entries: Sequence[Entry], candidate: str = "8") -> Opponents:
    source = Source(f"version {candidate}", "", MODEL, candidate)
    return opponents.choose(registry.client, source, current, entries, HERE)


def names(found: Opponents) -> list[str]:
    return [each.name for each in found.best]


def test_the_version_in_production_comes_first_and_then_the_better_ones_that_were(registry: Registry) -> None:
    found = chosen(registry, "4", [entry("1", 0.92), entry("2", 0.94), entry("3", 0.95), entry("4", 0.93)])
    assert found.production == Source("version 4 (production)", found.best[0].run_id, MODEL, "4")
    assert names(found) == ["version 3 (was in production)", "version 2 (was in production)"]
    assert (found.among, found.note, found.why_not) == (4, "", "")


def test_production_that_is_the_best_itself_leaves_no_better_one(registry: Registry) -> None:
    found = chosen(registry, "2", [entry("1", 0.92), entry("2", 0.94)])
    assert found.best == []
    assert found.note == "version 2 (production) is the best of 2 that were in production on these images"


def test_with_production_archived_the_last_that_was_there_counts(registry: Registry) -> None:
    found = chosen(registry, None, [entry("1", 0.92), entry("2", 0.94), entry("2", None, kind="archive")])
    assert found.production is not None
    assert found.production.name == "version 2 (last in production)"


def test_a_candidate_is_not_compared_with_itself(registry: Registry) -> None:
    found = chosen(registry, None, [entry("1", 0.92), entry("8", 0.94), entry("8", None, kind="archive")])
    assert (found.production, found.why_not) == (None, "version 8 itself was the last in production")
    assert names(found) == ["version 1 (was in production)"]


@pytest.mark.parametrize(
    ("entries", "note"),
    [
        ([], "nothing was ever in production"),
        ([entry("1", 0.9, target="staging")], "nothing was ever in production"),
        ([entry("1", 0.9, ELSEWHERE)], "no record says how a version in production did on these test images"),
        ([entry("1", None)], "no record says how a version in production did on these test images"),
        ([entry("1", float("inf"))], "no record says how a version in production did on these test images"),
    ],
    ids=["no records", "staging only", "other images", "old records", "impossible"],
)
def test_where_no_best_is_known_the_note_says_why(registry: Registry, entries: Sequence[Entry], note: str) -> None:
    found = chosen(registry, "2", entries)
    assert (found.best, found.note, found.among) == ([], note, 1)


def test_deleted_versions_are_named_and_the_next_best_is_taken(registry: Registry) -> None:
    registry.client.delete_model_version(MODEL, "3")
    found = chosen(registry, None, [entry("2", 0.94), entry("4", 0.91), entry("3", 0.95), entry("3", None, kind="archive")])
    assert found.production is not None
    assert found.production.name == "version 4 (last in production)"
    assert names(found) == ["version 2 (was in production)"]
    assert found.note == "version 3 (0.9500) was deleted"


def test_a_candidate_with_the_number_of_a_deleted_version_is_not_that_one(registry: Registry) -> None:
    registry.client.set_model_version_tag(MODEL, "8", "weights_digest", "other weights")
    found = chosen(registry, None, [entry("1", 0.91), entry("8", 0.95)])
    assert found.production is not None
    assert found.production.name == "version 1 (last in production)"
    assert (found.best, found.note) == ([], "version 8 (0.9500) was deleted")


def test_another_version_of_the_same_number_is_not_the_one_that_was_in_production(registry: Registry) -> None:
    """After the registered model was deleted, numbers begin at 1 again."""
    registry.client.set_model_version_tag(MODEL, "1", "weights_digest", "other weights")
    found = chosen(registry, None, [entry("1", 0.95)])
    assert (found.production, found.why_not) == (None, "version 1, the last in production, was deleted")
    assert (found.best, found.note) == ([], "version 1 (0.9500) was deleted")
