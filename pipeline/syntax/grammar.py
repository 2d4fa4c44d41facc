"""Grammars: what tree-sitter knows of a language, and which of its node kinds mean what.

The one module that knows where grammars come from: the official wheel of each language with today's tree-sitter, or
`tree-sitter-languages` where that package is installed with a tree-sitter older than 0.22, the last it runs on. It
parses, and describes node kinds by arrays; walking a tree is for others. The kinds' meaning is in `languages.toml`.
"""

import re
import warnings
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import tree_sitter

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.syntax.languages import LANGUAGE_SETTINGS, LANGUAGES

_ROLES = {"assignment_or_call": 1, "conditional": 2, "control_flow": 3}


@dataclass(frozen=True, eq=False)
class Grammar:
    """The node kinds of one language.

    Tree-sitter's kind ids are sparse: they count invisible kinds, and one kind may have several. A *dense kind* is an
    index into `node_kinds`. The object holds no parser, so it can be pickled.

    Attributes:
        name: the language, as in `LANGUAGES`
        fence: the tag that opens a fenced block of this language
        node_kinds: names by dense kind: "" (no node), then each visible (name, named) pair in the grammar's order of
            ids, then "ERROR". A name occurs twice where a keyword and a node share it.
        named: bool, by dense kind: whether the kind is named, not a keyword, operator or bracket
        dense_kind: uint16 [65536], dense kind by tree-sitter's kind id; 0 for ids that no node bears, and for the
            nameless token that Go's grammar sets at the end of a file
        role_by_kind: int8, by dense kind: 1 assignment or call, 2 conditional, 3 control flow, 0 takes its parent's
        is_literal_or_punctuation: bool, by dense kind: the kind's own text has role 0 wherever it stands
        is_wrapper: bool, by dense kind: the kind only holds others together
        origin: distribution and version that the grammar came from
    """

    name: str
    fence: str
    node_kinds: tuple[str, ...]
    named: npt.NDArray[np.bool_]
    dense_kind: npt.NDArray[np.uint16]
    role_by_kind: npt.NDArray[np.int8]
    is_literal_or_punctuation: npt.NDArray[np.bool_]
    is_wrapper: npt.NDArray[np.bool_]
    origin: str

    def parse(self, code_bytes: bytes) -> tree_sitter.Tree:
        """Syntax tree of UTF-8 code; code that is wrong has nodes of kind ERROR and raises nothing."""
        tree: tree_sitter.Tree = _parser(self.name).parse(code_bytes)
        return tree


@cache
def load_grammar(name: str) -> Grammar:
    """Grammar of a language in `LANGUAGES`.

    Raises:
        SettingsError: the language is unknown, or its grammar is missing or does not fit the installed tree-sitter
    """
    language, origin = _language(name)
    settings = LANGUAGE_SETTINGS[name]
    roles = settings.roles

    dense_of_pair: dict[tuple[str, bool], int] = {("", False): 0}
    dense_kind = np.zeros(1 << 16, np.uint16)
    for kind_id in range(language.node_kind_count):
        if language.node_kind_is_visible(kind_id):
            pair = (language.node_kind_for_id(kind_id), language.node_kind_is_named(kind_id))
            dense_kind[kind_id] = dense_of_pair.setdefault(pair, len(dense_of_pair))
    dense_kind[0xFFFF] = dense_of_pair.setdefault(("ERROR", True), len(dense_of_pair))

    role_of_name = {kind: role for key, role in _ROLES.items() for kind in roles[key]}
    literals, wrappers = set(roles["literals"]), set(roles["wrappers"])
    pairs = list(dense_of_pair)
    keywords = {kind for kind, is_named in pairs if not is_named and _is_word(kind)}
    keywords -= set(roles.get("literal_keywords", ()))
    return Grammar(
        name=name,
        fence=settings.fence,
        node_kinds=tuple(kind for kind, _ in pairs),
        named=np.array([is_named for _, is_named in pairs]),
        dense_kind=dense_kind,
        role_by_kind=np.array([role_of_name.get(kind, 0) if is_named else 0 for kind, is_named in pairs], np.int8),
        is_literal_or_punctuation=np.array(
            [kind in literals if is_named else kind not in keywords for kind, is_named in pairs]
        ),
        is_wrapper=np.array([is_named and kind in wrappers for kind, is_named in pairs]),
        origin=origin,
    )


def _is_word(kind: str) -> bool:
    """Whether an anonymous kind is a word (`if`, `not in`, `#include`), not punctuation or a quote (`+=`, `u8"`)."""
    return re.search(r"[A-Za-z]", kind) is not None and re.search(r"[\"'`]", kind) is None


@cache
def _parser(name: str) -> Any:
    """Parser of a language, one per process."""
    language, _ = _language(name)
    if not _uses_legacy_package():
        return tree_sitter.Parser(language)
    parser: Any = tree_sitter.Parser()
    parser.set_language(language)
    return parser


@cache
def _language(name: str) -> tuple[Any, str]:
    """tree-sitter's Language, whose methods are the same in both worlds, and the grammar's origin."""
    if name not in LANGUAGE_SETTINGS:
        raise SettingsError(f"unknown language {name!r}: choose from {', '.join(LANGUAGES)}")
    settings = LANGUAGE_SETTINGS[name]
    if _uses_legacy_package():
        with warnings.catch_warnings():
            # The package calls tree-sitter in the way that 0.21 deprecates and 0.22 removes.
            warnings.simplefilter("ignore", FutureWarning)
            language = import_module("tree_sitter_languages").get_language(settings.legacy_name)
        return language, f"tree-sitter-languages {version('tree-sitter-languages')}"

    module = settings.grammar_module
    distribution = module.replace("_", "-")
    if find_spec(module) is None:
        raise SettingsError(f"no grammar for {name}: pip install {distribution}")
    origin = f"{distribution} {version(distribution)}"
    try:
        return tree_sitter.Language(getattr(import_module(module), settings.grammar_function)()), origin
    except (TypeError, ValueError) as error:  # a tree-sitter older than the grammar's ABI, or newer than it reads
        raise SettingsError(
            f"tree-sitter {version('tree-sitter')} does not load {origin}: pip install -U tree-sitter {distribution}"
        ) from error


@cache
def _uses_legacy_package() -> bool:
    major, minor = version("tree-sitter").split(".")[:2]
    return (int(major), int(minor)) < (0, 22) and find_spec("tree_sitter_languages") is not None
