"""Versions of the registry, found by their content and by their tags."""

from typing import Any

import pytest

from pipeline import tracking
from pipeline.register import registry
from pipeline.tracking import Source
from tests.compare.trainings import MODEL, Trainings


@pytest.mark.parametrize(
    "query",
    [
        "tags.dataset = 'fashion-mnist'",
        "tags.architecture = 'notebook'",
        "tags.test_accuracy LIKE '0.5%'",
        "tags.training_id LIKE '012-%'",
        "tags.git_commit LIKE 'c0ffee%'",
    ],
)
def test_versions_are_found_by_their_tags(versions: Trainings, query: str) -> None:
    found: list[Any] = versions.client.search_model_versions(f"name = '{MODEL}' and {query}")
    assert [version.version for version in found] == ([2] if "training_id" in query else [2, 1])


def test_registered_models_are_found_by_their_data_set(versions: Trainings) -> None:
    (found,) = versions.client.search_registered_models("tags.dataset = 'fashion-mnist'")
    assert found.name == MODEL
    assert found.description.startswith("Classifies 2×2 images of fashion-mnist into 3 classes.")


def test_a_version_is_found_by_its_weights_and_data(versions: Trainings) -> None:
    entry = versions.client.get_model_version(MODEL, "2")
    training = tracking.training_record(versions.client, Source("version 2", entry.run_id, MODEL, "2"))
    assert registry.find_version(versions.client, training) == "2"
