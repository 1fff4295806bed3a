"""What goes wrong: each takes a laboratory in the state before, and returns how the user's command ended in the end."""

import json
import math
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests import data_sets
from tests.faults.laboratory import Done, Laboratory
from tests.faults.outage import Mode

Inject = Callable[[Laboratory, str], Done]
_TRIES = 2  # how often a user repeats a command


class NotInjectedError(Exception):
    """The command ended before the fault."""


def repeat(lab: Laboratory, command: str) -> Done:
    """Do what the docs say after a failure: run the command again."""
    done = lab.run(command)
    for _ in range(_TRIES - 1):
        if done.code:
            again = lab.run(command)
            done = Done(again.code, done.output + again.output, done.seconds + again.seconds)
    return done


def repeat_move(lab: Laboratory, command: str) -> Done:
    """Look with doctor, and repeat a promotion that did not take place."""
    before = lab.facts()
    fixed = lab.run("python -m pipeline doctor --fix")
    found = lab.facts()
    target, version = ("production", "1") if "rollback" in command else (command.split()[4], command.split()[3])
    holder = [each["number"] for each in found["versions"] if target in each["aliases"]]
    if holder == [version]:
        return Done(0, fixed.output, 0)
    done = repeat(lab, command)
    return Done(done.code, f"{before['records']}\n{fixed.output}{done.output}", done.seconds)


def _recover(lab: Laboratory, command: str) -> Done:
    return repeat_move(lab, command) if re.search("promote|rollback", command) else repeat(lab, command)


def killed_after(share: float) -> Inject:
    """Kill the process group when `share` of the time is over that the command takes; earlier if it was quicker today."""

    def inject(lab: Laboratory, command: str) -> Done:
        state, seconds = lab.state, share * lab.usual(command)
        for _ in range(4):
            with lab.serving():
                process = lab.start(command)
                try:
                    process.communicate(timeout=seconds)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                    return _recover(lab, command)
            lab.enter(state)
            seconds *= 0.7
        raise NotInjectedError(command)

    return inject


def killed_at_write(share: float) -> Inject:
    """Kill the process group after one of its writes to MLflow: the one at `share` of them."""

    def inject(lab: Laboratory, command: str) -> Done:
        stage, writes = lab.watched(command)
        number = max(1, math.ceil(share * len(writes)))
        with lab.serving():
            fault = {"command": stage, "kill": number, "log": str(lab.place / "writes")}
            done = lab.run(command, FAULT=json.dumps(fault))
            if done.code >= 0:
                raise NotInjectedError(f"{command}: write {number} of {len(writes)} was not reached\n{done.output}")
            found = _recover(lab, command)
            return Done(found.code, f"killed after write {number} of {len(writes)}, {writes[number - 1]}\n{found.output}", 0)

    return inject


def outage(mode: Mode, trigger: bytes = b"") -> Inject:
    """Let the server go away until the command has ended."""

    def inject(lab: Laboratory, command: str) -> Done:
        with lab.serving():
            assert lab.proxy is not None
            lab.proxy.fail(mode, trigger)
            lab.set_params(seconds_per_epoch=1, seconds_per_stage=4)  # how long to wait, so that tests need not wait longer
            first = lab.run(command, MLFLOW_HTTP_REQUEST_TIMEOUT="3")
            if trigger and lab.proxy.mode is None:
                raise NotInjectedError(first.output)
            lab.proxy.recover()
            done = Done(0, "", 0) if first.code == 0 and mode in ("slow", "lost answer") else _recover(lab, command)
            return Done(done.code, f"{first.seconds:.0f} s, exit {first.code}\n{first.output}{done.output}", first.seconds)

    return inject


