"""Translations of awkward inputs: tokens, scores and attention of every golden model whose search is ours."""

import numpy as np
import pytest

from s2s_algo.decoding.options import SearchOptions
from s2s_algo.decoding.translator import Translator
from s2s_algo.model.limits import LengthLimits
from tests.golden.sockeye import MODELS, load_folder

FOLDERS = [load_folder(path) for path in sorted(MODELS.iterdir())]
# Later versions compare unfinished hypotheses without normalisation; one hypothesis needs no comparison.
SAME_SEARCH = [folder for folder in FOLDERS if folder.version <= (1, 18, 1)]
OTHER_SEARCH = [folder for folder in FOLDERS if folder.version > (1, 18, 1)]


def length_limits(folder):
    """The limits that were in force.

    Our formula is that of versions up to 1.13. The later ones allow two slots more, so that only a ratio made up for
    the purpose gives the same number.
    """
    settings = folder.read_json("translate.json")["settings"]
    slots = {int(bucket): slots for bucket, slots in settings["max_output_length_per_source_bucket"].items()}
    mean, std = folder.length_ratio
    if folder.version > (1, 13):
        mean, std = max(slots[bucket] / bucket for bucket in slots), 0.0
    limits = LengthLimits(
        max_input_length=settings["max_input_length"], ratio_mean=mean, ratio_std=std, max_output_length=10**6
    )
    if folder in SAME_SEARCH:
        assert {bucket: limits.output_limit(bucket) + 1 for bucket in slots} == slots
    return limits


def translator(folder):
    source, target = folder.vocabulary("src"), folder.vocabulary("trg")
    return Translator(folder.model(), source, target, length_limits(folder), SearchOptions())


def name(folder):
    return folder.path.name


def spoken(result):
    """Which tokens of a golden result are words, and so have a row in our attention."""
    return np.array([token != "</s>" for token in result["tokens"]])


def check(group, ours, golden, compare):
    assert ours.text == golden["translation"]
    assert list(ours.tokens) == ours.text.split()
    compare(f"{group}: score", ours.score, golden["score"])
    if "attention" in golden:
        compare(f"{group}: attention", ours.attention, np.array(golden["attention"])[spoken(golden)])


@pytest.mark.parametrize("beam", [1, 5])
@pytest.mark.parametrize("folder", SAME_SEARCH, ids=name)
def test_every_input_has_the_golden_translation(folder, beam, compare):
    # Up to three pieces are joined for the longest inputs, unknown words and odd blanks are among them.
    translate = translator(folder)
    inputs = [entry for entry in folder.read_json("translate.json")["inputs"] if entry["input"].split()]
    assert max(len(entry["input"].split()) for entry in inputs) > 2 * translate.limits.max_input_length
    sources = [translate.source_vocabulary.encode(entry["input"]) for entry in inputs]
    for ours, entry in zip(translate.translate(sources, SearchOptions(beam_size=beam)), inputs, strict=True):
        check(f"translation, beam {beam}", ours, entry[f"beam{beam}"], compare)


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_an_empty_input_has_an_empty_translation_as_in_the_original(folder):
    translate = translator(folder)
    empty = [entry for entry in folder.read_json("translate.json")["inputs"] if not entry["input"].split()]
    assert empty
    for entry in empty:
        (ours,) = translate.translate([translate.source_vocabulary.encode(entry["input"])])
        assert ours.text == entry["beam1"]["translation"] == entry["beam5"]["translation"] == ""


@pytest.mark.parametrize("folder", OTHER_SEARCH, ids=name)
def test_inputs_in_one_piece_have_the_golden_greedy_translation_of_later_versions(folder, compare):
    translate = translator(folder)
    compared = 0
    for entry in folder.read_json("translate.json")["inputs"]:
        golden = entry["beam1"]
        source = translate.source_vocabulary.encode(entry["input"])
        source += [translate.source_vocabulary.eos_id] * folder.source_with_eos
        if not entry["input"].split() or len(source) > translate.limits.max_input_length:
            continue
        (ours,) = translate.translate([source], SearchOptions(beam_size=1))
        assert ours.text == golden["translation"]
        compared += 1
        # The original leaves out the column of the </s> that ends a source.
        columns = len(golden["attention"][0])
        compare(
            "translation, later versions, beam 1: attention",
            ours.attention[:, :columns],
            np.array(golden["attention"])[spoken(golden)],
        )
    assert compared >= 10
