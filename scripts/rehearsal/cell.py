"""A base station and its agents in the namespaces of an emulated cell."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("WDMOE_BUILD", ROOT / "build/release"))
TOOL = BUILD / "cli/wdmoe"
MODEL = ROOT / "models/demo"
PORT = 7411
READY_S = 60


class Failure(Exception):
    """What the user should read; one line."""


def call(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise Failure(f"{pathlib.Path(command[0]).name} {command[1]}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


@dataclasses.dataclass
class Prepared:
    """Files that every combination shares."""

    scenario: pathlib.Path
    agents: list  # names
    medium: str
    event_s: float
    folder: pathlib.Path

    @property
    def keys(self):
        return self.folder / "keys"


def placement(agents, experts, copies):
    """Expert e of every layer on agent e (the paper's), and copies of it half a round further."""
    held = {name: set() for name in agents}
    for expert in range(experts):
        for copy in range(copies + 1):
            held[agents[(expert + copy * (len(agents) // 2)) % len(agents)]].add(expert)
    return {"agents": [{"name": name, "experts": {"all_layers": sorted(have)}} for name, have in held.items()]}


PLACEMENTS = {"single": 0, "copies": 1}


def prepare(out, scenario, event_s):
    """Cuts the model, makes keys, and moves the scenario's one event to `event_s`."""
    call(BUILD / "sim/airlink/wdmoe-airlink", "--check", scenario)
    text = re.sub(r"(?m)^at_s = .*$", f"at_s = {event_s}", scenario.read_text())
    agents = re.findall(r'(?ms)^\[\[device\]\].*?^name = "([^"]+)"', text)
    medium = re.search(r'(?m)^medium = "([^"]+)"', text)
    if len(agents) != text.count("[[device]]") or medium is None:
        raise Failure(f"{scenario}: expected lines 'medium = …' in [cell] and 'name = …' in every [[device]]")
    folder = out / "cell"
    folder.mkdir(exist_ok=True)
    cell = folder / "field.toml"
    cell.write_text(text)
    experts = json.loads((MODEL / "config.json").read_text())["num_local_experts"]
    for name, copies in PLACEMENTS.items():
        plan = folder / f"{name}.json"
        plan.write_text(json.dumps(placement(agents, experts, copies), indent=1))
        call(TOOL, "split", MODEL, "--plan", plan, "--out", folder / name, "--force")
    call(TOOL, "keygen", "--force", "--out", folder / "keys", "bsd", *agents)
    allowed = folder / "keys/agents"
    allowed.mkdir(exist_ok=True)
    for name in agents:
        (folder / f"keys/{name}.pub").rename(allowed / f"{name}.pub")
    return Prepared(cell, agents, medium[1], event_s, folder)


class Cell:
    """A running cell; `url` reaches its base station from here."""

    def __init__(self, prepared, folder, placed, bsd_flags):
        self.prepared, self.folder, self.bsd_flags = prepared, folder, bsd_flags
        self.shards = prepared.folder / placed
        self.processes = []  # newest last
        self.airlink = self.url = None

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_):
        self._stop()

    def _start(self):
        self.airlink = subprocess.Popen(
            [BUILD / "sim/airlink/wdmoe-airlink", self.prepared.scenario, "--wait", "--report", self.folder / "airlink.json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        layout = self.airlink.stdout.readline()
        if not layout:
            raise Failure(self.airlink.stderr.read().strip())
        layout = json.loads(layout)
        bs = layout["base_station"]
        keys = self.prepared.keys
        # The API's socket is made here and handed over as systemd does: no path into the cell is needed.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self._spawn("bsd", bs["namespace"], [
                BUILD / "bsd/wdmoe-bsd", "--model", MODEL, "--fleet-listen", f"tcp://{bs['address']}:{PORT}",
                "--fleet-secret-key", keys / "bsd.key", "--fleet-authorized-agents", keys / "agents",
                "--engine-threads", 1, "--fleet-spin-us", 0, *self.bsd_flags], listener)
        for device in layout["devices"]:
            name = device["name"]
            self._spawn(name, device["namespace"], [
                BUILD / "agent/wdmoe-agent", "--name", name, "--shard", self.shards / name,
                "--connect", f"tcp://{bs['address']}:{PORT}", "--secret-key", keys / f"{name}.key",
                "--server-key", keys / "bsd.pub", "--threads", 1, "--spin-us", 0])
            # One after the other: of an expert's holders, top-k takes the one that came first.
            self._wait_for(f"agent {name}", lambda: any(one["name"] == name and one["up"] for one in self._agents()))
        self._wait_for("the base station", lambda: self.get("/healthz"))

    def _spawn(self, name, namespace, command, listener=None):
        command = ["nsenter", f"--net=/run/netns/{namespace}", *map(str, command)]
        if listener is not None:  # LISTEN_PID must be the daemon's own: exec keeps it
            hand_over = f'exec 3<&{listener.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
            command = ["bash", "-c", hand_over, "bash", *command]
        with open(self.folder / f"{name}.log", "w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=[listener.fileno()] if listener else [])
        self.processes.append((name, process))

    def check(self):
        for name, process in self.processes:
            if process.poll() is not None:
                last = (self.folder / f"{name}.log").read_text().strip().splitlines()[-1:]
                raise Failure(f"{name} ended with {process.returncode}: {' '.join(last)}")

    def _agents(self):
        return json.loads(self.get("/wdmoe/v1/agents"))["agents"]

    def _wait_for(self, what, ready):
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(OSError):
                if ready():
                    return
            time.sleep(0.02)
        raise Failure(f"{what} was not ready after {READY_S} s; logs are in {self.folder}")

    def _stop(self):
        for _, process in reversed(self.processes):
            process.terminate()
        for _, process in reversed(self.processes):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self.airlink is not None:
            self.airlink.terminate()
            self.airlink.communicate()

    def start_scenario(self):
        """Events count from now; returns now."""
        self.airlink.send_signal(signal.SIGUSR1)
        return time.monotonic()

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return answer.read().decode()

    def put(self, path, body):
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"content-type": "application/json"}, method="PUT")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Failure(f"PUT {path}: {error.read().decode().strip()}") from error

    def airlink_report(self):
        """After the end."""
        return json.loads((self.folder / "airlink.json").read_text())
