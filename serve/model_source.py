"""Where the models of a multi-model endpoint come from and what memory each of them needs.

Two numbers say what a model needs. Before it is loaded nothing is known but the size of its files, and reading them
takes more than keeping what was read. Once it is loaded, its shape tells what the search of its largest batch takes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from s2s_algo.errors import ClientError
from serve.decoder import Translator
from serve.problems import ModelNotFoundError
from serve.settings import MEBIBYTE
from serve.strict_json import quote

# Of an artifact of ours there are, at the worst moment, the file, a copy of its numbers, and what tells whether all
# numbers of its largest table are finite. To import a model, its arrays may have to be widened, converted and copied.
_READING = 3.0
_IMPORTING = 4.0

# Each model has a thread, and blocks of memory that other threads do not share.
_THREAD = 8 * MEBIBYTE

# A token's text, its id, and its place in two tables.
_VOCABULARY_ENTRY = 300

# Tokens beyond which a sentence needs more memory than any machine has, and sums of bytes would overflow.
_LONGEST = 100_000_000


class ModelSource:
    """Finds, measures and loads models.

    Args:
        root: The folder below which all models lie.
        load: Loads the model of a folder.
    """

    def __init__(self, root: Path, load: Callable[[Path], Translator]) -> None:
        self._root = root
        self._load = load
        self._peaks: dict[Any, int] = {}  # by shape: models of one endpoint are often alike, and counting takes time

    def folder(self, url: str) -> Path:
        """Returns the folder that the platform calls a URL.

        Raises:
            ClientError: The path is not absolute, or leads out of the folder of all models.
            ModelNotFoundError: There is no such folder.
        """
        path = Path(url)
        if "\0" in url or not path.is_absolute():
            raise ClientError(f"url is {quote(url)}; it must be an absolute path, such as {self._root}/NAME/model")
        # Neither dots nor links may lead to what else lies on the disk.
        try:
            folder = path.resolve()
            is_folder = folder.is_dir()
        except (OSError, RuntimeError):  # too long a name, a circle of links
            folder, is_folder = path, False
        root = self._root.resolve()
        if root not in folder.parents or (".." in path.parts):
            raise ClientError(f"url is {quote(url)}, which is outside {self._root}; models must be below that folder")
        if not is_folder:
            raise ModelNotFoundError(
                f"url is {quote(url)}, and there is no such folder; unpack model.tar.gz there before loading"
            )
        return folder

    def loading_cost(self, folder: Path) -> int:
        """The bytes that loading takes at the worst moment, told from the files alone.

        Raises:
            ClientError: Not all of them are plain files below the folder of all models.
        """
        from s2s_algo.checkpoints.artifact import CONFIG_FILE, WEIGHTS_FILE

        self._require_plain_files(folder)
        if (folder / CONFIG_FILE).exists():
            return int(_READING * _size(folder / WEIGHTS_FILE)) + _THREAD
        # Of the files of another model the weights are by far the largest, wherever they lie.
        places = [folder, *(child for child in folder.iterdir() if child.is_dir())]
        weights = max((_size(file) for place in places for file in place.iterdir()), default=0)
        return int(_IMPORTING * weights) + _THREAD

    def _require_plain_files(self, folder: Path) -> None:
        """Raises a ClientError for what would block whoever opens it, such as a pipe, and for links to other places."""
        for place in [folder, *(child for child in folder.iterdir() if child.is_dir())]:
            for file in place.iterdir():
                if not file.exists():  # a link to nothing
                    continue
                if not (file.is_file() or file.is_dir()):
                    raise ClientError("it is neither a file nor a folder, of which models consist", where=str(file))
                if self._root.resolve() not in file.resolve().parents:
                    raise ClientError(f"it is a link that leads out of {self._root}", where=str(file))

    def load(self, folder: Path) -> Translator:
        """Loads a model.

        Raises:
            ClientError: The folder holds none, or a damaged one.
        """
        return self._load(folder)

    def serving_cost(self, translator: Translator) -> int:
        """The bytes that a loaded model takes while it translates as much as it can at a time."""
        from s2s_algo.decoding.memory_estimate import estimate_serving
        from s2s_algo.decoding.scheduler import MOST_ROWS

        loaded: Any = translator  # its limits are known to the search and to nothing else here
        limits = loaded.inference.limits
        lengths = (min(length, _LONGEST) for length in (limits.max_input_length, limits.max_output_length))
        shape = (loaded.model.config, *lengths, translator.options.beam_size)
        if shape not in self._peaks:
            estimate = estimate_serving(*shape)
            weights, share = estimate["weights"], max(1.0, loaded.most_rows / MOST_ROWS)
            self._peaks[shape] = weights + int(share * (estimate.peak - weights))
        entries = len(translator.source_vocabulary) + len(translator.target_vocabulary)
        return self._peaks[shape] + _VOCABULARY_ENTRY * entries + _THREAD


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
