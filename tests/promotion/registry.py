"""Moves of versions without a gate, as the commands make them: in this process, in one that is killed, in several at once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import environment, tracking
from pipeline.errors import LockedError
from pipeline.promotion import chain, ledger, timeline, transitions
from pipeline.promotion.record import Entry, Kind, Record, Row
from pipeline.tracking import lock
from pipeline.workspace import Workspace

PROJECT = Path(__file__).parents[2]
MODEL = "toys-classifier"
VERSIONS = 8
LOCKED = 3  # exit code of a process that did not get the lock
KILLED = -signal.SIGKILL

# Every write of a move from staging to production, where another version is replaced.
WRITES = {
    "lock": "create_registered_model",
    "record": "create_run",
    "head": "set_registered_model_tag",
    "tag": "set_model_version_tag",
    "alias": "set_registered_model_alias",
    "old alias": "delete_registered_model_alias",
    "stage field": "transition_model_version_stage",
    "tag of the replaced": "set_model_version_tag",
    "stage field of the replaced": "transition_model_version_stage",
    "state": "log_batch",
    "end of the record's run": "set_terminated",
    "outcome in the head": "set_registered_model_tag",
    "unlock": "delete_registered_model",
}
POINTS = tuple(WRITES)
REVERTED = POINTS[1:4]  # an interrupted move is reverted if it was killed after one of these writes,
COMPLETED = POINTS[4:9]  # and completed after one of these


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
        return list(ledger.read(self.client, self.model).entries)

    def move(self, version: str, target: str, kind: Kind = "promote") -> Entry:
        """Moves a version under the lock, after recovery."""
        experiment = tracking.experiment_id(
            self.client, self.workspace, ledger.experiment_name(self.model), tracking.PROMOTIONS
        )
        with lock.held(self.client, self.model) as held:
            transitions.recover(self.client, held, self.entries())
            now = transitions.current_stages(self.client, self.model)
            record = Record(
                kind=kind,
                who="somebody",
                when=ledger.now(),
                model=self.model,
                version=version,
                source=now.stage_of(version),
                target=target,
                replaced=now.aliases.get(target),
                reason="",
                rows=(Row(rule="accuracy", verdict="passed", value=0.9, comparison="≥", limit=0.5),),
                git_commit=None,
                evidence="",
                weights_digest=now.versions[version].weights_digest,
                run_id=now.versions[version].run_id,
            )
            return transitions.move(self.client, held, experiment, self.entries(), record)

    def recover(self) -> list[str]:
        """Takes the lock, recovers, and returns how each interrupted move ended."""
        with lock.held(self.client, self.model) as held:
            return [entry.state for entry in transitions.recover(self.client, held, self.entries())]

    def in_production(self) -> list[str | None]:
        """The numbers of the versions that were in production one after the other, by the records."""
        return [version.number if version else None for version in timeline.production(self.entries())]

    def problems(self) -> list[str]:
        history = chain.check(self.client, self.workspace, self.model)
        return [*(problem.text for problem in history.problems), *filter(None, [history.restorable])]

    def shown(self) -> Mapping[str, tuple[str, str, str]]:
        """Version → stage by alias, tag, and MLflow's stage field, of those that have one."""
        now = transitions.current_stages(self.client, self.model)
        found = {
            str(entry.version): (now.stage_of(str(entry.version)), entry.tags.get("stage", "none"), entry.current_stage.lower())
            for entry in self.client.search_model_versions(f"name = '{self.model}'")
        }
        return {version: stage for version, stage in found.items() if stage != ("none", "none", "none")}


def on_each_write(client: Any, call: Callable[[str], None]) -> None:
    """Makes the client call `call` with the name of the method after each write to the registry."""

    def wrapped(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            call(name)
            return result

        return write

    for name in {*WRITES.values()}:
        setattr(client, name, wrapped(name, getattr(client, name)))


class Movers:
    """A process that has loaded MLflow, and forks others, each of which moves a version to production."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.promotion.registry"],
            cwd=PROJECT,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def move(self, registry: Registry, versions: Sequence[str], kill_after: str = "") -> list[int]:
        """Moves each version in a process of its own, all at once, and returns their exit codes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        root, uri = str(registry.workspace.root), os.environ.get("MLFLOW_TRACKING_URI", "")
        task = {"root": root, "uri": uri, "model": registry.model, "versions": versions, "kill_after": kill_after}
        print(json.dumps(task), file=self._process.stdin, flush=True)
        codes: list[int] = json.loads(self._process.stdout.readline())
        return codes

    def kill(self, registry: Registry, version: str, point: str) -> None:
        """Kills a process that moves `version` to production, after the write `point`."""
        assert self.move(registry, [version], point) == [KILLED]

    def stop(self) -> None:
        self._process.communicate()


def main() -> None:
    import mlflow.store.model_registry.sqlalchemy_store
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    for line in sys.stdin:
        task = json.loads(line)
        children = [_fork(task, version) for version in task["versions"]]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        print(json.dumps(codes), flush=True)


def _fork(task: Mapping[str, str], version: str) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        _move(task, version)
        code = 0
    except LockedError:
        code = LOCKED
    finally:
        os._exit(code)


def _move(task: Mapping[str, str], version: str) -> None:
    os.chdir(task["root"])
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ.update({"MLFLOW_TRACKING_URI": task["uri"]} if task["uri"] else {})
    environment.prepare()
    workspace = Workspace.find()
    client = tracking.connect(workspace)
    done: list[str] = []

    def count(method: str) -> None:
        done.append(method)
        if task["kill_after"] and len(done) == POINTS.index(task["kill_after"]) + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    on_each_write(client, count)
    Registry(workspace, client, task["model"]).move(version, "production", "force")


if __name__ == "__main__":
    main()
