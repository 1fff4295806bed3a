"""The advice for an output that changed at rest, followed by a real DVC: with each kind of link, and a damaged cache."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.restore import way_back
from tests.conftest import Shell
from tests.data_sets import flip

STAGES = """\
stages:
  ingest:
    cmd: mkdir -p data/set && printf 'cat dog' > data/set/labels && printf '{}' > data/set/about.json
    outs: [data/set]
  train:
    cmd: tr a o < data/set/labels > model
    deps: [data/set]
    outs: [model]
"""


def test_where_dvc_has_no_copy_the_stage_writes_it_again(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    assert way_back(tmp_path / "data/dataset", "ingest") == "run `dvc repro -s -f ingest`"


def test_a_copy_of_what_a_run_has_is_in_no_checkout(tmp_path: Path) -> None:
    assert way_back(tmp_path / "training.json", "train") == "restore it from a backup of the tracking store"


@pytest.fixture
def project(tmp_path: Path, shell: Shell) -> Callable[[str], Path]:
    def made(link: str) -> Path:
        (tmp_path / "dvc.yaml").write_text(STAGES)
        for command in ("init --no-scm --quiet", f"config cache.type {link}", "repro --quiet"):
            shell("dvc", *command.split(), cwd=tmp_path)
        return tmp_path

    return made


@pytest.mark.exhaustive
@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
@pytest.mark.parametrize(("output", "file", "stage"), [("data/set", "data/set/labels", "ingest"), ("model", "model", "train")])
@pytest.mark.parametrize("damaged", ["output", "both", "output, and the cache is gone"])
def test_the_advice_brings_the_good_copy_back(
    project: Callable[[str], Path], shell: Shell, link: str, output: str, file: str, stage: str, damaged: str
) -> None:
    root = project(link)
    good = (root / file).read_bytes()
    copies = [path for path in (root / ".dvc/cache").rglob("*") if path.is_file() and path.read_bytes() == good]
    flip(root / file)
    if damaged == "both" and link == "copy":
        flip(copies[0])
    if damaged == "output, and the cache is gone" and link != "symlink":
        copies[0].unlink()
    assert (root / file).read_bytes() != good
    command = re.fullmatch(r".*run `(.*)`", way_back(root / output, stage))
    assert command
    shell("sh", "-c", command[1], cwd=root)
    assert (root / file).read_bytes() == good
    assert [path.read_bytes() for path in copies] == [good]
    assert shell("dvc", "status", cwd=root).stdout.startswith("Data and pipelines are up to date.")
