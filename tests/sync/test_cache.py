"""Trainings found in DVC's cache, from files that anybody may have written."""

import os
import shutil
from pathlib import Path

import pytest

from pipeline import provenance
from pipeline.sync import cache
from pipeline.tracking.content import Content
from pipeline.workspace import Workspace


def found(folder: Path, scratch: Path) -> list[Workspace]:
    return list(cache.find(Workspace(folder, folder), scratch))


def test_a_training_is_found_with_everything_that_belongs_to_it(built: Path, tmp_path: Path) -> None:
    (there,) = found(built, tmp_path)
    here = Workspace(built, built)
    assert provenance.read_training(there.training) == provenance.read_training(here.training)
    assert {*Content.of_outputs(there).files} == {
        *(path for path in Content.of_outputs(here).files if path not in ("provenance/dvc.lock", "register/registration.json"))
    }
    assert there.model.read_bytes() == here.model.read_bytes()


def test_a_damaged_copy_is_left_out(built_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (there,) = found(built_copy, tmp_path / "first")
    copy = Path(os.path.realpath(there.history))
    copy.chmod(0o600)
    copy.write_bytes(copy.read_bytes().replace(b"1", b"2", 1))
    assert found(built_copy, tmp_path / "second") == []
    assert f"{copy} is damaged: it is left out" in capsys.readouterr().err


def test_nothing_is_followed_out_of_the_cache() -> None:
    text = """cmd: python -m pipeline train
deps:
- path: data/dataset
  md5: ../../../../etc/passwd
outs:
- path: models/training.json
  md5: 0123456789abcdef0123456789abcdef
- path: ../../outside.json
  md5: 0123456789abcdef0123456789abcdef
- path: models/../../outside.json
  md5: 0123456789abcdef0123456789abcdef
- path: reports/history.csv
  md5: 0123456789abcdef0123456789abcdef.dir/..
"""
    _, stage = cache._parse(text)
    assert stage.deps == {}
    assert stage.outs == {"models/training.json": "0123456789abcdef0123456789abcdef"}


def test_without_dvc_or_git_there_is_nothing_to_find(workspace: Workspace, tmp_path: Path) -> None:
    shutil.rmtree(workspace.root / ".git", ignore_errors=True)
    assert found(workspace.root, tmp_path / "scratch") == []
