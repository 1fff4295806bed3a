"""The command line: each command loads the project once and calls its package; errors become exit codes.

Exit codes: 0 done; 1 refused or failed, with one `error:` line on stderr; 2 wrong usage.
A command imports its package only when called, so that `--help` is fast and `ingest` never loads TensorFlow.
"""

import errno
import signal
import sys
from contextlib import suppress
from typing import Annotated, Literal

import typer

from pipeline import environment, process
from pipeline.errors import PipelineError
from pipeline.project import Project
from pipeline.workspace import Workspace, full_disk

app = typer.Typer(
    name="pipeline",
    help="From labelled images to a gated, registered model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
_MOST = 10_000  # characters of an error
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
STAGES, COMMANDS = "Stages of dvc.yaml", "Commands"


def main() -> None:
    """Run the command in `sys.argv`; an error that the user can fix ends it with one line and exit code 1."""
    environment.read_names_as_utf8()
    environment.prepare()
    environment.guard_output()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that the MLflow run is ended
    process.end_with_dvc()
    try:
        app(prog_name="python -m pipeline")
    except (PipelineError, OSError) as error:
        print(f"error: {_line(error)}", file=sys.stderr)
        sys.exit(1)


def _line(error: PipelineError | OSError) -> str:
    with suppress(PipelineError):  # outside a checkout
        if full := full_disk(error, Workspace.find()):
            return full
    if isinstance(error, OSError):
        way_out = ": change its permissions, or work in a checkout that you may write" if error.errno in _REFUSED else ""
        return f"{error.filename or 'a file'} cannot be used: {error.strerror or error}{way_out}"
    return environment.message(error, most=_MOST)


@app.command(rich_help_panel=STAGES)
def ingest() -> None:
    """Download or read the data set, check it, and split it into data/dataset.

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
            help="Also build Great Expectations' own pages in reports/data_docs (they load scripts from the network).",
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
    """Train the model and log it as one MLflow run.

    Example: python -m pipeline train
    """
    from pipeline.train import stage

    project = Project.load()
    stage.run(project.params, project.workspace)


@app.command(rich_help_panel=STAGES)
def evaluate() -> None:
    """Evaluate the model on the test set: metrics, confusion matrix, per-class report.

    Example: python -m pipeline evaluate
    """
    from pipeline.evaluate import stage

    project = Project.load()
    stage.run(project.params.evaluate, project.params.tracking, project.workspace)


@app.command(rich_help_panel=STAGES)
def register() -> None:
    """Register the model if it passes the gate, else write down the reasons.

    Example: python -m pipeline register
    """
    from pipeline.register import stage

    project = Project.load()
    stage.run(project.params, project.workspace)


@app.command(rich_help_panel=COMMANDS)
def run(
    dataset: Annotated[
        str | None,
        typer.Option(help="fashion-mnist, digits, or the kind of your data: folder, csv, idx, npz (found out if absent)."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="PATH", help="Your data: a folder, an archive, a table, or an .npz file.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What your data is called (default: the name of --source).")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Write a training setting (architecture, epochs …) into params.yaml."),
    ] = None,
) -> None:
    """Get the data, run the stages that changed, and print a summary (what `make run` does).

    What the options say is written into params.yaml first.

    Example: python -m pipeline run --source ~/photos
    """
    from pipeline.commands import run as command

    command.run(dataset, source, name, settings or [], Workspace.find())


@app.command(rich_help_panel=COMMANDS)
def versions() -> None:
    """List the registered versions with registry stage, accuracy, gate and run.

    Example: python -m pipeline versions
    """
    from pipeline.commands import versions as command

    command.run(Project.load())


_Version = Annotated[str, typer.Argument(help="A version of this data set's model, or a registry stage.")]
_Reason = Annotated[str, typer.Option(help="Recorded in the history.")]


@app.command(rich_help_panel=COMMANDS)
def promote(
    version: _Version,
    stage: Annotated[Literal["staging", "production"], typer.Argument(help="The registry stage to promote it to.")],
    reason: _Reason = "",
    force: Annotated[bool, typer.Option("--force", help="Skip a step or override the gate; needs --reason.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Evaluate the gate only; exit code 1 if it refuses.")] = False,
) -> None:
    """Promote a version to staging or production if it passes the gate; the previous production version is archived.

    Example: python -m pipeline promote 3 staging --reason "new recipe"
    """
    from pipeline.promotion import command

    if force and not reason.strip():
        raise typer.BadParameter("--force needs --reason TEXT, which is recorded in the history")
    command.promote(version, stage, reason, force, dry_run, Project.load())


@app.command(rich_help_panel=COMMANDS)
def rollback(reason: _Reason = "") -> None:
    """Restore the previous production version, according to the history.

    Example: python -m pipeline rollback --reason "complaints about shirts"
    """
    from pipeline.promotion import command

    command.rollback(reason, Project.load())


@app.command(rich_help_panel=COMMANDS)
def archive(version: _Version, reason: _Reason = "") -> None:
    """Archive a version: take it out of staging or production, or rule it out for both.

    Example: python -m pipeline archive 2 --reason "trained on the old labels"
    """
    from pipeline.promotion import command

    command.archive(version, reason, Project.load())


@app.command(rich_help_panel=COMMANDS)
def history(
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Show what was in production at TIME (now, or ISO 8601; UTC if no offset)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every rule of every gate.")] = False,
) -> None:
    """List every promotion, rollback, archiving and refusal, oldest first; or show what was in production at a time.

    Example: python -m pipeline history --at 2026-01-31T18:30
    """
    from pipeline.promotion import history as command

    command.run(at, as_json, Project.load())


@app.command(rich_help_panel=COMMANDS)
def compare(
    a: Annotated[str, typer.Argument(help="A version, a registry stage, or an MLflow run (its id or a prefix).")],
    b: Annotated[str, typer.Argument(help="The candidate, given likewise.")],
) -> None:
    """Compare candidate B with model A on the same test images, in the terminal and as an HTML page.

    Example: python -m pipeline compare production 3
    """
    from pipeline.compare import command as command

    command.run(a, b, Project.load())


@app.command(rich_help_panel=COMMANDS)
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Fix what can be fixed safely.")] = False,
    accept: Annotated[
        str, typer.Option(metavar="REASON", help="Record that missing or altered records of the history are known, and why.")
    ] = "",
) -> None:
    """Check versions, registry stages, history, runs and their files; exit code 1 if anything is inconsistent.

    Example: python -m pipeline doctor --fix
    """
    from pipeline.doctor import command as command

    if not command.run(fix, Project.load(), accept.strip()):
        raise typer.Exit(1)


@app.command(rich_help_panel=COMMANDS)
def verify(
    version: Annotated[str, typer.Argument(help="A version, or a registry stage.")],
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Run recorded code that is in no branch or tag (uncommitted changes) unasked.")
    ] = False,
) -> None:
    """Rebuild a registered version from its recorded commit, params and data in a temporary folder, and compare the models.

    Example: python -m pipeline verify 3
    """
    from pipeline.verify import command as command

    command.run(version, yes, Project.load())


@app.command(rich_help_panel=COMMANDS)
def sync(
    uri: Annotated[
        str, typer.Argument(metavar="[URI]", help="The tracking store to publish to (default: the configured one).")
    ] = "",
) -> None:
    """Publish to a tracking store what it lacks: trainings, and the registry with its history; nothing is overwritten.

    Example: python -m pipeline sync https://mlflow.example.org
    """
    from pipeline.sync import command as command

    command.run(uri.strip(), Project.load())


@app.command(rich_help_panel=COMMANDS)
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000,
    browser: Annotated[bool, typer.Option(help="Open the page in a web browser.")] = True,
) -> None:
    """Serve the MLflow UI on 127.0.0.1 and open this experiment's runs.

    Example: python -m pipeline ui --port 5001
    """
    from pipeline.commands import ui as command

    command.run(port, browser, Project.load())
