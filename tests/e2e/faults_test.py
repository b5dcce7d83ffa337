"""Devices that fail while a request runs: the request is late, never wrong."""

import concurrent.futures
import contextlib
import json
import re
import signal
import time
import urllib.request

import pytest
from conftest import START_SECONDS
from refusal_test import Cell, make_model

PROMPT = [(7 * i + i * i // 3) % 256 for i in range(200)]  # goes to the agents in two parts


@pytest.fixture
def cell(tmp_path):
    return Cell(tmp_path, make_model(tmp_path / "model", 1), ["jetson-1", "jetson-2"])


def ask(url, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data=data), timeout=START_SECONDS) as answer:
        return json.load(answer)


def complete(url):
    return ask(url, "/v1/completions", {"prompt": PROMPT, "max_tokens": 12, "temperature": 0})["choices"][0]["text"]


def until(done):
    """Asks again and again; the time only ends a failed test."""
    give_up = time.monotonic() + START_SECONDS
    while not done():
        assert time.monotonic() < give_up


def test_a_prefill_in_two_parts_outlives_an_agent_that_dies(cell):
    shards = [cell.folder / "shards" / f"agent-{i}" for i in range(2)]
    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor() as pool:
        cell.start_bs(stack)
        url = re.search(r"url=(\S+)", cell.wait_for_line("bsd", "http_listening"))[1]
        cell.start_agent(stack, "jetson-1", shards[0])
        mortal = cell.start_agent(stack, "jetson-2", shards[1])
        cell.wait_for_line("bsd", "agent_up", "jetson-1")
        cell.wait_for_line("bsd", "agent_up", "jetson-2")
        undisturbed = complete(url)

        def sent():
            return {a["name"]: a["bytes_sent"] for a in ask(url, "/wdmoe/v1/agents")["agents"]}["jetson-2"]

        before = sent()
        mortal.send_signal(signal.SIGSTOP)
        late = pool.submit(complete, url)
        until(lambda: sent() > before)  # the first layer is under way, and will not end
        mortal.kill()
        cell.wait_for_line("bsd", "agent_down", "jetson-2")
        (cell.folder / "jetson-2.log").rename(cell.folder / "first.log")
        cell.start_agent(stack, "jetson-2", shards[1])
        assert late.result(START_SECONDS) == undisturbed
