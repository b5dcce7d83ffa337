"""The HTTP API as its clients use it: curl, the official openai package, scrapers."""

import json
import socket
import subprocess
import threading
import time

import openai
import pytest
from conftest import STOP_SECONDS

PROMPT = "Once upon a time"


@pytest.fixture(scope="module")
def client(demo):
    return openai.OpenAI(base_url=demo.url + "/v1", api_key="unused", max_retries=0)


@pytest.fixture(scope="module")
def model(client):
    return client.models.list().data[0].id


def test_openai_client_completes(client, model):
    answer = client.completions.create(model=model, prompt=PROMPT, max_tokens=24, temperature=0)
    assert answer.choices[0].text.strip()
    assert answer.choices[0].finish_reason in ("length", "stop")
    assert answer.usage.completion_tokens <= 24
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_openai_client_streams_the_same_text(client, model):
    whole = client.completions.create(model=model, prompt=PROMPT, max_tokens=24, temperature=0)
    pieces, usage = [], None
    for chunk in client.completions.create(
        model=model, prompt=PROMPT, max_tokens=24, temperature=0, stream=True,
        stream_options={"include_usage": True},
    ):
        pieces += [choice.text for choice in chunk.choices]
        usage = chunk.usage or usage
    assert "".join(pieces) == whole.choices[0].text
    assert len(pieces) > 5
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_openai_client_chats_and_streams(client, model):
    messages = [{"role": "user", "content": "Tell me a story about a fox."}]
    whole = client.chat.completions.create(model=model, messages=messages, max_tokens=24, temperature=0)
    assert whole.choices[0].message.role == "assistant"
    assert whole.choices[0].message.content.strip()
    pieces = [
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(
            model=model, messages=messages, max_tokens=24, temperature=0, stream=True)
        if chunk.choices
    ]
    assert "".join(pieces) == whole.choices[0].message.content


def test_logprobs_agree_between_echo_and_generation(client, model):
    made = client.completions.create(model=model, prompt=PROMPT, max_tokens=4, temperature=0, logprobs=3)
    assert len(made.choices[0].logprobs.token_logprobs) == made.usage.completion_tokens
    echoed = client.completions.create(
        model=model, prompt=PROMPT, max_tokens=0, temperature=0, logprobs=1, echo=True)
    logprobs = echoed.choices[0].logprobs
    assert logprobs.token_logprobs[0] is None
    assert all(value <= 0 for value in logprobs.token_logprobs[1:])
    assert len(logprobs.tokens) == echoed.usage.prompt_tokens


def test_the_same_seed_gives_the_same_text(client, model):
    def text(seed):
        return client.completions.create(
            model=model, prompt=PROMPT, max_tokens=32, temperature=1.0, seed=seed).choices[0].text
    assert text(1) == text(1)
    assert len({text(seed) for seed in range(4)}) > 1


def test_stop_strings_end_the_text_before_them(client, model):
    whole = client.completions.create(model=model, prompt=PROMPT, max_tokens=48, temperature=0).choices[0].text
    stop = whole[10:14]
    for given in (stop, [stop, "never there"]):
        cut = client.completions.create(model=model, prompt=PROMPT, max_tokens=48, temperature=0, stop=given)
        assert cut.choices[0].text == whole[: whole.index(stop)]
        assert cut.choices[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "change, word",
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 10_000_000}, "context"),
        ({"logit_bias": {"5": 3}}, "logit_bias"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(client, model, change, word):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hello"}], **change)
    assert word in str(refused.value)


def test_curl_streams_server_sent_events(demo):
    body = {"messages": [{"role": "user", "content": "hello"}], "stream": True, "max_tokens": 8}
    out = subprocess.run(
        ["curl", "-sN", demo.url + "/v1/chat/completions", "-H", "content-type: application/json",
         "-d", json.dumps(body)], capture_output=True, text=True, timeout=60).stdout
    events = [line[6:] for line in out.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0]["finish_reason"] in ("length", "stop")
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_trace_tells_what_each_token_cost(demo):
    status, answer = demo.post("/v1/completions", {
        "prompt": PROMPT, "max_tokens": 4, "temperature": 0, "wdmoe": {"trace": True}})
    assert status == 200
    costs = answer["wdmoe"]
    assert costs["bytes_sent"] > 0 and costs["bytes_received"] > 0 and costs["round_trips"] > 0
    assert costs["wait_ms"] > 0 and costs["bs_ms"] > 0


def test_several_requests_progress_together(demo, client, model):
    alone = client.completions.create(model=model, prompt=PROMPT, max_tokens=32, temperature=0).choices[0].text
    texts = [None] * 6

    def ask(index):
        texts[index] = client.completions.create(
            model=model, prompt=PROMPT, max_tokens=32, temperature=0).choices[0].text

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == [alone] * len(texts)


def test_a_client_that_leaves_frees_its_sequence(demo):
    body = json.dumps({"prompt": PROMPT, "max_tokens": 400, "ignore_eos": True, "stream": True}).encode()
    ended_by_length = demo.metric("wdmoe_sequences_ended_total", reason="length")
    host, port = demo.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answer = b""
        while answer.count(b"data: ") < 3:  # it runs
            answer += connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + STOP_SECONDS
    while demo.metric("wdmoe_sequences_ended_total", reason="cancelled") < 1:
        assert demo.metric("wdmoe_sequences_ended_total", reason="length") == ended_by_length, "ran to its end"
        assert time.monotonic() < deadline, "the sequence still runs"
    assert demo.metric("wdmoe_sequences_running") == 0
    assert demo.metric("wdmoe_requests_total", code="499") >= 1


def test_health_models_and_metrics(demo):
    status, body = demo.get("/healthz")
    assert status == 200 and json.loads(body)["status"] == "ok"
    status, body = demo.get("/v1/models")
    assert status == 200 and json.loads(body)["data"][0]["object"] == "model"
    assert demo.get("/no/such/route")[0] == 404
    assert demo.metric("wdmoe_device_up") == 4
    assert demo.metric("wdmoe_wire_bytes_total", direction="downlink") > 0
    agents = json.loads(demo.get("/wdmoe/v1/agents")[1])["agents"]
    assert len(agents) == 4
    assert all(agent["rows"] > 0 and agent["bytes_received"] > 0 for agent in agents)


@pytest.mark.parametrize(
    "body, status",
    [
        (b"{", 400),
        (b'{"prompt": 3}', 400),
        (b'{"prompt": [99999999]}', 400),
        (b"[" * 100_000, 400),
        (b'{"prompt": "\xff\xfe"}', 400),
        (b'{"prompt": "' + b"x" * (8 << 20) + b'"}', 413),
    ],
    ids=["truncated", "wrong type", "token out of range", "deep nesting", "invalid UTF-8", "huge"],
)
def test_bad_bodies_get_a_clear_error(demo, body, status):
    try:
        code, answer = demo.post("/v1/completions", body)
    except OSError:
        assert status == 413  # the server may close before it has read all of a huge body
        return
    assert code == status
    assert answer["error"]["message"]
