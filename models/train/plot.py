"""Draws training.png from training.csv:  python models/train/plot.py models/demo"""

import csv
import pathlib
import sys

import matplotlib
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402  (the backend must be set first)


def main():
    folder = pathlib.Path(sys.argv[1])
    with open(folder / "training.csv") as file:
        header, *rows = list(csv.reader(file))
    tokens = [int(row[1]) / 1e6 for row in rows]
    figure, (loss, score) = pyplot.subplots(1, 2, figsize=(11, 4))
    loss.plot(tokens, [float(row[4]) for row in rows], label="training loss (all kinds, weighted)")
    measured = [row for row in rows if len(row) > 6]
    at = [int(row[1]) / 1e6 for row in measured]
    twin = loss.twinx()
    twin.plot(at, [float(row[6]) for row in measured], "o-", color="tab:red", label="held-out perplexity of prose")
    twin.set_yscale("log")
    twin.set_ylabel("perplexity per token")
    loss.set_xlabel("million tokens seen")
    loss.set_ylabel("nats per token")
    loss.legend(loc="upper right")
    twin.legend(loc="center right")
    for column, family in enumerate(header[7:], start=7):
        points = [(int(row[1]) / 1e6, float(row[column])) for row in measured if len(row) > column and row[column]]
        score.plot(*zip(*points), "o-", markersize=3, label=family)
    score.axhline(1 / 8, color="grey", linestyle=":", label="chance of 8 choices")
    score.set_xlabel("million tokens seen")
    score.set_ylabel("accuracy on 24 held-out items")
    score.set_ylim(0, 1.02)
    score.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(folder / "training.png", dpi=80)


if __name__ == "__main__":
    main()
