"""`syntaxdiff-eval masks`: what it prints is what training draws."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from folders import programs, write_jsonl

from syntaxdiff.eval.cli import main
from syntaxdiff.eval.masks.draw import Subject, draw_masks, pieces, read_subject
from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.shard import Region, iter_shard, read_manifest
from syntaxdiff.train.corruption.config import STRATEGIES, CorruptionConfig, OperatorShares
from syntaxdiff.train.corruption.corrupt import corrupt, plan
from syntaxdiff.train.corruption.noise import Noise
from syntaxdiff.train.corruption.operators import Operator
from syntaxdiff.train.data.batch import collate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of a few programs, one of them with text that is markup and a cut character."""
    root = tmp_path_factory.mktemp("masks")
    rows = programs(12)
    hostile = {**rows[0], "id": "hostile", "code": "def f(x):\n    # </script><b> \x1b[31m é漢🙂\n    return '</script>' + x\n"}
    source = write_jsonl(root / "rows.jsonl", [*rows, hostile])
    build_shards(BuildConfig(src=(str(source),), out=root / "data", tokenizer="train:400", validation_size=2, workers=1))
    return root / "data"


def run(*arguments: str | Path | float) -> Result:
    return CliRunner().invoke(main, ["masks", *map(str, arguments)])


def printed(*arguments: str | Path | float) -> list[dict[str, Any]]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    masks: list[dict[str, Any]] = json.loads(result.stdout)
    return masks


def hostile_index(folder: Path) -> int:
    shard = read_manifest(folder).splits["train"][0]
    return next(i for i, row in enumerate(iter_shard(folder, shard)) if "hostile" in row.sample_id)


def test_json_is_what_training_draws(folder: Path) -> None:
    """The positions are those at which the corruption of a batch of all samples touches this one."""
    manifest = read_manifest(folder)
    rows = list(iter_shard(folder, manifest.splits["train"][0]))
    batch = collate(rows, pad_id=manifest.token_ids.pad, languages=manifest.languages)
    noise = Noise.fixed(0.4, len(rows))
    for strategy in STRATEGIES:
        config = CorruptionConfig(strategy=strategy)
        corrupted = corrupt(batch.tensors, plan(batch, config, noise, seed=7, epoch=2), config, manifest.token_ids)
        for index in (0, len(rows) - 1):
            found = printed(folder, "--index", index, "--strategy", strategy, "--mask-rate", 0.4, "--seed", 7, "--epoch", 2)
            row = rows[index]
            region = np.repeat(row.region_label, np.diff(row.region_end, prepend=0))
            touched = corrupted.operator_BL[index, : row.length].numpy() != Operator.NONE
            masked = {
                name: np.flatnonzero(touched & (region == Region[name.upper()])).tolist()
                for name in ("reasoning", "code", "scaffold")
            }
            assert found == [
                {
                    "sample_id": row.sample_id,
                    "strategy": strategy,
                    "mask_rate": 0.4,
                    "seed": 7,
                    "epoch": 2,
                    "masked": masked,
                }
            ]


def test_one_object_a_strategy_in_the_order_asked_for(folder: Path) -> None:
    """`--strategy` repeats; without it two are shown."""
    found = printed(folder, "--split", "validation", "--strategy", "ast-cut", "--strategy", "random", "--strategy", "ast-span")
    assert [masks["strategy"] for masks in found] == ["ast-cut", "random", "ast-span"]
    assert [masks["strategy"] for masks in printed(folder)] == ["random", "ast-span"]


