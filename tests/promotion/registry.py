"""Moves of versions without a gate, as the commands make them: in this process, in one that is killed, in rivals.

`python -m tests.promotion.registry MODEL VERSION` moves one version into production per line on stdin, and prints a line.
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
from pipeline.promotion import chain, ledger, lock, transitions
from pipeline.promotion.record import Entry, Kind, Record, Row
from pipeline.workspace import Workspace

PROJECT = Path(__file__).parents[2]
MODEL = "toys-classifier"
VERSIONS = 8


@dataclass(frozen=True)
class Registry:
    """A workspace with its store."""

    workspace: Workspace
    client: Any
    model: str = MODEL

    def add_versions(self) -> None:
        """Registers the model with versions without files: enough for locks, stages and history."""
        run = self.client.create_run(tracking.experiment_id(self.client, self.workspace, self.model)).info
        self.client.create_registered_model(self.model)
        for _ in range(VERSIONS):
            self.client.create_model_version(self.model, source=f"{run.artifact_uri}/model", run_id=run.run_id)

    def entries(self) -> list[Entry]:
        return list(ledger.read(self.client, self.model))

    def move(self, version: str, target: str, kind: Kind = "promote") -> Entry:
        """Moves a version under the lock, after mending what was cut short."""
        experiment = tracking.experiment_id(
            self.client, self.workspace, ledger.experiment_name(self.model), tracking.PROMOTIONS
        )
        with lock.held(self.client, self.model) as held:
            transitions.recover(self.client, held, self.entries())
            now = transitions.standing(self.client, self.model)
            record = Record(
                kind=kind,
                who="somebody",
                when=ledger.now(),
                model=self.model,
                version=version,
                source=now.stage_of(version),
                target=target,
                before=now.aliases.get(target),
                reason="",
                rows=(Row(rule="accuracy", verdict="passed", value=0.9, comparison="≥", limit=0.5),),
                git_commit=None,
                evidence="",
            )
            return transitions.move(self.client, held, experiment, self.entries(), record)

    def recover(self) -> list[str]:
        """Takes the lock, mends, and says how each move ended."""
        with lock.held(self.client, self.model) as held:
            return [entry.state for entry in transitions.recover(self.client, held, self.entries())]

    def breaks(self) -> list[str]:
        return chain.examined(self.client, self.workspace, self.model)[1]

    def shown(self) -> Mapping[str, tuple[str, str, str]]:
        """Version → stage by alias, tag, and MLflow's stage field, of those that have one."""
        now = transitions.standing(self.client, self.model)
        found = {
            str(entry.version): (now.stage_of(str(entry.version)), entry.tags.get("stage", "none"), entry.current_stage.lower())
            for entry in self.client.search_model_versions(f"name = '{self.model}'")
        }
        return {version: stage for version, stage in found.items() if stage != ("none", "none", "none")}


def process(registry: Registry, version: str, **variables: str) -> "subprocess.Popen[str]":
    """Another process that moves `version` into production for each line it is given."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.promotion.registry", registry.model, version],
        cwd=registry.workspace.root,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def killed_at(registry: Registry, version: str, point: str) -> None:
    """Another process that is killed on its way, at `point`."""
    with process(registry, version, PIPELINE_FAULT=point) as other:
        other.communicate("go\n")
    assert other.returncode == -signal.SIGKILL


def main(model: str, version: str) -> None:
    environment.prepare()
    workspace = Workspace.find()
    registry = Registry(workspace, tracking.connect(workspace), model)
    for _ in sys.stdin:
        try:
            registry.move(version, "production", "force")
        except LockedError as error:
            print(f"locked: {error}", flush=True)
        else:
            print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
