"""The command line: a command picks its section of params.yaml and calls its room; errors become exit codes.

Exit codes: 0 done; 1 refused or failed, with one `error:` line on stderr; 2 wrong usage.
A command imports its room only when it is called, so that `--help` is quick and `ingest` never loads TensorFlow.
"""

import signal
import sys
from typing import Annotated, Literal

import typer

from pipeline import environment, parent
from pipeline.errors import PipelineError
from pipeline.project import Project
from pipeline.workspace import Workspace

app = typer.Typer(
    name="pipeline",
    help="From labelled images to a gated, registered model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
STAGES, COMMANDS = "Stages, as dvc.yaml calls them", "Commands"


def main() -> None:
    """Run the command on `sys.argv`; what the user can mend ends it with one line and exit code 1."""
    environment.prepare()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, so that an MLflow run is ended
    parent.watch()
    try:
        app(prog_name="python -m pipeline")
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # a full disk, rights that are missing: the file is named, the way out is the machine's
        print(f"error: {error.filename or 'a file'} cannot be used: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)


@app.command(rich_help_panel=STAGES)
def ingest() -> None:
    """Get the data set, check it, split it into data/dataset.

    Example: python -m pipeline ingest
    """
    from pipeline.ingest import stage

    project = Project.load()
    stage.run(project.params.ingest, project.workspace)


@app.command(rich_help_panel=STAGES)
def validate(
    data_docs: Annotated[
        bool,
        typer.Option(
            "--data-docs",
            help="Build Great Expectations' own pages in reports/data_docs too; they load style and script from the network.",
        ),
    ] = False,
) -> None:
    """Check the data set against the expectations; bad data stops the pipeline.

    Example: python -m pipeline validate
    """
    from pipeline.validate import stage

    project = Project.load()
    stage.run(project.params.validate, project.workspace, data_docs)


@app.command(rich_help_panel=STAGES)
def train() -> None:
    """Train the model, as one MLflow run.

    Example: python -m pipeline train
    """
    from pipeline.train import stage

    project = Project.load()
    stage.run(project.params.train, project.workspace)


@app.command(rich_help_panel=STAGES)
def evaluate() -> None:
    """Score the model on the test set: metrics, confusion matrix, per-class report.

    Example: python -m pipeline evaluate
    """
    from pipeline.evaluate import stage

    project = Project.load()
    stage.run(project.params.evaluate, project.workspace)


@app.command(rich_help_panel=STAGES)
def register() -> None:
    """Let the model into the registry, or write down why not.

    Example: python -m pipeline register
    """
    from pipeline.register import stage

    project = Project.load()
    stage.run(project.params.register, project.workspace)


@app.command(rich_help_panel=COMMANDS)
def run(
    dataset: Annotated[str | None, typer.Option(help="Write this into params.yaml as ingest.dataset first.")] = None,
    name: Annotated[str | None, typer.Option(help="With --dataset folder, idx or npz: what your data is called.")] = None,
    url: Annotated[str | None, typer.Option(help="With them: where it lies, if not in data/source; https://, s3:// …")] = None,
) -> None:
    """Get the data, run what changed, say where to look: what `make run` does.

    Example: python -m pipeline run --dataset digits
    """
    from pipeline.commands import run as command

    command.run(dataset, name, url, Workspace.find())


@app.command(rich_help_panel=COMMANDS)
def versions() -> None:
    """List the registered versions with stage, accuracy, gate and run.

    Example: python -m pipeline versions
    """
    from pipeline.commands import versions as command

    command.run(Project.load())


_Version = Annotated[str, typer.Argument(help="A version of this data set's model, or a stage: the version that is there.")]
_Reason = Annotated[str, typer.Option(help="Goes into the history.")]


@app.command(rich_help_panel=COMMANDS)
def promote(
    version: _Version,
    stage: Annotated[Literal["staging", "production"], typer.Argument(help="Where it is to go.")],
    reason: _Reason = "",
    force: Annotated[bool, typer.Option("--force", help="Skip a step or overrule the gate; needs --reason.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask the gate only; exit code 1 if it says no.")] = False,
) -> None:
    """Move a version to staging or production, if its gate lets it; what was in production is archived.

    Example: python -m pipeline promote 3 staging --reason "new recipe"
    """
    from pipeline.promotion import promote as command

    if force and not reason.strip():
        raise typer.BadParameter("--force needs --reason TEXT: who reads the history will ask")
    command.run(version, stage, reason, force, dry_run, Project.load())


@app.command(rich_help_panel=COMMANDS)
def rollback(reason: _Reason = "") -> None:
    """Put the version back into production that was there before, by the history.

    Example: python -m pipeline rollback --reason "complaints about shirts"
    """
    from pipeline.promotion import rollback as command

    command.run(reason, Project.load())


@app.command(rich_help_panel=COMMANDS)
def archive(version: _Version, reason: _Reason = "") -> None:
    """Take a version out of staging or production, or say that it will never go there.

    Example: python -m pipeline archive 2 --reason "trained on the old labels"
    """
    from pipeline.promotion import archive as command

    command.run(version, reason, Project.load())


@app.command(rich_help_panel=COMMANDS)
def history(
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Say what was in production then: ISO 8601; no zone: UTC.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every rule of every gate.")] = False,
) -> None:
    """List every promotion, rollback, archive and refusal, oldest first; or say what was in production at a time.

    Example: python -m pipeline history --at 2026-01-31T18:30
    """
    from pipeline.promotion import history as command

    command.run(at, as_json, Project.load())


@app.command(rich_help_panel=COMMANDS)
def compare(
    a: Annotated[str, typer.Argument(help="A version, a stage (production) or an MLflow run: its id or how it begins.")],
    b: Annotated[str, typer.Argument(help="Likewise; B is what is asked about.")],
) -> None:
    """Say whether model B is better than model A, on the same test pictures, in the terminal and on a page.

    Example: python -m pipeline compare production 3
    """
    from pipeline.compare import command as command

    command.run(a, b, Project.load())


@app.command(rich_help_panel=COMMANDS)
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without harm.")] = False,
) -> None:
    """Find what is wrong with versions, stages, history, runs and their files; exit code 1 where something is.

    Example: python -m pipeline doctor --fix
    """
    from pipeline.doctor import command as command

    if not command.run(fix, Project.load()):
        raise typer.Exit(1)


@app.command(rich_help_panel=COMMANDS)
def verify(
    version: Annotated[str, typer.Argument(help="A version, or a stage (production).")],
) -> None:
    """Derive a registered version again from its commit, changes, params and data, beside this checkout; say if it is the same.

    Example: python -m pipeline verify 3
    """
    from pipeline.verify import command as command

    command.run(version, Project.load())


@app.command(rich_help_panel=COMMANDS)
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
    browser: Annotated[bool, typer.Option(help="Open the page in a web browser.")] = True,
) -> None:
    """Serve the MLflow UI on 127.0.0.1, opened on this experiment's runs.

    Example: python -m pipeline ui --port 5001
    """
    from pipeline.commands import ui as command

    command.run(port, browser, Project.load())
