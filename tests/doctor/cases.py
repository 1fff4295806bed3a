"""A registry as promote leaves it, for `doctor` to examine."""

import io
import re
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import tracking
from pipeline.doctor import command
from pipeline.project import Project
from pipeline.tracking import manifest
from pipeline.tracking.manifest import MANIFEST
from pipeline.workspace import Workspace
from tests.promotion.registry import Registry
from tests.tracking.model_files import FILES

VERSIONS = 4


@dataclass(frozen=True)
class DoctorCase:
    """A registry of the data set `name`, and what doctor reports of it."""

    registry: Registry
    name: str

    @classmethod
    def of(cls, workspace: Workspace, name: str) -> "DoctorCase":
        """In the store of `workspace`, whose params.yaml, if it has one, is made to name it."""
        if workspace.params.exists():
            text = workspace.params.read_text().replace("dataset: fashion-mnist", "dataset: folder")
            workspace.params.write_text(text.replace('  name: "" ', f"  name: {name} "))
        return cls(Registry(workspace, tracking.connect(workspace, create=True), f"{name}-classifier"), name)

    @property
    def client(self) -> Any:
        return self.registry.client

    @property
    def model(self) -> str:
        return self.registry.model

    def add_versions(self) -> None:
        """Registers four versions with a file each; the first goes to production, the second to staging."""
        self.client.create_registered_model(self.model)
        run_id = self.train()
        for _ in range(VERSIONS):
            self.register(run_id)
        for version, target in (("1", "staging"), ("1", "production"), ("2", "staging")):
            self.registry.move(version, target)

    def train(self, begun: float | None = None, tags: Mapping[str, str] | None = None) -> str:
        """Opens the run of a training, which says RUNNING, `begun` at that Unix time in seconds or now; returns its id."""
        experiment = tracking.experiment_id(self.client, self.registry.workspace, self.name)
        run_id: str = self.client.create_run(experiment, int(begun * 1000) if begun else None, tags).info.run_id
        for path, text in FILES.items():
            self.client.log_text(run_id, text, f"model/{path}")
        return run_id

    def register(self, run_id: str) -> str:
        """Ends the run and makes a version of its file; returns its number."""
        self.client.set_terminated(run_id)
        source = f"{self.client.get_run(run_id).info.artifact_uri}/model"
        tags = {MANIFEST: manifest.of(Path(self.client.download_artifacts(run_id, "model"))), "weights_digest": f"of {run_id}"}
        return str(self.client.create_model_version(self.model, source, run_id, tags).version)

    def doctor(self, fix: bool = False, accept: str = "") -> tuple[bool, list[str]]:
        """What it returns, and the problems it prints; call it with a wide terminal, `COLUMNS`."""
        with redirect_stdout(io.StringIO()) as printed:
            is_healthy = command.run(fix, Project.load(self.registry.workspace), accept)
        return is_healthy, re.findall(r"^\d+ +problem +(.*?) *$", printed.getvalue(), re.MULTILINE)

    def assert_fixes(self, *found: str) -> None:
        """Fails unless the doctor finds what matches the patterns, and nothing else; fixes it, and finds nothing any more."""
        problems = self._assert_finds(*found)
        assert self.doctor(fix=True) == (True, problems)
        assert self.doctor() == (True, [])

    def assert_cannot_fix(self, *found: str) -> None:
        """Fails unless the doctor finds what matches the patterns, and nothing else, and leaves it as it is."""
        problems = self._assert_finds(*found)
        assert self.doctor(fix=True) == (False, problems)
        assert self.doctor() == (False, problems)

    def _assert_finds(self, *found: str) -> list[str]:
        is_healthy, problems = self.doctor()
        assert len(problems) == len(found), problems
        assert all(re.search(pattern, each) for pattern, each in zip(found, problems, strict=True)), problems
        assert not is_healthy
        return problems
