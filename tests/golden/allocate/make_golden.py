#!/usr/bin/env python3
"""Writes slsqp.json: random bandwidth-allocation problems and what SciPy's SLSQP makes of them.

    python3 -m venv build/golden-venv && build/golden-venv/bin/pip install -r requirements.txt
    build/golden-venv/bin/python make_golden.py

Each problem  min T  s.t.  q_k t_k(x_k) <= T,  sum x <= 1  is given to SLSQP twice, both times in
epigraph form from an equal split:
  raw     hertz and seconds, gradients by finite differences, SciPy's default settings
  scaled  shares of the band and T in units of the equal split's, analytic gradients, ftol 1e-9,
          shares of at least 1e-6: the best of the settings tried (a smaller ftol fails more often;
          a least share of 1e-12 sends it to points a million times worse)
SLSQP's answer is then scaled to use exactly the band and judged by its largest finish time, which
can only help it.  tests/bsd/radio/slsqp_test.cpp holds the allocator against these numbers.
"""

import json
import pathlib
import time

import numpy
from scipy.optimize import minimize

SEED = 20261124
PER_MEDIUM = 400
MEDIA = ("fdma_separate", "fdma_common", "airtime")
NOISE_W_PER_HZ = 10 ** ((-174 - 30) / 10)
POWER_DL_W, POWER_UL_W = 10.0, 0.2
BITS = 65536.0


def random_problem(rng, medium, wild):
    """Integers only, so that the file is short and exact: gains in tenths of a decibel."""
    devices = int(rng.integers(1, 13))
    spread = 600 if wild else 200  # +-60 dB: twelve decades; +-20 dB: a cell
    middle = -1000
    return {
        "model": medium,
        "bandwidth_hz": float(rng.choice([20e6, 100e6])),
        # tokens, gain_dl, gain_ul [0.1 dB], compute per token [us]
        "devices": [
            [
                int(round(10 ** rng.uniform(0, 2.7))),
                int(rng.integers(middle - spread, middle + spread)),
                int(rng.integers(middle - spread, middle + spread)),
                int(round(10 ** rng.uniform(0, 4.3))),
            ]
            for _ in range(devices)
        ],
    }


class Problem:
    """Finish times and their derivatives as functions of shares; n devices."""

    def __init__(self, spec):
        table = numpy.array(spec["devices"], dtype=float)
        self.medium = spec["model"]
        self.band = spec["bandwidth_hz"]
        self.n = len(table)
        gains = 10 ** (table[:, 1:3] / 100)
        powers = numpy.array([POWER_DL_W, POWER_UL_W])
        self.snr = powers * gains / (NOISE_W_PER_HZ * self.band)  # [n, 2] over the whole band
        self.bits = table[:, :1] * BITS
        self.compute = table[:, 0] * table[:, 3] * 1e-6
        self.one_split = self.medium == "fdma_common"
        self.size = self.n if self.one_split else 2 * self.n

    def directions(self, x):
        """[n, 2] shares from the flat variable (down first, then up)."""
        return numpy.stack([x, x], 1) if self.one_split else x.reshape(2, self.n).T

    def rates(self, shares):
        """Rates [n, 2] and their derivatives by share."""
        with numpy.errstate(all="ignore"):
            if self.medium == "airtime":
                whole = self.band * numpy.log2(1 + self.snr)
                return shares * whole, whole
            y = self.snr / shares
            log = numpy.log1p(y)
            unit = self.band / numpy.log(2)
            return unit * shares * log, unit * (log - y / (1 + y))

    def finish(self, x):
        rates, _ = self.rates(self.directions(x))
        with numpy.errstate(all="ignore"):
            return (self.bits / rates).sum(1) + self.compute

    def finish_gradient(self, x):
        """[n, size]"""
        rates, slopes = self.rates(self.directions(x))
        by_direction = -self.bits / rates**2 * slopes
        if self.one_split:
            return numpy.diag(by_direction.sum(1))
        return numpy.hstack([numpy.diag(by_direction[:, 0]), numpy.diag(by_direction[:, 1])])

    def budgets(self):
        """Rows of A in A x <= 1."""
        if self.medium != "fdma_separate":
            return numpy.ones((1, self.size))
        return numpy.kron(numpy.eye(2), numpy.ones((1, self.n)))

    def equal_split(self):
        return numpy.full(self.size, 1.0 / self.budgets()[0].sum())

    def judge(self, x):
        """Largest finish time of x, made to use exactly the band."""
        x = numpy.maximum(x, 1e-300)
        if not numpy.isfinite(x).all():
            return float("inf")
        rows = self.budgets()
        x = x / (rows.T @ (rows @ x))
        worst = self.finish(x).max()
        return float(worst) if numpy.isfinite(worst) else float("inf")


