"""`wdmoe up`: starts everything, runs a command, stops everything, whatever happens."""

import os
import pathlib
import signal
import subprocess
import time

from conftest import STOP_SECONDS, TOOL, run_tool, running


def alive(pids):
    """Those of `pids` that still run (a zombie does not)."""
    def runs(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False
    return [pid for pid in pids if runs(pid)]


def wait_until_gone(pids):
    deadline = time.monotonic() + STOP_SECONDS
    while alive(pids):
        assert time.monotonic() < deadline, f"still running: {alive(pids)}"
        time.sleep(0.05)


def test_runs_a_command_with_the_url_and_passes_its_exit_code(tiny_model):
    done = run_tool("up", tiny_model, "--agents", 2, "--", "sh", "-c", 'echo "url $WDMOE_URL"; exit 7')
    assert done.returncode == 7, done.stderr
    assert "url http://127.0.0.1:" in done.stdout


def test_hands_flags_to_the_daemons(tiny_model):
    done = run_tool("up", tiny_model, "--agents", 1, "--bsd-flag", "--http-queue=2", "--agent-flag", "--spin-us=0",
                    "--", "sh", "-c", "echo ran")
    assert done.returncode == 0, done.stderr
    assert "ran" in done.stdout.splitlines()
    for flag in ("--bsd-flag", "--agent-flag"):
        refused = run_tool("up", tiny_model, "--agents", 1, flag, "--no-such-setting=1", "--", "true")
        assert refused.returncode != 0
        assert "no-such-setting" in refused.stderr


def test_stops_its_daemons_when_interrupted(tiny_model):
    with running(tiny_model, "--agents", 2) as system:
        daemons = system.child_pids("wdmoe-")
        assert len(daemons) == 3
        assert alive(daemons) == daemons
    wait_until_gone(daemons)


def test_daemons_stop_even_when_up_is_killed(tiny_model):
    process = subprocess.Popen([TOOL, "up", tiny_model, "--agents", "2"], stdout=subprocess.PIPE, text=True)
    assert "WDMOE_URL=" in process.stdout.readline()
    daemons = [int(p) for p in subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout.split()]
    assert len(daemons) == 3
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until_gone(daemons)


def test_leaves_no_keys_or_shards_behind(tiny_model, tmp_path):
    done = run_tool("up", tiny_model, "--agents", 1, "--", "true", env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_says_in_one_line_what_is_wrong(tiny_model, tmp_path):
    missing = run_tool("up", tmp_path / "nowhere", "--agents", 2)
    assert missing.returncode != 0
    assert "nowhere" in missing.stderr and len(missing.stderr.strip().splitlines()) == 1

    too_many = run_tool("up", tiny_model, "--agents", 5)  # the model has 4 experts
    assert too_many.returncode != 0
    assert "4" in too_many.stderr and "5" in too_many.stderr

    unknown = run_tool("up", tiny_model, "--agents", 1, "--", "no-such-command")
    assert unknown.returncode != 0 and "no-such-command" in unknown.stderr
