"""What the store has of a run, asked for by as few requests as it takes: a server may need seconds for each."""

import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from multiprocessing.pool import ThreadPool  # its threads end with the process; those of concurrent.futures would hold it
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.tracking.content import PUBLISHED
from pipeline.tracking.models import logged_models

IMAGES = "mlflow.loggedImages"  # tag: the run has images; the UI looks for none without it
_REQUESTS = 8  # at once: of a server that takes 3 s for an answer, 50 files would take 150 s one by one


class Stored:
    """A run in the store: each part is fetched when it is first asked for."""

    def __init__(self, client: Any, run_id: str, strict: bool = False) -> None:
        self.client, self.run_id = client, run_id
        self.strict = strict  # do not believe that what was sent once is still there

    @cached_property
    def run(self) -> Any:
        """The run, with params, tags and latest metrics."""
        return self.client.get_run(self.run_id)

    @cached_property
    def models(self) -> Sequence[Any]:
        """Its logged models, finished or not."""
        return logged_models(self.client, self.run.info.experiment_id, self.run_id)

    @cached_property
    def published(self) -> Mapping[str, str]:
        """What it says of its files: path → SHA-256; nothing where `publish` did not come to it."""
        from mlflow.artifacts import download_artifacts

        if PUBLISHED not in self.sizes({str(Path(PUBLISHED).parent)}):
            return {}
        with tempfile.TemporaryDirectory() as folder:
            uri = f"{self.run.info.artifact_uri}/{PUBLISHED}"
            text = Path(download_artifacts(uri, dst_path=folder, tracking_uri=self.client.tracking_uri)).read_bytes()
        try:
            found: Mapping[str, str] = TypeAdapter(dict[str, str]).validate_json(text)
        except ValidationError:
            return {}
        return found

    def sizes(self, folders: Iterable[str]) -> Mapping[str, int | None]:
        """Return path → bytes of the files in folders of the run, by one request each; `client.list_artifacts` makes five."""
        from mlflow.artifacts import list_artifacts

        def listed(folder: str) -> Any:
            uri = f"{self.run.info.artifact_uri}/{folder}"
            return list_artifacts(artifact_uri=uri, tracking_uri=self.client.tracking_uri)

        return {file.path: file.file_size for files in self._each(listed, folders) for file in files}

    def histories(self, names: set[str]) -> Sequence[Sequence[Any]]:
        """Return every point of the metrics `names`, as far as the run has them."""
        wanted = names & {*self.run.data.metrics}
        return self._each(lambda name: self.client.get_metric_history(self.run_id, name), wanted)

    def store(self, files: Mapping[str, Any]) -> None:
        """Send files (paths) and texts (bytes), each under the path that it is to have on the run."""
        with tempfile.TemporaryDirectory() as folder:
            for path, source in files.items():
                place = Path(folder) / path
                place.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(source, Path):
                    place.symlink_to(source.resolve())
                else:
                    place.write_bytes(source)
            if self._is_server:
                self._each(
                    lambda path: self.client.log_artifact(self.run_id, f"{folder}/{path}", str(Path(path).parent)), files
                )
            elif files:
                self.client.log_artifacts(self.run_id, folder)

    def store_image(self, png: Path) -> None:
        """Do what `client.log_image` does, under the name that a call which was killed between its three writes gave it."""
        from mlflow.tracking.multimedia import compress_image_size
        from PIL import Image

        names = sorted(Path(path).stem for path in self.sizes({"images"}) if path.endswith(".png"))
        name = names[0] if names else f"{png.stem}+step+0+timestamp+{int(time.time() * 1000)}+{uuid.uuid4()}"
        with tempfile.TemporaryDirectory() as folder, Image.open(png) as image:
            whole, images = image.convert("RGB"), Path(folder) / "images"
            images.mkdir()
            whole.save(images / f"{name}.png")
            compress_image_size(whole).save(images / f"{name}+compressed.webp")
            self.client.log_artifacts(self.run_id, folder)
        self.client.set_tag(self.run_id, IMAGES, True)

    @property
    def _is_server(self) -> bool:
        return bool(self.client.tracking_uri.startswith("http"))

    def _each(self, call: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Return what `call` returns for each item; a server is asked for several at once."""
        if not self._is_server:
            return [call(item) for item in items]
        with ThreadPool(_REQUESTS) as pool:
            return pool.map(call, items, chunksize=1)
