"""`wdmoe plan`: plan, split and run; an expert held by several agents is used wherever it is."""

import json

from conftest import DEMO_MODEL, run_tool, running

# Three alike devices that compute slowly: four experts cannot be spread evenly, copies can.
CELL = """
name = "home"
""" + "".join(f"""
[[device]]
name = "{name}"
distance_m = 20
compute_flops = 1e8
memory_bytes = {{memory}}
""" for name in ("attic", "desk", "yard"))


def plan(model, folder, *flags, memory="1e9"):
    cell = folder / "cell.toml"
    cell.write_text(CELL.format(memory=memory), encoding="utf-8")
    return run_tool("plan", model, "--cell", cell, "--out", folder / "plan.json", *flags)


def test_plan_split_and_run_with_replicas(tiny_model, tmp_path):
    done = plan(tiny_model, tmp_path, "--replicas", "--output", "json")
    assert done.returncode == 0, done.stderr
    forecast = json.loads(done.stdout)
    assert forecast["waiting_latency_s"] <= forecast["paper_waiting_latency_s"]
    held = [tuple(pair) for agent in forecast["agents"] for pair in agent["experts"]]
    assert len(held) > len(set(held)), "memory to spare, but no copies"
    done = run_tool("split", tiny_model, "--plan", tmp_path / "plan.json", "--out", tmp_path / "shards")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "shards" / "attic" / "manifest.json").exists()


def test_refuses_what_does_not_fit_in_one_line(tiny_model, tmp_path):
    done = plan(tiny_model, tmp_path, "--placement", "paper", memory="10")
    assert done.returncode == 1
    assert "device attic would hold" in done.stderr and done.stderr.count("\n") == 1
    done = run_tool("up", tiny_model, "--plan", tmp_path / "none.json", "--", "true")
    assert done.returncode == 1 and done.stderr.count("\n") == 1


def test_replicated_experts_give_the_same_text_whoever_computes_them(tiny_model, tmp_path):
    """Both agents hold everything; then the first holds all and the second half of it.  minmax that may drop
    nothing is free to choose among them."""
    def texts(*arguments):
        found = set()
        with running(tiny_model, "--wire", "f32", *arguments) as system:
            for extra in ({}, {"wdmoe": {"policy": "minmax", "quality": 1}}):
                status, answer = system.post("/v1/completions", {
                    "prompt": [5, 6, 7, 8], "max_tokens": 12, "temperature": 0, **extra})
                assert status == 200, answer
                found.add(answer["choices"][0]["text"])
        return found

    alone = texts("--agents", 1)
    assert len(alone) == 1
    for second in ([0, 1, 2, 3], [1, 3]):
        plan_file = tmp_path / "replicas.json"
        plan_file.write_text(json.dumps({"agents": [
            {"name": "first", "experts": {"all_layers": [0, 1, 2, 3]}},
            {"name": "second", "experts": {"all_layers": second}}]}), encoding="utf-8")
        assert texts("--plan", plan_file) == alone


def test_plan_with_replicas_runs(tiny_model, tmp_path):
    assert plan(tiny_model, tmp_path, "--replicas").returncode == 0
    with running(tiny_model, "--plan", tmp_path / "plan.json") as system:
        status, answer = system.post("/v1/completions", {"prompt": [5, 6, 7], "max_tokens": 4})
        assert status == 200, answer


def test_a_recorded_trace_moves_the_plan(tmp_path):
    trace = tmp_path / "demo.trace"
    done = run_tool("trace", "record", "--model", DEMO_MODEL, "--prompt", "Once upon a time", "--tokens", 8,
                    "--out", trace)
    assert done.returncode == 0, done.stderr
    forecasts = []
    for flags in ((), ("--trace", trace)):
        done = plan(DEMO_MODEL, tmp_path, "--output", "json", *flags)
        assert done.returncode == 0, done.stderr
        forecasts.append(json.loads(done.stdout)["waiting_latency_s"])
    assert forecasts[0] != forecasts[1]


def test_refuses_a_trace_of_another_model(tiny_model, tmp_path):
    trace = tmp_path / "demo.trace"
    done = run_tool("trace", "record", "--model", DEMO_MODEL, "--prompt", "Once", "--tokens", 2, "--out", trace)
    assert done.returncode == 0, done.stderr
    done = plan(tiny_model, tmp_path, "--trace", trace)
    assert done.returncode == 1
    assert "of a model with 6 layers of 8 experts" in done.stderr and done.stderr.count("\n") == 1
