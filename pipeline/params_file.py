"""params.yaml as a file: read as DVC reads it, and what is wrong with it in words."""

import difflib
from pathlib import Path
from typing import Any, get_type_hints

from pipeline.errors import ParamsError


def read_yaml(path: Path) -> Any:
    """The plain content of a YAML 1.2 file, read as DVC reads it.

    Raises:
        ParamsError: the file is missing, unreadable or not YAML; the message names line and column.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path} does not exist: restore it with `git checkout {path.name}`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} cannot be read: {error}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise ParamsError(f"{path.name} is not valid YAML at {where}: {error.problem}") from None
    except YAMLError as error:
        raise ParamsError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from None


def wording(problem: Any, root: type) -> str:
    """One of pydantic's findings about a record of the type `root`, as `train.epochs = 'ten': …` with the way out."""
    key = ".".join(str(part) for part in problem["loc"])
    match problem["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            return f"unknown key {key}{_nearest(problem['loc'], root)}"
        case "missing" if len(problem["loc"]) == 1:
            return f"the section {key} is missing: restore it with `git checkout params.yaml`"
        case "missing":
            return f"{key} is missing"
        case "dataclass_type":
            return "the file is not a mapping of sections: restore it with `git checkout params.yaml`"
        case "model_type":
            return f"{key} is not a mapping of keys: restore it with `git checkout params.yaml`"
        case "value_error":
            return f"{key}: {problem['ctx']['error']}"
    return f"{key} = {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _nearest(location: tuple[int | str, ...], root: type) -> str:
    """The key that was probably meant, as a question; else the keys there are."""
    keys: dict[str, Any] = get_type_hints(root)
    for part in location[:-1]:
        keys = {name: field.annotation for name, field in keys[str(part)].model_fields.items()}
    known = list(keys)
    names = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f" (did you mean {names[0]}?)" if names else f" (known: {', '.join(known)})"
