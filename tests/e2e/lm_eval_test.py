"""lm-evaluation-harness, unchanged, scores the demo model through the HTTP API as `wdmoe eval tasks` does."""

import json
import os
import subprocess
import sys

import pytest

from conftest import DEMO_MODEL, SOURCE, run_tool

LIMIT = 6  # questions of each set; all 200 of them take half an hour
TASKS = DEMO_MODEL / "lm_eval"
SECONDS = 600  # most of it is the harness's own start on a busy machine


def harness_accuracies(url: str, folder) -> dict[str, float]:
    """Accuracy by set from lm_eval's own results file."""
    environment = os.environ | {"HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    arguments = [
        "run", "--model", "local-completions", "--tasks", "wdmoe_demo", "--include_path", TASKS,
        "--model_args", f"model=demo,base_url={url}/v1/completions,tokenizer_backend=remote,max_length=512",
        "--batch_size", "16", "--limit", str(LIMIT), "--output_path", folder / "results.json",
    ]
    done = subprocess.run([sys.executable, "-m", "lm_eval", *map(str, arguments)], cwd=SOURCE, env=environment,
                          capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-4000:]
    (file,) = folder.glob("**/results*.json")
    results = json.loads(file.read_text())["results"]
    return {name.removeprefix("wdmoe_demo::wdmoe_"): values["acc,none"]
            for name, values in results.items() if "::" in name}


@pytest.fixture(scope="module")
def own_accuracies(demo):
    done = run_tool("eval", "tasks", "--bsd", demo.url, "--data", DEMO_MODEL / "eval", "--limit", LIMIT,
                    "--output", "json", timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    sets = json.loads(done.stdout)["results"][0]["sets"]
    return {name: values["accuracy"] for name, values in sets.items() if name != "all"}


def test_the_harness_measures_what_wdmoe_eval_measures(demo, own_accuracies, tmp_path):
    measured = harness_accuracies(demo.url, tmp_path)
    assert measured.keys() == {path.stem for path in (DEMO_MODEL / "eval").rglob("*.jsonl")}
    assert measured == pytest.approx(own_accuracies, abs=1e-9)
    assert measured["cloze"] > 0.8  # far from chance (0.125): log-likelihoods did come through


def test_experts_over_the_air_score_as_in_one_process(own_accuracies):
    done = run_tool("eval", "tasks", "--model", DEMO_MODEL, "--limit", LIMIT, "--output", "json", timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    sets = json.loads(done.stdout)["results"][0]["sets"]
    # Rows travel as f16: a question whose two best choices are within that rounding may tip over.
    for name, accuracy in own_accuracies.items():
        assert abs(sets[name]["right"] - accuracy * LIMIT) < 1.5, name


def test_policies_of_a_running_system_are_compared_question_by_question(demo):
    done = run_tool("eval", "all", "--bsd", demo.url, "--data", DEMO_MODEL / "eval", "--sets", "category", "--limit", 4,
                    "--policy", "budget", "--quality", "1,0", "--output", "json", timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    plain, whole, least = json.loads(done.stdout)["results"]
    assert plain["policy"] == "topk" and whole["policy"] == least["policy"] == "budget"
    assert whole["perplexity"] == pytest.approx(plain["perplexity"], rel=1e-6)  # it may drop nothing
    assert least["perplexity"] != pytest.approx(plain["perplexity"], rel=1e-4)  # one expert a token


@pytest.mark.parametrize("arguments, says", [
    (("tasks", "--model", "/nowhere"), "/nowhere"),
    (("tasks", "--model", DEMO_MODEL, "--sets", "riddles"), "no evaluation set 'riddles'"),
    (("tasks", "--model", DEMO_MODEL, "--policy", "best"), "no selection policy 'best'"),
    (("tasks", "--bsd", "http://127.0.0.1:1", "--quality", "0.8"), "--quality: no chosen policy reads it"),
    (("tasks", "--model", DEMO_MODEL, "--policy", "wlr", "--quality", "0.8"), "--quality: no chosen"),
    (("tasks", "--model", DEMO_MODEL, "--policy", "topk", "--row-quality", "0.5"), "--row-quality: no chosen"),
    (("perplexity", "--model", DEMO_MODEL, "--layer-budgets", "/nowhere/b"), "--layer-budgets: no chosen"),
    (("perplexity", "--model", DEMO_MODEL, "--data", "/nowhere"), "/nowhere/heldout.txt"),
    (("tasks", "--bsd", "http://127.0.0.1:1", "--data", DEMO_MODEL / "eval"), "127.0.0.1"),
    (("sensitivity", "--model", DEMO_MODEL, "--points", "1.5", "--out", "/nowhere/b"), "--points"),
    (("sensitivity", "--model", DEMO_MODEL, "--limit", "1", "--out", "/nowhere/b"), "/nowhere/b"),
    (("sensitivity", "--model", DEMO_MODEL, "--limit", "1", "--out", "/"), "is a folder"),
])
def test_what_cannot_be_done_is_one_line(arguments, says):
    done = run_tool("eval", *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("wdmoe eval: ") and done.stderr.count("\n") == 1
    assert says in done.stderr
