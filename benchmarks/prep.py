"""Speed and memory of the build on real R1 traces, beside its floor and beside a naive pipeline.

    python benchmarks/prep.py                      # under 8 minutes on two cores
    python benchmarks/prep.py --quick              # a smoke run; its figures mean nothing
    python benchmarks/prep.py --json figures.json

The rows are the traces of ``--data``, repeated to ``--rows``; a comment at the end of each program makes every row new.
All are kept however long they are. What is compared runs in one process, in turns, so that a busy machine slows both alike;
ratios are medians over rounds, in wall time and in CPU time. One process means one core: RAYON_NUM_THREADS=1, as in workers.
"""

import argparse
import gzip
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from unittest.mock import patch

import psutil
from report import machine, plain, print_machine, print_table, verdict
from tokenizers import Tokenizer

from syntaxdiff.pipeline.assembly.part import PartCounts, Recipe, Resume, Worker
from syntaxdiff.pipeline.build import build_shards
from syntaxdiff.pipeline.config import BuildConfig
from syntaxdiff.pipeline.errors import SyntaxdiffError
from syntaxdiff.pipeline.jsonlines import read_json_lines
from syntaxdiff.pipeline.rows.fields import Fields
from syntaxdiff.pipeline.rows.grouping import Grouping
from syntaxdiff.pipeline.sources.hub import HubOptions
from syntaxdiff.pipeline.sources.source import open_source
from syntaxdiff.pipeline.sources.units import ROWS_PER_UNIT, Unit
from syntaxdiff.pipeline.syntax.alignment import TokenBytes
from syntaxdiff.pipeline.tokens.bpe import Engine, HfEngine, make_engine
from syntaxdiff.pipeline.tokens.template import read_template
from syntaxdiff.pipeline.tokens.tokenizer import load_tokenizer, save_tokenizer

ROOT = Path(__file__).resolve().parents[1]
TRACES = Path("traces/r1-codeforces-450.jsonl.gz")
ENGINES = ("hf", "tiktoken", "quicktok")
PACKAGES = ("tokenizers", "tiktoken", "quicktok-v1", "transformers", "datasets", "pyarrow", "numpy", "tree-sitter")
MAX_LENGTH = 1 << 20  # no row is dropped: what is too long has been tokenised all the same

MOST_OF_FLOOR = {"hf": 1.1}
LEAST_OF_NAIVE = {"tiktoken": 6.0, "quicktok": 20.0}
LEAST_OF_TWO_WORKERS = 1.85
MOST_GROWTH = 1.1  # of peak memory, from 1x to 10x the rows: what we call flat

T = TypeVar("T")


