"""The YAML file of ``s2s train``: read and checked at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from s2s_algo.data.channels import SOURCE_VOCABULARY, TARGET_VOCABULARY
from s2s_algo.errors import ClientError
from s2s_algo.hyperparameters import Hyperparameters, validate
from s2s_algo.hyperparameters.wording import nearest
from s2s_algo.wording import shown

_REQUIRED = ("train", "validation", "vocab", "output")
_KEYS = (*_REQUIRED, "model", "checkpoints", "hyperparameters")
_NULL = "tag:yaml.org,2002:null"
_FORM = "it must be a map with " + ", ".join(_REQUIRED) + " and, if need be, model, checkpoints and hyperparameters"


@dataclass(frozen=True, slots=True)
class JobFile:
    """A local training job; all paths are absolute.

    Attributes:
        train, validation: Record files, or one folder of them.
        vocab: Folder of the vocabularies.
        output: Folder that gets ``model`` and ``output``.
        model: Folder or archive of the model to begin with.
        checkpoints: Folder in which checkpoints outlive the job.
        hyperparameters: As texts, the way jobs of the platform get them.
    """

    train: tuple[Path, ...]
    validation: tuple[Path, ...]
    vocab: Path
    output: Path
    model: Path | None
    checkpoints: Path | None
    hyperparameters: Mapping[str, str]


def read_job_file(path: Path) -> JobFile:
    """Reads a job; its paths are relative to the folder of the file.

    Raises:
        ClientError: With all problems, one or more lines each.
    """
    values = _read(path)
    checked = _Checked(path.absolute().parent, values)
    job = JobFile(
        train=checked.records("train"),
        validation=checked.records("validation"),
        vocab=checked.vocabularies("vocab"),
        output=checked.folder_to_write("output"),
        model=checked.model("model"),
        checkpoints=checked.folder_to_write("checkpoints") if values.get("checkpoints") else None,
        hyperparameters=checked.hyperparameters("hyperparameters"),
    )
    if job.checkpoints is not None and job.checkpoints == job.output:
        checked.problems.append("checkpoints: it is the output folder itself; name another one, such as one in it")
    if checked.problems:
        raise ClientError("\n".join(checked.problems), where=str(path))
    return job


def _read(path: Path) -> dict[str, Any]:
    """Returns maps, lists and texts: a scalar stays as it is written, for 1e-4 and 100:50 are numbers to some only."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        _refuse_aliases(text)
        values = _plain(yaml.compose(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ClientError(f"not YAML{place} ({error.problem}); {_FORM}", where=str(path)) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ClientError(f"not YAML ({' '.join(str(error).split())}); {_FORM}", where=str(path)) from error
    except ClientError as error:
        raise error.at(str(path)) from None
    if not isinstance(values, dict):
        raise ClientError(f"{shown(values)} is not a map; {_FORM}", where=str(path))
    return values


def _refuse_aliases(text: str) -> None:
    """A few of them can stand for more values than fit into memory."""
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ClientError(
                f"*{event.anchor} is an alias; write the value out", where=f"line {event.start_mark.line + 1}"
            )


def _plain(node: yaml.Node | None) -> Any:
    if node is None:
        return ""
    if isinstance(node, yaml.ScalarNode):
        # The home folder, which ~ would be as a path, is not what it means in YAML.
        return "" if node.tag == _NULL else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    result: dict[str, Any] = {}
    for key, value in node.value:
        line = f"line {key.start_mark.line + 1}"
        if not isinstance(key, yaml.ScalarNode):
            raise ClientError("a name must be a text", where=line)
        if key.value in result:
            raise ClientError(f"{shown(key.value)} is given more than once; write each name once", where=line)
        result[key.value] = _plain(value)
    return result


class _Checked:
    """Takes values one by one and collects what is wrong with them.

    Args:
        folder: To which paths are relative.
        values: Of the file.
    """

    def __init__(self, folder: Path, values: Mapping[str, Any]) -> None:
        self._folder = folder
        self._values = values
        self.problems = [_unknown_key(key) for key in values if key not in _KEYS]
        self.problems += [f"{key}: missing; {_FORM}" for key in _REQUIRED if not values.get(key)]

    def records(self, key: str) -> tuple[Path, ...]:
        """Record files, or one folder."""
        value = self._values.get(key) or []
        paths = [self._existing(key, item) for item in (value if isinstance(value, list) else [value])]
        if len(paths) > 1:
            self.problems += [
                f"{key}: {path} is a folder in a list; give the files that are in it, or one folder without a list"
                for path in paths
                if path and path.is_dir()
            ]
        return tuple(path for path in paths if path)

    def vocabularies(self, key: str) -> Path:
        """A folder with both vocabularies."""
        path = self._existing(key, self._values.get(key))
        if path:
            missing = [name for name in (SOURCE_VOCABULARY, TARGET_VOCABULARY) if not (path / name).is_file()]
            if missing:
                self.problems.append(
                    f"{key}: {' and '.join(missing)} missing in {path}; name the folder that holds {SOURCE_VOCABULARY} "
                    f"and {TARGET_VOCABULARY}"
                )
        return path or self._folder

    def model(self, key: str) -> Path | None:
        """A model to begin with."""
        return self._existing(key, self._values.get(key))

    def folder_to_write(self, key: str) -> Path:
        """A folder that need not be there yet."""
        path = self._path(key, self._values.get(key))
        if path and (blocking := next((one for one in (path, *path.parents) if one.exists()), path)).is_file():
            self.problems.append(f"{key}: {blocking} is a file; name a folder")
        return path or self._folder

    def hyperparameters(self, key: str) -> Mapping[str, str]:
        """Texts by name, as a job of the platform gets them."""
        values = self._values.get(key) or {}
        if not isinstance(values, dict):
            self.problems.append(f"{key}: {shown(values)} is not a map of names to values, such as batch_size: 64")
            return {}
        texts = {}
        for name, value in values.items():
            if isinstance(value, list):
                self.problems.append(f"{key}: {name} is a list; write a number, a text, true, false or a map")
            else:
                texts[name] = json.dumps(value) if isinstance(value, dict) else value
        try:
            validate(texts)
        except ClientError as error:
            self.problems.append(str(error))
        return texts

    def _existing(self, key: str, value: object) -> Path | None:
        path = self._path(key, value)
        if path and not path.exists():
            self.problems.append(f"{key}: there is no {path}; paths are relative to the folder of this file")
            return None
        return path

    def _path(self, key: str, value: object) -> Path | None:
        """An absolute path; nothing without a value."""
        if not value:
            return None
        if not isinstance(value, str) or "\0" in value:
            self.problems.append(f"{key}: {shown(value)} is not a path")
            return None
        return Path(self._folder, Path(value).expanduser()).resolve()


def _unknown_key(key: str) -> str:
    if key in Hyperparameters.model_fields:
        return f"{shown(key)} is a hyperparameter; write it below hyperparameters"
    guess = nearest(key, _KEYS)
    advice = f"did you mean '{guess}'?" if guess else f"the keys are {', '.join(_KEYS)}"
    return f"{shown(key)} is not known; {advice}"
