"""Moves of versions without a gate, as the commands make them: in this process, in one that is killed, in rivals.

`python -m tests.register.moves VERSION` moves one version into production for each line on stdin and answers with a line.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import environment, tracking
from pipeline.errors import LockedError
from pipeline.register import history, lock, stages
from pipeline.register.history import Entry, Record
from pipeline.workspace import Workspace

PROJECT = Path(__file__).parents[2]
MODEL = "toys-classifier"
VERSIONS = 8


@dataclass(frozen=True)
class Registry:
    """A workspace with its store."""

    workspace: Workspace
    client: Any

    def move(self, version: str, target: str, kind: history.Kind = "promote") -> Entry:
        """Moves a version under the lock, after mending what was cut short."""
        experiment = tracking.experiment_id(self.client, self.workspace, history.experiment_name(MODEL))
        with lock.held(self.client, MODEL) as held:
            stages.recover(self.client, held, history.read(self.client, MODEL))
            now = stages.standing(self.client, MODEL)
            record = Record(
                kind=kind,
                who="somebody",
                when=history.now(),
                model=MODEL,
                version=version,
                source=now.stage_of(version),
                target=target,
                before=now.aliases.get(target),
                reason="",
                rows=(history.Row(rule="accuracy", verdict="passed", value=0.9, comparison="≥", limit=0.5),),
                git_commit=None,
                evidence="",
            )
            return stages.move(self.client, held, experiment, history.read(self.client, MODEL), record)

    def recover(self) -> list[str]:
        """Takes the lock, mends, and says how each move ended."""
        with lock.held(self.client, MODEL) as held:
            return [entry.state for entry in stages.recover(self.client, held, history.read(self.client, MODEL))]

    def breaks(self) -> list[str]:
        head = self.client.get_registered_model(MODEL).tags.get(history.HEAD)
        return history.breaks(history.read(self.client, MODEL), head)

    def shown(self) -> Mapping[str, tuple[str, str, str]]:
        """Version → stage by alias, tag, and MLflow's stage field, of those that have one."""
        now = stages.standing(self.client, MODEL)
        found = {
            str(entry.version): (now.stage_of(str(entry.version)), entry.tags.get("stage", "none"), entry.current_stage.lower())
            for entry in self.client.search_model_versions(f"name = '{MODEL}'")
        }
        return {version: stage for version, stage in found.items() if stage != ("none", "none", "none")}


def process(workspace: Workspace, version: str, **variables: str) -> "subprocess.Popen[str]":
    """Another process that moves `version` into production for each line it is given."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.register.moves", version],
        cwd=workspace.root,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def killed_at(workspace: Workspace, version: str, point: str) -> None:
    """Another process that is killed on its way, at `point`."""
    with process(workspace, version, PIPELINE_FAULT=point) as other:
        other.communicate("go\n")
    assert other.returncode == -signal.SIGKILL


def main(version: str) -> None:
    environment.prepare()
    workspace = Workspace.find()
    registry = Registry(workspace, tracking.connect(workspace))
    for _ in sys.stdin:
        try:
            registry.move(version, "production", "force")
        except LockedError as error:
            print(f"locked: {error}", flush=True)
        else:
            print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
