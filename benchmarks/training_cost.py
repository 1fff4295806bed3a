"""What else a training costs beside its arithmetic: MLflow with system metrics, checkpoints, determinism.

    .venv/bin/python -m benchmarks.training_cost [ARCHITECTURE] [ROUNDS]

MLflow: seconds spent in its calls while `fit` runs, and processor time of the thread that samples the system, as shares of
the fit. Checkpoints likewise. Determinism: seconds of 100 steps with and without, in processes of their own, in turn.
"""

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline import dataset, environment, params
from pipeline.params import TrainParams
from pipeline.workspace import Workspace

STEPS = 100


def main(architecture: str, rounds: int) -> None:
    """Measures and prints all three."""
    share_of_tracking(architecture)
    times: dict[str, list[float]] = {"deterministic": [], "free": []}
    for _ in range(rounds):
        for kind, known in times.items():
            command = [sys.executable, "-m", "benchmarks.training_cost", "--child", architecture, kind]
            known.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
        print(f"{STEPS} steps: deterministic {times['deterministic'][-1]:.2f} s, free {times['free'][-1]:.2f} s", flush=True)
    ratios = [a / b for a, b in zip(times["deterministic"], times["free"], strict=True)]
    print(f"determinism: {statistics.median(ratios):.3f} times ({min(ratios):.3f}–{max(ratios):.3f}, {rounds} rounds)")


def share_of_tracking(architecture: str) -> None:
    """Trains once with a run in a new store, and prints how much of the fit was MLflow and checkpoints."""
    environment.prepare()
    import psutil

    from pipeline import tracking
    from pipeline.train import architectures, checkpoint, machine, stage, whitening
    from pipeline.train.fit import fit

    project = Workspace.find()
    settings = params.load(project.params).train.model_copy(update={"architecture": architecture})
    threads = machine.prepare(settings)
    data = dataset.read(project.need(project.dataset, "ingest"))
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(project.root, Path(folder))
        model = architectures.build(settings, data.description.image_shape, data.description.classes)
        whitening.measure(model, data.train.images, settings.seed)
        plan = stage._plan(model, data, threads, {}, workspace)
        before = {thread.ident for thread in threading.enumerate()}
        live = tracking.LiveRun(workspace, plan)
        sampler = {thread.native_id for thread in threading.enumerate() if thread.ident not in before}
        log_epoch, logging = timed(live.log_epoch)
        checkpoint.save, saving = timed(checkpoint.save)
        with live:
            start = time.perf_counter()
            fit(model, data, settings, Path(folder), log_epoch)
            seconds = time.perf_counter() - start
            sampled = sum(
                thread.user_time + thread.system_time for thread in psutil.Process().threads() if thread.id in sampler
            )
    print(f"{architecture}: fit {seconds:.1f} s", flush=True)
    for what, cost in (
        ("MLflow calls", sum(logging)),
        ("system metrics, of a processor", sampled),
        ("checkpoints", sum(saving)),
    ):
        print(f"  {what}: {cost:.3f} s, {cost / seconds:.2%}", flush=True)


def timed(call: Callable[..., Any]) -> tuple[Callable[..., Any], list[float]]:
    """`call`, and a list that gets the seconds of each use."""
    seconds: list[float] = []

    def run(*arguments: Any) -> Any:
        start = time.perf_counter()
        result = call(*arguments)
        seconds.append(time.perf_counter() - start)
        return result

    return run, seconds


def child(architecture: str, kind: str) -> None:
    """Prints the seconds of STEPS steps."""
    environment.prepare()
    from pipeline.train import architectures, machine
    from pipeline.train.average import Average
    from pipeline.train.step import Step

    workspace = Workspace.find()
    settings: TrainParams = params.load(workspace.params).train.model_copy(update={"architecture": architecture})
    if kind == "free":
        environment.load_tensorflow()
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism = lambda: None
    machine.prepare(settings)
    data = dataset.read(workspace.dataset)
    model = architectures.build(settings, data.description.image_shape, data.description.classes)
    step = Step(model, settings.recipe, Average(model, settings.recipe.ema))
    size = settings.recipe.batch_size
    images, labels = data.train.images[:size], data.train.labels[:size]
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
