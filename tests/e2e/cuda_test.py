"""Whole agents that compute with CUDA, over the stand-in for a GPU (tests/cuda), which breaks off at any misuse."""

import json

import pytest
from conftest import BUILD, DEMO_MODEL, SOURCE, running

STANDIN = BUILD / "tests" / "cuda" / "standin"
PROMPTS = json.loads((SOURCE / "tests" / "golden" / "demo_greedy.json").read_text())["prompts"]
TOKENS = 16
CUDA = ("--agent-flag=--backend=cuda",)

pytestmark = pytest.mark.skipif(not (STANDIN / "libcuda.so.1").exists(),
                                reason="this build has no CUDA plug-in (no nvcc)")


@pytest.fixture
def gpu(monkeypatch):
    """Daemons find the stand-in where they would find the driver."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(STANDIN))
    return monkeypatch


def generated(system, row):
    status, answer = system.post("/v1/completions", {"prompt": row["tokens"], "max_tokens": TOKENS, "temperature": 0})
    assert status == 200, answer
    assert answer["choices"][0]["text"]
    return answer["choices"][0]["text"]


def logits(system, tokens):
    status, answer = system.post("/wdmoe/v1/logits", {"tokens": tokens})
    assert status == 200, answer
    return [value for row in answer["logits"] for value in row]


def agents(system):
    return json.loads(system.get("/wdmoe/v1/agents")[1])["agents"]


def backends(system):
    return [agent["backend"] for agent in agents(system)]


@pytest.mark.parametrize("integrated", ["0", "1"])
def test_agents_with_cuda_answer_as_those_with_the_cpu(gpu, integrated):
    gpu.setenv("WDMOE_STANDIN_INTEGRATED", integrated)
    tokens = PROMPTS[0]["tokens"]
    with running(DEMO_MODEL, "--agents", 2, *CUDA) as system:
        assert backends(system) == ["cuda", "cuda"]
        for row in PROMPTS[:3]:
            assert row["text"].startswith(generated(system, row))
        by_gpu = logits(system, tokens)
        assert all(agent["failures"] == 0 for agent in agents(system))
    with running(DEMO_MODEL, "--agents", 2, "--agent-flag=--backend=cpu") as system:
        assert backends(system) == ["cpu", "cpu"]
        by_cpu = logits(system, tokens)
    # Rows, weights and inner values are rounded to f16, 2^-11; a handful of layers add a few of these.
    size = max(map(abs, by_cpu))
    worst = max(abs(a - b) for a, b in zip(by_gpu, by_cpu, strict=True))
    assert worst <= 8 * 2**-11 * size, (worst, size)


@pytest.mark.parametrize("recovery", ["cpu", "restart"])
def test_an_agent_whose_gpu_fails_goes_on_and_says_so(gpu, recovery):
    gpu.setenv("WDMOE_STANDIN_FAULT", "wdmoe_scatter_add:30:700")  # an illegal address, which sticks
    with running(DEMO_MODEL, "--agents", 1, *CUDA, f"--agent-flag=--backend-recovery={recovery}") as system:
        for row in PROMPTS[:3]:
            assert row["text"].startswith(generated(system, row))  # the engine asked again
        assert agents(system)[0]["failures"] >= 1
        assert backends(system) == ["cpu" if recovery == "cpu" else "cuda"]


def test_auto_takes_the_cpu_where_the_experts_do_not_fit(gpu):
    gpu.setenv("WDMOE_STANDIN_MEMORY", str(9 << 20))
    with running(DEMO_MODEL, "--agents", 1) as system:
        assert backends(system) == ["cpu"]
        assert PROMPTS[0]["text"].startswith(generated(system, PROMPTS[0]))
