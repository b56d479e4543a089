"""Writes what Sockeye 1 wrote: parameter files of every format, and folders of other versions made from golden ones."""

from __future__ import annotations

import io
import json
import re
import shutil
import struct
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from s2s_algo.legacy.mxnet_params import read_params
from s2s_algo.legacy.tagged_yaml import Section, parse

MODELS = Path(__file__).parents[2] / "golden" / "models"

Arrays = dict[str, np.ndarray]

_MARKS = {"V1": 0xF993FAC8, "V2": 0xF993FAC9}
_DTYPES = ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")


def params_bytes(arrays: Mapping[str, np.ndarray], version: str = "V2", aux: Mapping[str, np.ndarray] = {}) -> bytes:
    """A parameter file."""
    parts = [struct.pack("<3Q", 0x112, 0, len(arrays) + len(aux))]
    for array in [*arrays.values(), *aux.values()]:
        rank = len(array.shape)
        if version == "V0":
            parts.append(struct.pack(f"<I{rank}I", rank, *array.shape))
        else:
            parts.append(struct.pack("<I", _MARKS[version]) + (struct.pack("<i", 0) if version == "V2" else b""))
            parts.append(struct.pack(f"<i{rank}q", rank, *array.shape))
        parts.append(struct.pack("<3i", 1, 0, _DTYPES.index(array.dtype.name)) + array.tobytes())
    names = [f"arg:{name}".encode() for name in arrays] + [f"aux:{name}".encode() for name in aux]
    parts.append(struct.pack("<Q", len(names)))
    parts += [struct.pack("<Q", len(name)) + name for name in names]
    return b"".join(parts)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent(dumper: yaml.SafeDumper, section: Section) -> yaml.Node:
    tag = f"!{section.class_name}" if section.class_name else "tag:yaml.org,2002:map"
    return dumper.represent_mapping(tag, dict(section))


_Dumper.add_representer(Section, _represent)