def solve(problem, band_unit, time_unit, analytic, options, floor):
    """SLSQP in units: variables are shares * band_unit, and T / time_unit."""
    rows = problem.budgets()
    start = problem.equal_split()
    x0 = numpy.append(start * band_unit, problem.finish(start).max() / time_unit)
    zeros = numpy.zeros((len(rows), 1))
    constraints = [
        {"type": "ineq", "fun": lambda v: v[-1] - problem.finish(v[:-1] / band_unit) / time_unit},
        {"type": "ineq", "fun": lambda v: band_unit - rows @ v[:-1]},
    ]
    arguments = {}
    if analytic:
        gradient = numpy.append(numpy.zeros(problem.size), 1.0)
        arguments["jac"] = lambda v: gradient
        constraints[0]["jac"] = lambda v: numpy.hstack(
            [-problem.finish_gradient(v[:-1] / band_unit) / (time_unit * band_unit),
             numpy.ones((problem.n, 1))])
        constraints[1]["jac"] = lambda v: numpy.hstack([-rows, zeros])
    bounds = [(floor * band_unit, band_unit)] * problem.size + [(0, None)]
    started = time.perf_counter()
    answer = minimize(lambda v: v[-1], x0, method="SLSQP", bounds=bounds, constraints=constraints,
                      options=options, **arguments)
    seconds = time.perf_counter() - started
    return problem.judge(answer.x[:-1] / band_unit), bool(answer.success), seconds


def main():
    rng = numpy.random.default_rng(SEED)
    lines, spent = [], {"raw": [], "scaled": []}
    for medium in MEDIA:
        for index in range(PER_MEDIUM):
            wild = index % 2 == 1
            spec = random_problem(rng, medium, wild)
            problem = Problem(spec)
            equal = problem.finish(problem.equal_split()).max()
            raw = solve(problem, problem.band, 1.0, False, {}, 0.0)
            scaled = solve(problem, 1.0, equal, True, {"ftol": 1e-9, "maxiter": 1000}, 1e-6)
            row = [medium, int(wild), spec["bandwidth_hz"], spec["devices"]]
            for name, (latency, success, seconds) in (("raw", raw), ("scaled", scaled)):
                row.append(float(f"{latency:.10g}") if numpy.isfinite(latency) else None)
                row.append(int(success))
                spent[name].append(seconds)
            lines.append(json.dumps(row, separators=(",", ":")))
    for name, seconds in spent.items():
        print(f"{name}: median {1e3 * numpy.median(seconds):.2f} ms")
    write(lines)


def write(lines):
    """One row per instance; what its columns are is said in the file itself."""
    out = pathlib.Path(__file__).with_name("slsqp.json")
    header = {
        "seed": SEED, "noise_w_per_hz": NOISE_W_PER_HZ, "power_dl_w": POWER_DL_W,
        "power_ul_w": POWER_UL_W, "bits_per_token": BITS,
        "columns": ["model", "wild", "bandwidth_hz",
                    "devices: [tokens, gain_dl 0.1 dB, gain_ul 0.1 dB, compute us per token]",
                    "raw latency_s", "raw success", "scaled latency_s", "scaled success"],
    }
    out.write_text(json.dumps(header)[:-1] + ',\n"instances": [\n' + ",\n".join(lines) + "\n]}\n")
    print(f"{len(lines)} instances in {out.name}, {out.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
