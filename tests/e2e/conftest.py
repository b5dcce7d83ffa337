"""Whole systems for the end-to-end tests: daemons on this machine, started by `wdmoe up`.

Paths come from ctest: WDMOE_BUILD (build tree) and WDMOE_SOURCE (checkout).
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import urllib.error
import urllib.request

import pytest

SOURCE = pathlib.Path(os.environ["WDMOE_SOURCE"])
BUILD = pathlib.Path(os.environ["WDMOE_BUILD"])
TOOL = BUILD / "cli" / "wdmoe"
DEMO_MODEL = SOURCE / "models" / "demo"
START_SECONDS = 120  # sanitizer builds on a busy machine
STOP_SECONDS = 60


def run_tool(*arguments, **options):
    """Runs `wdmoe …` to its end and returns the finished process (text mode)."""
    options.setdefault("timeout", START_SECONDS)
    return subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True, **options)


class System:
    """A running base station with its agents."""

    def __init__(self, process: subprocess.Popen, url: str):
        self.process = process
        self.url = url

    def get(self, path: str):
        """(status, body text) of a GET."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=START_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def post(self, path: str, body):
        """(status, parsed JSON) of a POST."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data=data, headers={"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def metric(self, name: str, **labels) -> float:
        """Sum of a metric's samples whose labels include `labels`."""
        total, found = 0.0, False
        for line in self.get("/metrics")[1].splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if match and match[1] == name and all(f'{k}="{v}"' in (match[2] or "") for k, v in labels.items()):
                total, found = total + float(match[3]), True
        assert found, f"/metrics has no {name} with {labels}"
        return total

    def child_pids(self, program: str):
        """Process ids of this system's daemons with that program name."""
        found = subprocess.run(
            ["ps", "-o", "pid=,comm=", "--ppid", str(self.process.pid)], capture_output=True, text=True
        ).stdout.split("\n")
        return [int(line.split()[0]) for line in found if line.strip() and line.split()[1].startswith(program)]


@contextlib.contextmanager
def running(model, *arguments):
    """`wdmoe up MODEL …` in the foreground until the block ends."""
    process = subprocess.Popen(
        [TOOL, "up", str(model), *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    try:
        first = process.stdout.readline()
        match = re.search(r"WDMOE_URL=(http://\S+)", first)
        assert match, f"wdmoe up said {first!r} instead of WDMOE_URL=…"
        yield System(process, match[1])
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@pytest.fixture(scope="session")
def demo():
    """The demo model through four agents, default settings."""
    with running(DEMO_MODEL, "--agents", 4) as system:
        yield system


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A random-weight model that computes in no time."""
    out = tmp_path_factory.mktemp("models") / "tiny"
    made = run_tool(
        "make-model", "--hidden", 64, "--ffn", 96, "--layers", 2, "--experts", 4, "--top-k", 2,
        "--heads", 4, "--kv-heads", 2, "--vocab", 512, "--dtype", "f16", "--seed", 1, out,
    )
    assert made.returncode == 0, made.stderr
    return out
