"""The same text whatever the number of agents, and what `transformers` says (tests/golden/README.md)."""

import json
import math

import pytest
from conftest import DEMO_MODEL, SOURCE, run_tool, running

GOLDEN = SOURCE / "tests" / "golden"
PROMPTS = json.loads((GOLDEN / "demo_greedy.json").read_text())["prompts"]
PERPLEXITY = json.loads((GOLDEN / "demo_perplexity.json").read_text())
LEAST_PROMPTS, LEAST_TOKENS = 20, 64


def generated(system, row):
    status, answer = system.post("/v1/completions", {
        "prompt": row["tokens"], "max_tokens": LEAST_TOKENS, "temperature": 0})
    assert status == 200, answer
    return answer["choices"][0]["text"]


def logits_through(system, tokens):
    status, answer = system.post("/wdmoe/v1/logits", {"tokens": tokens})
    assert status == 200, answer
    return answer["logits"]


def logits_in_process(tokens, *arguments):
    done = run_tool("logits", *arguments, "--tokens", ",".join(map(str, tokens)))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["logits"]


def largest_difference(left, right):
    assert len(left) == len(right)
    return max(abs(a - b) for l, r in zip(left, right, strict=True) for a, b in zip(l, r, strict=True))


def perplexity_through(system, tokenizer_prompt_tokens):
    """exp of the mean negative log-likelihood, windows without overlap, each scored from its second token."""
    window, total, count = PERPLEXITY["window"], 0.0, 0
    for start in range(0, len(tokenizer_prompt_tokens), window):
        tokens = tokenizer_prompt_tokens[start : start + window]
        status, answer = system.post("/v1/completions", {
            "prompt": tokens, "max_tokens": 0, "temperature": 0, "echo": True, "logprobs": 0})
        assert status == 200, answer
        scores = answer["choices"][0]["logprobs"]["token_logprobs"]
        assert scores[0] is None and len(scores) == len(tokens)
        total, count = total - sum(scores[1:]), count + len(scores) - 1
    return math.exp(total / count), count


def test_there_are_enough_golden_prompts():
    full = [row for row in PROMPTS if len(row["greedy"]) >= LEAST_TOKENS]
    assert len(full) >= LEAST_PROMPTS


@pytest.mark.parametrize("agents", [1, 2, 4, 8])
def test_greedy_text_is_that_of_transformers(agents):
    with running(DEMO_MODEL, "--agents", agents, "--wire", "f32") as system:
        wrong = [row["prompt"] for row in PROMPTS if generated(system, row) != row["text"]]
    assert wrong == []


def test_logits_in_process_and_through_agents_agree():
    short = PROMPTS[0]["tokens"] + PROMPTS[0]["greedy"][:24]
    long = [token for row in PROMPTS for token in row["tokens"] + row["greedy"]][:301]
    assert len(long) == 301  # a prefill that goes to the agents in two parts, and no even ones
    with running(DEMO_MODEL, "--agents", 4, "--wire", "f32") as system:
        for tokens in (short, long):
            expected = logits_in_process(tokens, DEMO_MODEL)
            assert largest_difference(logits_in_process(tokens, "--bsd", system.url), expected) <= 1e-3
        layers, trips = 6, system.metric("wdmoe_round_trips_total")
        assert trips == layers + 2 * layers


def test_rows_in_f16_cost_almost_nothing(demo):
    worst = 0.0
    for row in PROMPTS[:8]:
        tokens = row["tokens"] + row["greedy"][:40]
        worst = max(worst, largest_difference(logits_through(demo, tokens), logits_in_process(tokens, DEMO_MODEL)))
    print(f"largest difference of a logit with f16 rows: {worst:.2e}")
    assert worst <= 1e-2

    status, answer = demo.post("/tokenize", {
        "prompt": (SOURCE / PERPLEXITY["text"]).read_text(), "add_special_tokens": True})
    assert status == 200, answer
    tokens = answer["tokens"][: PERPLEXITY["tokens"]]
    assert tokens[:16] == PERPLEXITY["first_tokens"] and tokens[-16:] == PERPLEXITY["last_tokens"]
    measured, count = perplexity_through(demo, tokens)
    print(f"held-out perplexity {measured:.4f} with f16 rows, {PERPLEXITY['perplexity']:.4f} by transformers")
    assert count == PERPLEXITY["tokens_scored"]
    assert measured == pytest.approx(PERPLEXITY["perplexity"], rel=1e-3)
