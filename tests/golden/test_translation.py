"""Translations of awkward inputs: tokens, scores and attention of every golden model, imported as it lies there."""

from functools import cache

import numpy as np
import pytest
import torch

from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translator import Translator
from tests.golden.sockeye import MODELS, load_folder

FOLDERS = [load_folder(path) for path in sorted(MODELS.iterdir())]


@cache
def translator(path):
    return Translator.load(path, torch.device("cpu"))


def name(folder):
    return folder.path.name


def spoken(result):
    """Which tokens of a golden result are words; ours has rows for them alone (decision 32)."""
    return np.array([token != "</s>" for token in result["tokens"]])


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_the_limits_are_those_that_were_in_force(folder):
    settings = folder.read_json("translate.json")["settings"]
    ours = translator(folder.path).inference
    # Since 1.18.48 the original tells its limit without the </s> of the source.
    untold = int(folder.version >= (1, 18, 48))
    assert ours.limits.max_input_length == settings["max_input_length"] + untold
    slots = {int(bucket): slots for bucket, slots in settings["max_output_length_per_source_bucket"].items()}
    assert {bucket: ours.limits.output_limit(bucket) + 1 for bucket in slots} == slots
    assert ours.source_eos == folder.source_with_eos
    assert (ours.length_penalty_alpha, ours.length_penalty_beta) == (1, 0)


@pytest.mark.parametrize("beam", [1, 5])
@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_every_input_has_the_golden_translation(folder, beam, compare):
    # Up to three pieces are joined for the longest inputs; unknown words and odd blanks are among them.
    translate = translator(folder.path)
    entries = [entry for entry in folder.read_json("translate.json")["inputs"] if entry["input"].split()]
    assert max(len(entry["input"].split()) for entry in entries) > 2 * translate.inference.limits.max_input_length
    sources = [translate.source_vocabulary.encode(entry["input"]) for entry in entries]
    found = translate.translate(sources, SearchOptions(beam_size=beam))
    for ours, source, entry in zip(found, sources, entries, strict=True):
        golden = entry[f"beam{beam}"]
        assert ours.text == golden["translation"]
        assert list(ours.tokens) == ours.text.split()
        assert ours.attention.shape == (len(ours.tokens), len(source))
        compare(f"translation of {name(folder)}: score", ours.score, golden["score"])
        if golden["attention"] == "zeros":
            # Decision 32: we answer the weights of the last layer, which were computed but not returned.
            assert translate.model.config.decoder.type == "cnn"
            if not folder.source_with_eos:
                assert ours.attention.sum(1) == pytest.approx(1, abs=1e-5)
        elif folder.version < (1, 18, 45) or beam == 1:
            # Later versions could answer the rows of another hypothesis; ours are always its own.
            rows = np.array(golden["attention"])[spoken(golden)]
            compare(f"translation of {name(folder)}: attention", ours.attention, rows)


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_an_empty_input_has_an_empty_translation_as_in_the_original(folder):
    translate = translator(folder.path)
    empty = [entry for entry in folder.read_json("translate.json")["inputs"] if not entry["input"].split()]
    assert empty
    for entry in empty:
        (ours,) = translate.translate([translate.source_vocabulary.encode(entry["input"])])
        assert ours.text == entry["beam1"]["translation"] == entry["beam5"]["translation"] == ""
        # Decision 33: the original's matrix of one zero, or of nothing, is an empty one.
        assert ours.attention.shape == (0, 0)
