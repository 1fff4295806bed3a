"""The manifest of a version's files."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import RegistryError
from pipeline.tracking import manifest
from tests.tracking.model_files import DAMAGES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "conda.yaml").write_bytes(b"")
    (tmp_path / "data" / "model.keras").write_bytes(b"weights")
    return tmp_path


def test_it_is_canonical_json_of_every_file(folder: Path) -> None:
    empty, weights = (hashlib.sha256(content).hexdigest() for content in (b"", b"weights"))
    assert manifest.of(folder) == f'{{"conda.yaml":"{empty}","data/model.keras":"{weights}"}}'
    assert manifest.size(folder) == 7
    manifest.check(folder, manifest.of(folder), "version 3")


def test_what_mlflow_writes_beside_them_does_not_count(folder: Path) -> None:
    before = manifest.of(folder)
    (folder / "registered_model_meta").write_text("model_name: toys")
    assert manifest.of(folder) == before
    assert manifest.size(folder) == 7


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_not_the_registered_one_is_named_in_one_line(folder: Path, damage: Callable[[Path], str]) -> None:
    before = manifest.of(folder)
    reported = damage(folder)
    with pytest.raises(RegistryError, match=f"^version 3 is not what was registered: {reported}; do not use it: [^\n]*$"):
        manifest.check(folder, before, "version 3")


def test_a_path_that_leads_out_of_the_folder_is_not_followed(folder: Path) -> None:
    outside = folder.with_name("outside")
    outside.write_bytes(b"secret")
    reaching = {**json.loads(manifest.of(folder)), "../outside": hashlib.sha256(b"secret").hexdigest()}
    with pytest.raises(RegistryError, match=r"its file \.\./outside is missing"):
        manifest.check(folder, json.dumps(reaching), "version 3")


@pytest.mark.parametrize(
    ("tag", "message"), [("", "version 3 has no manifest"), ("[1]", "a tag `version_manifest` that"), ("{", "a tag")]
)
def test_without_a_manifest_nothing_is_trusted(folder: Path, tag: str, message: str) -> None:
    with pytest.raises(RegistryError, match=f"{message}[^\n]*$"):
        manifest.check(folder, tag, "version 3")


def test_more_files_than_a_tag_can_name_are_refused(folder: Path) -> None:
    for number in range(70):
        (folder / str(number)).touch()
    with pytest.raises(RegistryError, match=r"^a model of 72 files cannot be registered"):
        manifest.of(folder)
