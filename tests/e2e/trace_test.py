"""Recordings of a running system and of a model in one process, read by a second implementation."""

import collections
import http.client
import http.server
import json
import math
import pathlib
import signal
import struct
import subprocess
import threading

import pytest
from conftest import DEMO_MODEL, SOURCE, TOOL, run_tool, running


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("traces")


@pytest.fixture(scope="module")
def system(directory):
    with running(DEMO_MODEL, "--agents", 2, f"--bsd-flag=--trace-directory={directory}") as one:
        yield one


# A reader of schemas/trace.fbs by hand: a table is [i32 back to its vtable], a vtable is
# [u16 its size][u16 the table's size][u16 offset of each field]; vectors are [u32 count][items].

def u(buffer, at, kind):
    return struct.unpack_from("<" + kind, buffer, at)[0]


def field(buffer, table, index):
    vtable = table - u(buffer, table, "i")
    offset = u(buffer, vtable + 4 + 2 * index, "H") if 4 + 2 * index < u(buffer, vtable, "H") else 0
    return table + offset if offset else None


def follow(buffer, at):
    return at + u(buffer, at, "I")


def vector(buffer, table, index, kind):
    at = field(buffer, table, index)
    if at is None:
        return []
    at = follow(buffer, at)
    size = struct.calcsize("<" + kind)
    return [struct.unpack_from("<" + kind, buffer, at + 4 + size * i) for i in range(u(buffer, at, "I"))]


def read_trace(path):
    """header, [(step, layer, runs, rows of probabilities, choices of each row)]"""
    data, header, records = pathlib.Path(path).read_bytes(), None, []
    at = 0
    while at < len(data):
        frame = data[at + 4 : at + 4 + u(data, at, "I")]
        at += 4 + len(frame)
        assert frame[4:8] == b"WDTR"
        part = follow(frame, 0)
        if header is None:
            table = follow(frame, field(frame, part, 0))
            header = [u(frame, field(frame, table, i), "I") for i in (2, 3, 4)]
            continue
        chunk = follow(frame, field(frame, part, 1))
        runs = iter(vector(frame, chunk, 1, "QII"))
        probabilities = iter(value for (value,) in vector(frame, chunk, 2, "e"))
        choices = iter(vector(frame, chunk, 3, "HHHH"))
        own = []
        for step, layer, run_count, rows, _, choice_count, _ in vector(frame, chunk, 0, "QHHHHII"):
            own = [next(runs) for _ in range(run_count)] or own
            p = [[next(probabilities) for _ in range(header[1])] for _ in range(rows)]
            chosen = [[] for _ in range(rows)]
            for _ in range(choice_count):
                row, expert, _, _ = next(choices)
                chosen[row].append(expert)
            records.append((step, layer, own, p, chosen))
    return header, records


def entropy(shares):
    return -sum(p * math.log2(p) for p in shares if p > 0)


def statistics(header, records):
    """What `wdmoe trace info` should say of each layer."""
    layers, experts, top_k = header
    out = []
    for layer in range(layers):
        counts, pairs, rows, gate_entropy, kept, followed, repeated = collections.Counter(), collections.Counter(), 0, 0, 0, 0, 0
        last = {}
        for _, at, runs, p, chosen in records:
            if at != layer:
                continue
            row = 0
            for sequence, position, count in runs:
                for i in range(count):
                    own, mass = chosen[row], p[row]
                    rows, gate_entropy = rows + 1, gate_entropy + entropy(mass)
                    kept += sum(mass[e] for e in own) / sum(sorted(mass)[-top_k:])
                    counts.update(own)
                    pairs.update((a, b) for a in own for b in own if a != b)
                    before = last.get((sequence, position + i - 1))
                    if before is not None:
                        followed, repeated = followed + len(own), repeated + len(set(own) & set(before))
                    last[sequence, position + i] = own
                    row += 1
        total = sum(counts.values())
        popularity = [counts[e] / total for e in range(experts)]
        out.append({
            "rows": rows, "popularity": popularity, "load_entropy_bits": entropy(popularity),
            "gate_entropy_bits": gate_entropy / rows, "locality": repeated / followed if followed else 0,
            "locality_by_chance": sum(c * c for c in counts.values()) / rows / total, "kept_gate_mass": kept / rows,
            "co_activation": [[pairs[a, b] for b in range(experts)] for a in range(experts)]})
    return out


def check_info(path):
    header, records = read_trace(path)
    done = run_tool("trace", "info", path, "-o", "json")
    assert done.returncode == 0, done.stderr
    info = json.loads(done.stdout)
    assert [info["shape"][key] for key in ("layers", "experts", "top_k")] == header
    assert not info["truncated"]
    for got, want in zip(info["layers"], statistics(header, records), strict=True):
        assert got["co_activation"] == want.pop("co_activation")
        for key, value in want.items():
            assert got[key] == pytest.approx(value, rel=1e-5, abs=1e-9), key
    return info


