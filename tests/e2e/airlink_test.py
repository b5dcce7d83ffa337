"""wdmoe-airlink from outside: what it makes, carries and leaves behind.  Needs root; skipped without."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from conftest import BUILD, START_SECONDS

AIRLINK = BUILD / "sim" / "airlink" / "wdmoe-airlink"
NAMESPACES = pathlib.Path("/run/netns")
SCENARIO = """
[channel]
fading = "none"
[[device]]
name = "near"
down_mbit = 10
up_mbit = 10
delay_ms = 1
[[device]]
name = "far"
down_mbit = 1
up_mbit = 1
delay_ms = 20
"""
# Sends a datagram to every address and waits for the refusal that comes back.
KNOCK = """
import socket, sys
for address in sys.argv[1:]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as knock:
        knock.settimeout(60)
        knock.connect((address, 9))
        knock.send(b"x")
        try:
            knock.recv(1)
        except ConnectionRefusedError:
            print(address)
"""


def airlink(*arguments):
    return subprocess.run(
        [AIRLINK, *map(str, arguments)], capture_output=True, text=True, timeout=START_SECONDS
    )


def may_make_namespaces():
    return subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode == 0


needs_root = pytest.mark.skipif(
    not may_make_namespaces() or not os.path.exists("/dev/net/tun"),
    reason="needs root and /dev/net/tun: network namespaces are not permitted here",
)


@pytest.fixture
def cell(tmp_path):
    """A scenario with a name of its own: (name, path)."""
    name = f"test-{os.getpid()}"
    path = tmp_path / f"{name}.toml"
    path.write_text(SCENARIO)
    yield name, path
    airlink("--clean")


def spaces_of(name):
    return sorted(path.name for path in NAMESPACES.glob(f"wdmoe.{name}.*"))


@contextlib.contextmanager
def standing(path, *arguments):
    """A running cell: (process, layout)."""
    process = subprocess.Popen([AIRLINK, path, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(START_SECONDS)


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "expected SCENARIO.toml"),
        (["nowhere.toml"], "nowhere.toml: cannot read"),
        (["--for", "-1", "x.toml"], "--for"),
        (["--seed", "many", "x.toml"], "--seed"),
    ],
)
def test_wrong_use_is_one_line(arguments, said):
    run = airlink(*arguments)
    assert run.returncode == 2
    assert said in run.stderr and run.stderr.count("\n") == 1


def test_check_makes_nothing(cell):
    name, path = cell
    assert airlink(path, "--check").returncode == 0
    assert spaces_of(name) == []


@needs_root
def test_a_command_runs_among_all_devices_and_its_status_is_ours(cell, tmp_path):
    name, path = cell
    report = tmp_path / "report.json"
    run = airlink(path, "--report", report, "--", "python3", "-c", KNOCK, "10.77.0.2", "10.77.0.3")
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["10.77.0.2", "10.77.0.3"]
    assert airlink(path, "--", "sh", "-c", "exit 7").returncode == 7
    assert spaces_of(name) == []
    for device, delay in zip(json.loads(report.read_text())["devices"], [1, 20]):
        # A datagram there (20 + 8 + 1 bytes), a refusal back (its header and 20 + 8 more).
        assert device["down"]["bytes_delivered"] == 29
        assert device["up"]["bytes_delivered"] == 57
        assert device["down"]["delay_ms"]["p50"] >= delay
        assert device["down"]["dropped"] == device["up"]["lost"] == 0


@needs_root
def test_the_layout_is_what_is_there(cell):
    name, path = cell
    with standing(path) as (_, layout):
        ends = [layout["base_station"], *layout["devices"]]
        assert sorted(end["namespace"] for end in ends) == spaces_of(name)
        for end in ends:
            shown = subprocess.run(
                ["nsenter", f"--net={NAMESPACES / end['namespace']}", "cat", "/proc/net/fib_trie"],
                capture_output=True, text=True, check=True,
            ).stdout
            assert f"|-- {end['address']}\n" in shown
    assert spaces_of(name) == []


@needs_root
def test_two_of_one_name_do_not_meet(cell):
    name, path = cell
    with standing(path):
        second = airlink(path, "--for", 1)
        assert second.returncode == 1
        assert f"cell '{name}' is being emulated already" in second.stderr
        assert len(spaces_of(name)) == 3


@needs_root
def test_what_a_killed_one_left_goes_and_a_living_one_stays(cell, tmp_path):
    name, path = cell
    other = tmp_path / f"{name}-b.toml"
    other.write_text(SCENARIO)
    with standing(path) as (killed, _), standing(other) as (living, _):
        killed.send_signal(signal.SIGKILL)
        killed.wait(START_SECONDS)
        assert len(spaces_of(name)) == 3
        assert airlink("--clean").returncode == 0
        assert spaces_of(name) == []
        assert len(spaces_of(f"{name}-b")) == 3
        assert living.poll() is None


@needs_root
def test_its_command_ends_with_it(cell):
    _, path = cell
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [AIRLINK, path, "--", "sh", "-c", "echo up; exec sleep 1000"], stdout=theirs
        )
        theirs.close()
        assert ours.recv(16) == b"up\n"
        process.kill()
        process.wait(START_SECONDS)
        ours.settimeout(START_SECONDS)
        assert ours.recv(16) == b""  # the last one who held the other end is gone