def at_once(lab: Laboratory, command: str, processes: int, clones: bool) -> Done:
    """Run the command several times at once, in one checkout or in clones that share its store; then once more."""
    folders = [lab.project]
    for number in range(2, processes + 1):
        folders.append(lab.place / f"clone-{number}" if clones else lab.project)
        if clones:
            shutil.copytree(lab.project, folders[-1], symlinks=True, ignore=shutil.ignore_patterns("mlflow.db", "mlartifacts"))
    with lab.serving():
        shared = {} if lab.proxy else {"MLFLOW_TRACKING_URI": f"sqlite:///{lab.database}"}
        started = [lab.start(command, folder, **shared) for folder in folders]
        outputs = [process.communicate(timeout=300)[0] for process in started]
        codes = [process.returncode for process in started]
        if clones:
            again = [lab.run(command, folder, **shared) for folder, code in zip(folders, codes, strict=True) if code]
            return Done(
                max((each.code for each in again), default=0), "\n".join([*outputs, *(each.output for each in again)]), 0
            )
    return Done(min(codes), "\n".join(outputs), 0)


def contention(processes: int, clones: bool) -> Inject:
    """See `at_once`."""
    return lambda lab, command: at_once(lab, command, processes, clones)


def full_disk(name: str, free: int) -> Inject:
    """Put the folder `name` on a disk with `free` KiB; enlarge it after the failure."""

    def inject(lab: Laboratory, command: str) -> Done:
        with _small_disk(lab.project / name, free) as enlarge, lab.serving():
            first = lab.run(command)
            enlarge()
            done = _recover(lab, command)
            if "space" not in first.output:
                raise NotInjectedError(first.output)
            return Done(done.code, first.output + done.output, 0)

    return inject


