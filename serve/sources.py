"""From instances to source ids."""

from __future__ import annotations

from collections.abc import Sequence

from s2s_algo.data.vocabulary import Vocabulary
from s2s_algo.errors import ClientError
from serve.codecs import Instance


def source_ids(instance: Instance, vocabulary: Vocabulary) -> Sequence[int]:
    """Returns the source ids of an instance; unknown tokens of a text become ``<unk>``.

    Raises:
        ClientError: An id is not in the vocabulary or is that of ``<pad>``; names the instance.
    """
    if isinstance(instance.source, str):
        return vocabulary.encode(instance.source)
    for id_ in instance.source:
        if not 0 < id_ < len(vocabulary):
            raise ClientError(
                f"source id {id_} is outside 1 to {len(vocabulary) - 1}, the ids of the source vocabulary without "
                "<pad>; send the ids of vocab.src.json with which the model was trained",
                where=instance.place,
            )
    return instance.source


def source_tokens(instance: Instance, vocabulary: Vocabulary) -> Sequence[str]:
    """Returns the tokens of an instance, unknown ones as they were sent; those of ids by the vocabulary."""
    if isinstance(instance.source, str):
        return vocabulary.segmentation.split(instance.source)
    return vocabulary.decode(instance.source)