class Folder:
    """A model folder being made; starts as a copy of a golden one.

    Attributes:
        config, arrays: To be changed before ``write``.
        version: Content of the file, ``None`` for no file.
    """

    def __init__(self, golden: str) -> None:
        self.golden = MODELS / golden
        self.config: Any = parse((self.golden / "config").read_text(encoding="utf-8"))
        self.arrays: Arrays = read_params(self.golden / "params.best")
        self.version: str | None = (self.golden / "version").read_text()
        self.vocabularies = {
            side: json.loads(next(self.golden.glob(f"vocab.{side}*.json")).read_text(encoding="utf-8"))
            for side in ("src", "trg")
        }
        self.vocabulary_names = {side: next(self.golden.glob(f"vocab.{side}*.json")).name for side in ("src", "trg")}
        self.params_format = "V2"
        self.params_name = "params.best"

    def rename(self, pattern: str, new: str) -> None:
        """Renames parameters."""
        self.arrays = {re.sub(pattern, new, name): array for name, array in self.arrays.items()}

    def stack(self, gates: str) -> None:
        """Joins the matrices of the gates, as 1.13 began to."""
        stacked: Arrays = {}
        for name, array in self.arrays.items():
            found = re.fullmatch(r"(.+_[ih]2h)_([a-z])_(weight|bias)", name)
            if not found:
                stacked[name] = array
            elif found[2] == gates[0]:
                parts = [self.arrays[f"{found[1]}_{gate}_{found[3]}"] for gate in gates]
                stacked[f"{found[1]}_{found[3]}"] = np.concatenate(parts)
        self.arrays = stacked

    def unstack(self, gates: str) -> None:
        """Cuts them apart, as versions before did."""
        cut: Arrays = {}
        for name, array in self.arrays.items():
            found = re.fullmatch(r"(.+_l\d+_[ih]2h)_(weight|bias)", name)
            if not found:
                cut[name] = array
            else:
                for gate, part in zip(gates, np.split(array, len(gates)), strict=True):
                    cut[f"{found[1]}_{gate}_{found[2]}"] = part
        self.arrays = cut

    def to_sections_of_1_2(self) -> None:
        """Moves the configuration of a recurrent model of 1.8 to 1.12 to what 1.2 wrote."""
        self.version = "1.2.1"
        self.rename(r"^decoder_rnn_", "decoder_")
        data = self.config["config_data"]
        for key in [key for key in data if key.startswith(("length_ratio", "max_observed"))]:
            del data[key]
        for part in (self.config["config_encoder"], self.config["config_decoder"]):
            cells = part["rnn_config"]
            for key in ("first_residual_layer", "attention_in_upper_layers", "dropout_recurrent", "dropout_states"):
                cells.pop(key, None)
            cells["dropout"] = cells.pop("dropout_inputs")
            part.pop("embed_dropout")
        for key in ("attention_in_upper_layers", "state_init", "hidden_dropout"):
            self.config["config_decoder"].pop(key)
        self.config["config_encoder"].pop("reverse_input")
        attention = self.config["config_decoder"]["attention_config"]
        attention["rnn_num_hidden"] = attention.pop("query_num_hidden")
        attention.pop("source_num_hidden")

    def to_sections_of_1_1(self) -> None:
        """Moves it on to what 1.1 wrote."""
        self.to_sections_of_1_2()
        self.version = "1.1.0"
        self.config["config_attention"] = self.config["config_decoder"].pop("attention_config")
        self.config["max_seq_len"] = self.config.pop("max_seq_len_source")
        self.config.pop("max_seq_len_target")
        for key in ("weight_tying", "weight_tying_type"):
            self.config.pop(key)

    def to_flat_1_0(self) -> None:
        """Moves it on to the one JSON object of 1.0, whose folders have no version."""
        self.to_sections_of_1_2()
        self.version = None
        old = self.config
        encoder, decoder = old["config_encoder"], old["config_decoder"]
        attention, cells = decoder["attention_config"], decoder["rnn_config"]
        assert encoder["rnn_config"]["num_layers"] == cells["num_layers"], "1.0 has one number for both"
        self.config = {
            "attention_coverage_num_hidden": 1,
            "attention_coverage_type": "count",
            "attention_num_hidden": attention["num_hidden"],
            "attention_type": attention["type"],
            "attention_use_prev_word": False,
            "context_gating": False,
            "data_info": ["a", "b", "c", "d", None, None],
            "dropout": 0.0,
            "learn_lexical_bias": False,
            "lexical_bias": None,
            "loss": "cross-entropy",
            "max_seq_len": old["max_seq_len_source"],
            "normalize_loss": False,
            "num_embed_source": encoder["num_embed"],
            "num_embed_target": decoder["num_embed"],
            "rnn_cell_type": cells["cell_type"],
            "rnn_num_hidden": cells["num_hidden"],
            "rnn_num_layers": cells["num_layers"],
            "rnn_residual_connections": cells["residual"],
            "smoothed_cross_entropy_alpha": 0.3,
            "vocab_source_size": encoder["vocab_size"],
            "vocab_target_size": decoder["vocab_size"],
            "weight_tying": False,
        }

    def config_text(self) -> str:
        """The file ``config``."""
        if not isinstance(self.config, Section):
            return json.dumps(self.config, indent=2, sort_keys=True)
        return str(yaml.dump(self.config, Dumper=_Dumper, default_flow_style=False))

    def write(self, path: Path) -> Path:
        """Writes the folder."""
        path.mkdir(parents=True)
        (path / "config").write_text(self.config_text(), encoding="utf-8")
        if self.version is not None:
            (path / "version").write_text(self.version)
        for side, vocabulary in self.vocabularies.items():
            (path / self.vocabulary_names[side]).write_text(json.dumps(vocabulary, indent=4), encoding="utf-8")
        (path / self.params_name).write_bytes(params_bytes(self.arrays, self.params_format))
        return path


def golden_copy(name: str, path: Path) -> Path:
    """A golden folder with what Sockeye wrote alone."""
    return Path(shutil.copytree(MODELS / name, path, ignore=shutil.ignore_patterns("*.npz", "translate.json")))


def pack(folder: Path, path: Path, prefix: str = "", change: Callable[[tarfile.TarInfo], None] | None = None) -> Path:
    """A model.tar.gz of a folder."""
    with tarfile.open(path, "w:gz") as tar:
        for file in sorted(folder.iterdir()):
            info = tar.gettarinfo(str(file), arcname=prefix + file.name)
            if change:
                change(info)
            if info.isreg():
                with file.open("rb") as content:
                    tar.addfile(info, content)
            else:
                tar.addfile(info)
    return path


def pack_entries(path: Path, entries: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """A tar.gz of given entries."""
    with tarfile.open(path, "w:gz") as tar:
        for info, content in entries:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def entry(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    """An entry."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, content
