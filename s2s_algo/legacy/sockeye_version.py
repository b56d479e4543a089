"""Which version of Sockeye 1 wrote a model folder.

The file ``version`` says so. It is missing in folders of 1.0 and may have been lost or edited in others, so what the
configuration and the names of the parameters show is compared with it and counts for more: each sign occurs from one
version on or up to one version. Some commits of the original changed a sign before they raised the version, so both
ends are inclusive.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from s2s_algo.errors import ClientError
from s2s_algo.wording import shown

logger = logging.getLogger(__name__)

Version = tuple[int, int, int]

# Folders of 1.0 have no version file; this is what the original took them for.
_WITHOUT_FILE: Version = (1, 0, 3)
_LAST: Version = (1, 18, 10_000)

_FORM = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Sign:
    """Something in a folder that tells versions apart.

    Attributes:
        what: For messages.
        since, until: The versions between which it occurs.
    """

    what: str
    since: Version = _WITHOUT_FILE
    until: Version = _LAST


# Keys, dotted from the top of the configuration.
_KEYS = {
    "rnn_num_layers": _Sign("a flat configuration", until=(1, 0, 10_000)),
    "config_encoder": _Sign("a configuration in sections", since=(1, 1, 0)),
    "max_seq_len": _Sign("max_seq_len for both sides together", until=(1, 2, 1)),
    "config_attention": _Sign("config_attention at the top", since=(1, 1, 0), until=(1, 2, 1)),
    "max_seq_len_source": _Sign("max_seq_len_source at the top", since=(1, 1, 1), until=(1, 16, 10_000)),
    "config_data.length_ratio_mean": _Sign("config_data.length_ratio_mean", since=(1, 6, 0), until=(1, 15, 5)),
    "config_data.max_observed_source_seq_len": _Sign(
        "config_data.max_observed_source_seq_len", since=(1, 8, 1), until=(1, 15, 5)
    ),
    "config_loss.normalization_type": _Sign("config_loss.normalization_type", since=(1, 9, 0)),
    "config_embed_source": _Sign("config_embed_source", since=(1, 13, 0)),
    "config_encoder.vocab_size": _Sign("config_encoder.vocab_size", since=(1, 1, 0), until=(1, 13, 0)),
    "config_data.data_statistics": _Sign("config_data.data_statistics", since=(1, 15, 5)),
    "config_data.num_source_factors": _Sign("config_data.num_source_factors", since=(1, 16, 6)),
    "lhuc": _Sign("lhuc", since=(1, 18, 7)),
    "config_data.source_with_eos": _Sign("config_data.source_with_eos", since=(1, 18, 12)),
    "num_pointers": _Sign("num_pointers", since=(1, 18, 99)),
}
# Names of parameters.
_NAMES = {
    r"decoder_(l\d+|enc2decinit|hidden|cls)_.+": _Sign("parameters decoder_*", until=(1, 8, 0)),
    r"(decoder|encoder)_cnn_.+": _Sign("parameters of convolutions", since=(1, 7, 1)),
    r"decoder_(rnn|cnn)_cls_.+": _Sign("parameters decoder_*_cls", since=(1, 7, 1), until=(1, 13, 0)),
    r".+_[ih]2h_[ifcorz]_(weight|bias)": _Sign("one matrix per gate", until=(1, 13, 0)),
    r".+_l\d+_[ih]2h_(weight|bias)": _Sign("gates in one matrix", since=(1, 13, 0)),
    r"target_output_.+": _Sign("parameters target_output_*", since=(1, 13, 0)),
    r"att_.+": _Sign("parameters att_*", until=(1, 18, 0)),
    r"decoder_rnn_att_.+": _Sign("parameters decoder_rnn_att_*", since=(1, 18, 0)),
}


@dataclass(frozen=True, slots=True)
class SockeyeVersion:
    """A version.

    Attributes:
        numbers: Of the release; without a version file the oldest that shows the same signs, with one that
            contradicts the signs the nearest that does.
        is_certain: Whether the folder says so.
    """

    numbers: Version
    is_certain: bool

    def __str__(self) -> str:
        text = "Sockeye " + _text(self.numbers)
        return text if self.is_certain else f"{text} or so"


def determine_version(text: str | None, config: Mapping[str, Any], names: Collection[str]) -> SockeyeVersion:
    """Determines the version.

    Args:
        text: Content of the file ``version``, ``None`` if there is none.
        config: The configuration.
        names: Of all parameters.

    Raises:
        ClientError: It is no version of Sockeye 1, or the folder shows signs of different versions.
    """
    signs = [sign for key, sign in _KEYS.items() if _has(config, key)]
    signs += [sign for pattern, sign in _NAMES.items() if any(re.fullmatch(pattern, name) for name in names)]
    since = max((sign.since for sign in signs), default=_WITHOUT_FILE)
    until = min((sign.until for sign in signs), default=_LAST)
    if since > until:
        ends = {sign.what: sign for sign in signs if sign.since == since or sign.until == until}
        ranges = "; ".join(f"{sign.what} of {_range(sign)}" for sign in ends.values())
        raise ClientError(
            f"the folder has signs of different versions: {ranges}. Keep the files of one training job together."
        )
    if text is None:
        return SockeyeVersion(since, is_certain=since == _WITHOUT_FILE)
    said = parse_version(text)
    wrong = [sign for sign in signs if not sign.since <= said <= sign.until]
    if not wrong:
        return SockeyeVersion(said, is_certain=True)
    nearest = since if said < since else until
    ranges = "; ".join(f"{sign.what} of {_range(sign)}" for sign in wrong)
    logger.warning(
        "The file version says %s, but the folder has %s: it is taken for one of %s",
        _text(said),
        ranges,
        _text(nearest),
    )
    return SockeyeVersion(nearest, is_certain=False)


def parse_version(text: str) -> Version:
    """Reads a version of Sockeye 1.

    Raises:
        ClientError: It is something else.
    """
    form = _FORM.fullmatch(text.strip())
    if not form:
        raise ClientError(f"{shown(text)} is not a version; it must be one such as 1.10.5", where="file version")
    numbers = (int(form[1]), int(form[2]), int(form[3] or 0))
    if numbers[0] != 1 or numbers > _LAST:
        raise ClientError(
            f"the model is of Sockeye {_text(numbers)}; only models of 1.0 to 1.18 can be imported, for 2 and 3 have "
            "neither recurrent nor convolutional models. Train one with s2s.",
            where="file version",
        )
    return numbers


def _has(config: Mapping[str, Any], key: str) -> bool:
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def _text(numbers: Version) -> str:
    return ".".join(map(str, numbers)).removesuffix(".10000")


def _range(sign: _Sign) -> str:
    since = "" if sign.since == _WITHOUT_FILE else _text(sign.since)
    last = _text(sign.until)
    if sign.until == _LAST:
        return f"{since} and later"
    return f"{since} to {last}" if since else f"{last} and earlier"
