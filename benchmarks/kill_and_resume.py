"""Kills a training at random moments and runs `dvc repro` again: the model file must be that of the undisturbed training.

    .venv/bin/python -m benchmarks.kill_and_resume [ARCHITECTURE] [KILLS] [SEED]

Works in a clone beside the checkout, on the data of data/dataset. Prints a line per kill; exit code 1 if a model differs.
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

from benchmarks.measure import record
from pipeline.commands.run import child_environment
from pipeline.workspace import Workspace

VALIDATED = "validated.lock"  # dvc.lock as it was before the first training


def main(architecture: str, kills: int, seed: int) -> int:
    """Run all; return 1 if a model differs."""
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
        outcomes = [one_kill(clone, moments.uniform(0, whole), wanted) for _ in range(kills)]
    equal, resumed = (sum(column) for column in zip(*outcomes, strict=True))
    print(f"{equal} of {kills} models equal the undisturbed one")
    row = {"kills": kills, "resumed": resumed, "undisturbed": round(whole), "equal": f"{equal} of {kills}"}
    record("kill_and_resume", [row], str(seed))
    return int(equal != kills)


def prepare(project: Path, clone: Path, architecture: str) -> None:
    """Copy the code and the data, validated, with nothing trained."""
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
    """Start `dvc repro train` in a process group of its own, without DVC's run cache, which may know this training."""
    command, quiet = [sys.executable, "-m", "dvc", "repro", "--no-run-cache", "train"], subprocess.DEVNULL
    return subprocess.Popen(command, cwd=clone, env=child_environment(), start_new_session=True, stdout=quiet, stderr=quiet)


def finish(clone: Path) -> None:
    """Train to the end."""
    if repro(clone).wait() != 0:
        sys.exit("dvc repro train failed")


def one_kill(clone: Path, seconds: float, wanted: str) -> tuple[bool, bool]:
    """Start from validated data, kill after `seconds`, resume; return whether the model is equal, and had a checkpoint."""
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
    return same, bool(done)


def digest(clone: Path) -> str:
    """Return the SHA-256 of the model file."""
    return hashlib.sha256((clone / "models/model.keras").read_bytes()).hexdigest()


if __name__ == "__main__":
    arguments = [*sys.argv[1:], *("sprint", "10", "1")[len(sys.argv) - 1 :]]
    sys.exit(main(arguments[0], int(arguments[1]), int(arguments[2])))
