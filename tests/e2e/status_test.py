"""`wdmoe status`, freezing the radio, and the log of decisions, on a running system with the dry-run actuator."""

import csv
import json
import time

import pytest
from conftest import DEMO_MODEL, run_tool, running

PROMPT = "Once upon a time there was a little dog who liked to run in the park. " * 3
AGENTS = 3


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("radio") / "radio.csv"


@pytest.fixture(scope="module")
def system(log):
    flags = ["--bsd-flag=--radio-actuators=dry-run", f"--bsd-flag=--radio-log-csv={log}"]
    with running(DEMO_MODEL, "--agents", AGENTS, "--transport", "tcp", *flags) as one:
        status, _ = one.post("/v1/completions", {"prompt": PROMPT, "max_tokens": 24})
        assert status == 200
        yield one


def status_of(system):
    return json.loads(run_tool("status", "--bsd", system.url, "-o", "json").stdout)


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 30 s"
        time.sleep(0.02)


def test_status_shows_every_agent_and_its_link(system):
    status = status_of(system)
    assert status["ready"] and status["policy"] == "topk"
    assert [agent["up"] for agent in status["agents"]] == [True] * AGENTS
    for agent in status["agents"]:
        assert agent["address"] == "127.0.0.1"
        assert agent["link"]["down"]["rate_bps"] > 0
        assert agent["link"]["base_rtt_s"] > 0
    assert status["prediction"]["exchanges"] > 0
    table = run_tool("status", "--bsd", system.url).stdout
    assert "radio: running" in table and "dry-run: ok" in table
    for agent in status["agents"]:
        assert agent["name"] in table


def test_the_radio_is_frozen_and_resumed(system):
    assert "frozen" in run_tool("radio", "freeze", "--bsd", system.url).stdout
    until(lambda: status_of(system)["radio"]["reason"] == "frozen")
    assert status_of(system)["radio"]["state"] == "frozen"
    assert "running" in run_tool("radio", "resume", "--bsd", system.url).stdout
    until(lambda: status_of(system)["radio"]["reason"] != "frozen")


def test_every_tick_is_in_the_log_with_a_reason(system, log):
    def rows():
        with open(log, newline="") as file:
            return [row for row in csv.DictReader(file) if row["airtime"] is not None]
    until(lambda: any(row["agent"] for row in rows()))
    seen = rows()
    assert {row["agent"] for row in seen} - {""} <= {agent["name"] for agent in status_of(system)["agents"]}
    assert all(row["reason"] for row in seen)
    ticks = [int(row["tick"]) for row in seen]
    assert ticks == sorted(ticks) and set(ticks) == set(range(1, ticks[-1] + 1))
