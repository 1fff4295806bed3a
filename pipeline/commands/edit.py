"""Other values in params.yaml, every other byte of which stays as it was."""

import json
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from pipeline import params
from pipeline.errors import ParamsError
from pipeline.ingest.known import CATALOG
from pipeline.workspace import replacing

LIMITS = ("min_accuracy", "min_class_recall", "max_calibration_error", "min_slice_accuracy")
"""Keys of `register` that say nothing about another data set."""
UNCHANGED = "params.yaml"  # MLproject's default for its parameters, which must have one: as params.yaml says


def set_dataset(path: Path, dataset: str, name: str | None = None, source: str | None = None) -> None:
    """Write `ingest.dataset` into params.yaml, and with it what depends on it; every other byte stays as it was.

    A known data set has no name, class names or channels to choose. Only data known to survive a horizontal flip is flipped:
    a flipped digit is no digit, so the user's own data is not flipped until params.yaml allows it. Limits for a model belong to
    the data they were chosen for: other data has none but those that hold for all.

    Args:
        path: params.yaml.
        dataset: A known data set, or the kind of the user's own.
        name: Name of the user's own data; None keeps the one in the file.
        source: Path of the user's own data; None keeps the one in the file. Class names belong to one source.

    Raises:
        ParamsError: the result would not be valid; the file is left as it was.
    """
    current, known = params.load(path).ingest, CATALOG.get(dataset)
    values: dict[str, object] = {}
    if current.dataset != dataset or source not in (None, current.source):
        values = {"ingest.dataset": dataset, "train.horizontal_flip": known is not None and known.horizontal_flip}
        limits = known.limits if known else {}
        values |= {f"register.{key}": limits.get(key) for key in LIMITS}
        if known:
            values |= {"ingest.name": "", "ingest.class_names": [], "ingest.channels": 1, "ingest.image_size": 28}
    if source not in (None, current.source):
        values |= {"ingest.source": source, "ingest.class_names": []}
    if name is not None:
        values["ingest.name"] = name
    set_values(path, values)


def set_training(path: Path, assignments: Sequence[str]) -> Mapping[str, Any]:
    """Write `NAME=VALUE` of the training into params.yaml: a key of `train`, or of the recipe of its architecture.

    Returns:
        The written values by key, such as `train.recipes.sprint.epochs`.

    Raises:
        ParamsError: a name is unknown, or a value is not valid; the file is left as it was.
    """
    params.load(path)
    pairs = [text.partition("=")[::2] for text in assignments]
    values = {name: _parsed(value) for name, value in pairs if value != UNCHANGED}
    train = params.read_yaml(path)["train"]
    recipes = train.pop("recipes")
    architecture = values.get("architecture", train["architecture"])
    keys = {name: f"train.{name}" for name in train}
    keys |= {name: f"train.recipes.{architecture}.{name}" for name in recipes.get(architecture, {})}
    unknown = ", ".join(sorted(values.keys() - keys))
    if unknown:
        raise ParamsError(
            f"--set {unknown}: not a setting of the architecture {architecture} (known: {', '.join(sorted(keys))})"
        )
    changes = {keys[name]: value for name, value in values.items()}
    set_values(path, changes)
    return changes


def _parsed(text: str) -> Any:
    """Return a number or a truth value where `text` is one in JSON, else `text`."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def set_values(path: Path, changes: Mapping[str, Any]) -> None:
    """Write other values for the keys of `changes`, such as `train.seed`, into `path`; every other byte stays as it was.

    Raises:
        ParamsError: the file or a new value breaks a rule, or a value is shared with others (YAML aliases and merges); the file
            is left as it was.
    """
    params.load(path)
    wanted, changed = params.read_yaml(path), dict(changes)
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = reduce(getitem, sections, wanted)
        if section[name] == value:
            del changed[key]
        section[name] = value
    with replacing(path) as aside:
        try:
            aside.write_bytes(_with_values(path.read_bytes().decode("utf-8"), changed).encode("utf-8"))
            params.load(aside)
            same = params.read_yaml(aside) == wanted
        except ParamsError as error:
            raise ParamsError(str(error).replace(aside.name, path.name)) from None
        except KeyError:
            same = False
        if not same:
            raise ParamsError(f"{path.name}: {', '.join(changed)} cannot be changed automatically: edit them by hand")


def _with_values(text: str, changes: Mapping[str, Any]) -> str:
    """Return YAML `text` with other values for the keys of `changes`, such as `train.seed`; all else keeps its characters.

    Raises:
        KeyError: a value is not written at its key, or is shared with others (YAML aliases and merges).
    """
    from ruamel.yaml import YAML

    root = YAML(typ="safe", pure=True).compose(text)
    edits = [(*_span(root, key.split(".")), _scalar(value)) for key, value in changes.items()]
    for start, end, new in sorted(edits, reverse=True):  # from the last, so that earlier positions stay valid
        end = start + len(text[start:end].rstrip())  # a block of text ends behind its line break
        text = text[:start] + new + text[end:]
    return text


def _span(node: Any, keys: list[str]) -> tuple[int, int]:
    """Return where the text of a value starts and ends."""
    for name in keys:
        node = {key.value: value for key, value in node.value}[name]
    if node.anchor:
        raise KeyError(name)
    last = node
    while last.id == "sequence" and not last.flow_style:  # a block list's own end is where the next key starts
        last = last.value[-1]
    return node.start_mark.index, last.end_mark.index


def _scalar(value: Any) -> str:
    """Return a value as YAML: text plain where it reads back as text, everything else as JSON, which is YAML too."""
    from ruamel.yaml import YAML

    plain = isinstance(value, str) and value and YAML(typ="safe", pure=True).load(value) == value
    return value if plain else json.dumps(value, ensure_ascii=False)
