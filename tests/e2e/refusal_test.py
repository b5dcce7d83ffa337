"""What does not fit together is refused with one clear line, and disturbs nobody else."""

import contextlib
import json
import pathlib
import selectors
import signal
import socket
import subprocess
import time

import pytest
from conftest import BUILD, START_SECONDS, STOP_SECONDS, run_tool

AGENT = BUILD / "agent" / "wdmoe-agent"
BSD = BUILD / "bsd" / "wdmoe-bsd"


def make_model(path, seed):
    made = run_tool(
        "make-model", "--hidden", 64, "--ffn", 96, "--layers", 2, "--experts", 4, "--top-k", 2,
        "--heads", 4, "--kv-heads", 2, "--vocab", 512, "--dtype", "f16", "--seed", seed, path)
    assert made.returncode == 0, made.stderr
    return path


class Cell:
    """A base station on ipc:// with CURVE keys, and agents started by hand."""

    def __init__(self, folder: pathlib.Path, model: pathlib.Path, names):
        self.folder, self.model = folder, model
        self.endpoint = f"ipc://{folder}/bs.sock"
        made = run_tool("keygen", "--out", folder / "keys", "bsd", *names)
        assert made.returncode == 0, made.stderr
        (folder / "keys" / "agents").mkdir()
        for name in names:
            (folder / "keys" / f"{name}.pub").rename(folder / "keys" / "agents" / f"{name}.pub")
        split = run_tool("split", model, "--agents", 2, "--out", folder / "shards")
        assert split.returncode == 0, split.stderr

    def start(self, stack, name, arguments):
        log = (self.folder / f"{name}.log").open("w+")
        process = subprocess.Popen(list(map(str, arguments)), stdout=log, stderr=subprocess.STDOUT)

        def stop():
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)
            log.close()

        stack.callback(stop)
        return process

    def start_bs(self, stack):
        return self.start(stack, "bsd", [
            BSD, "--model", self.model, "--http-listen", "127.0.0.1:0", "--fleet-listen", self.endpoint,
            "--fleet-secret-key", self.folder / "keys" / "bsd.key",
            "--fleet-authorized-agents", self.folder / "keys" / "agents"])

    def start_agent(self, stack, name, shard, *flags, key=None, server="bsd"):
        return self.start(stack, name, [
            AGENT, "--name", name, "--shard", shard, "--connect", self.endpoint,
            "--secret-key", self.folder / "keys" / f"{key or name}.key",
            "--server-key", self.folder / "keys" / f"{server}.pub", *flags])

    def wait_for_line(self, name, *words):
        """Follows a daemon's log until one line holds all the words."""
        path = self.folder / f"{name}.log"
        with subprocess.Popen(["tail", "-n", "+1", "-F", path], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, bufsize=0) as follow:
            deadline, text = time.monotonic() + START_SECONDS, b""
            try:
                with selectors.DefaultSelector() as selector:
                    selector.register(follow.stdout, selectors.EVENT_READ)
                    while time.monotonic() < deadline:
                        if selector.select(timeout=1):  # unbuffered, so it knows of every byte
                            text += follow.stdout.read(65536)
                        for line in text[: text.rfind(b"\n") + 1].decode(errors="replace").splitlines():
                            if all(word in line for word in words):
                                return line
                raise AssertionError(f"{name} never said {words}; it said {text.decode(errors='replace')}")
            finally:
                follow.kill()


@pytest.fixture
def cell(tmp_path):
    return Cell(tmp_path, make_model(tmp_path / "model", 1), ["jetson-1", "jetson-2", "jetson-3"])


def test_an_agent_with_another_model_is_refused_by_both_ids(cell, tmp_path):
    other = make_model(tmp_path / "other", 2)
    assert run_tool("split", other, "--agents", 2, "--out", tmp_path / "other-shards").returncode == 0
    with contextlib.ExitStack() as stack:
        cell.start_bs(stack)
        cell.start_agent(stack, "jetson-1", tmp_path / "other-shards" / "agent-0")
        assert cell.wait_for_line("jetson-1", "wrong_model")
        assert cell.wait_for_line("bsd", "jetson-1", "wrong_model")


def test_a_second_agent_of_the_same_name_is_refused(cell):
    with contextlib.ExitStack() as stack:
        cell.start_bs(stack)
        cell.start_agent(stack, "jetson-1", cell.folder / "shards" / "agent-0")
        cell.wait_for_line("bsd", "jetson-1", "up")
        # The same key on a second machine: a cloned SD card.
        (cell.folder / "jetson-1.log").rename(cell.folder / "first.log")
        cell.start_agent(stack, "jetson-1", cell.folder / "shards" / "agent-1")
        assert cell.wait_for_line("jetson-1", "duplicate_identity")


