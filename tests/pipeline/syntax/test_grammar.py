"""Grammars, from the official wheels or from tree-sitter-languages: the suite passes with either."""

import pickle
import tomllib
from pathlib import Path

import pytest

from syntaxdiff.pipeline.errors import SettingsError
from syntaxdiff.pipeline.syntax import grammar as grammar_module
from syntaxdiff.pipeline.syntax.grammar import Grammar, load_grammar
from syntaxdiff.pipeline.syntax.languages import LANGUAGES, language_of_fence

SETTINGS = tomllib.loads(Path(grammar_module.__file__).with_name("languages.toml").read_text("utf-8"))

# Listed kinds that the older grammars of tree-sitter-languages 1.10.2 do not have. The official wheels lack none.
ABSENT_FROM_LEGACY = {
    "javascript": {"html_comment", "html_character_reference"},
    "typescript": {"html_comment", "interface_body"},
    "go": {
        "interpreted_string_literal_content", "raw_string_literal_content", "statement_list", "type_constraint",
        "type_elem", "var_spec_list",
    },
    "rust": {"string_content", "doc_comment", "outer_doc_comment_marker", "inner_doc_comment_marker"},
}  # fmt: skip

PROGRAMS = {
    "python": """
async def f(a, *b):
    for i in b:
        if i and a:
            yield f"{i!r:>8}"
    return None
""",
    "cpp": """
#include <vector>
template <class T> T f(std::vector<T> v) {
  for (auto& x : v) if (x) return x;
  int y = 1;
  return v.empty() ? nullptr : y;
}
""",
    "java": """
class A {
  int f(int[] v) {
    for (int x : v) if (x > 0) return x;
    String s = "a";
    return v.length;
  }
}
""",
    "javascript": """
const f = (v) => {
  for (const x of v) if (x) return `${x}`;
  return v?.[0] ?? null;
};
""",
    "typescript": """
function f<T>(v: T[]): T | null {
  for (const x of v) if (x) return x;
  return v[0] as T;
}
""",
    "go": """
package main

func f(v []int) (string, error) {
	for _, x := range v {
		if x > 0 {
			return "a", nil
		}
	}
	return `b`, nil
}
""",
    "rust": """
/// doc
fn f(v: &[i32]) -> Option<bool> {
    for x in v {
        if *x > 0 { println!("{}", x); return None; }
    }
    let y = true;
    Some(y)
}
""",
}


@pytest.fixture(params=LANGUAGES)
def grammar(request: pytest.FixtureRequest) -> Grammar:
    return load_grammar(request.param)


def leaf_at(grammar: Grammar, code: str, text: str) -> int:
    """Dense kind of the smallest node over the last occurrence of a text, anonymous nodes too."""
    start_byte = code.encode().rindex(text.encode())
    root = grammar.parse(code.encode()).root_node
    node = root.descendant_for_byte_range(start_byte, start_byte + len(text.encode()))
    assert node is not None
    return int(grammar.dense_kind[node.kind_id])


def test_languages_stand_in_the_order_of_the_file() -> None:
    """The names are the seven of the file, in its order."""
    assert LANGUAGES == ("python", "cpp", "java", "javascript", "typescript", "go", "rust")


def test_every_listed_kind_is_a_named_kind_of_the_grammar(grammar: Grammar) -> None:
    """A kind in languages.toml exists in the grammar, but for those known to be younger than the legacy package."""
    named = {kind for kind, is_named in zip(grammar.node_kinds, grammar.named, strict=True) if is_named}
    roles = SETTINGS[grammar.name]["roles"]
    listed = {kind for key, kinds in roles.items() if key != "literal_keywords" for kind in kinds}
    legacy = grammar.origin.startswith("tree-sitter-languages ")
    assert listed - named == (ABSENT_FROM_LEGACY.get(grammar.name, set()) if legacy else set())
    anonymous = {kind for kind, is_named in zip(grammar.node_kinds, grammar.named, strict=True) if not is_named}
    assert set(roles.get("literal_keywords", ())) <= anonymous


@pytest.mark.parametrize("name", LANGUAGES)
def test_no_kind_is_listed_twice(name: str) -> None:
    """The lists of a language are disjoint, and none repeats a kind."""
    listed = [kind for kinds in SETTINGS[name]["roles"].values() for kind in kinds]
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("name", LANGUAGES)
def test_roles_reach_the_grammar(name: str) -> None:
    """A listed kind bears its list's role where it is named; a keyword of the same name bears none."""
    grammar = load_grammar(name)
    roles = SETTINGS[name]["roles"]
    keys = ("assignment_or_call", "conditional", "control_flow")
    expected = {kind: role for role, key in enumerate(keys, 1) for kind in roles[key]}
    for kind, is_named, role in zip(grammar.node_kinds, grammar.named, grammar.role_by_kind, strict=True):
        assert role == (expected.get(kind, 0) if is_named else 0)
    assert {1, 2, 3} == set(grammar.role_by_kind) - {0}


def test_a_small_program_parses(grammar: Grammar) -> None:
    """A correct program has no error, and each node of its tree is described under its own name."""
    tree = grammar.parse(PROGRAMS[grammar.name].encode())
    assert not tree.root_node.has_error
    nodes = [tree.root_node]
    for node in nodes:
        dense = grammar.dense_kind[node.kind_id]
        assert dense > 0
        assert (grammar.node_kinds[dense], grammar.named[dense]) == (node.type, node.is_named)
        nodes += node.children


