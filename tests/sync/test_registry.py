from pipeline import tracking
from pipeline.sync import plan as plans, registry
from pipeline.sync.trainings import Trainings as T
from pipeline.promotion import backup as rb
from pipeline.tracking import backup
from tests.compare.trainings import MODEL, Trainings
from tests.promotion.checkouts import move_without_gate
import os
from pipeline.promotion import chain

def test_x(candidates: Trainings, monkeypatch) -> None:
    move_without_gate(candidates, "1", "staging", "production")
    move_without_gate(candidates, "3", "staging", "production")
    ws = candidates.workspace
    candidates.client.delete_model_version(MODEL, "2")
    rb.save(candidates.client, ws, MODEL)
    files = {p.name: p.read_bytes() for p in (ws.registry / MODEL).iterdir()}
    print(sorted(files)); print(files["version-1.json"].decode()); print(files["model.json"].decode()); print(files["record-0004.json"].decode())
    before, recs = backup.stored(candidates.client, MODEL), rb.stored(candidates.client, MODEL)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{ws.home}/other.db")
    client = tracking.connect(ws, create=True)
    p = plans.make(client, ws, MODEL)
    r = registry.restore(client, ws, p, T(client), [ws.artifacts])
    print(r)
    assert backup.stored(client, MODEL).versions == before.versions
    assert rb.stored(client, MODEL) == recs
    print(backup.stored(client, MODEL).model, before.model)
    assert plans.make(client, ws, MODEL).is_empty
    assert chain.check(client, ws, MODEL).problems == []
    rb.save(client, ws, MODEL)
    assert files == {p.name: p.read_bytes() for p in (ws.registry / MODEL).iterdir()}
