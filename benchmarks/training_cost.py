"""What else a training costs beside its arithmetic: MLflow with system metrics, checkpoints, determinism.

    .venv/bin/python -m benchmarks.training_cost [ARCHITECTURE] [ROUNDS]

MLflow: seconds spent in its calls while `fit` runs, and CPU time of the thread that samples the system, as shares of the fit.
Checkpoints likewise. Determinism: seconds of 100 steps with and without, in processes of their own, in turn.
"""

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import adding_up, ready_to_train, record
from pipeline import environment, params
from pipeline.workspace import Workspace

STEPS = 100


def main(architecture: str, rounds: int) -> None:
    """Measure, print and store all three."""
    figures = share_of_tracking(architecture)
    times: dict[str, list[float]] = {"deterministic": [], "free": []}
    for _ in range(rounds):
        for kind, known in times.items():
            command = [sys.executable, "-m", "benchmarks.training_cost", "--child", architecture, kind]
            known.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        print(f"{STEPS} steps: deterministic {times['deterministic'][-1]:.2f} s, free {times['free'][-1]:.2f} s", flush=True)
    ratios = [a / b for a, b in zip(times["deterministic"], times["free"], strict=True)]
    print(f"determinism: {statistics.median(ratios):.3f} times ({min(ratios):.3f}–{max(ratios):.3f}, {rounds} rounds)")
    record("training_cost", figures)


def share_of_tracking(architecture: str) -> list[dict[str, Any]]:
    """Train once with a run in a new store; return how much of the fit was MLflow and checkpoints."""
    settings, data, threads = ready_to_train(architecture)
    import psutil

    from pipeline import tracking
    from pipeline.train import architectures, checkpoint, stage
    from pipeline.train.fit import fit

    project = Workspace.find()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(project.root, Path(folder))
        model = architectures.build(settings, data.description.image_shape, data.description.classes)
        architectures.whiten(model, data.train.images, settings.seed)
        chosen = params.load(project.params)
        plan = stage._plan(model, data, chosen, threads, {}, workspace)
        before = {thread.ident for thread in threading.enumerate()}
        live = tracking.LiveRun(workspace, plan, chosen.tracking)
        sampler = {thread.native_id for thread in threading.enumerate() if thread.ident not in before}
        log_epochs, logging = adding_up(live.log_epochs)
        checkpoint.save, saving = adding_up(checkpoint.save)
        with live:
            start = time.perf_counter()
            fit(model, data, settings, Path(folder), log_epochs)
            whole = time.perf_counter() - start
            sampled = sum(
                thread.user_time + thread.system_time for thread in psutil.Process().threads() if thread.id in sampler
            )
    parts = {
        "the training itself": whole,
        "MLflow's calls": sum(logging),
        "sampling the system (CPU time)": sampled,
        "checkpoints": sum(saving),
    }
    figures = [
        {"part": part, "seconds": round(seconds, 3), "share": round(100 * seconds / whole, 2)}
        for part, seconds in parts.items()
    ]
    for each in figures:
        print(f"  {each['part']}: {each['seconds']:.3f} s, {each['share']:.2f} %", flush=True)
    return figures


def child(architecture: str, kind: str) -> None:
    """Print the seconds of STEPS steps."""
    environment.prepare()
    environment.load_tensorflow()
    import tensorflow as tf

    from pipeline.train import architectures
    from pipeline.train.recipe import recipe_of
    from pipeline.train.step import Average, Step

    if kind == "free":
        tf.config.experimental.enable_op_determinism = lambda: None
    settings, data, _ = ready_to_train(architecture)
    model = architectures.build(settings, data.description.image_shape, data.description.classes)
    recipe = recipe_of(settings)
    step = Step(model, recipe, Average(model, recipe.ema))
    images, labels = data.train.images[: recipe.batch_size], data.train.labels[: recipe.batch_size]
    step.train(images, labels, 0.01).numpy()
    start = time.perf_counter()
    for _ in range(STEPS):
        step.train(images, labels, 0.01).numpy()
    print(time.perf_counter() - start)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:4])
    else:
        main(sys.argv[1] if len(sys.argv) > 1 else "sprint", int(sys.argv[2]) if len(sys.argv) > 2 else 5)
