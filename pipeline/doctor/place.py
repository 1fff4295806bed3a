"""A SQLite store that was moved or copied, or whose files lie in another clone's folder."""

from pipeline import tracking
from pipeline.doctor.finding import counted
from pipeline.tracking import place
from pipeline.workspace import Workspace


def check(workspace: Workspace, fix: bool) -> bool:
    """Print where the store's files lie elsewhere; with `fix`, copy those that are not beside it, and record their place.

    Returns:
        Whether the store can be used where it is.

    Raises:
        TrackingError: its address is malformed, or it cannot be written.
    """
    file = place.database(tracking.tracking_uri(workspace))
    usable = True
    for found in place.elsewhere(file) if file else ():
        copies = counted(len(found.only_there), "folder")
        if fix and (found.problem or found.only_there):
            backup = place.relocate(found)
            copied = f" ({copies} copied from there)" if found.only_there else ""
            print(
                f"{found.database.name} records its files beside it, no longer in {found.folder}{copied}; "
                f"the database as it was: {workspace.shown(backup)}"
            )
        elif found.problem:
            usable = False
            print(f"problem: {found.problem}\n`python -m pipeline doctor --fix` records that; then the rest can be checked")
        elif found.only_there:
            print(
                f"note: {copies} of runs and models are in {found.folder} alone, and lost with it: "
                f"`python -m pipeline doctor --fix` copies them to where the database is, {found.database.parent}"
            )
    return usable