def test_seed_epoch_and_rate_matter_and_nothing_else_does(folder: Path) -> None:
    """Equal options print equal masks; another seed, epoch or rate others; rate 0 none and rate 1 all."""
    base = printed(folder, "--mask-rate", 0.5)
    assert base == printed(folder, "--mask-rate", 0.5)
    for change in (("--seed", 1), ("--epoch", 1), ("--mask-rate", 0.6)):
        assert [masks["masked"] for masks in printed(folder, "--mask-rate", 0.5, *map(str, change))] != [
            masks["masked"] for masks in base
        ]
    row = next(iter_shard(folder, read_manifest(folder).splits["train"][0]))
    sizes = np.bincount(row.region_label, np.diff(row.region_end, prepend=0), minlength=4)
    for masks in printed(folder, "--mask-rate", 1.0):
        assert [len(masks["masked"][name]) for name in ("reasoning", "code", "scaffold")] == sizes[1:].tolist()
    for masks in printed(folder, "--mask-rate", 0.0):
        assert masks["masked"] == {"reasoning": [], "code": [], "scaffold": []}


def test_ast_token_says_that_it_ignores_the_rate(folder: Path) -> None:
    """Its code masks are the same at every rate, with a notice; its reasoning follows the rate; the ceiling scales the code."""
    low = run(folder, "--strategy", "ast-token", "--mask-rate", 0.1, "--json")
    high = run(folder, "--strategy", "ast-token", "--mask-rate", 0.9, "--json")
    assert "note: ast-token" in low.stderr
    (lower,), (higher,) = json.loads(low.stdout), json.loads(high.stdout)
    assert lower["masked"]["code"] == higher["masked"]["code"] != []
    assert set(lower["masked"]["reasoning"]) < set(higher["masked"]["reasoning"])
    (scaled,) = printed(folder, "--strategy", "ast-token", "--ceiling", 0.3)
    assert set(scaled["masked"]["code"]) < set(lower["masked"]["code"])
    assert "note" not in run(folder, "--strategy", "ast-span").stderr


def test_the_terminal_shows_code_and_node_kinds(folder: Path) -> None:
    """The program's text, the masked parts marked without colour, counts, and the kinds of the drawn subtrees."""
    found = printed(folder, "--strategy", "ast-span", "--seed", 3)
    result = run(folder, "--strategy", "ast-span", "--seed", 3)
    assert result.exit_code == 0
    subject = read_subject(folder, "train", 0)
    masks = draw_masks(subject, CorruptionConfig(), Noise.fixed(0.3, 1), seed=3, epoch=0)
    plain = re.sub(r"[⟦⟧│]", "", result.stdout)
    assert "def solve(values):" in plain
    assert f"code {len(found[0]['masked']['code'])} of {len(subject.row.role)}" in plain
    assert masks.units
    assert all(unit.kind in plain for unit in masks.units[:3])
    assert "⟦" in result.stdout


def test_whole_shows_reasoning(folder: Path) -> None:
    """Reasoning and fences are printed when asked for."""
    assert "```python" not in run(folder).stdout
    assert "```python" in re.sub(r"[⟦⟧]", "", run(folder, "--whole", "--mask-rate", 0.0).stdout)


def test_pieces_are_the_program(folder: Path) -> None:
    """The pieces of a draw, put together, are the code's text; a piece holds one unit or none."""
    subject = read_subject(folder, "train", hostile_index(folder))
    start, end = subject.interval(Region.CODE)
    for seed in range(30):
        masks = draw_masks(subject, CorruptionConfig(), Noise.fixed(0.4, 1), seed=seed, epoch=0)
        text = "".join(piece.text for piece in pieces(subject, masks, start, end))
        assert "return '</script>' + x" in text
        assert "\x1b" not in text
        touched = sum(unit.end - unit.start for unit in masks.units)
        assert touched <= len(masks.masked["code"])


