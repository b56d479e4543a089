import os
from pathlib import Path

import pytest
import torch

from s2s_algo.data.vocabulary import SPECIAL_TOKENS, Vocabulary
from s2s_algo.decoding.memory_estimate import estimate_serving
from s2s_algo.decoding.translator import Translator
from s2s_algo.errors import ClientError
from s2s_algo.model.inference import InferenceConfig
from s2s_algo.model.limits import LengthLimits
from s2s_algo.model.seq2seq import Seq2Seq
from serve.model_source import ModelSource
from serve.problems import ModelNotFoundError
from tests.unit.small_model import small_config

MB = 2**20


@pytest.fixture
def root(tmp_path):
    (tmp_path / "models" / "one" / "model").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    return tmp_path / "models"


@pytest.fixture
def source(root):
    return ModelSource(root, lambda folder: folder)


# -- which folder


def test_a_url_is_a_folder_below_the_one_of_all_models(source, root):
    assert source.folder(f"{root}/one/model") == root / "one" / "model"
    assert source.load(root / "one") == root / "one"


@pytest.mark.parametrize("url", ["one/model", "", "s3://bucket/model", "file:///opt/ml", "/opt\0/ml"])
def test_a_url_must_be_absolute(source, root, url):
    with pytest.raises(ClientError) as caught:
        source.folder(url)
    assert caught.value.message == f"url is {url!r}; it must be an absolute path, such as {root}/NAME/model"


@pytest.mark.parametrize("path", ["/", "/etc", "{root}", "{root}/../secret", "{root}/one/../one/model", "{root}/link"])
def test_a_url_may_not_lead_elsewhere(source, root, path):
    (root / "link").symlink_to(root.parent / "secret")
    with pytest.raises(ClientError, match=r"url is .*, which is outside .*; models must be below that folder"):
        source.folder(path.format(root=root))


def test_the_folder_of_all_models_may_be_a_link_itself(root):
    link = root.parent / "link"
    link.symlink_to(root)
    assert ModelSource(link, print).folder(f"{link}/one/model") == root / "one" / "model"


@pytest.mark.parametrize("name", ["two", "one/model/file", "circle", "x" * 300])
def test_a_url_must_be_of_a_folder(source, root, name):
    (root / "one" / "model" / "file").touch()
    (root / "circle").symlink_to(root / "circle")
    with pytest.raises(
        ModelNotFoundError, match=r"there is no such folder; unpack model\.tar\.gz there before loading"
    ):
        source.folder(f"{root}/{name}")


# -- what it costs


def write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def test_a_model_of_ours_takes_its_weights_three_times_while_it_is_read(source, root):
    write(root / "one" / "config.json", 10)
    write(root / "one" / "model.safetensors", 100 * MB)
    write(root / "one" / "foreign", 500 * MB)
    assert source.loading_cost(root / "one") == 308 * MB


@pytest.mark.parametrize("folder", ["one", "one/model"])
def test_a_model_to_import_takes_its_largest_file_four_times(source, root, folder):
    write(root / folder / "params.00001", 90 * MB)
    (root / folder / "params.best").symlink_to(root / folder / "params.00001")
    write(root / folder / "vocab.src.json", 1 * MB)
    assert source.loading_cost(root / "one") == 368 * MB


def test_a_folder_without_a_model_costs_a_thread(source, root):
    (root / "one" / "model" / "broken").symlink_to("nowhere")
    assert source.loading_cost(root / "one" / "model") == 8 * MB


def translator_of(most_rows):
    torch.manual_seed(1)
    config = small_config()
    sizes = config.source_embedding.vocabulary_size, config.target_embedding.vocabulary_size
    vocabularies = (Vocabulary.from_tokens([*SPECIAL_TOKENS, *map(str, range(size - 4))]) for size in sizes)
    limits = LengthLimits(max_input_length=10, ratio_mean=1.0, ratio_std=0.1, max_output_length=11)
    return Translator(Seq2Seq(config), *vocabularies, InferenceConfig(beam_size=4, limits=limits), most_rows)


def test_a_loaded_model_costs_its_largest_batch_its_vocabularies_and_a_thread(source):
    translator = translator_of(most_rows=320)
    estimate = estimate_serving(translator.model.config, 10, 11, 4)
    entries = len(translator.source_vocabulary) + len(translator.target_vocabulary)
    expected = estimate.peak + 300 * entries + 8 * MB
    assert source.serving_cost(translator) == expected
    assert source.serving_cost(translator_of(most_rows=320)) == expected


def test_sentences_without_end_cost_more_than_any_machine_has(source):
    translator = translator_of(most_rows=320)
    limits = translator.inference.limits.model_copy(update={"max_input_length": 10**9, "max_output_length": 10**9})
    translator.inference = translator.inference.model_copy(update={"limits": limits})
    assert source.serving_cost(translator) > 2**50


def test_batches_of_more_rows_cost_more(root):
    few, many = (ModelSource(root, print).serving_cost(translator_of(rows)) for rows in (320, 3200))
    assert many > few


@pytest.mark.parametrize("place", ["", "folder"])
def test_pipes_and_links_to_other_places_are_refused_before_anything_is_opened(source, root, tmp_path, place):
    folder = root / "one" / "model" / place
    folder.mkdir(parents=True, exist_ok=True)
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(ClientError) as error:
        source.loading_cost(root / "one" / "model")
    assert str(error.value) == (
        f"{folder / 'model.safetensors'}: it is neither a file nor a folder, of which models consist"
    )
    (folder / "model.safetensors").unlink()
    (tmp_path / "elsewhere").touch()
    (folder / "vocab.src.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ClientError) as error:
        source.loading_cost(root / "one" / "model")
    assert str(error.value) == f"{folder / 'vocab.src.json'}: it is a link that leads out of {root}"
