"""Translation memories: TMX 1.1 to 1.4, an XML format of translators' tools.

A ``tu`` (translation unit) holds a ``tuv`` (variant) per language, whose ``seg`` is the sentence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.parsers import expat

from s2s_algo.data.text import read_blocks
from s2s_algo.errors import ClientError

# What is in these elements of a sentence belongs to the program that the sentence comes from, such as "\b" or "<br/>".
_NATIVE_CODES = ("bpt", "ept", "it", "ph", "ut")


def read_tmx(path: Path, source_language: str, target_language: str) -> Iterator[tuple[str, str]]:
    """Yields source and target of every unit, blank if it lacks one; memory is that of one unit.

    Args:
        path: Of the file; ``.gz`` is unpacked.
        source_language: Case does not matter, and a language stands for its regions too: ``en`` for ``en-US``.
        target_language: Likewise.

    Raises:
        ClientError: The file cannot be read, is no TMX, declares entities, or has not one unit in both languages.
    """
    source, target = _normal(source_language), _normal(target_language)
    if _matches(source, target) or _matches(target, source):
        raise ClientError(
            f"the languages {source_language} and {target_language} cannot be told apart in {path}; "
            "name another --source-language or --target-language"
        )
    handler = _Handler(path, source, target)
    found = False
    for block in read_blocks(path):
        handler.feed(block)
        found = found or any(all(pair) for pair in handler.pairs)
        yield from handler.pairs
        handler.pairs.clear()
    handler.feed(b"", is_last=True)
    if not found:
        languages = ", ".join(sorted(handler.languages)) or "none at all"
        raise ClientError(
            f"{path} has no unit with a sentence in {source_language} and one in {target_language}; its languages are: "
            f"{languages}. Choose two of them with --source-language and --target-language"
        )


class _Handler:
    """What the parser tells, as pairs.

    Attributes:
        pairs: Of the units that have ended; whoever takes them clears the list.
        languages: All that were met, as written.
    """

    def __init__(self, path: Path, source: str, target: str) -> None:
        self.pairs: list[tuple[str, str]] = []
        self.languages: set[str] = set()
        self._path = path
        self._wanted = (source, target)
        self._has_root = False
        self._unit: dict[str, str] = {}  # sentences of the unit so far, by normal language
        self._language = ""
        self._text: list[str] | None = None  # of the sentence that is being read
        self._depth_of_codes = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        # A few lines of entities can stand for gigabytes of text. The format needs none.
        self._parser.EntityDeclHandler = self._refuse_declaration
        self._parser.SkippedEntityHandler = self._refuse_unknown

    def feed(self, block: bytes, is_last: bool = False) -> None:
        """Reads on.

        Raises:
            ClientError: What is wrong with the file, and in which line.
        """
        try:
            self._parser.Parse(block, is_last)
        except expat.ExpatError as error:
            reason = expat.errors.messages[error.code]
            raise ClientError(
                f"broken XML: {reason}; export the translation memory again",
                where=f"{self._path}, line {error.lineno}",
            ) from None
        except (LookupError, ValueError) as error:  # of Python, which the parser asks for encodings other than Unicode
            raise ClientError(
                f"its encoding cannot be read ({error}); save it as UTF-8", where=str(self._path)
            ) from None

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if not self._has_root and name != "tmx":
            raise self._problem(f"the file begins with <{name}>, but a translation memory with <tmx>")
        self._has_root = True
        if self._text is not None:
            self._depth_of_codes += name in _NATIVE_CODES or self._depth_of_codes > 0
        elif name == "tu":
            self._unit = {}
        elif name == "tuv":
            self._language = attributes.get("xml:lang") or attributes.get("lang") or ""
            self.languages.add(self._language)
        elif name == "seg":
            self._text = []

    def _end(self, name: str) -> None:
        if name == "seg" and self._text is not None:
            # Line ends within a sentence come from the layout of the file.
            self._unit.setdefault(_normal(self._language), " ".join("".join(self._text).split()))
            self._text = None
        elif self._text is not None:
            self._depth_of_codes -= self._depth_of_codes > 0
        elif name == "tu":
            source, target = (self._sentence(language) for language in self._wanted)
            self.pairs.append((source, target))

    def _characters(self, text: str) -> None:
        if self._text is not None and not self._depth_of_codes:
            self._text.append(text)

    def _sentence(self, wanted: str) -> str:
        """The unit's sentence in a language, in the first of its regions if there are several."""
        return next((text for language, text in self._unit.items() if _matches(wanted, language)), "")

    def _refuse_declaration(self, name: str, *_: object) -> None:
        raise self._problem(f"the file declares the entity {name!r}, which is not read; replace it by its text")

    def _refuse_unknown(self, name: str, is_parameter: bool) -> None:
        if not is_parameter:
            raise self._problem(f"the entity &{name}; is not known here; replace it by its text")

    def _problem(self, message: str) -> ClientError:
        return ClientError(message, where=f"{self._path}, line {self._parser.CurrentLineNumber}")


def _normal(language: str) -> str:
    return language.strip().replace("_", "-").lower()


def _matches(wanted: str, language: str) -> bool:
    """Whether a language is the wanted one or a region of it."""
    return language == wanted or language.startswith(f"{wanted}-")