class Texts(HTMLParser):
    """Text outside of tags, and the data of the page's script."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.script = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["script"]:
            self.script += data


def test_the_page_holds_every_rate_and_needs_nothing(folder: Path, tmp_path: Path) -> None:
    """It links nowhere, survives programs that are markup, and its masks are those of each rate."""
    index = hostile_index(folder)
    page = tmp_path / "masks.html"
    result = run(folder, "--index", index, "--strategy", "ast-span", "--mask-rate", 0.33, "--html", page)
    assert result.exit_code == 0, result.output
    text = page.read_text("utf-8")
    assert "http" not in text
    assert "src=" not in text
    parser = Texts()
    parser.feed(text)
    assert parser.tags.count("script") == 1
    assert "b" not in parser.tags  # of the program
    data = json.loads(parser.script.split("const data = ", 1)[1].split(";\n", 1)[0])
    assert data["rates"][data["first"]] == 0.33
    assert {0.0, 0.5, 1.0} <= set(data["rates"])
    subject = read_subject(folder, "train", index)
    for rate, frame in zip(data["rates"], data["panels"][0]["frames"], strict=True):
        masks = draw_masks(subject, CorruptionConfig(), Noise.fixed(rate, 1), seed=0, epoch=0)
        assert frame["masked"] == len(masks.masked["code"])
        assert frame["kinds"] == [unit.kind for unit in masks.units]
        assert "return '</script>' + x" in "".join(text for text, _, _ in frame["code"])


def test_the_drawing_is_an_svg_with_the_program(folder: Path, tmp_path: Path) -> None:
    """Well-formed, a panel a strategy, a coloured ground under what is masked."""
    drawing = tmp_path / "masks.svg"
    assert run(folder, "--index", hostile_index(folder), "--svg", drawing).exit_code == 0
    root = ElementTree.fromstring(drawing.read_text("utf-8"))
    texts = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"random, rate 0.3", "ast-span, rate 0.3"} <= set(texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) > 2


def test_operators_reach_the_subtrees(folder: Path) -> None:
    """With `--drop 1`, whole subtrees are dropped instead of masked; token strategies beside them stay as they are."""
    subject: Subject = read_subject(folder, "train", 1)
    config = CorruptionConfig(strategy="ast-cut", operators=OperatorShares(drop=1.0))
    masks = draw_masks(subject, config, Noise.fixed(0.9, 1), seed=0, epoch=0)
    for unit in masks.units:
        assert set(masks.operator_L[unit.start : unit.end].tolist()) == {Operator.DROP}
        assert set(masks.seen_ids[unit.start : unit.end]) == {subject.manifest.token_ids.pad}
    with_drop = printed(folder, "--strategy", "ast-span", "--strategy", "random", "--drop", 1)
    assert with_drop == printed(folder, "--strategy", "ast-span", "--strategy", "random")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--mask-rate", "1.5"], "--mask-rate 1.5: a number from 0 to 1"),
        (["--mask-rate", "nan"], "--mask-rate nan: a number from 0 to 1"),
        (["--index", "99"], "--index must lie in 0 to"),
        (["--max-span-share", "0"], "--max-span-share 0.0: a number above 0 and at most 1"),
        (["--strategy", "random", "--drop", "0.5"], "operators act on subtrees"),
        (["--drop", "0.7", "--shuffle", "0.7"], "sum to at most 1"),
    ],
)
def test_bad_input_is_one_line(folder: Path, arguments: list[str], words: str) -> None:
    """Exit code 2, one line on standard error that says what is wrong."""
    result = run(folder, *arguments)
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert words in line


def test_missing_shards_and_unknown_strategy_are_refused(tmp_path: Path, folder: Path) -> None:
    """What to do is said: build first; choose one of the strategies."""
    assert "syntaxdiff-prep build" in run(tmp_path).stderr
    assert "ast-cut" in run(folder, "--strategy", "spans").stderr


def test_the_same_draw_in_any_precision_mode(folder: Path) -> None:
    """Masks do not depend on torch's default dtype or the number of threads."""
    before = printed(folder, "--strategy", "ast-cut", "--strategy", "ast-span-independent")
    threads = torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    try:
        assert printed(folder, "--strategy", "ast-cut", "--strategy", "ast-span-independent") == before
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
