"""The checkout that a command works on: its paths and params, loaded once in `cli.py`."""

from dataclasses import dataclass

from pipeline import params, provenance
from pipeline.params import Params
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Project:
    """A workspace and the checked content of its params.yaml."""

    workspace: Workspace
    params: Params

    @classmethod
    def load(cls, workspace: Workspace | None = None) -> "Project":
        """Return the project of `workspace` (default: around the current folder).

        Raises:
            PipelineError: there is no checkout here, or params.yaml cannot be used.
        """
        workspace = workspace or Workspace.find()
        return cls(workspace, params.load(workspace.params))

    @property
    def name(self) -> str:
        """The data set's name, which is the experiment's."""
        return self.params.ingest.dataset_name

    @property
    def model(self) -> str:
        """The registered model's name."""
        return provenance.model_name(self.name)
