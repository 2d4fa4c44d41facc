"""Fixtures of the whole suite: real data where it is at hand, and tokenizers of every make in folders of their own."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test processes on two cores: threads that wait for each other spin

import pytest
from hypothesis import HealthCheck, settings
from parameters import slow_but
from prepared_tokenizers import (
    METASPACE,
    QUICK,
    TOKENIZERS,
    Prepared,
    metaspace_tokenizer,
    save_backend,
    save_with_mask,
    train_byte_level,
)

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # machines are shared
settings.load_profile("suite")

PROJECT = Path(__file__).resolve().parents[1]
# These take longest. They start first, so that no worker is left with one when the others are done.
LONG_FILES = (
    "tests/train/test_train_crashes.py",
    "tests/eval/study/test_study.py",
    "tests/test_device_check.py",
    "tests/train/test_train.py",
    "tests/train/test_train_errors.py",
    "tests/train/corruption/test_strategies.py",
    "tests/pipeline/test_build.py",
    "tests/pipeline/inspection/test_verification_mutations.py",
    "tests/eval/test_cli.py",
    "tests/eval/prompting/test_prompts.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first; `make` hands files to workers in this order."""
    place = {PROJECT / name: index for index, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    folder = PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).split(b"\n") if line]


@pytest.fixture(scope="session")
def rows(shared_data: Path) -> Callable[[str], list[dict[str, Any]]]:
    """Rows of a file of the real data, by its path without ``.jsonl.gz``; read once."""
    read: dict[str, list[dict[str, Any]]] = {}

    def get(name: str) -> list[dict[str, Any]]:
        if name not in read:
            read[name] = read_rows(shared_data / f"{name}.jsonl.gz")
        return read[name]

    return get


@pytest.fixture(scope="session")
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Prepared]:
    """Tokenizers by name, of TOKENIZERS, each loaded, given a mask token and saved once."""
    made: dict[str, Prepared] = {}

    def get(name: str) -> Prepared:
        if name not in made:
            folder = tmp_path_factory.mktemp("tokenizer") / name
            if name == "trained":
                train_byte_level(folder)
            elif name in METASPACE:
                raw = tmp_path_factory.mktemp("raw") / name
                save_backend(metaspace_tokenizer(name), raw)
                save_with_mask(str(raw), folder)
            else:
                shared: Path = request.getfixturevalue("shared_data")
                save_with_mask(str(shared / "tokenizers" / name), folder)
            made[name] = Prepared(name, folder)
        return made[name]

    return get


@pytest.fixture(scope="session", params=slow_but(QUICK, TOKENIZERS))
def tokenizer(request: pytest.FixtureRequest, prepared: Callable[[str], Prepared]) -> Prepared:
    """Every tokenizer in turn."""
    return prepared(request.param)