def test_a_running_system_is_recorded(system, directory):
    done = run_tool("trace", "record", "--out", "one.trace", "--prompt", "Once upon a time", "-n", 60,
                    "--bsd", system.url)
    assert done.returncode == 0, done.stderr
    assert str(directory / "one.trace") in done.stdout
    info = check_info(directory / "one.trace")
    assert info["sequences"] == 1
    assert info["tokens"] > 20
    assert all(layer["kept_gate_mass"] == pytest.approx(1) for layer in info["layers"])
    assert "most popular" in run_tool("trace", "info", directory / "one.trace").stdout


def test_a_recording_ends_with_its_tokens(system, directory):
    first = system.post("/v1/completions", {"prompt": "x", "max_tokens": 1})
    assert first[0] == 200
    connection = http.client.HTTPConnection(system.url.removeprefix("http://"), timeout=60)
    connection.request("PUT", "/wdmoe/v1/trace", json.dumps({"name": "few", "tokens": 20}))
    assert connection.getresponse().status == 200
    assert system.post("/v1/completions", {"prompt": "The", "max_tokens": 60, "ignore_eos": True})[0] == 200
    state = json.loads(system.get("/wdmoe/v1/trace")[1])
    assert not state["recording"] and state["error"] is None
    assert state["tokens"] == 20
    assert check_info(directory / "few")["tokens"] == state["tokens"]


def test_a_model_in_one_process_is_recorded(tmp_path):
    text = tmp_path / "text"
    text.write_text((SOURCE / "models/demo/eval/heldout.txt").read_text()[:3000])
    done = run_tool("trace", "record", "--model", DEMO_MODEL, "--file", text, "--out", tmp_path / "file.trace")
    assert done.returncode == 0, done.stderr
    info = check_info(tmp_path / "file.trace")
    assert info["tokens"] > 500
    assert all(layer["locality"] > 0 for layer in info["layers"])


def test_an_interrupted_command_ends_its_recording(system, directory):
    command = [TOOL, "trace", "record", "--out", "interrupted", "--seconds", "600", "--bsd", system.url]
    process = subprocess.Popen(command)
    while not json.loads(system.get("/wdmoe/v1/trace")[1])["recording"]:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == -signal.SIGINT
    state = json.loads(system.get("/wdmoe/v1/trace")[1])
    assert not state["recording"] and state["name"] == "interrupted"
    assert (directory / "interrupted").exists()


@pytest.mark.parametrize(("tokenized", "reason"), [
    ({"tokens": "x", "max_model_len": 9}, "lacks"),
    ({"max_model_len": 9}, "lacks"),
    ({"tokens": [1], "max_model_len": 0}, "max_model_len"),
    (None, "disk full"),
])
def test_what_a_server_says_is_no_surprise(tmp_path, tokenized, reason):
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append(self.command)
            answer = {"recording": True, "path": "/x", "error": "disk full"}
            if self.path == "/tokenize":
                answer = tokenized or {"tokens": [], "max_model_len": 9}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        do_PUT = do_POST = do_DELETE = do_GET = answer

        def log_message(self, *_):
            pass

    text = tmp_path / "text"
    text.write_text("some text")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = run_tool("trace", "record", "--out", "x", "--file", text, "--bsd",
                        f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert reason in done.stderr
    assert seen == ["PUT", "POST", "DELETE"]


def test_bad_recordings_are_refused(system, directory, demo, tmp_path):
    def refused(one, *arguments):
        done = run_tool("trace", "record", *arguments, "--bsd", one.url)
        assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
        return done.stderr
    (directory / "there").write_text("precious")
    assert "exists" in refused(system, "--out", "there", "--seconds", 1)
    assert "bare" in refused(system, "--out", "../outside", "--seconds", 1)
    assert "bare" in refused(system, "--out", ".hidden", "--seconds", 1)
    assert "when does it end" in refused(system, "--out", "x")
    assert "[trace] directory" in refused(demo, "--out", "x", "--seconds", 1)
    assert (directory / "there").read_text() == "precious"
    bad = run_tool("trace", "info", directory / "there")
    assert bad.returncode == 1 and bad.stderr.count("\n") == 1
    assert run_tool("trace", "info", tmp_path / "absent").returncode == 1


def test_a_recording_that_was_cut_off_says_so(system, directory, tmp_path):
    whole = (directory / "one.trace").read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(whole[:-100])
    info = run_tool("trace", "info", cut, "-o", "json")
    assert info.returncode == 0, info.stderr
    assert json.loads(info.stdout)["truncated"]
