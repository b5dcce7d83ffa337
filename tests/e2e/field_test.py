"""A trial recorded from a running system, and the page made of it."""

import json
import re
import signal
import subprocess

from conftest import START_SECONDS, TOOL, run_tool


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_recording_has_everything_and_becomes_a_page(demo, tmp_path):
    out, config = tmp_path / "run.jsonl", tmp_path / "bsd.toml"
    config.write_text("[radio]\n# of <this> trial\n")
    recorder = subprocess.Popen(
        [TOOL, "field", "record", "--bsd", demo.url, "--out", out, "--every-ms", "100", "--label", "place=lab",
         "--config", config],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    assert "recording" in recorder.stderr.readline()
    recorder.stdin.write("moved agent-1 behind the wall\n")
    recorder.stdin.flush()
    for _ in range(3):
        status, answer = demo.post("/v1/completions", {"prompt": "the", "max_tokens": 20, "temperature": 0})
        assert status == 200, answer
    while len([line for line in read(out) if line["record"] == "sample"]) < 3:
        pass
    recorder.send_signal(signal.SIGINT)
    said, complaint = recorder.communicate(timeout=START_SECONDS)
    assert recorder.returncode == 0, complaint
    assert "ended by signal" in said

    header, *rest = read(out)
    assert header["format"] == "wdmoe-field-1" and header["labels"] == ["place=lab"]
    assert "of <this> trial" in header["config"] and "version=" in header["station"]
    assert header["policy"]["policy"] and len(header["agents"]["agents"]) == 4
    assert [line["text"] for line in rest if line["record"] == "note"] == ["moved agent-1 behind the wall"]
    assert rest[-1]["record"] == "end" and rest[-1]["reason"] == "signal"
    samples = [line for line in rest if line["record"] == "sample"]
    assert len(samples[-1]["status"]["agents"]) == 4
    assert 'wdmoe_layer_waits_total{layer="0",predicted="yes"}' in samples[-1]["metrics"]
    assert not any("_bucket" in name for name in samples[-1]["metrics"])

    page = tmp_path / "page.html"
    made = run_tool("field", "report", out, out, "--out", page)
    assert made.returncode == 0, made.stderr
    html = page.read_text()
    assert html.count("<svg") == html.count("</svg>") >= 10
    assert "of &lt;this&gt; trial" in html and "behind the wall" in html
    assert not re.search(r"(src|href)=.?https?:", html.replace("xlink:href", "")), "it needs the network"


def test_wrong_uses_are_refused(tmp_path):
    junk = tmp_path / "junk"
    junk.write_text("hello\n")
    refused = run_tool("field", "report", junk, "--out", tmp_path / "page.html")
    assert refused.returncode == 1 and "no recording of wdmoe field record" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    refused = run_tool("field", "record", "--bsd", "http://127.0.0.1:1", "--out", tmp_path / "x")
    assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1
    assert not (tmp_path / "x").exists()
    refused = run_tool("field", "record", "--bsd", "http://127.0.0.1:1", "--out", junk)
    assert refused.returncode == 1 and "exists" in refused.stderr
