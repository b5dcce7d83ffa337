"""A base station that shapes an interface: in force, killed, cleaned up.  Needs root; skipped without."""

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import threading

import pytest

from conftest import run_tool
from faults_test import ask, complete, until
from refusal_test import BSD, Cell, make_model

CLONE_NEWNET = 0x40000000
FIRST_AGENT = "5744:10"


def setns(namespace):
    """This thread's network namespace becomes the one of an open file."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.setns(namespace.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture(autouse=True)
def own_network():
    """A loopback that nobody else uses, for this process and all that it starts."""
    with open("/proc/thread-self/ns/net") as home:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            pytest.skip("needs root: network namespaces are not permitted here")
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            setns(home)


class ShapedCell(Cell):
    def __init__(self, folder, model, names):
        super().__init__(folder, model, names)
        self.endpoint = "tcp://127.0.0.1:7411"

    def start_bs(self, stack):
        return self.start(stack, "bsd", [
            BSD, "--model", self.model, "--http-listen", "127.0.0.1:0", "--fleet-listen", self.endpoint,
            "--fleet-secret-key", self.folder / "keys" / "bsd.key",
            "--fleet-authorized-agents", self.folder / "keys" / "agents",
            "--radio-actuators", "tc", "--radio-interface", "lo", "--radio-capacity-mbps", 40])


@pytest.fixture
def cell(tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    return ShapedCell(tmp_path, make_model(tmp_path / "model", 1), ["jetson-1", "jetson-2"])


def qdiscs():
    return subprocess.run(["tc", "qdisc", "show", "dev", "lo"], capture_output=True, text=True, check=True).stdout


def sent_bytes(classid):
    shown = subprocess.run(["tc", "-s", "class", "show", "dev", "lo"], capture_output=True, text=True, check=True)
    found = re.search(rf"class htb {classid} .*\n Sent (\d+) bytes", shown.stdout)
    return int(found[1]) if found else 0


def other_traffic_flows():
    """A megabyte over the same interface, in a socket of no class."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def send():
            with socket.create_connection(listener.getsockname()) as out:
                out.sendall(bytes(1 << 20))

        sender = threading.Thread(target=send)
        sender.start()
        peer, _ = listener.accept()
        with peer:
            got = 0
            while block := peer.recv(65536):
                got += len(block)
        sender.join()
    assert got == 1 << 20


def start_shaping(cell, stack):
    """Base station and agents, until an agent's class carries traffic."""
    station = cell.start_bs(stack)
    url = re.search(r"url=(\S+)", cell.wait_for_line("bsd", "http_listening"))[1]
    for i, name in enumerate(["jetson-1", "jetson-2"]):
        cell.start_agent(stack, name, cell.folder / "shards" / f"agent-{i}")
        cell.wait_for_line("bsd", "agent_up", name)

    def shaped():
        complete(url)
        return sent_bytes(FIRST_AGENT) > 10_000

    until(shaped)
    return station, url


def test_in_force_then_killed_then_nothing_is_left(cell, tmp_path):
    before = qdiscs()
    with contextlib.ExitStack() as stack:
        station, url = start_shaping(cell, stack)
        other_traffic_flows()
        radio = ask(url, "/wdmoe/v1/status")["radio"]
        assert json.dumps(radio).find('"tc"') > 0
        refused = run_tool("radio", "reset")
        assert refused.returncode == 1 and "another wdmoe process" in refused.stderr
        station.send_signal(signal.SIGKILL)
        station.wait()
        assert "htb 5744:" in qdiscs()
        other_traffic_flows()
        assert run_tool("radio", "reset").returncode == 0
        assert qdiscs() == before
        other_traffic_flows()
    assert list((tmp_path / "state").iterdir()) == []


def test_a_restarted_station_cleans_up_and_leaves_nothing(cell, tmp_path):
    before = qdiscs()
    with contextlib.ExitStack() as stack:
        station, _ = start_shaping(cell, stack)
        station.send_signal(signal.SIGKILL)
        station.wait()
    assert "htb 5744:" in qdiscs()
    with contextlib.ExitStack() as stack:
        start_shaping(cell, stack)  # anew, on what the killed one left
    assert qdiscs() == before
    assert list((tmp_path / "state").iterdir()) == []


def test_somebody_elses_queues_end_the_start(cell):
    subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", "pfifo", "limit", "77"], check=True)
    before = qdiscs()
    with contextlib.ExitStack() as stack:
        station = cell.start_bs(stack)
        assert "tc qdisc del dev lo root" in cell.wait_for_line("bsd", "pfifo")
        assert station.wait(60) == 1
    assert qdiscs() == before
