"""The ingest stage: get the pictures, split them, bring them to one size, write arrays and a sample grid."""

from pipeline import dataset
from pipeline.dataset import Description
from pipeline.ingest import catalog, samples, sources
from pipeline.ingest.lock import alone
from pipeline.ingest.resize import resized
from pipeline.ingest.split import cut
from pipeline.params import IngestParams
from pipeline.workspace import Workspace, replacing, replacing_folder


def run(params: IngestParams, workspace: Workspace) -> None:
    """Makes data/dataset and reports/samples.png.

    Raises:
        SourceError: the data cannot be had or is not what it should be; nothing is written then.
    """
    source = sources.read(catalog.find(params.dataset), workspace)
    splits = cut(source, params.validation_fraction, params.test_fraction, params.seed)
    with (
        alone(workspace, "ingest"),
        replacing_folder(workspace.dataset) as folder,
        replacing(workspace.samples_png) as picture,
    ):
        splits = {name: resized(split, params.image_size, folder) for name, split in splits.items()}
        description = dataset.write(folder, params.dataset, source.class_names, splits, source.files)
        samples.draw(picture, splits["train"], source.class_names)
    _tell(description, source.where, workspace)


def _tell(description: Description, where: str, workspace: Workspace) -> None:
    counts = " · ".join(f"{count:,} {name}" for name, count in description.counts.items())
    shape = "×".join(map(str, description.image_shape))
    print(f"{description.name}: {counts} pictures, {shape}, {description.classes} classes, digest {description.digest[:8]}…")
    print(f"from {where} into {workspace.shown(workspace.dataset)}/; {workspace.shown(workspace.samples_png)} shows some")
