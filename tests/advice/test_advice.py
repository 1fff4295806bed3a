"""Every command that a message advises is run in the state that produces the message; the state is good afterwards."""

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.advice import damages
from tests.advice.commands import advised, in_backticks
from tests.advice.states import AFTER_A_CHANGE, ELSEWHERE, SHOWN, STATES, State, pipeline
from tests.conftest import PROJECT, Shell


@dataclass(frozen=True)
class Facts:
    """What advice must not change: that nothing was trained, registered, promoted or deleted again."""

    training: str
    weights: str
    runs: int
    versions: tuple[str, ...]
    aliases: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, checkout: Path) -> "Facts":
        training = json.loads((checkout / "models/training.json").read_text())
        with closing(sqlite3.connect(checkout / "mlflow.db")) as store:
            trained = "SELECT count(*) FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = 'digits'"
            runs = store.execute(f"{trained} AND runs.lifecycle_stage = 'active'").fetchone()[0]
            versions = store.execute("SELECT version, run_id FROM model_versions ORDER BY version").fetchall()
            aliases = store.execute("SELECT alias, version FROM registered_model_aliases ORDER BY alias").fetchall()
        return cls(
            training["training_id"], training["weights_digest"], runs, tuple(f"{a} {b}" for a, b in versions), tuple(aliases)
        )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, new_clone: Callable[[Path], Path], shell: Shell) -> Path:
    """A checkout of digits: version 1 archived, 2 in production, 3, of other splits, in staging; copies lie where it lay."""
    folder = new_clone(tmp_path_factory.mktemp("advice") / "project")
    seeds = {"1": ("train", "42"), "2": ("train", "43"), "3": ("ingest", "44")}
    # A gate that every model passes, after a short training.
    settings = ("dataset: fashion-mnist", "digits"), ("min_steps: 1000", "300"), (r"baseline_significance: 0\.05", "null")
    for old, new in settings:
        damages.replaced("params.yaml", old, f"{old.partition(':')[0]}: {new}")(folder)
    for version, (section, seed) in seeds.items():
        damages.replaced("params.yaml", rf"(?ms)^({section}:.*?\n  seed: )\d+", rf"\g<1>{seed}")(folder)
        shell("dvc", "repro", cwd=folder)
        for stage in ("staging", "production")[: 1 + (version != "3")]:
            shell(*pipeline("promote", version, stage, "--force", "--reason", "to have one"), cwd=folder)
    shell("git", "add", "-A", cwd=folder)
    shell("git", "-c", "user.name=me", "-c", "user.email=me@localhost", "commit", "-q", "-m", "three versions", cwd=folder)
    shutil.rmtree(folder / ".checkpoints")  # with it, training again would cost nothing and change nothing
    return folder.rename(folder.with_name("original"))


@pytest.fixture
def checkout(original: Path) -> Iterator[Path]:
    folder = original.with_name("project")
    shutil.copytree(original, folder, symlinks=True)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("key", "state"), STATES, ids=lambda value: value.says if isinstance(value, State) else " ".join(value)
)
def test_advice_leads_to_a_good_state_and_does_no_harm(
    key: tuple[str, str], state: State, checkout: Path, shell: Shell
) -> None:
    before = Facts.of(checkout)
    state.make(checkout)
    failed = shell(*state.command, cwd=checkout, check=False, COLUMNS="1000")
    printed = failed.stdout + failed.stderr
    assert state.says in printed
    commands = in_backticks(printed)
    pattern = re.sub(r"\\{\w*\\}", "[^`]+", re.escape(key[1]))
    assert any(re.fullmatch(pattern, command) for command in commands), commands
    for command in commands:
        shell("bash", "-c", command, cwd=checkout)
    again = shell(*(state.again or state.command), cwd=checkout, check=not state.moves, COLUMNS="1000")
    assert state.says not in again.stdout + again.stderr
    after = Facts.of(checkout)
    if state.trains:
        assert after.training != before.training
        assert {*before.versions} <= {*after.versions}
        return
    assert (replace(after, aliases=before.aliases) if state.moves else after) == before
    assert "up to date" in shell("dvc", "status", cwd=checkout).stdout


def test_every_command_in_a_message_is_run_by_a_test() -> None:
    found = advised(PROJECT / "pipeline")
    tested = {*dict(STATES), *ELSEWHERE, *AFTER_A_CHANGE}
    untested = {key: line for key, line in found.items() if key not in tested and not SHOWN.fullmatch(key[1])}
    assert not untested
    assert not tested - {*found}, "no message has these any more"


@pytest.mark.parametrize("test", sorted({*ELSEWHERE.values()}))
def test_the_test_that_runs_a_command_exists(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name}(" in (PROJECT / "tests" / file).read_text(encoding="utf-8")