def resume_after(unit: Unit) -> Resume:
    """What a part of the first source stores with it."""
    return Resume(source=0, cursor=unit.cursor, done=unit.advance)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured.

    Attributes:
        rows: of the main table
        naive_rows: of these, what the naive pipeline gets
        build_rows: by engine, of whole builds: enough that the phase in which all workers are busy outlasts its ends
        memory_rows: at 1x
    """

    rows: int
    rounds: int
    naive_rows: int
    build_rows: dict[str, int]
    build_rounds: int
    memory_rows: int


# ------------------------------------------------------------------------------------------------------------------ rows


def repeated(traces: Path, num_rows: int) -> Iterator[dict[str, Any]]:
    """The rows of the traces, over and over, each with a comment of its own at the end of its program."""
    rows = [row for _, row in read_json_lines(traces, what="a row", advice="name a file of traces")]
    for number in range(num_rows):
        row = dict(rows[number % len(rows)])
        comment = f"\n# row {number}"
        before, fence, after = row["output"].rpartition("\n```")
        row["output"] = before + comment + fence + after if fence else row["output"] + comment
        row["solution"] = row["solution"].rstrip() + comment
        yield row


def write_rows(rows: Iterator[dict[str, Any]], file: Path) -> Path:
    """The rows as gzipped JSON lines."""
    with gzip.open(file, "wt", encoding="utf-8", compresslevel=1) as stream:
        stream.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return file


# ----------------------------------------------------------------------------------------------------- processes, clocks


def in_process(function: Callable[..., T], *arguments: Any, single_thread: bool = False) -> T:
    """Runs a function in a fresh process; with ``single_thread`` in a worker's environment."""
    environment = {"TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "1"} if single_thread else {}
    before = dict(os.environ)
    os.environ.update(environment)  # a spawned process reads it as it starts
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        for name in environment:
            os.environ.pop(name)
        os.environ.update(before)


class Seconds(NamedTuple):
    """Wall and CPU time of one process, all of its threads."""

    wall: float
    cpu: float

    @classmethod
    def of(cls, call: Callable[[], object]) -> "Seconds":
        """Time of a call."""
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        return cls(time.perf_counter() - wall, time.process_time() - cpu)

    @classmethod
    def sum(cls, several: Sequence["Seconds"]) -> "Seconds":
        """Time of all together."""
        return cls(sum(seconds.wall for seconds in several), sum(seconds.cpu for seconds in several))


class Ratio(NamedTuple):
    """Median over rounds of a ratio in wall time and in CPU time."""

    wall: float
    cpu: float

    @classmethod
    def of(cls, above: Sequence[Seconds], below: Sequence[Seconds]) -> "Ratio":
        """Ratio of two things that were measured in the same rounds."""
        pairs = list(zip(above, below, strict=True))
        return cls(
            statistics.median(a.wall / b.wall for a, b in pairs),
            statistics.median(a.cpu / b.cpu for a, b in pairs),
        )


# -------------------------------------------------------------------------------- one process: floor, worker, and naive


def batches_of(worker: Worker, units: Sequence[Unit], folder: Path) -> list[list[list[str]]]:
    """The batches of texts that a worker hands to its engine, unit by unit."""
    batches: list[list[list[str]]] = []
    encode_batch = worker.codec.encode_batch

    def recorded(texts: Sequence[str], *, opens_sequence: bool = False) -> list[TokenBytes | None]:
        if texts:
            batches[-1].append(list(texts))
        return encode_batch(texts, opens_sequence=opens_sequence)

    with patch.object(worker.codec, "encode_batch", recorded):
        for unit in units:
            batches.append([])
            worker.write_part(unit, folder / "recorded.arrow", resume_after(unit))
    return batches


class Lane:
    """One engine: a worker with it, and the same engine alone, with times of each unit in each round."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        backend = Tokenizer.from_file(str(recipe.tokenizer_folder / "tokenizer.json"))
        self.engine: Engine = make_engine(recipe.engine, backend, HfEngine(backend), proven=True)
        self.worker = Worker(recipe)
        self.folder = folder
        self.floor: list[list[Seconds]] = []
        self.ours: list[list[Seconds]] = []
        self.counts: PartCounts | None = None

    def run(self, units: Sequence[Unit], batches: Sequence[list[list[str]]]) -> None:
        """One round: unit by unit both ways, first the one, next the other."""
        floor, ours, counts = [], [], []
        round_index = len(self.ours)
        path = self.folder / f"{self.worker.recipe.engine}.arrow"
        for index, (unit, texts) in enumerate(zip(units, batches, strict=True)):

            def engine_alone(texts: list[list[str]] = texts) -> None:
                for batch in texts:
                    self.engine.encode_batch(batch)

            def worker(unit: Unit = unit) -> None:
                counts.append(self.worker.write_part(unit, path, resume_after(unit)))

            if (index + round_index) % 2:
                floor.append(Seconds.of(engine_alone))
                ours.append(Seconds.of(worker))
            else:
                ours.append(Seconds.of(worker))
                floor.append(Seconds.of(engine_alone))
        self.floor.append(floor)
        self.ours.append(ours)
        self.counts = counts[0]
        for others in counts[1:]:
            self.counts = self.counts.plus(others)


def naive_lane(recipe: Recipe, rows_file: Path, folder: Path) -> Callable[[], object]:
    """The naive pipeline over the rows of a file, ready to run; loading them is not part of it."""
    import datasets
    from naive import NaivePipeline

    datasets.disable_progress_bars()
    dataset = datasets.load_dataset("json", data_files=str(rows_file), split="train", cache_dir=str(folder / "datasets"))
    pipeline = NaivePipeline(recipe.tokenizer_folder)
    columns = dataset.column_names
    return lambda: dataset.map(pipeline, remove_columns=columns, load_from_cache_file=False, new_fingerprint="naive")


@dataclass(frozen=True, kw_only=True)
class EngineFigures:
    """One engine in one process; ``of_floor`` are ours over the floor, ``of_naive`` naive over ours, in time."""

    engine: str
    samples: int
    tokens: int
    samples_per_second: float
    tokens_per_second: float
    floor_tokens_per_second: float
    of_floor: Ratio
    of_naive: Ratio


@dataclass(frozen=True, kw_only=True)
class WorkerFigures:
    """All that is measured in one process."""

    engines: list[EngineFigures]
    naive_rows: int
    naive_rows_per_second: float


def measure_worker(recipes: list[Recipe], rows_file: Path, naive_file: Path, scale: Scale, folder: Path) -> WorkerFigures:
    """The work of a worker with each engine, each engine alone, and the naive pipeline, in turns."""
    units = list(open_source(str(rows_file), HubOptions()).units())
    naive_units = -(-scale.naive_rows // ROWS_PER_UNIT)
    lanes = [Lane(recipe, folder) for recipe in recipes]
    batches = batches_of(lanes[-1].worker, units, folder)
    naive = naive_lane(recipes[0], naive_file, folder)
    for lane in lanes:  # warm: grammars, caches, thread pools
        lane.run(units[:1], batches[:1])
        lane.floor, lane.ours = [], []
    naive_seconds = []
    for _ in range(scale.rounds):
        naive_seconds.append(Seconds.of(naive))
        for lane in lanes:
            lane.run(units, batches)
    figures = []
    for lane in lanes:
        assert lane.counts is not None  # there is at least one round
        floor, ours = ([Seconds.sum(times) for times in rounds] for rounds in (lane.floor, lane.ours))
        wall = statistics.median(seconds.wall for seconds in ours)
        same_rows = [Seconds.sum(times[:naive_units]) for times in lane.ours]
        figures.append(
            EngineFigures(
                engine=lane.engine.name,
                samples=lane.counts.samples,
                tokens=lane.counts.tokens,
                samples_per_second=lane.counts.samples / wall,
                tokens_per_second=lane.counts.tokens / wall,
                floor_tokens_per_second=lane.counts.tokens / statistics.median(seconds.wall for seconds in floor),
                of_floor=Ratio.of(ours, floor),
                of_naive=Ratio.of(naive_seconds, same_rows),
            )
        )
    rate = scale.naive_rows / statistics.median(seconds.wall for seconds in naive_seconds)
    return WorkerFigures(engines=figures, naive_rows=scale.naive_rows, naive_rows_per_second=rate)


# ---------------------------------------------------------------------------------------------------------- whole builds


@dataclass(frozen=True, kw_only=True)
class BuildTimes:
    """One whole build, from its call to its manifest, in seconds.

    Attributes:
        prepare: until it starts its workers: tokenizer, proof of the engine
        first_units: until as many units as there are workers are done: start of the workers, and one unit each
        steady: the remaining units, in which all workers are at work
        assembly: parts to shards
        steady_samples, steady_tokens: what came out of the remaining units
    """

    prepare: float
    first_units: float
    steady: float
    assembly: float
    steady_samples: int
    steady_tokens: int
    samples: int

    @property
    def total(self) -> float:
        """All of it."""
        return self.prepare + self.first_units + self.steady + self.assembly

    @property
    def samples_per_second(self) -> float:
        """Rate of the workers alone."""
        return self.steady_samples / self.steady


def timed_build(config: BuildConfig) -> BuildTimes:
    """Builds, and tells the phases apart by the reports of progress: one before the first unit, then one a unit."""
    reports: list[tuple[float, PartCounts]] = []
    start = time.perf_counter()
    build_shards(config, lambda progress: reports.append((time.perf_counter() - start, progress.counts)))
    end = time.perf_counter() - start
    (prepared, _), (ready, before), (done, after) = reports[0], reports[config.workers], reports[-1]
    return BuildTimes(
        prepare=prepared,
        first_units=ready - prepared,
        steady=done - ready,
        assembly=end - done,
        steady_samples=after.samples - before.samples,
        steady_tokens=after.tokens - before.tokens,
        samples=after.samples,
    )


def build_config(rows_file: Path, recipe: Recipe, out: Path, workers: int) -> BuildConfig:
    """Settings of a build of the rows of a file."""
    return BuildConfig(
        src=(str(rows_file),),
        out=out,
        tokenizer=str(recipe.tokenizer_folder),
        engine=recipe.engine,
        max_length=MAX_LENGTH,
        allow_missing_prompt=True,
        validation_size=0,
        workers=workers,
    )


@contextmanager
def scratch(folder: Path) -> Iterator[Path]:
    """A folder for one build, removed after it."""
    path = Path(tempfile.mkdtemp(dir=folder))
    try:
        yield path / "shards"
    finally:
        shutil.rmtree(path)


@dataclass(frozen=True, kw_only=True)
class WorkersFigures:
    """Builds with one and with two workers; ``speedup`` is the median over rounds of the ratio of their workers' rates."""

    engine: str
    rows: int
    one: BuildTimes
    two: BuildTimes
    speedup: float


def measure_builds(recipe: Recipe, rows_file: Path, rows: int, rounds: int, folder: Path) -> WorkersFigures:
    """Whole builds with one and with two workers, in turns."""
    times: dict[int, list[BuildTimes]] = {1: [], 2: []}
    for _ in range(rounds):
        for workers, done in times.items():
            with scratch(folder) as out:
                done.append(in_process(timed_build, build_config(rows_file, recipe, out, workers)))
    one, two = (sorted(done, key=lambda build: build.samples_per_second)[len(done) // 2] for done in times.values())
    pairs = zip(times[1], times[2], strict=True)
    speedup = statistics.median(b.samples_per_second / a.samples_per_second for a, b in pairs)
    return WorkersFigures(engine=recipe.engine, rows=rows, one=one, two=two, speedup=speedup)


# ---------------------------------------------------------------------------------------------------------------- memory


@dataclass(frozen=True, kw_only=True)
class MemoryFigures:
    """Peak resident memory of the largest process of a build with two workers."""

    rows: int
    seconds: float
    largest_bytes: int
    main_bytes: int
    worker_bytes: int


def measure_memory(recipe: Recipe, rows_file: Path, rows: int, folder: Path) -> MemoryFigures:
    """Peak memory of a build's processes, looked at 20 times a second."""
    peaks: dict[int, int] = {}
    with scratch(folder) as out, ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        main = pool.submit(os.getpid).result()
        start = time.perf_counter()
        running = pool.submit(build_shards, build_config(rows_file, recipe, out, 2))
        process = psutil.Process(main)
        while not running.done():
            for build_process in [process, *process.children(recursive=True)]:
                try:
                    peaks[build_process.pid] = max(peaks.get(build_process.pid, 0), build_process.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue  # ended since it was listed
            time.sleep(0.05)
        running.result()
    return MemoryFigures(
        rows=rows,
        seconds=time.perf_counter() - start,
        largest_bytes=max(peaks.values()),
        main_bytes=peaks.pop(main),
        worker_bytes=max(peaks.values()),
    )


# ---------------------------------------------------------------------------------------------------------------- report


def print_worker(figures: WorkerFigures, engines: Sequence[str], rounds: int) -> None:
    """Tables of what one process does."""
    engine = figures.engines[0]
    rows = [
        [
            e.engine,
            f"{e.samples_per_second:,.1f}",
            f"{e.tokens_per_second / 1e6:.3f}",
            f"{e.floor_tokens_per_second / 1e6:.3f}",
            f"{e.of_floor.wall:.3f}",
            f"{e.of_floor.cpu:.3f}",
            verdict(e.of_floor.wall, most=MOST_OF_FLOOR.get(name)),
        ]
        for name, e in zip(engines, figures.engines, strict=True)
    ]
    print_table(
        f"1. A worker against its engine alone: {engine.samples:,} samples, {engine.tokens:,} tokens, "
        f"median of {rounds} rounds",
        ["engine", "samples/s", "Mtok/s", "floor Mtok/s", "time/floor, wall", "CPU", "aim"],
        rows,
    )
    print("  Worker: decode rows, tokenise, parse, align, write the part. Floor: the same texts in the same batches, to ids.")
    rows = [["naive", f"{figures.naive_rows_per_second:,.1f}", "1.0", "1.0", "-"]]
    rows += [
        [
            e.engine,
            f"{figures.naive_rows_per_second * e.of_naive.wall:,.1f}",
            f"{e.of_naive.wall:.1f}",
            f"{e.of_naive.cpu:.1f}",
            verdict(e.of_naive.wall, least=LEAST_OF_NAIVE.get(name)),
        ]
        for name, e in zip(engines, figures.engines, strict=True)
    ]
    print_table(
        f"2. A worker against the naive pipeline: the first {figures.naive_rows} of these rows",
        ["", "rows/s", "times naive, wall", "CPU", "aim"],
        rows,
    )
    print(
        "  Naive: datasets.map, CPython ast, tokenizers with offsets, char_to_token per node end. Loading its rows not counted."
    )


def print_builds(builds: Sequence[WorkersFigures]) -> None:
    """Table of whole builds."""
    rows = []
    for figures in builds:
        for workers, times in ((1, figures.one), (2, figures.two)):
            seconds = (times.prepare, times.first_units, times.steady, times.assembly, times.total)
            rows.append(
                [
                    f"{figures.engine}, {workers} worker{'s' if workers > 1 else ''}",
                    f"{figures.rows:,}",
                    *(f"{second:.1f}" for second in seconds),
                    f"{times.samples / times.total:,.1f}",
                    f"{times.samples_per_second:,.1f}",
                    f"{times.steady_tokens / times.steady / 1e6:.3f}",
                    f"{figures.speedup:.2f}" if workers == 2 else "",
                    verdict(figures.speedup, least=LEAST_OF_TWO_WORKERS) if workers == 2 else "",
                ]
            )
    header = ["build_shards()", "rows", "prepare", "first units", "rest", "assembly", "total s", "samples/s"]
    print_table(
        "3. Whole builds, and two workers against one",
        [*header, "of the rest", "Mtok/s", "two/one", "aim"],
        rows,
    )
    print(
        "  prepare: tokenizer, proof of the engine. first units: start of the workers, one unit each. rest: all workers busy,"
    )
    print("  to the last unit. assembly: parts to shards. `two/one` and the two columns before it are of the rest alone.")


def print_memory(memory: Sequence[MemoryFigures]) -> None:
    """Table of peak memory."""
    growth = memory[1].largest_bytes / memory[0].largest_bytes
    rows = [
        [
            name,
            f"{measured.rows:,}",
            *(f"{size / 2**20:,.0f}" for size in (measured.largest_bytes, measured.main_bytes, measured.worker_bytes)),
            aim,
        ]
        for name, measured, aim in zip(
            ("1x", "10x"), memory, ("", f"{growth:.2f}x, {verdict(growth, most=MOST_GROWTH)}"), strict=True
        )
    ]
    print_table(
        "4. Peak resident memory of a build with tiktoken and 2 workers, MiB",
        ["", "rows", "largest process", "main", "larger worker", "growth"],
        rows,
    )


def run(traces: Path, tokenizer: str, scale: Scale, folder: Path) -> dict[str, Any]:
    """Measures everything, and prints each table when it is there."""
    start = time.perf_counter()
    facts = machine(PACKAGES)
    print_machine(facts)

    engines = [name for name in ENGINES if name != "quicktok" or find_spec("quicktok")]
    recipe = in_process(make_recipe, tokenizer, folder / "tokenizer")
    recipes = [replace(recipe, engine=name) for name in engines]
    sizes = {scale.rows, scale.naive_rows, scale.memory_rows, 10 * scale.memory_rows, *scale.build_rows.values()}
    files = {size: write_rows(repeated(traces, size), folder / f"rows-{size}.jsonl.gz") for size in sizes}

    worker = in_process(measure_worker, recipes, files[scale.rows], files[scale.naive_rows], scale, folder, single_thread=True)
    print_worker(worker, engines, scale.rounds)
    builds = []
    for build_recipe in recipes:
        rows = scale.build_rows.get(build_recipe.engine)
        if rows is None:
            continue
        builds.append(measure_builds(build_recipe, files[rows], rows, scale.build_rounds, folder))
    print_builds(builds)
    memory = [
        measure_memory(replace(recipe, engine="tiktoken"), files[rows], rows, folder)
        for rows in (scale.memory_rows, 10 * scale.memory_rows)
    ]
    print_memory(memory)
    seconds = time.perf_counter() - start
    print(f"\n{seconds:.0f} s; load average at the end: {', '.join(f'{load:.2f}' for load in os.getloadavg())}")
    return {"machine": facts, "scale": scale, "worker": worker, "builds": builds, "memory": memory, "seconds": seconds}


def make_recipe(tokenizer: str, folder: Path) -> Recipe:
    """What workers go by, with the tokenizer saved as a build saves it."""
    loaded = load_tokenizer(tokenizer)
    save_tokenizer(loaded, folder)
    return Recipe(
        tokenizer_folder=folder,
        engine="hf",
        template=read_template(loaded),
        fields=Fields(),
        languages=("python",),
        max_length=MAX_LENGTH,
        overlength="drop",
        questions=None,
        allow_missing_prompt=True,
        use_solution=True,
        grouping=Grouping(),
        seed=0,
    )


def refused(reason: str) -> int:
    """One line that says why nothing was measured, and the exit code."""
    print(f"prep.py: {reason}", file=sys.stderr)
    return 2


def main() -> int:
    """Parse the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help=f"folder with {TRACES} (%(default)s)")
    parser.add_argument("--tokenizer", help="hub name or folder; default Qwen's, from --data")
    parser.add_argument("--rows", type=int, default=14 * ROWS_PER_UNIT, help="of the main table (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of the main table (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="a smoke run on few rows")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    traces = options.data / TRACES
    if not traces.is_file():
        return refused(f"{traces} is not there: give the folder that holds it by --data")
    if options.rows < 3 * ROWS_PER_UNIT or options.rounds < 1:
        return refused(f"--rows is at least {3 * ROWS_PER_UNIT}, --rounds at least 1")
    if options.quick:
        print("A smoke run: far too few rows for its figures, or `met` and `MISSED`, to mean anything.\n")
        rows = ROWS_PER_UNIT
        scale = Scale(
            rows=rows,
            rounds=1,
            naive_rows=ROWS_PER_UNIT,
            build_rows={"tiktoken": 4 * rows},
            build_rounds=1,
            memory_rows=ROWS_PER_UNIT // 4,
        )
    else:
        scale = Scale(
            rows=options.rows,
            rounds=options.rounds,
            naive_rows=min(options.rows, 4 * ROWS_PER_UNIT),
            build_rows={"hf": options.rows, "tiktoken": 2 * options.rows, "quicktok": 4 * options.rows},
            build_rounds=3,
            memory_rows=options.rows // 2,
        )
    with tempfile.TemporaryDirectory(prefix="prep-benchmark-") as folder:
        try:
            figures = run(traces, options.tokenizer or str(options.data / "tokenizers/qwen"), scale, Path(folder))
        except SyntaxdiffError as error:
            return refused(str(error))
    if options.json:
        options.json.write_text(json.dumps(plain(figures), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
