"""The selection policy of a running system: switched under a stream, asked for by a request, counted."""

import http.client
import json
import threading

import pytest
from conftest import DEMO_MODEL, SOURCE, run_tool, running

PROMPTS = json.loads((SOURCE / "tests/golden/demo_greedy.json").read_text())["prompts"][:6]
TOKENS = 64
PATH = "/wdmoe/v1/policy"


@pytest.fixture(scope="module")
def system():
    with running(DEMO_MODEL, "--agents", 4, "--wire", "f32") as one:
        yield one


@pytest.fixture(autouse=True)
def topk(system):
    yield
    assert put(system, {"policy": "topk"})[0] == 200


def put(system, body, path=PATH):
    connection = http.client.HTTPConnection(system.url.removeprefix("http://"), timeout=60)
    connection.request("PUT", path, json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def complete(system, row, **own):
    status, answer = system.post("/v1/completions", {
        "prompt": row["tokens"], "max_tokens": TOKENS, "temperature": 0, "wdmoe": {"trace": True, **own}})
    assert status == 200, answer
    return answer


def text(answer):
    return answer["choices"][0]["text"]


def golden_holds(system):
    return [row["prompt"] for row in PROMPTS if text(complete(system, row)) != row["text"]] == []


def test_the_policy_switches_within_a_stream_and_back(system):
    assert golden_holds(system)
    assert system.metric("wdmoe_kept_gate_mass_total") == system.metric("wdmoe_gate_rows_total")
    assert system.metric("wdmoe_experts_dropped_total") == 0

    connection = http.client.HTTPConnection(system.url.removeprefix("http://"), timeout=60)
    connection.request("POST", "/v1/completions", json.dumps({
        "prompt": "Once upon a time", "max_tokens": 400, "temperature": 0, "ignore_eos": True,
        "stream": True, "wdmoe": {"trace": True}}), {"content-type": "application/json"})
    stream, seen, switched = connection.getresponse(), [], False
    for line in stream:
        if not line.startswith(b"data: {"):
            continue
        own = json.loads(line[6:]).get("wdmoe", {})
        if "kept_gate_mass" in own and "stages_ms" not in own:
            seen.append(own)
        if len(seen) == 3 and not switched:
            switched = True
            assert put(system, {"policy": "budget", "quality": 0.6})[0] == 200
    assert len(seen) == 400
    names = [own["policy"] for own in seen]
    assert names[0] == "topk" and names[-1] == "budget"
    assert names == sorted(names, reverse=True), "it switched once, from topk to budget"
    layers = json.loads(system.get("/v1/models")[1])["data"][0]["wdmoe"]["layers"]
    after = seen[names.index("budget") + 1 :]
    assert all(own["kept_gate_mass"] == 1 and own["experts_dropped"] == 0 for own in seen[:3])
    assert all(0.6 - 1e-6 <= own["kept_gate_mass"] <= 1 for own in after)
    assert sum(own["kept_gate_mass"] for own in after) / len(after) < 0.99
    assert all(own["experts_dropped"] <= layers for own in after)
    assert system.metric("wdmoe_kept_gate_mass_total") < system.metric("wdmoe_gate_rows_total")
    assert system.metric("wdmoe_experts_dropped_total", reason="policy") > 0
    assert system.metric("wdmoe_selection_policy_info", policy="budget") == 1

    assert put(system, {"policy": "topk"})[0] == 200
    assert golden_holds(system)


def test_minmax_uses_what_the_base_station_learned_of_its_devices(system):
    status, state = put(system, {"policy": "minmax", "quality": 0.8})
    assert status == 200 and state["policy"] == "minmax" and state["quality"] == 0.8
    for row in PROMPTS:
        own = complete(system, row)["wdmoe"]
        assert own["policy"] == "minmax"
        assert 0.8 - 1e-6 <= own["kept_gate_mass"] < 1
    predicted = system.metric("wdmoe_layer_wait_seconds_total", kind="predicted")
    measured = system.metric("wdmoe_layer_wait_seconds_total", kind="measured_of_predicted")
    count = system.metric("wdmoe_layer_waits_total", predicted="yes")
    print(f"{count:.0f} exchanges: predicted {predicted / count * 1e6:.0f} us, measured {measured / count * 1e6:.0f} us")
    assert count > 0 and predicted > 0 and measured > 0
    assert system.metric("wdmoe_layer_wait_prediction_ratio_count") == count


def test_a_request_asks_for_its_own_policy_and_leaves_others_alone(system):
    answers = {}

    def ask(index, own):
        answers[index] = complete(system, PROMPTS[index % len(PROMPTS)], **own)

    wishes = [{}, {"policy": "budget", "quality": 0.6}] * len(PROMPTS)
    threads = [threading.Thread(target=ask, args=(i, own)) for i, own in enumerate(wishes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, own in enumerate(wishes):
        answer, row = answers[index], PROMPTS[index % len(PROMPTS)]
        if own:
            assert answer["wdmoe"]["policy"] == "budget" and answer["wdmoe"]["kept_gate_mass"] < 1
            assert "-budget@0.6-" in answer["system_fingerprint"]
        else:
            assert text(answer) == row["text"], "another request's policy reached this one"
            assert answer["wdmoe"]["kept_gate_mass"] == 1
            assert "-topk-" in answer["system_fingerprint"]
    status, chat = system.post("/v1/chat/completions", {
        "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8,
        "wdmoe": {"policy": "wlr", "trace": True}})
    assert status == 200 and chat["wdmoe"]["policy"] == "wlr"


@pytest.mark.parametrize("own, param", [
    ({"policy": "fastest"}, "wdmoe.policy"),
    ({"policy": 1}, "wdmoe.policy"),
    ({"quality": 1.5}, "wdmoe.quality"),
    ({"quality": "high"}, "wdmoe.quality"),
    ({"budget": 1}, "wdmoe.budget"),
])
def test_a_bad_wish_is_refused_by_name(system, own, param):
    status, answer = system.post("/v1/completions", {"prompt": "x", "max_tokens": 1, "wdmoe": own})
    assert status == 400
    assert answer["error"]["type"] == "invalid_request_error" and answer["error"]["param"] == param
    if own.get("policy") == "fastest":
        assert "topk, wlr, history, budget, beta, minmax" in answer["error"]["message"]


def test_the_tool_shows_and_sets(system):
    done = run_tool("policy", "set", "budget", "--quality", 0.9, "--bsd", system.url)
    assert done.returncode == 0, done.stderr
    shown = run_tool("policy", "show", "-o", "json", "--bsd", system.url)
    state = json.loads(shown.stdout)
    assert (state["policy"], state["quality"]) == ("budget", 0.9)
    assert [one["name"] for one in state["policies"]][0] == "topk"
    assert "* budget" in run_tool("policy", "show", "--bsd", system.url).stdout
    bad = run_tool("policy", "set", "fastest", "--bsd", system.url)
    assert bad.returncode == 1 and "minmax" in bad.stderr and bad.stderr.count("\n") == 1
    assert json.loads(system.get(PATH)[1])["policy"] == "budget"


def test_bench_asks_for_a_policy(system):
    done = run_tool("bench", "-p", 16, "-n", 8, "-r", 1, "-o", "json", "--policy", "budget", "--quality", 0.6,
                    "--bsd", system.url)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["policy"] == "budget" and 0.6 - 1e-6 <= report["kept_gate_mass"] < 1
    bad = run_tool("bench", "-p", 16, "-n", 8, "-r", 1, "--policy", "fastest", "--bsd", system.url)
    assert bad.returncode == 1 and "minmax" in bad.stderr and bad.stderr.count("\n") == 1


def test_layer_budgets_hold_where_no_quality_is_set(tmp_path):
    models = run_tool("inspect", DEMO_MODEL, "--output", "json")
    model_id = json.loads(models.stdout)["model_id"] if models.returncode == 0 else None
    assert model_id, models.stderr
    budgets = tmp_path / "budgets.json"
    budgets.write_text(json.dumps({"model_id": model_id, "layers": [1, 1, 1, 0.6, 0.6, 0.6]}))
    with running(DEMO_MODEL, "--agents", 1, "--bsd-flag=--selection-policy=budget",
                 f"--bsd-flag=--selection-layer-budgets={budgets}") as one:
        assert json.loads(one.get(PATH)[1])["layer_budgets"] is True
        complete(one, PROMPTS[0])
        for layer in range(6):
            drops = one.metric("wdmoe_experts_dropped_total", layer=str(layer))
            assert (drops > 0) == (layer >= 3), f"layer {layer}: {drops} drops"
