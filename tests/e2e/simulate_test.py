"""`wdmoe simulate` from the command line: files, numbers, refusals."""

import csv
import json
import os
import shutil

import pytest
from conftest import run_tool

TINY = """
name = "tiny"
[devices]
count = 4
[model]
layers = 2
experts = 4
[workload]
rows = 8
batches = 2
[run]
policies = ["topk", "wlr", "minmax"]
seeds = 3
"""


def simulate(*arguments, **options):
    return run_tool("simulate", *arguments, **options)


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_results_summary_and_figures(tiny, tmp_path):
    out = tmp_path / "out"
    figures = [] if shutil.which("gnuplot") else ["--no-figures"]
    run = simulate(tiny, "--out", out, *figures)
    assert run.returncode == 0, run.stderr
    assert "minmax, exact" in run.stdout

    summary = json.loads((out / "summary.json").read_text())
    results = {(row["policy"], row["allocator"]): row for row in summary["results"]}
    assert set(results) == {(p, a) for p in ("topk", "wlr", "minmax") for a in ("equal", "exact")}
    for row in results.values():
        assert row["scenario"] == "tiny"
        low, high = row["mean_waiting_latency_s_ci"]
        assert 0 < row["mean_waiting_latency_s"] and low <= row["mean_waiting_latency_s"] <= high
        assert 0 < row["kept_gate_mass"] <= 1 + 1e-6
    assert results["topk", "equal"]["latency_cut_vs_vanilla"] == 0
    assert results["topk", "equal"]["kept_gate_mass"] == pytest.approx(1, abs=1e-6)

    # The means are those of the rows of results.csv, cuts are of equal seeds.
    rows = list(csv.DictReader((out / "results.csv").open()))
    by_seed = {(r["policy"], r["allocator"], r["seed"]): float(r["mean_waiting_latency_s"])
               for r in rows}
    assert len(by_seed) == 18
    for (policy, allocator), row in results.items():
        seconds = [by_seed[policy, allocator, seed] for seed in "123"]
        cuts = [1 - by_seed[policy, allocator, seed] / by_seed["topk", "equal", seed]
                for seed in "123"]
        assert row["mean_waiting_latency_s"] == pytest.approx(sum(seconds) / 3)
        assert row["latency_cut_vs_vanilla"] == pytest.approx(sum(cuts) / 3)
    if not figures:
        assert (out / "latency.svg").read_text().startswith("<?xml")
        assert (out / "latency.png").read_bytes().startswith(b"\x89PNG")
        assert not list(out.glob("*.log"))


def test_numbers_repeat_on_any_number_of_threads(tiny, tmp_path):
    texts = []
    for threads in ("1", "3"):
        out = tmp_path / threads
        run = simulate(tiny, "--out", out, "--threads", threads, "--no-figures")
        assert run.returncode == 0, run.stderr
        texts.append((out / "results.csv").read_text())
    assert texts[0] == texts[1]


def test_every_printed_key_is_read_back(tmp_path):
    printed = simulate("--print-scenario").stdout
    path = tmp_path / "all.toml"
    path.write_text(printed.replace("\ncount = 0\n", "\ncount = 8\n").replace("\nbatches = 20\n",
                                                                              "\nbatches = 1\n"))
    run = simulate(path, "--out", tmp_path / "out", "--no-figures", "--seeds", "1")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("change, says", [
    (("count = 4", "count = -4"), "devices.count = -4: expected a whole number from 0 to 1024"),
    (("layers", "layres"), "did you mean 'model.layers'"),
    (("[run]", 'trace = "nowhere.trace"\n[run]'), "nowhere.trace"),
    (("name = ", "name = ="), "not TOML"),
])
def test_mistakes_are_one_line(tiny, tmp_path, change, says):
    tiny.write_text(TINY.replace(*change))
    run = simulate(tiny, "--out", tmp_path / "out", "--no-figures")
    assert run.returncode == 1
    assert says in run.stderr and run.stderr.count("\n") == 1


def test_without_gnuplot_it_says_what_to_do(tiny, tmp_path):
    run = simulate(tiny, "--out", tmp_path / "out", env={**os.environ, "PATH": str(tmp_path)})
    assert run.returncode == 1
    assert "install gnuplot-nox or give --no-figures" in run.stderr
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be(tiny, tmp_path):
    run = simulate(tiny, "--out", tiny, "--no-figures")
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1 and str(tiny) in run.stderr
