"""Lays out the folders that a training job finds under /opt/ml, for a corpus of one's own or one of two examples.

python -m local_test.make_channels text FOLDER --train-source … --train-target … --validation-source … …
python -m local_test.make_channels reverse FOLDER
python -m local_test.make_channels cmudict FOLDER
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from local_test.corpora import Corpus, pronunciation_corpus, read_cmudict, reverse_corpus
from s2s_algo.data.parallel_text import TwoTexts
from s2s_algo.data.prepare import prepare
from s2s_algo.data.prepare_options import PrepareOptions
from s2s_algo.data.prepare_report import PrepareReport
from s2s_algo.errors import S2SError

# Small and quick; for real data, pass a file with the names of docs/hyperparameters.md.
REVERSE_HYPERPARAMETERS = Path(__file__).with_name("reverse_hyperparameters.json")
CMUDICT_HYPERPARAMETERS = Path(__file__).with_name("demo_hyperparameters.json")

TEST_FILE = "test.json"
HOST = "algo-1"


def lay_out_text(
    folder: Path,
    train: tuple[Path, Path],
    validation: tuple[Path, Path],
    hyperparameters: Mapping[str, str],
) -> PrepareReport:
    """Lays out a job that learns from parallel text files.

    Args:
        folder: What Docker would mount as /opt/ml; must be empty or absent.
        train: Source and target text, line by line, tokens between blanks.
        validation: Source and target text.
        hyperparameters: Names and values, which are strings as in every SageMaker job.

    Raises:
        SystemExit: The folder holds something already.
        ClientError: The texts cannot be used.
    """
    if folder.exists() and any(folder.iterdir()):
        # A forgotten checkpoint or model in it would take part in the new job.
        raise SystemExit(f"{folder} is not empty; name another folder, or remove it first")
    report = prepare(
        PrepareOptions(
            train=TwoTexts(*train),
            validation=TwoTexts(*validation),
            output=folder / "input" / "data",
            channels=True,
        )
    )
    for name in ("model", "output/data"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _write_configuration(folder / "input" / "config", hyperparameters)
    return report


def lay_out_corpus(folder: Path, corpus: Corpus, hyperparameters: Mapping[str, str]) -> PrepareReport:
    """Lays out a job that learns a corpus, with the test cases in a file beside the channels.

    Raises:
        SystemExit: The folder holds something already.
    """
    with tempfile.TemporaryDirectory() as texts:
        sides = {"train": corpus.train, "validation": corpus.validation}
        paths = {
            name: (
                _write_lines(Path(texts, f"{name}.source"), (source for source, _ in pairs)),
                _write_lines(Path(texts, f"{name}.target"), (target for _, target in pairs)),
            )
            for name, pairs in sides.items()
        }
        report = lay_out_text(folder, paths["train"], paths["validation"], hyperparameters)
    (folder / TEST_FILE).write_text(json.dumps(corpus.test, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return report


def read_hyperparameters(path: Path) -> dict[str, str]:
    """Reads a flat JSON object and returns its values as the strings that SageMaker passes on.

    Raises:
        SystemExit: The file is missing or holds something else.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"cannot read hyperparameters from {path}: {error}") from None
    if not isinstance(values, dict):
        raise SystemExit(f'{path} must hold a JSON object such as {{"batch_size": "64"}}')
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}


def parse_settings(settings: Iterable[str]) -> dict[str, str]:
    """Splits NAME=VALUE.

    Raises:
        SystemExit: A setting has no equals sign.
    """
    parsed = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise SystemExit(f"--set {setting}: write NAME=VALUE")
        parsed[name] = value
    return parsed


def _write_configuration(folder: Path, hyperparameters: Mapping[str, str]) -> None:
    """Writes the three files that every training job finds."""
    records = {
        "ContentType": "application/x-recordio-protobuf",
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    files = {
        "hyperparameters.json": dict(hyperparameters),
        "inputdataconfig.json": {
            "train": records,
            "validation": records,
            "vocab": {**records, "ContentType": "application/json"},
        },
        "resourceconfig.json": {
            "current_host": HOST,
            "current_instance_type": "local",
            "hosts": [HOST],
            "network_interface_name": "eth0",
        },
    }
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=4) + "\n", encoding="utf-8")


def _write_lines(path: Path, lines: Iterable[str]) -> Path:
    """Writes a text file and returns its path."""
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(f"{line}\n" for line in lines)
    return path


def _arguments() -> argparse.Namespace:
    """Reads the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("folder", type=Path, help="what Docker mounts as /opt/ml; must be empty or absent")
    common.add_argument("--hyperparameters", type=Path, metavar="FILE", help="JSON object of names and values")
    common.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="one hyperparameter; may be given repeatedly"
    )
    parser = argparse.ArgumentParser(description="Lays out the folders of a training job.")
    tasks = parser.add_subparsers(dest="task", required=True)
    text = tasks.add_parser("text", parents=[common], help="your own parallel text")
    for name in ("train-source", "train-target", "validation-source", "validation-target"):
        text.add_argument(f"--{name}", type=Path, required=True, metavar="FILE")
    tasks.add_parser("reverse", parents=[common], help="letters backwards; trains in a minute")
    tasks.add_parser("cmudict", parents=[common], help="the pronunciation of English words")
    return parser.parse_args()


def main() -> None:
    """Runs the command line."""
    arguments = _arguments()
    defaults = {"reverse": REVERSE_HYPERPARAMETERS, "cmudict": CMUDICT_HYPERPARAMETERS}
    file = arguments.hyperparameters or defaults.get(arguments.task)
    hyperparameters = read_hyperparameters(file) if file else {}
    hyperparameters |= parse_settings(arguments.set)
    try:
        if arguments.task == "text":
            report = lay_out_text(
                arguments.folder,
                (arguments.train_source, arguments.train_target),
                (arguments.validation_source, arguments.validation_target),
                hyperparameters,
            )
        else:
            corpus = reverse_corpus() if arguments.task == "reverse" else pronunciation_corpus(read_cmudict())
            report = lay_out_corpus(arguments.folder, corpus, hyperparameters)
    except S2SError as error:
        raise SystemExit(str(error)) from None
    print(describe(report))
    print(f"Next: local_test/train_local.sh {arguments.folder}")


def describe(report: PrepareReport) -> str:
    """Returns in one line what was laid out."""
    return (
        f"{report.train.written} training pairs, {report.validation.written} validation pairs; "
        f"vocabularies of {report.source_vocabulary_size} and {report.target_vocabulary_size} tokens"
    )


if __name__ == "__main__":
    main()
