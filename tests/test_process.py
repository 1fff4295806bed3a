"""Whether a process that was written down still runs, with real ones."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from pipeline.process import Process


@pytest.fixture
def ours() -> Process:
    return Process.ours()


def test_what_is_written_is_read_back(ours: Process) -> None:
    assert Process.read(ours.text()) == ours
    assert ours.is_here
    assert not ours.is_gone


def test_one_that_ended_is_gone_before_and_after_it_is_waited_for() -> None:
    code = "from pipeline.process import Process; print(Process.ours().text())"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        written = Process.read(other.stdout.read())
        assert written is not None
        assert written.is_here
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
        assert written.is_gone
    assert written.is_gone


def test_a_later_process_with_the_same_number_is_another(ours: Process) -> None:
    assert replace(ours, started="1").is_gone


@pytest.mark.parametrize("elsewhere", [{"host": "elsewhere"}, {"processes": "another container's"}])
def test_of_another_machine_nothing_is_known(ours: Process, elsewhere: dict[str, str]) -> None:
    other = replace(ours, pid="1", started="1", **elsewhere)
    assert not other.is_here
    assert not other.is_gone


@pytest.mark.parametrize("text", ["", "[]", '"pid"', "{}", '{"pid": "1"}', '{"pid": 1, "started": 2, "host": 3, "user": 4}'])
def test_what_is_no_process_is_none(text: str) -> None:
    assert Process.read(text) is None
