"""What is said before recorded code runs, and when it is asked for."""

import io

import pytest

from pipeline.errors import RegistryError
from pipeline.verify import command, sandbox
from pipeline.verify.rebuild import Code
from tests.verify.entries import entry

NAME = "digits-classifier version 1"
REVIEWED = Code("c0ffee" * 6 + "c0ff", 0, (), on_branch=True)
CHANGED = Code(REVIEWED.commit, 37, ("params.yaml", "pipeline/train/fit.py"), on_branch=True)
ASTRAY = Code(REVIEWED.commit, 0, (), on_branch=False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_code_in_the_history_of_a_branch_is_named_and_runs(capsys: pytest.CaptureFixture[str]) -> None:
    command.confirm(REVIEWED, entry(""), yes=False)
    assert capsys.readouterr().out == (
        f"rebuilding {NAME} in a temporary folder: this runs its recorded code\ncode      commit c0ffeec0ffee\n"
    )


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_uncommitted_changes_run_if_confirmed_on_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    command.confirm(CHANGED, entry(""), yes=False)
    assert capsys.readouterr().out.endswith(
        "code      commit c0ffeec0ffee and 37 lines of uncommitted changes, of params.yaml, pipeline/train/fit.py\n"
        "git.diff in provenance/training.json of run 1a2b shows it. Run it? [y/N] "
    )


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yesterday\n"])
def test_any_other_answer_runs_nothing(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    with pytest.raises(RegistryError, match=rf"^{NAME} was not verified: its code was not confirmed$"):
        command.confirm(CHANGED, entry(""), yes=False)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            CHANGED,
            r"commit c0ffeec0ffee and 37 lines of uncommitted changes, of params\.yaml, pipeline/train/fit\.py, code that",
        ),
        (ASTRAY, r"c0ffeec0ffee \(on no branch or tag of this clone\), code .*: look at `git show c0ffeec0ffee`, then confirm"),
    ],
)
def test_without_a_terminal_it_is_refused_unless_yes_is_given(
    monkeypatch: pytest.MonkeyPatch, code: Code, message: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    command.confirm(code, entry(""), yes=True)
    with pytest.raises(RegistryError, match=message) as error:
        command.confirm(code, entry(""), yes=False)
    assert "\n" not in str(error.value)


def test_of_many_files_the_first_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    files = tuple(f"pipeline/{number}.py" for number in range(1200))
    command.confirm(Code(REVIEWED.commit, 1_000_000, files, on_branch=True), entry(""), yes=True)
    printed = capsys.readouterr().out
    assert "and 1,000,000 lines of uncommitted changes, of pipeline/0.py, " in printed
    assert printed.endswith("pipeline/9.py and 1,190 more\n")


def test_where_the_system_cannot_confine_the_code_a_warning_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sandbox, "version", lambda: 2)
    command.confirm(REVIEWED, entry(""), yes=False)
    assert capsys.readouterr().err.startswith("warning: this system cannot confine it (Linux 6.2 or newer can)")
    monkeypatch.setattr(sandbox, "version", lambda: 3)
    command.confirm(REVIEWED, entry(""), yes=False)
    assert capsys.readouterr().err == ""
