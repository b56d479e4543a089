"""Corpus BLEU of Sockeye's own checkpoint decoder."""

import json

import pytest

from s2s_algo.bleu import corpus_bleu
from tests.golden.sockeye import GOLDEN

CASES = json.loads((GOLDEN / "bleu.json").read_text(encoding="utf-8"))["cases"]


@pytest.mark.parametrize("case", CASES)
def test_bleu_is_that_of_the_checkpoint_decoder(case, compare):
    ours = corpus_bleu(case["hypotheses"], case["references"]).score
    compare("BLEU of 1.10.5", ours, case["bleu"], 1e-9)
    compare("BLEU of 1.13.0", ours, case["bleu_1.13.0"], 1e-9)
