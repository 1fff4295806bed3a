"""Kills a training at ten random moments and lets `dvc repro` go on: the model file must be that of the undisturbed training.

    .venv/bin/python -m benchmarks.kill_and_resume [ARCHITECTURE] [KILLS] [SEED]

Works in a clone beside, on the data of data/dataset. Prints a line per kill; exit code 1 if a model differs.
"""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.commands.run import child_environment
from pipeline.workspace import Workspace

VALIDATED = "validated.lock"  # dvc.lock as it was before the first training


def main(architecture: str, kills: int, seed: int) -> int:
    """Runs all and says how many models were equal."""
    workspace = Workspace.find()
    with tempfile.TemporaryDirectory(dir=workspace.root.parent) as folder:
        clone = Path(folder) / "clone"
        prepare(workspace.root, clone, architecture)
        start = time.monotonic()
        finish(clone)
        whole = time.monotonic() - start
        wanted = digest(clone)
        print(f"{architecture}, undisturbed: {whole:.0f} s, model {wanted[:12]}", flush=True)
        moments = random.Random(seed)  # noqa: S311  # no secret
        equal = sum(one_kill(clone, moments.uniform(0, whole), wanted) for _ in range(kills))
    print(f"{equal} of {kills} models equal the undisturbed one")
    return int(equal != kills)


def prepare(project: Path, clone: Path, architecture: str) -> None:
    """A copy of the code with the data validated and nothing trained."""
    left_out = shutil.ignore_patterns(
        ".venv", ".git", ".checkpoints", "mlflow.db", "mlartifacts", "downloads", "models", ".cache"
    )
    shutil.copytree(project, clone, ignore=left_out)
    (clone / "models").mkdir()
    shutil.copy(project / "models/.gitignore", clone / "models")
    file = clone / "params.yaml"
    file.write_text(re.sub(r"^  architecture: \w+", f"  architecture: {architecture}", file.read_text(), flags=re.MULTILINE))
    (clone / "dvc.lock").unlink(missing_ok=True)  # where it knows this training, DVC would fetch the model from its cache
    subprocess.run(["git", "init", "-q"], cwd=clone, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q", "validate"], cwd=clone, env=child_environment(), check=True)
    shutil.copy(clone / "dvc.lock", clone / VALIDATED)


def repro(clone: Path) -> "subprocess.Popen[bytes]":
    """`dvc repro train` in a process group of its own, silent; it trains also what DVC's run cache holds from before."""
    command, quiet = [sys.executable, "-m", "dvc", "repro", "--no-run-cache", "train"], subprocess.DEVNULL
    return subprocess.Popen(command, cwd=clone, env=child_environment(), start_new_session=True, stdout=quiet, stderr=quiet)


def finish(clone: Path) -> None:
    """Trains to the end."""
    if repro(clone).wait() != 0:
        sys.exit("dvc repro train failed")


def one_kill(clone: Path, seconds: float, wanted: str) -> bool:
    """Starts from validated data, kills after `seconds`, goes on; whether the model is the wanted one."""
    for left in (".checkpoints", "models/model.keras", "models/training.json", "reports/history.csv", ".dvc/tmp/runs"):
        path = clone / left
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.copy(clone / VALIDATED, clone / "dvc.lock")
    process = repro(clone)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = sorted(path.name for path in clone.glob(".checkpoints/*/epoch-*.npz"))
    finish(clone)
    same = digest(clone) == wanted
    there = f"{len(done)} checkpoints, the last {done[-1]}" if done else "no checkpoint yet"
    print(f"killed after {seconds:5.1f} s, {there}: model {digest(clone)[:12]} {'equal' if same else 'DIFFERENT'}", flush=True)
    return same


def digest(clone: Path) -> str:
    """SHA-256 of the model file."""
    return hashlib.sha256((clone / "models/model.keras").read_bytes()).hexdigest()


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *("sprint", "10", "1")[len(sys.argv) - 1 :]]
    sys.exit(main(arguments[0], int(arguments[1]), int(arguments[2])))
