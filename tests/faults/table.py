"""The faults, as data: what goes wrong while which command runs, from which state, and what must be there in the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tests.faults import injections as do
from tests.faults.injections import Inject
from tests.faults.laboratory import STATES
from tests.faults.outage import Mode

Store = Literal["SQLite", "server"]
Sample = Literal["", "exhaustive", "short"]
_STORES: Sequence[Store] = ("SQLite", "server")
_MODES: Sequence[Mode] = ("down", "500", "401", "slow", "hang", "lost answer")
_EPOCH, _EVALUATION = b"train/loss", b"evaluation/"


@dataclass(frozen=True)
class Fault:
    """One fault."""

    row: str  # in the table of docs/reliability.md
    detail: str  # which one of the row it is
    state: str  # before it
    command: str  # during which it happens, and which the user repeats
    inject: Inject
    result: str  # the state that must be reached
    store: Store = "SQLite"
    promoted: bool = False  # whether version 1 is promoted afterwards, which needs everything
    sample: Sample = ""  # whether it is one of a smaller number of faults

    @property
    def id(self) -> str:
        return f"{self.row}, {self.detail}, {self.store}".replace(" ", "-").replace(",", "")


def _random_kills() -> list[Fault]:
    counts = {
        "ingested": 6,
        "validated": 6,
        "trained": 14,
        "evaluated": 8,
        "registered": 8,
        "staged": 3,
        "rolled back": 3,
        "synced": 4,
    }
    return [
        Fault(
            f"kill -9 at a random moment of {_verb(state)}",
            f"{share:.3f}",
            STATES[state].before,
            STATES[state].command,
            do.killed_after(share),
            state,
            promoted=state == "registered",
            sample=_one_of(state) if number < 1 else "",
        )
        for seed, (state, count) in enumerate(counts.items())
        for number, share in enumerate(do.moments(count, seed))
    ]


def _aimed_kills() -> list[Fault]:
    counts = {"trained": 8, "evaluated": 3, "registered": 4, "staged": 4, "rolled back": 3, "synced": 4}
    return [
        Fault(
            f"kill -9 between two writes of {_verb(state)}",
            f"{number} of {count}",
            STATES[state].before,
            STATES[state].command,
            do.killed_at_write((number - 0.5) / count),
            state,
            store,
            promoted=state == "registered",
            sample=_one_of(state) if number == (count + 1) // 2 and store == "SQLite" else "",
        )
        for less, store in enumerate(_STORES, 1)
        for state, whole in counts.items()
        if (state, store) != ("synced", "server")  # there the database is not in the checkout
        for count in [whole // less]
        for number in range(1, count + 1)
    ]


def _outages() -> list[Fault]:
    phases = {
        "the start": ("validated", "dvc repro", b"", "registered"),
        "an epoch": ("validated", "dvc repro", _EPOCH, "registered"),
        "evaluate": ("trained", "dvc repro", b"", "registered"),
        "register": ("evaluated", "dvc repro", b"", "registered"),
        "promote": ("registered", STATES["staged"].command, b"", "staged"),
    }
    chosen = {("500", "evaluate"), ("down", "an epoch"), ("hang", "promote"), ("lost answer", "register")}
    return [
        Fault(
            f"server {_outage(mode)}",
            f"from {phase} on",
            state,
            command,
            do.outage(mode, trigger),
            result,
            "server",
            promoted=result == "registered",
            sample="exhaustive" if (mode, phase) in chosen else "",
        )
        for mode in _MODES
        for phase, (state, command, trigger, result) in phases.items()
    ]


def _contention() -> list[Fault]:
    rounds = {
        "two clones register one model at once": ("evaluated", "dvc repro", do.contention(2, clones=True), "registered"),
        "two clones train and register at once": ("validated", "dvc repro", do.contention(2, clones=True), "registered"),
        "three promote one version at once": ("registered", STATES["staged"].command, do.contention(3, clones=False), "staged"),
    }
    return [
        Fault(row, f"round {number}", state, command, inject, result, store, sample="exhaustive" if number == 1 else "")
        for row, (state, command, inject, result) in rounds.items()
        for store, count in zip(_STORES, (4, 3), strict=True)
        for number in range(1, count + 1)
    ]


def _full_disks() -> list[Fault]:
    places = {
        "data": ("empty", "ingested", 20),
        "models": ("validated", "trained", 40),
        "reports": ("trained", "evaluated", 60),
        ".checkpoints": ("validated", "trained", 40),
        "mlartifacts": ("validated", "registered", 60),
    }
    return [
        Fault(
            f"full disk: {name}/",
            f"{free} KiB free",
            state,
            STATES[result].command,
            do.full_disk(name, free),
            result,
            sample="exhaustive" if name == "data" else "",
        )
        for name, (state, result, free) in places.items()
    ]


def _flips() -> list[Fault]:
    images = "data/dataset/train/images.npy"
    return [
        Fault("bit flip: data/dataset", "train", "validated", STATES["trained"].command, do.flipped(images), "trained"),
        Fault(
            "bit flip: data/dataset",
            "test",
            "trained",
            STATES["evaluated"].command,
            do.flipped("data/dataset/test/images.npy"),
            "evaluated",
        ),
        Fault(
            "bit flip: models/model.keras",
            "evaluate",
            "trained",
            STATES["evaluated"].command,
            do.flipped("models/model.keras"),
            "evaluated",
        ),
        Fault(
            "bit flip: .dvc/cache",
            "images",
            "validated",
            STATES["trained"].command,
            do.flipped(".dvc/cache/files/md5/??/*", "rm -r data/dataset"),
            "trained",
        ),
        Fault(
            "bit flip: a registered file",
            "promote",
            "registered",
            STATES["staged"].command,
            do.refused_while_flipped("mlartifacts/*/models/*/artifacts/data/model.keras"),
            "staged",
            sample="exhaustive",
        ),
    ]


def _lost_databases() -> list[Fault]:
    sync = STATES["synced"].command
    samples: dict[str, Sample] = {"registered": "", "produced": "exhaustive", "rolled back": ""}
    whole = [
        Fault("rm mlflow.db, then sync", state, state, sync, do.lost_database, state, sample=sample)
        for state, sample in samples.items()
    ]
    return [
        *whole,
        Fault("rm mlflow.db, then sync", "3 versions", "lost", sync, do.nothing, "three"),
        Fault(
            "rm mlflow.db and mlartifacts/, then sync",
            "1 version",
            "registered",
            sync,
            do.lost_store,
            "registered",
            promoted=True,
        ),
        Fault("sync to an empty server", "3 versions", "three", sync, do.to_a_server, "three"),
        Fault("sync to an empty server", "after rollback", "rolled back", sync, do.to_a_server, "rolled back"),
    ]


def _places() -> list[Fault]:
    promote, produce, repro = STATES["staged"].command, STATES["produced"].command, "dvc repro"
    return [
        Fault("checkout moved", "promote", "registered", promote, do.moved, "staged", sample="exhaustive"),
        Fault("checkout moved", "then train", "ingested", repro, do.moved, "registered"),
        Fault("checkout moved", "production", "staged", produce, do.moved, "produced"),
        Fault("checkout copied", "promote", "registered", promote, do.copied, "staged"),
        Fault("checkout copied", "register", "evaluated", repro, do.copied, "registered", sample="exhaustive"),
        Fault("shared database, first clone deleted", "promote", "evaluated", promote, do.shared, "staged"),
    ]


def _others() -> list[Fault]:
    cannot_write, locked, no_store = do.unwritable_artifacts, do.locked_database, do.outputs_only
    rows: list[tuple[str, str, str, Inject, Store]] = [
        ("server cannot write files", "train", "validated", cannot_write, "server"),
        ("server cannot write files", "evaluate", "trained", cannot_write, "server"),
        ("database locked by another program", "register", "evaluated", locked, "SQLite"),
        ("database locked by another program", "train", "validated", locked, "SQLite"),
        ("second clone with the outputs, no store", "register", "registered", no_store, "SQLite"),
    ]
    return [
        Fault(row, detail, state, "dvc repro", inject, "registered", store, promoted=True)
        for row, detail, state, inject, store in rows
    ]


def _one_of(state: str) -> Sample:
    """One kill of each command, but for rollback, whose state takes two trainings to reach."""
    return "short" if state == "ingested" else "" if state in ("rolled back", "synced") else "exhaustive"


def _verb(state: str) -> str:
    verbs = {
        "ingested": "ingest",
        "validated": "validate",
        "trained": "train",
        "evaluated": "evaluate",
        "registered": "register",
    }
    return verbs.get(state) or {"staged": "promote", "rolled back": "rollback", "synced": "sync"}[state]


def _outage(mode: Mode) -> str:
    return {"500": "answers 500", "401": "answers 401", "slow": "is slow", "hang": "hangs"}.get(
        mode, mode.replace("lost", "loses the")
    )


FAULTS: Sequence[Fault] = [
    *_random_kills(),
    *_aimed_kills(),
    *_outages(),
    *_contention(),
    *_full_disks(),
    *_flips(),
    *_lost_databases(),
    *_places(),
    *_others(),
]
