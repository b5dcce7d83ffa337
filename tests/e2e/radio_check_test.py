"""`wdmoe radio check|reset` by hand: no base station needed."""

import json
import os
import pathlib
import subprocess

WDMOE = pathlib.Path(os.environ["WDMOE_BUILD"]) / "cli/wdmoe"


def wdmoe(*arguments):
    return subprocess.run([WDMOE, "radio", *arguments], capture_output=True, text=True, timeout=60)


def test_check_answers_on_any_host():
    done = wdmoe("check", "--output", "json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    rows = {row["name"]: row for row in answer["capabilities"]}
    assert {"CAP_NET_ADMIN", "htb", "fq", "fq_codel", "ifb", "SO_MAX_PACING_RATE"} <= set(rows)
    assert all(row["available"] is True or row["instead"] for row in rows.values())
    assert {"uplink", "order", "dry-run"} <= set(answer["actuators"])
    table = wdmoe("check")
    assert "actuators that can work here: " in table.stdout


def test_check_and_reset_name_a_bad_interface():
    for name, says in (("nowhere0", "does not exist"), ("a/b", "printable"), ("x" * 16, "1 to 15")):
        done = wdmoe("check", "--interface", name)
        assert done.returncode == 1 and says in done.stderr and done.stderr.count("\n") == 1
    done = wdmoe("reset", "--interface", "a/b")
    assert done.returncode == 1 and "a/b" in done.stderr


def test_reset_has_nothing_to_do(tmp_path):
    for arguments in ([], ["--interface", "lo"]):
        done = wdmoe("reset", "--state", str(tmp_path / "none"), *arguments)
        assert done.returncode == 0, done.stderr
        assert "nothing" in done.stdout


def test_reset_names_a_damaged_record(tmp_path):
    (tmp_path / "tc-eth7.json").write_text("{")
    done = wdmoe("reset", "--state", str(tmp_path))
    assert done.returncode == 1 and "tc-eth7.json" in done.stderr
