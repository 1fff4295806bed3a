"""The database of a store, looked at before MLflow opens it: in one that is not its own MLflow would create its tables."""

from pipeline.environment import shown_url
from pipeline.errors import TrackingError

_PATIENCE = 20  # seconds that SQLite waits for a lock, as MLflow does


def holds_store(uri: str) -> bool:
    """Return whether the database at `uri` is one of this version of MLflow; False where it is empty.

    Raises:
        TrackingError: another program or another version of MLflow wrote it.
        Exception: what SQLAlchemy raises where it cannot be read.
    """
    import sqlalchemy
    from alembic.runtime.migration import MigrationContext

    engine = sqlalchemy.create_engine(uri, connect_args={"timeout": _PATIENCE} if uri.startswith("sqlite:") else {})
    try:
        with engine.connect() as connection:
            tables = sqlalchemy.inspect(connection).get_table_names()
            revision = MigrationContext.configure(connection).get_current_revision() if tables else None
    finally:
        engine.dispose()
    if tables and (revision is None or "experiments" not in tables):
        raise TrackingError(
            f"{shown_url(uri)} is the database of another program ({', '.join(sorted(tables)[:3])} …): set MLFLOW_TRACKING_URI "
            "to one of MLflow's own, or to a file that does not exist yet"
        )
    if revision:
        _check_revision(uri, revision)
    return revision is not None


def _check_revision(uri: str, revision: str) -> None:
    import mlflow
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config

    versions = ScriptDirectory.from_config(_get_alembic_config(""))
    if revision in versions.get_heads():
        return
    if revision in {each.revision for each in versions.walk_revisions()}:
        raise TrackingError(
            f"{shown_url(uri)} was written by an MLflow older than {mlflow.__version__}: copy the database, then "
            f"`mlflow db upgrade {shown_url(uri)}` brings it up to date"
        )
    raise TrackingError(
        f"{shown_url(uri)} was written by an MLflow newer than {mlflow.__version__}, which cannot read it: install that "
        "version (`mlflow --version` says it where the database is used), or set MLFLOW_TRACKING_URI to another store"
    )
