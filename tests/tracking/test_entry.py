"""The files of a logged model are refused, by name, unless they are what this pipeline logs: nothing of them is loaded."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import RegistryError
from pipeline.tracking import entry
from tests.tracking.model_files import FILES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An entry; the model file itself is looked at later."""
    (tmp_path / "data").mkdir()
    for name, text in {**FILES, **dict.fromkeys(("conda.yaml", "python_env.yaml", "requirements.txt"), "-")}.items():
        (tmp_path / name).write_text(text)
    np.save(tmp_path / entry.IMAGES, np.array([1, 5, 2**63], np.uint64))
    return tmp_path


def changed(old: str, new: str) -> Callable[[Path], object]:
    assert old in FILES["MLmodel"]
    return lambda folder: (folder / "MLmodel").write_text(FILES["MLmodel"].replace(old, new))


def added(name: str, content: bytes = b"-") -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def removed(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def linked(folder: Path) -> None:
    (folder / "conda.yaml").unlink()
    (folder / "conda.yaml").symlink_to("/etc/hostname")


def linked_folder(folder: Path) -> None:
    (folder / "code").symlink_to("/etc")


DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "loader": (
        changed("mlflow.keras", "evil"),
        r"python_function\.loader_module evil instead of mlflow\.keras",
    ),
    "code": (
        changed("    python_version", "    code: code\n    python_version"),
        r"python_function\.code code, which",
    ),
    "config": (
        changed("    python_version", "    config: {a: 1}\n    python_version"),
        r"python_function\.config",
    ),
    "custom": (changed("keras_version", "custom_objects: x\n    keras_version"), r"its MLmodel has keras\.custom_objects x"),
    "data": (changed("data: data", "data: ../../x"), r"its MLmodel has keras\.data \.\./\.\./x instead of data"),
    "exported": (
        changed("save_exported_model: false", "save_exported_model: true"),
        r"keras\.save_exported_model True",
    ),
    "flavor": (changed("flavors:\n", "flavors:\n  sklearn: {}\n"), "the flavors keras, python_function, sklearn instead of"),
    "merged": (
        changed("    python_version", "    <<: {code: x}\n    python_version"),
        r"python_function\.(<<|code)",
    ),
    "no-flavor": (added("MLmodel", b"- 1"), "the flavors None instead of"),
    "not-yaml": (added("MLmodel", b"a: ["), "its MLmodel is not YAML"),
    "impossible-date": (added("MLmodel", b"a: 2026-99-99 10:00:00"), "its MLmodel (is not YAML|has the flavors None)"),
    "large": (added("MLmodel", b"a" * 100_001), "its MLmodel is too large"),
    "no-mlmodel": (removed("MLmodel"), "it holds no MLmodel"),
    "no-model": (removed("data/model.keras"), r"it holds no data/model\.keras"),
    "module": (added("data/keras_module.txt", b"evil"), r"data/keras_module\.txt names another module than keras"),
    "pickle": (added("data/model.pkl", pickle.dumps(1)), r"it holds data/model\.pkl, which this pipeline never logs"),
    "cloudpickle": (added("python_model.pkl"), r"it holds python_model\.pkl"),
    "library": (added("data/op.so"), r"it holds data/op\.so"),
    "script": (added("data/sitecustomize.py"), r"it holds data/sitecustomize\.py"),
    "second-model": (added("data/other.keras"), r"it holds data/other\.keras"),
    "link": (linked, r"conda\.yaml is a link"),
    "linked-folder": (linked_folder, "it holds code, which"),
}


def test_what_the_pipeline_logs_is_accepted(folder: Path) -> None:
    entry.check(folder, "version 1")
    (folder / "registered_model_meta").touch()
    entry.check(folder, "version 1")


@pytest.mark.parametrize("defect", DEFECTS)
def test_what_it_never_logs_is_refused_by_name(folder: Path, defect: str) -> None:
    make, message = DEFECTS[defect]
    make(folder)
    with pytest.raises(RegistryError, match=f"^the files of version 1 are refused, nothing was loaded: .*{message}") as error:
        entry.check(folder, "version 1")
    assert "\n" not in str(error.value)


def test_training_images_are_read_or_refused(folder: Path) -> None:
    found = entry.training_images(folder, "version 1")
    assert found is not None
    assert found.tolist() == [1, 5, 2**63]
    for bad in (np.array([5, 1], np.uint64), np.array([1.0, 2.0]), np.empty(0, np.uint64), np.ones((2, 2), np.uint64)):
        np.save(folder / entry.IMAGES, bad)
        with pytest.raises(RegistryError, match=r"^training_images\.npy of version 1 is not what train writes"):
            entry.training_images(folder, "version 1")
    np.save(folder / entry.IMAGES, np.array([{}], object), allow_pickle=True)
    with pytest.raises(RegistryError, match=r"^training_images\.npy of version 1 cannot be read"):
        entry.training_images(folder, "version 1")
    (folder / entry.IMAGES).unlink()
    assert entry.training_images(folder, "version 1") is None