def test_a_key_that_speaks_for_another_name_is_refused(cell):
    with contextlib.ExitStack() as stack:
        cell.start_bs(stack)
        cell.start_agent(stack, "jetson-2", cell.folder / "shards" / "agent-0", key="jetson-3")
        assert cell.wait_for_line("bsd", "jetson-2", "jetson-3")


def test_a_stranger_never_gets_in(cell):
    assert run_tool("keygen", "--out", cell.folder / "stranger", "jetson-9").returncode == 0
    (cell.folder / "stranger" / "jetson-9.key").rename(cell.folder / "keys" / "jetson-9.key")
    with contextlib.ExitStack() as stack:
        cell.start_bs(stack)
        cell.start_agent(stack, "jetson-9", cell.folder / "shards" / "agent-0")
        assert cell.wait_for_line("jetson-9", "key")


def test_an_agent_that_reaches_nobody_says_so(cell):
    assert run_tool("keygen", "--out", cell.folder / "keys", "other").returncode == 0
    shard = cell.folder / "shards" / "agent-0"
    with contextlib.ExitStack() as stack:
        cell.start_agent(stack, "jetson-1", shard)  # nobody listens yet
        assert cell.endpoint in cell.wait_for_line("jetson-1", "no_connection", "wdmoe-bsd")
        cell.start_bs(stack)
        cell.wait_for_line("bsd", "agent_up", "jetson-1")  # and comes in all the same
        cell.start_agent(stack, "jetson-2", shard, server="other")
        assert "server_key" in cell.wait_for_line("jetson-2", "no_connection")


def test_an_agent_that_takes_too_few_rows_is_refused_at_the_door(cell):
    with contextlib.ExitStack() as stack:
        cell.start_bs(stack)
        cell.start_agent(stack, "jetson-1", cell.folder / "shards" / "agent-0", "--max-rows", 16)
        assert "prefill_chunk" in cell.wait_for_line("jetson-1", "too_large", "max_rows")


def test_check_opens_no_port(cell):
    with socket.create_server(("127.0.0.1", 0)) as http, socket.create_server(("127.0.0.1", 0)) as fleet:
        def check(*flags):
            keys = cell.folder / "keys"
            return subprocess.run(
                [BSD, "--check", "--model", cell.model, "--http-listen", f"127.0.0.1:{http.getsockname()[1]}",
                 "--fleet-listen", f"tcp://127.0.0.1:{fleet.getsockname()[1]}", "--fleet-secret-key",
                 keys / "bsd.key", "--fleet-authorized-agents", keys / "agents", *flags],
                capture_output=True, text=True, timeout=START_SECONDS)

        good = check()
        assert good.returncode == 0 and "are good" in good.stdout, good.stderr
        for flags in (["--http-listen", "nowhere"], ["--fleet-listen", "127.0.0.1:7411"],
                      ["--fleet-secret-key", "/nowhere/bsd.key"], ["--model", "/nowhere"]):
            bad = check(*flags)
            assert bad.returncode == 1 and flags[1] in bad.stderr, bad.stderr
            assert len(bad.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("program", [BSD, AGENT], ids=["bsd", "agent"])
@pytest.mark.parametrize(
    "text, words",
    [
        ("no_such_setting = 1\n", ["no_such_setting", "1"]),
        ('[log]\nlevel = "loud"\n', ["log.level", "loud"]),
        ("this is not TOML", ["1"]),
    ],
    ids=["unknown key", "bad value", "not TOML"],
)
def test_an_impossible_config_stops_the_start(program, text, words, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(text)
    done = subprocess.run([program, "--config", config], capture_output=True, text=True, timeout=START_SECONDS)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert all(word in done.stderr for word in words + ["config.toml"])


def test_a_damaged_shard_is_refused_by_name(cell):
    shard = cell.folder / "shards" / "agent-0"
    weights = next(shard.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-5] ^= 0x40
    weights.chmod(0o644)
    weights.write_bytes(data)
    with contextlib.ExitStack() as stack:
        agent = cell.start_agent(stack, "jetson-1", shard)
        assert agent.wait(START_SECONDS) == 1
        assert weights.name in cell.wait_for_line("jetson-1", "SHA-256")
        json.loads((shard / "manifest.json").read_text())


def test_health_says_which_experts_have_no_home(cell):
    with contextlib.ExitStack() as stack:
        cell.start_bs(stack)
        cell.start_agent(stack, "jetson-1", cell.folder / "shards" / "agent-0")
        line = cell.wait_for_line("bsd", "http", "127.0.0.1")
        url = "http://127.0.0.1:" + line.split("127.0.0.1:")[1].split()[0].strip('",')
        cell.wait_for_line("bsd", "jetson-1", "up")
        answer = subprocess.run(["curl", "-s", "-w", "%{http_code}", url + "/healthz"],
                                capture_output=True, text=True, timeout=60).stdout
        assert answer.endswith("503")
        assert "missing" in answer