@contextmanager
def _small_disk(folder: Path, free: int) -> Iterator[Callable[[], object]]:
    aside = folder.with_name(f"{folder.name}-aside")
    folder.mkdir(exist_ok=True)
    used = sum(1 + each.stat().st_size // 4096 for each in folder.rglob("*"))
    shutil.copytree(folder, aside, symlinks=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={4 * used + free}k", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk, a matter of Linux")
    try:
        shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(aside)
        yield lambda: subprocess.run(["mount", "-o", "remount,size=200m", str(folder)], check=True)
        shutil.copytree(folder, aside, symlinks=True)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    shutil.rmtree(folder)
    aside.rename(folder)


def flip(path: Path) -> None:
    """Change one bit in the middle of a file, and keep its time."""
    data_sets.flip(path, path.stat().st_size // 2)


def advice(output: str) -> list[str]:
    """The commands that the last `error:` line gives."""
    lines = [line for line in output.splitlines() if line.startswith("error:")]
    return re.findall(r"`([^`]+)`", lines[-1]) if lines else []


def flipped(pattern: str, before: str = "") -> Inject:
    """Flip a bit of a file of the checkout, and follow the advice of the message."""

    def inject(lab: Laboratory, command: str) -> Done:
        flip(_largest(lab, pattern))
        if before:
            lab.shell(before)
        with lab.serving():
            return follow_advice(lab, command)

    return inject


def follow_advice(lab: Laboratory, command: str) -> Done:
    """Run the command; after a failure do what its message says, and run it again."""
    done = lab.run(command)
    said = done.output
    for _ in range(_TRIES):
        if done.code:
            for each in advice(done.output):
                said += f"$ {each}\n" + lab.shell(each).output
            done = lab.run(command)
            said += done.output
    return Done(done.code, said, done.seconds)


def _largest(lab: Laboratory, pattern: str) -> Path:
    return max(lab.project.glob(pattern), key=lambda each: (each.stat().st_size, str(each)))


def refused_while_flipped(pattern: str) -> Inject:
    """Flip a bit of a registered file: the command is refused; with the bit back it is not."""

    def inject(lab: Laboratory, command: str) -> Done:
        path = _largest(lab, pattern)
        flip(path)
        with lab.serving():
            first = lab.run(command)
            flip(path)
            done = lab.run(command)
        assert first.code == 1, first.output
        return Done(done.code, first.output + done.output, 0)

    return inject


def nothing(lab: Laboratory, command: str) -> Done:
    """Let nothing go wrong now: it did on the way to this state."""
    return repeat(lab, command)


def lost_database(lab: Laboratory, command: str) -> Done:
    """Delete the database."""
    lab.database.unlink()
    return repeat(lab, command)


def lost_store(lab: Laboratory, command: str) -> Done:
    """Delete the database and its files; of the model the outputs are left."""
    shutil.rmtree(lab.project / "mlartifacts")
    return lost_database(lab, command)


def to_a_server(lab: Laboratory, command: str) -> Done:
    """Move from SQLite to a server that is empty."""
    lab.database = lab.place / "server/mlflow.db"
    with lab.serving(always=True):
        assert lab.proxy is not None
        done = lab.run(f"{command} {lab.proxy.address}", MLFLOW_TRACKING_URI="")
        again = lab.run(f"{command} {lab.proxy.address}", MLFLOW_TRACKING_URI="")
    return Done(max(done.code, again.code), done.output + again.output, done.seconds)


def moments(count: int, seed: int) -> list[float]:
    """Shares of a command's time, the same in each run of the tests."""
    generator = random.Random(seed)  # noqa: S311  # no secret
    return [round(generator.uniform(0.08, 0.95), 3) for _ in range(count)]


def moved(lab: Laboratory, command: str) -> Done:
    """Rename the checkout."""
    lab.project = lab.project.rename(lab.place / "renamed")
    lab.database = lab.project / "mlflow.db"
    return follow_advice(lab, command)


def copied(lab: Laboratory, command: str) -> Done:
    """Copy the checkout, and go on in the copy; the original stays as it was."""
    original = lab.project
    lab.project = lab.place / "copy"
    lab.database = lab.project / "mlflow.db"
    shutil.copytree(original, lab.project, symlinks=True)
    before = _contents(original)
    done = follow_advice(lab, command)
    assert _contents(original) == before
    return done


def shared(lab: Laboratory, command: str) -> Done:
    """Register from the first of two clones that share a database, delete that clone, and go on in the other."""
    lab.database = lab.place / "shared/mlflow.db"
    lab.variables["MLFLOW_TRACKING_URI"] = f"sqlite:///{lab.database}"
    first = lab.project
    shutil.copytree(first, lab.place / "second", symlinks=True, ignore=shutil.ignore_patterns("mlflow.db", "mlartifacts"))
    registered = lab.run("dvc repro")
    shutil.rmtree(first)
    lab.project = lab.place / "second"
    again = lab.run("dvc repro")
    done = lab.run(command)
    return Done(done.code, registered.output + again.output + done.output, 0)


def _contents(folder: Path) -> dict[str, bytes]:
    files = [folder / "mlflow.db", *(each for each in (folder / "mlartifacts").rglob("*") if each.is_file())]
    return {str(each): each.read_bytes() for each in files}


def unwritable_artifacts(lab: Laboratory, command: str) -> Done:
    """Let the server have no place for files; then it has."""
    with lab.serving("file:///proc/nowhere"):
        first = lab.run(command)
    with lab.serving():
        done = repeat(lab, command)
    return Done(done.code, first.output + done.output, 0)


def locked_database(lab: Laboratory, command: str) -> Done:
    """Let another program hold the database until the command has ended."""
    lab.set_params(seconds_per_epoch=1, seconds_per_stage=4)
    with closing(sqlite3.connect(lab.database, isolation_level=None)) as other:
        other.execute("begin exclusive")
        first = lab.run(command)
        other.execute("rollback")
    if not first.code:
        raise NotInjectedError(first.output)
    done = repeat(lab, command)
    return Done(done.code, first.output + done.output, 0)


def outputs_only(lab: Laboratory, command: str) -> Done:
    """Go on with what DVC brings to a second clone: the outputs, and no store."""
    shutil.rmtree(lab.project / "mlartifacts")
    for each in ("mlflow.db", "reports/registration.json"):
        (lab.project / each).unlink()
    shutil.rmtree(lab.project / "registry", ignore_errors=True)
    return repeat(lab, command)
