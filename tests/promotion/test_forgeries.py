"""Forgeries by somebody who can write to the store, but neither to a checkout nor with the key: which of them are found.

Each is made on copies of real runs. `FORGERIES` is the table of docs/trust.md: what is found in a history without signatures,
and in one with them, by a fresh clone and by a checkout that has seen the history before.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline import signing
from pipeline.promotion import chain, ledger
from pipeline.promotion.ledger import OUTCOME_SIGNATURE, SIGNATURE, Seal
from pipeline.promotion.record import Entry, Row
from pipeline.promotion.signatures import Signatures
from pipeline.workspace import Workspace
from tests import stores
from tests.promotion.registry import MODEL, Registry

Tags = dict[str, str]


@dataclass
class Forger:
    """A history as it lies in the store, one run a record, and what can be done to it there."""

    runs: list[Any]
    head: str  # digest and outcome of the last record
    signer: Callable[[str, str], str | None]  # with the forger's own key
    added: list[Any] = field(default_factory=list)

    def entries(self) -> list[Entry]:
        return list(self.stored().entries)

    def stored(self) -> ledger.Stored:
        return ledger.assemble(self.runs, self.last())

    def last(self) -> Seal:
        return Seal.parse(len(self.runs), self.head)

    def rewrite(self, number: int, **fields: Any) -> None:
        """Changes fields of a record, and computes the rest of the chain again."""
        for place in range(number - 1, len(self.runs)):
            entry = self._entry(place)
            before = self._entry(place - 1).seal if place else ""
            changed = replace(entry.record, number=place + 1, previous=before, **(fields if place == number - 1 else {}))
            self._write(place, replace(entry, record=changed, text=""))
        self.head = self._entry(len(self.runs) - 1).seal

    def set_state(self, number: int, state: str) -> None:
        run = self.runs[number - 1]
        run.data.tags["state"] = state
        run.info._status = {"done": "FINISHED", "undone": "KILLED"}[state]
        self.rewrite(number + 1) if number < len(self.runs) else None
        self.head = self._entry(len(self.runs) - 1).seal

    def drop(self, number: int) -> None:
        del self.runs[number - 1]

    def append(self, **fields: Any) -> Tags:
        """Adds a copy of the last record, well linked, without signatures; returns its tags."""
        run = copy.deepcopy(self.runs[-1])
        run.info._run_id = "f" * 32
        self.runs.append(run)
        for tag in (SIGNATURE, OUTCOME_SIGNATURE):
            run.data.tags.pop(tag, None)
        self.rewrite(len(self.runs), **fields)
        tags: Tags = run.data.tags
        return tags

    def sign(self, number: int) -> None:
        entry = self._entry(number - 1)
        tags = self.runs[number - 1].data.tags
        tags[SIGNATURE] = self.signer(entry.record.text(), signing.RECORD) or ""
        tags[OUTCOME_SIGNATURE] = self.signer(entry.seal, signing.OUTCOME) or ""

    def _entry(self, place: int) -> Entry:
        """The record as its run alone says."""
        found = ledger._parse(self.runs[place])
        assert isinstance(found, Entry)
        return found

    def _write(self, place: int, entry: Entry) -> None:
        tags = self.runs[place].data.tags
        for name in [name for name in tags if name.startswith("record.")]:
            del tags[name]
        text, mirrors = entry.record.text(), ledger.mirrors(entry)
        tags |= {f"record.{at // 4000 + 1}": text[at : at + 4000] for at in range(0, len(text), 4000)}
        tags |= mirrors
        self.runs[place].info._run_name = mirrors["mlflow.runName"]


def rewritten(number: int, **fields: Any) -> Callable[[Forger], None]:
    return lambda forger: forger.rewrite(number, **fields)


def flip_in_the_middle(forger: Forger) -> None:
    forger.set_state(2, "undone")


def flip_the_last(forger: Forger) -> None:
    forger.set_state(4, "undone")


def flip_a_tag(forger: Forger) -> None:
    forger.runs[1].data.tags["state"] = "undone"


def exchange(forger: Forger) -> None:
    forger.runs[1], forger.runs[2] = forger.runs[2], forger.runs[1]
    forger.rewrite(1)


def drop_the_first(forger: Forger) -> None:
    forger.drop(1)


def drop_the_first_and_renumber(forger: Forger) -> None:
    forger.drop(1)
    forger.rewrite(1)


def drop_one_and_renumber(forger: Forger) -> None:
    forger.drop(2)
    forger.rewrite(2)


def drop_the_last(forger: Forger) -> None:
    head = forger.last()
    forger.drop(4)
    forger.last = lambda: head  # type: ignore[method-assign]  # the head still counts it


def drop_the_last_and_set_the_head_back(forger: Forger) -> None:
    forger.drop(4)
    forger.rewrite(4)


def replay(forger: Forger) -> None:
    """The store as it was two records ago."""
    del forger.runs[2:]
    forger.rewrite(3)


def add_unsigned(forger: Forger) -> None:
    forger.append(kind="promote", version="3", target="production")


def add_with_a_foreign_key(forger: Forger) -> None:
    forger.append(kind="promote", version="3", target="production")
    forger.sign(5)


def add_with_a_used_signature(forger: Forger) -> None:
    tags = forger.append(kind="promote", version="3", target="production")
    tags |= {name: value for name, value in forger.runs[3].data.tags.items() if name in (SIGNATURE, OUTCOME_SIGNATURE)}


def strip_and_rewrite(forger: Forger) -> None:
    for run in forger.runs:
        for tag in (SIGNATURE, OUTCOME_SIGNATURE):
            run.data.tags.pop(tag, None)
    forger.rewrite(1, who="chief")


def strip_the_last_and_rewrite(forger: Forger) -> None:
    for tag in (SIGNATURE, OUTCOME_SIGNATURE):
        forger.runs[3].data.tags.pop(tag, None)
    forger.rewrite(4, who="chief")


def sign_all_with_a_foreign_key(forger: Forger) -> None:
    forger.rewrite(1, who="chief")
    for number in range(1, 5):
        forger.sign(number)


def use_the_outcome_of_another(forger: Forger) -> None:
    forger.runs[3].data.tags[OUTCOME_SIGNATURE] = forger.runs[2].data.tags.get(OUTCOME_SIGNATURE, "")
    forger.set_state(4, "undone")


def acknowledge_a_gap(forger: Forger) -> None:
    rows = (Row(rule="gap missing 2-2", verdict="accepted", detail="record 2 is missing"),)
    forger.append(kind="accept", version="", rows=rows)
    head = forger.last()
    forger.drop(2)
    forger.last = lambda: head  # type: ignore[method-assign]


ROW = (Row(rule="accuracy", verdict="passed", value=0.99, comparison="≥", limit=0.5),)
FIELDS: Mapping[str, Any] = {
    "kind": "rollback",
    "who": "chief",
    "when": "2026-01-01T10:00:00.000+00:00",
    "model": "other-classifier",
    "version": "3",
    "source": "archived",
    "target": "staging",
    "replaced": "7",
    "reason": "all was well",
    "rows": ROW,
    "git_commit": "0" * 40,
    "evidence": "runs:/1/page.html",
    "weights_digest": "0" * 64,
    "run_id": "0" * 32,
    "test_digest": "0" * 64,
    "accuracy": 0.99,
    "candidates": 1,
}
ALL, SEEN, SIGNED = "1111", "0101", "0111"  # unsigned: fresh clone, one that has seen it; signed: likewise
FORGERIES: Mapping[str, tuple[Callable[[Forger], None], str]] = {
    **{f"{name} of record 2, chain recomputed": (rewritten(2, **{name: FIELDS[name]}), SIGNED) for name in FIELDS},
    "outcome of record 2, in the UI": (flip_a_tag, ALL),
    "outcome of record 2, chain recomputed": (flip_in_the_middle, SIGNED),
    "outcome of the last record, head too": (flip_the_last, SIGNED),
    "outcome of the last record, with another's signature": (use_the_outcome_of_another, SIGNED),
    "two records exchanged, chain recomputed": (exchange, SIGNED),
    "first record deleted": (drop_the_first, ALL),
    "first record deleted, renumbered": (drop_the_first_and_renumber, SIGNED),
    "record 2 deleted, renumbered": (drop_one_and_renumber, SIGNED),
    "last record deleted": (drop_the_last, ALL),
    "last record deleted, head set back": (drop_the_last_and_set_the_head_back, SEEN),
    "old store put back (replay)": (replay, SEEN),
    "record added, unsigned": (add_unsigned, "0011"),
    "record added, foreign key": (add_with_a_foreign_key, ALL),
    "record added, signature of another": (add_with_a_used_signature, "0011"),
    "gap acknowledged by an unsigned record": (acknowledge_a_gap, "0011"),
    "signatures of all removed, chain recomputed": (strip_and_rewrite, SIGNED),
    "signature of the last removed, record rewritten": (strip_the_last_and_rewrite, SIGNED),
    "all signed again with a foreign key": (sign_all_with_a_foreign_key, ALL),
}


@dataclass(frozen=True)
class Histories:
    """The runs and the head of a history of four records, unsigned and signed, and a checkout that names the signer."""

    workspace: Workspace
    runs: Mapping[bool, list[Any]]
    heads: Mapping[bool, Seal]


@pytest.fixture(scope="module")
def histories(empty_registry: Path, ssh_keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Histories:
    runs, heads = {}, {}
    for signed in (False, True):
        root = tmp_path_factory.mktemp("history")
        workspace = Workspace(root, root)
        stores.copy(empty_registry, workspace)
        workspace.allowed_signers.write_text(f"anna {(ssh_keys / 'anna.pub').read_text()}")
        registry = Registry(workspace, stores.connect(workspace))
        with pytest.MonkeyPatch.context() as patch:
            if signed:
                patch.setenv(signing.KEY, str(ssh_keys / "anna"))
            for version, target in (("1", "staging"), ("1", "production"), ("2", "staging"), ("2", "production")):
                registry.move(version, target)
        experiment = registry.client.get_experiment_by_name(ledger.experiment_name(MODEL)).experiment_id
        found = sorted(ledger._runs(registry.client, experiment), key=lambda run: int(run.data.tags["number"]))
        runs[signed], heads[signed] = found, ledger.head(registry.client, MODEL)
    return Histories(workspace, runs, heads)


def found(histories: Histories, forge: Callable[[Forger], None], signed: bool, seen: bool, foreign: Path) -> bool:
    """Whether the forgery is found."""
    head = histories.heads[signed]

    def sign(text: str, namespace: str) -> str | None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(signing.KEY, str(foreign))
            return signing.sign(text, namespace)

    forger = Forger(copy.deepcopy(histories.runs[signed]), f"{head.digest} {head.state}", sign)
    before = forger.entries()[-1]
    forge(forger)
    stored = forger.stored()
    checked = Signatures.of(stored.entries, histories.workspace, signed)
    remembered = chain.Seen(histories.workspace, "it", {"it": f"{before.record.number} {before.seal}"}) if seen else None
    return bool(chain.examine(stored, forger.last(), checked, remembered).problems)


@pytest.mark.parametrize("name", FORGERIES)
def test_which_forgeries_are_found(histories: Histories, name: str, other_key: Path) -> None:
    forge, expected = FORGERIES[name]
    result = [found(histories, forge, signed, seen, other_key) for signed in (False, True) for seen in (False, True)]
    assert "".join(str(int(each)) for each in result) == expected


def test_with_signatures_a_checkout_that_has_seen_the_history_finds_each_forgery() -> None:
    assert len(FORGERIES) >= 30
    assert all(expected[3] == "1" for _, expected in FORGERIES.values())


@pytest.mark.parametrize("signed", [False, True])
def test_an_honest_history_is_whole_and_says_who_signed(histories: Histories, signed: bool, other_key: Path) -> None:
    assert not found(histories, lambda _: None, signed, True, other_key)
    head = histories.heads[signed]
    entries = ledger.assemble(histories.runs[signed], head).entries
    signers = Signatures.of(entries, histories.workspace, signed).signers
    assert signers == (dict.fromkeys((1, 2, 3, 4), "anna") if signed else {})