def test_kinds_are_distinct_between_no_node_and_error(grammar: Grammar) -> None:
    """The list starts with no node, ends with ERROR, and repeats no (name, named) pair; arrays have its length."""
    pairs = list(zip(grammar.node_kinds, grammar.named, strict=True))
    assert pairs[0] == ("", False)
    assert pairs[-1] == ("ERROR", True)
    assert len(pairs) == len(set(pairs))
    assert len(pairs) == len(grammar.role_by_kind) == len(grammar.is_literal_or_punctuation) == len(grammar.is_wrapper)
    assert grammar.dense_kind.shape == (65536,)
    assert grammar.dense_kind.max() == grammar.dense_kind[65535] == len(pairs) - 1


def test_wrong_code_has_a_node_of_kind_error(grammar: Grammar) -> None:
    """Code that does not parse yields a tree with an ERROR node, never an exception."""
    nodes = [grammar.parse(b") = ] \x00 \xff }").root_node]
    assert nodes[0].has_error
    for node in nodes:
        nodes += node.children
    assert "ERROR" in {grammar.node_kinds[grammar.dense_kind[node.kind_id]] for node in nodes}


def test_keyword_and_node_of_one_name_are_two_kinds() -> None:
    """Python's `lambda` is a node and the keyword that opens it."""
    grammar = load_grammar("python")
    entries = {(kind, is_named) for kind, is_named in zip(grammar.node_kinds, grammar.named, strict=True)}
    assert {("lambda", True), ("lambda", False)} <= entries


@pytest.mark.parametrize(
    ("name", "code", "text", "expected"),
    [
        ("python", "x = y\n", "y", False),
        ("python", "if x: pass\n", "if", False),
        ("python", "x and y\n", "and", False),
        ("python", "x not in y\n", "not in", False),
        ("python", "x + y\n", "+", True),
        ("python", "f(x)\n", "(", True),
        ("python", "x = 12\n", "12", True),
        ("python", "x = None\n", "None", True),
        ("python", "x  # why\n", "why", True),
        ("python", "x = f'ab{y}'\n", "ab", True),
        ("python", "x = f'ab{y}'\n", "'", True),
        ("python", "x = f'ab{y}'\n", "y", False),
        ("cpp", "int *p = nullptr;", "nullptr", True),
        ("cpp", "#include <x>\n", "#include", False),
        ("cpp", 'auto s = u8"x";', 'u8"', True),
        ("java", "class A { int x = 0x1F; }", "0x1F", True),
        ("javascript", "x = `ab${y}`", "ab", True),
        ("javascript", "x = `ab${y}`", "y", False),
        ("javascript", "x = /ab/g", "ab", True),
        ("javascript", "x = y?.z", "?.", True),
        ("typescript", "let x: string = y", "string", False),
        ("typescript", "let x: string = 'ab'", "ab", True),
        ("go", 'package a\nvar x = "ab"', "ab", True),
        ("rust", "const X: bool = true;", "true", True),
        ("rust", "// why\n", "why", True),
        ("rust", "fn f() { return }", "return", False),
    ],
)
def test_literals_and_punctuation_are_told_from_names_and_keywords(name: str, code: str, text: str, expected: bool) -> None:
    """Constants, comments and operators are literal or punctuation; names and keywords are neither."""
    grammar = load_grammar(name)
    assert grammar.is_literal_or_punctuation[leaf_at(grammar, code, text)] == expected


def test_no_node_is_punctuation_and_error_is_not() -> None:
    """A token of no leaf has role 0; one in an ERROR takes the role around it."""
    grammar = load_grammar("python")
    assert grammar.is_literal_or_punctuation[0]
    assert not grammar.is_literal_or_punctuation[-1]
    assert grammar.role_by_kind[0] == grammar.role_by_kind[-1] == 0


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("", None),
        ("   ", None),
        ("text", None),
        ("c", None),
        ("python", "python"),
        (" Python3 title=x.py", "python"),
        ("py", "python"),
        ("c++", "cpp"),
        ("CC", "cpp"),
        ("js", "javascript"),
        ("ts", "typescript"),
        ("tsx", None),
        ("golang", "go"),
        ("rust,ignore", "rust"),
        ("java{1,3}", "java"),
    ],
)
def test_fence_tags(tag: str, language: str | None) -> None:
    """The first word of an info string names the language in any case, by its name or an alias."""
    assert language_of_fence(tag) == language


def test_fence_tags_are_lower_case_and_of_one_language() -> None:
    """No tag belongs to two languages, and all are written as they are looked up."""
    tags = [tag for settings in SETTINGS.values() for tag in {settings["fence"], *settings["fence_aliases"]}]
    assert len(tags) == len(set(tags))
    assert tags == [tag.lower() for tag in tags]
    for settings in SETTINGS.values():
        assert language_of_fence(settings["fence"]) is not None


def test_a_grammar_is_loaded_once_and_travels() -> None:
    """A second load gives the same object; a pickled copy parses and describes alike."""
    grammar = load_grammar("python")
    assert load_grammar("python") is grammar
    copy = pickle.loads(pickle.dumps(grammar))
    assert copy.node_kinds == grammar.node_kinds
    assert (copy.dense_kind == grammar.dense_kind).all()
    assert copy.parse(b"x").root_node.type == "module"


def test_an_unknown_language_is_a_settings_error() -> None:
    """The message names the languages there are."""
    with pytest.raises(SettingsError, match=r"'cobol'.*python, cpp"):
        load_grammar("cobol")


def test_a_missing_grammar_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the wheel of a language is not installed, the message says which to install."""
    uncached_language = grammar_module._language.__wrapped__
    monkeypatch.setattr(grammar_module, "_uses_legacy_package", lambda: False)
    monkeypatch.setattr(grammar_module, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match="pip install tree-sitter-go"):
        uncached_language("go")
