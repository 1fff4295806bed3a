"""What several benchmarks need: costs of a piece of work, memory, and the file that keeps the figures."""

import json
import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pipeline import dataset, environment, params
from pipeline.dataset import Dataset
from pipeline.params import TrainParams
from pipeline.workspace import Workspace

Result = TypeVar("Result")


class Costs:
    """Times pieces of work and collects what each cost, in seconds of the clock and of the processor."""

    def __init__(self) -> None:
        self.figures: list[dict[str, Any]] = []

    def of(self, part: str, work: Callable[[], Result]) -> Result:
        """Run `work`, print and collect its cost, and return its result."""
        clock, cpu = time.perf_counter(), time.process_time()
        result = work()
        clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
        print(f"{part:44} {clock:6.2f} s  {cpu:6.2f} s CPU", flush=True)
        self.figures.append({"part": part, "clock": round(clock, 2), "cpu": round(cpu, 2)})
        return result


def adding_up(function: Callable[..., Any]) -> tuple[Callable[..., Any], list[float]]:
    """Return `function`, and a list that receives the seconds of each call."""
    seconds: list[float] = []

    def run(*arguments: Any) -> Any:
        start = time.perf_counter()
        result = function(*arguments)
        seconds.append(time.perf_counter() - start)
        return result

    return run, seconds


def anonymous_megabytes() -> float:
    """Return RssAnon of this process: without the page cache, which the system takes back when it needs it."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon"))


def ready_to_train(architecture: str | None = None) -> tuple[TrainParams, Dataset, int]:
    """Prepare TensorFlow; return params.yaml's section train (with `architecture`), data/dataset and the number of threads."""
    environment.prepare()
    from pipeline.train import machine

    workspace = Workspace.find()
    settings = params.load(workspace.params).train
    if architecture:
        settings = settings.model_copy(update={"architecture": architecture})
    threads = machine.prepare(settings)
    return settings, dataset.read(workspace.need(workspace.dataset, "ingest")), threads


def record(name: str, figures: Sequence[Mapping[str, Any]], seeds: str | None = None) -> None:
    """Store the figures of the running command in results/NAME.json, in place of its earlier ones on this machine."""
    from pipeline import provenance

    environment = dict(provenance.environment())
    path = Path(__file__).parent / "results" / f"{name}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    run = {
        "command": shlex.join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]),
        "remark": None,
        "machine": f"{environment['cores']} cores of {environment['processor']} ({platform.system()})",
        "date": datetime.now(UTC).strftime("%Y-%m"),
        "versions": {key: environment[key] for key in content["runs"][0]["versions"]},
        "seeds": seeds,
        "figures": figures,
    }
    same = [(each["command"], each["machine"]) == (run["command"], run["machine"]) for each in content["runs"]]
    content["runs"] = [each for each, replaced in zip(content["runs"], same, strict=True) if not replaced] + [run]
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"stored in benchmarks/results/{path.name}; render it: python -m benchmarks.render")
