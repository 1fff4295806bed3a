"""A process that has loaded what the stages load, and forks for each `python -m …`: a stage starts in 0.1 s rather than 8.

The forked process is what the command would be: in the caller's folder, environment and process group, on its streams, with
its exit code, killed with it. TensorFlow may be forked because nothing was computed with it yet.
"""

import contextlib
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
_MODULES = (  # in the order in which they find each other's threads and warnings undisturbed
    *("pandas", "sklearn.linear_model", "sklearn.model_selection", "sklearn.calibration", "scipy.stats", "matplotlib.pyplot"),
    *("mlflow", "mlflow.keras", "mlflow.system_metrics.system_metrics_monitor", "mlflow.store.db.utils"),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
    *("great_expectations", "cleanlab", "jinja2", "pydantic", "ruamel.yaml", "dvc.cli", "dvc.commands.repro", "dvc.repo"),
    *("dvc.repo.reproduce", "dvc.repo.index", "dvc.stage", "dvc_data.index", "scmrepo.git", "flufl.lock", "networkx", "psutil"),
    *("filelock", "typer.main", "mlflow.pyfunc", "mlflow.tracing.processor.base_mlflow", "opentelemetry.sdk.metrics"),
    *("alembic.command", "pyarrow.parquet", "sklearn.gaussian_process", "sklearn.kernel_approximation"),
)
# What stands for `python`: it hands its command over, and ends as that ends.
_SHIM = """#!{python} -ISE
import json, os, signal, socket, struct, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    words = {first!r} + sys.argv[1:]
    task = {{"words": words, "folder": os.getcwd(), "environment": dict(os.environ), "group": os.getpgrp()}}
    text = json.dumps(task).encode()
    socket.send_fds(server, [struct.pack("!I", len(text))], [0, 1, 2])
    server.sendall(text)
    answer = server.recv(4)
code = struct.unpack("!i", answer)[0] if answer else 1
if code < 0:
    signal.signal(-code, signal.SIG_DFL) if code not in (-9, -19) else None
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextlib.contextmanager
def warm(folder: Path) -> Iterator[Path]:
    """Yields a folder with `python` and `dvc`, to be put first on PATH, while the process that they ask runs."""
    programs, address = folder / "bin", str(folder / "socket")
    programs.mkdir(parents=True)
    for name, first in (("python", []), ("dvc", ["-m", "dvc"])):
        shim = programs / name
        shim.write_text(_SHIM.format(python=sys.executable, address=address, first=first))
        shim.chmod(0o755)
    variables = {**os.environ, "MPLCONFIGDIR": str(folder), "KERAS_HOME": str(folder), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.warm", address, str(programs / "python")]
    with subprocess.Popen(command, cwd=PROJECT, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield programs
        finally:
            process.terminate()


def main(address: str, python: str) -> None:
    """Load everything, then fork for each connection."""
    from pipeline import environment

    environment.prepare()
    environment.load_tensorflow()
    for name in _MODULES:
        __import__(name)
    gc.freeze()  # so that no child copies the pages of all that
    sys.executable = python  # what a command starts is forked too
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    print("ready", flush=True)
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    parent = os.getppid()
    while os.getppid() == parent:  # else the tests were killed
        for key, _ in waiting.select(timeout=5):
            if key.fileobj is listener:
                caller = listener.accept()[0]
                waiting.register(os.pidfd_open(pid := _fork(caller, listener)), selectors.EVENT_READ, (pid, caller))
            else:
                pid, caller = key.data
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with contextlib.suppress(OSError), caller:
                    caller.sendall(struct.pack("!i", code))
                waiting.unregister(key.fileobj)
                os.close(key.fd)


def _fork(caller: socket.socket, listener: socket.socket) -> int:
    text, files, _, _ = socket.recv_fds(caller, 4, 3)
    size = struct.unpack("!I", text)[0]
    content = caller.recv(size, socket.MSG_WAITALL)
    if child := os.fork():
        for file in files:
            os.close(file)
        return child
    code = 1
    try:
        listener.close()
        caller.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        code = _run(json.loads(content))
    except BaseException:  # noqa: BLE001  # the process ends here, whatever it is
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _run(task: Mapping[str, Any]) -> int:
    """Do what `python WORDS…` does, and return its exit code."""
    os.setpgid(0, task["group"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["environment"])
    words: Sequence[str] = task["words"]
    assert words[0] == "-m", words
    sys.path[0] = task["folder"]
    sys.argv = list(words[1:])
    try:
        from tests.faults import inject

        inject.prepare(words[1:])
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    main(*sys.argv[1:])
