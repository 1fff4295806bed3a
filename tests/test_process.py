"""Whether a recorded process still runs, with real ones."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from pipeline.process import Process


@pytest.fixture
def current() -> Process:
    return Process.current()


def test_a_recorded_process_is_parsed_as_it_was(current: Process) -> None:
    assert Process.parse(str(current)) == current
    assert current.is_local
    assert not current.is_dead


def test_one_that_ended_is_dead_before_and_after_it_is_waited_for() -> None:
    code = "from pipeline.process import Process; print(Process.current())"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        recorded = Process.parse(other.stdout.read())
        assert recorded is not None
        assert recorded.is_local
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
        assert recorded.is_dead
    assert recorded.is_dead


def test_a_later_process_with_the_same_pid_is_another(current: Process) -> None:
    assert replace(current, created=current.created - 60).is_dead
    assert not replace(current, created=current.created - 1).is_dead


def test_of_another_machine_nothing_is_known(current: Process) -> None:
    other = replace(current, pid=1, created=1.0, host="elsewhere")
    assert not other.is_local
    assert not other.is_dead


@pytest.mark.parametrize("text", ["", "[]", '"pid"', "{}", '{"pid": 1}', '{"pid": "one", "created": 2, "host": "here"}'])
def test_any_other_text_is_no_process(text: str) -> None:
    assert Process.parse(text) is None
