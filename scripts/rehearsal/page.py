"""What came out: summary.json, a table, and report.html with figures (gnuplot)."""

import html
import math
import subprocess

from . import cell

COLOURS = ["#555555", "#1f77b4", "#9467bd", "#2ca02c", "#ff7f0e", "#d62728", "#8c564b", "#17becf"]


def quantile(values, share):
    """Linear between order statistics."""
    values = sorted(values)
    place = share * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


def prediction_error_median(buckets):
    """Median of |1 - predicted/measured| from cumulative counts, as if values lay evenly within a bucket."""
    total = buckets[-1][1] if buckets else 0
    if total <= 0:
        return None
    points = [(0.0, 0.0)] + [(bound if math.isfinite(bound) else 2 * buckets[-2][0], count / total) for bound, count in buckets]

    def below(ratio):
        for (low, at_low), (high, at_high) in zip(points, points[1:]):
            if ratio <= high:
                return at_low + (at_high - at_low) * max(0.0, ratio - low) / (high - low)
        return 1.0

    least, most = 0.0, points[-1][0]
    for _ in range(50):  # halvings: far below any bucket
        middle = (least + most) / 2
        if below(1 + middle) - below(1 - middle) < 0.5:
            least = middle
        else:
            most = middle
    return most


def row_of(result, vanilla):
    row = {"name": result.setting.name, "policy": result.setting.policy, "actuators": result.setting.actuators_text,
           "placement": result.setting.placement}
    if result.skipped:
        return row | {"skipped": result.skipped}
    gaps = [token["gap_ms"] for token in result.tokens]
    if not gaps:
        raise cell.Failure(f"{result.setting.name}: not one token was written")
    mean = lambda key: sum(token[key] for token in result.tokens) / len(gaps)  # noqa: E731
    row |= {"tokens": len(gaps), "mean_latency_ms": mean("gap_ms"), "p50_latency_ms": quantile(gaps, 0.5),
            "p95_latency_ms": quantile(gaps, 0.95), "mean_wait_ms": mean("wait_ms"), "mean_bs_ms": mean("bs_ms"),
            "kept_gate_mass": mean("kept"), "bytes_per_step": mean("bytes"),
            "perplexity": result.perplexity, "perplexity_change": result.perplexity_change,
            "prediction_error_median": prediction_error_median(result.ratios)}
    if vanilla is not None:
        row |= {"mean_cut": 1 - row["mean_latency_ms"] / vanilla["mean_latency_ms"],
                "p95_cut": 1 - row["p95_latency_ms"] / vanilla["p95_latency_ms"]}
    return row


def summary_of(prepared, plan, streams, results):
    rows, vanilla = [], None
    for result in results:
        row = row_of(result, vanilla)
        if result.setting.name == "vanilla":
            vanilla = row
        rows.append(row)
    return {"version": cell.call(cell.TOOL, "--version").split()[-1], "agents": prepared.agents, "streams": streams,
            "run_s": plan.run_s, "event_s": plan.event_s, "windows": plan.windows, "results": rows}


def percent(share, sign=True):
    return "" if share is None else f"{100 * share:{'+' if sign else ''}.1f} %"


HEAD = ["setting", "policy", "actuators", "placement", "mean ms", "p95 ms", "mean", "p95", "kept", "perplexity", "change", "prediction error"]


def cells_of(row):
    first = [row["name"], row["policy"], row["actuators"], row["placement"]]
    if "skipped" in row:
        return first + [row["skipped"]] + [""] * (len(HEAD) - 5)
    change = row["perplexity_change"]
    interval = f" ({100 * change['low']:+.2f} to {100 * change['high']:+.2f})" if "low" in change else ""
    cut = lambda key: percent(-row[key]) if key in row else ""  # noqa: E731
    return first + [f"{row['mean_latency_ms']:.1f}", f"{row['p95_latency_ms']:.1f}", cut("mean_cut"), cut("p95_cut"),
                    percent(row["kept_gate_mass"], False), f"{row['perplexity']:.3f}",
                    f"{100 * change['value']:+.2f} %{interval}",
                    percent(row["prediction_error_median"], False)]


def table_of(summary):
    lines = [HEAD] + [["---"] * len(HEAD)] + [cells_of(row) for row in summary["results"]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# Figures: name, what gnuplot is told, and a caption.

HEADER = """set terminal svg size 860,{height} dynamic background '#ffffff' font 'sans,13'
set output '{name}.svg'
set grid back linetype 1 linewidth 0.5 linecolor rgb '#dddddd'
set border linecolor rgb '#444444'
set tics nomirror
set key outside right top noenhanced
"""


def block(name, rows):
    return f"${name} << EOD\n" + "\n".join(" ".join(str(value) for value in row) for row in rows) + "\nEOD\n"


def curves(series, style, settings_text):
    """{title: [(x, y)]} as one plot."""
    text = "".join(block(f"c{index}", points) for index, points in enumerate(series.values()))
    plots = ", ".join(f"$c{index} using 1:2 with {style} linewidth 1.6 linecolor rgb '{COLOURS[index % len(COLOURS)]}' title '{title}'"
                      for index, title in enumerate(series))
    return text + settings_text + f"plot {plots}\n"


def latency_cdf(results):
    series = {}
    for result in results:
        gaps = sorted(token["gap_ms"] for token in result.tokens)
        series[result.setting.name] = [(gaps[min(len(gaps) - 1, int(step / 200 * len(gaps)))], step / 200) for step in range(201)]
    return curves(series, "steps", "set xlabel 'latency of a token [ms]'\nset ylabel 'share of tokens'\nset yrange [0:1]\nset xrange [0:*]\n")


def latency_over_time(results):
    series = {}
    for result in results:
        seconds = {}
        for token in result.tokens:
            seconds.setdefault(int(token["at_s"]), []).append(token["gap_ms"])
        series[result.setting.name] = [(second + 0.5, sum(gaps) / len(gaps)) for second, gaps in sorted(seconds.items())]
    return curves(series, "linespoints pointtype 7 pointsize 0.3",
                  "set xlabel 'time [s]'\nset ylabel 'latency of a token, mean of each second [ms]'\nset yrange [0:*]\n")


def agent_bytes(results):
    """Per token, so that who writes more is not punished for it; without the warm-up."""
    rows = [[f'"{device["name"]}"'] for device in results[0].airlink["devices"]]
    for result in results:
        first = round(result.airlink["scenario_start_s"] / result.airlink["interval_s"])
        for row, device in zip(rows, result.airlink["devices"]):
            carried = sum(sum(device[way]["bytes"][first:]) for way in ("down_series", "up_series"))
            row.append(carried / 1000 / len(result.tokens))
    plots = ", ".join(f"$b using {index + 2}{':xtic(1)' if index == 0 else ''} linecolor rgb '{COLOURS[index % len(COLOURS)]}' title '{result.setting.name}'"
                      for index, result in enumerate(results))
    return block("b", rows) + ("set style data histograms\nset style histogram clustered gap 1.5\nset style fill solid\nset yrange [0:*]\n"
                               "set xtics noenhanced\nset ylabel 'kB on the air per token, both ways'\n") + f"plot {plots}\n"


def rates(result):
    """Delivered to and from every agent, and what the links carry (dashed), means of each second."""
    report, text, plots = result.airlink, "", []
    per_second = round(1 / report["interval_s"])
    start = report["scenario_start_s"]
    for index, device in enumerate(report["devices"]):
        points = []
        down, up = device["down_series"], device["up_series"]
        for first in range(0, len(down["bytes"]) - per_second, per_second):
            part = slice(first, first + per_second)
            mbit = 8e-6 * (sum(down["bytes"][part]) + sum(up["bytes"][part]))
            points.append((first * report["interval_s"] + 0.5 - start, mbit, sum(down["link_mbit"][part]) / per_second))
        text += block(f"r{index}", points)
        colour = COLOURS[index % len(COLOURS)]
        plots.append(f"$r{index} using 1:($2 > 0 ? $2 : 1/0) with lines linewidth 1.6 linecolor rgb '{colour}' title '{device['name']}'")
        plots.append(f"$r{index} using 1:3 with lines dashtype 2 linecolor rgb '{colour}' notitle")
    return text + ("set xlabel 'time [s]'\nset ylabel 'Mbit/s'\nset logscale y\n"
                   "set xrange [0:*]\n") + f"plot {', '.join(plots)}\n"


def prediction(results):
    series = {}
    for result in results:
        total = result.ratios[-1][1] if result.ratios else 0
        if total > 0:
            series[result.setting.name] = [(bound, count / total) for bound, count in result.ratios if math.isfinite(bound)]
    return curves(series, "linespoints pointtype 7 pointsize 0.4",
                  "set xlabel 'predicted over measured waiting latency of a layer'\nset ylabel 'share of exchanges'\nset yrange [0:1]\n"
                  "set logscale x 2\nset arrow from 1, graph 0 to 1, graph 1 nohead dashtype 3\n") if series else None


def figures_of(results):
    yield "latency-cdf", latency_cdf(results), "Latency of a token: from the one before it, seen by the client."
    yield "latency-time", latency_over_time(results), "The same over time; the link drops in the middle."
    yield "agent-bytes", agent_bytes(results), "Bytes on the air (IP packets) per token and agent."
    for result in results:
        if result.setting.name in ("vanilla", "joint"):
            yield f"rates-{result.setting.name}", rates(result), f"Rates over time, {result.setting.name}: carried, both ways, and what the link to the agent could carry (dashed)."
    yield "prediction", prediction(results), "Waiting latency of a layer: predicted over measured (a step at 1 would be perfect)."


def draw(out, name, commands):
    script = HEADER.format(height=480, name=name) + commands
    done = subprocess.run(["gnuplot", "-"], input=script, text=True, cwd=out, capture_output=True)
    if done.returncode != 0:
        raise cell.Failure(f"gnuplot, {name}: {done.stderr.strip().splitlines()[-1:]}")


def write(out, prepared, results, summary):
    done = [result for result in results if not result.skipped]
    parts = []
    for name, commands, caption in figures_of(done):
        if commands is None:
            continue
        draw(out, name, commands)
        parts.append(f"<figure>{(out / f'{name}.svg').read_text().split('?>', 1)[-1].split(']>', 1)[-1]}"
                     f"<figcaption>{html.escape(caption)}</figcaption></figure>")
    lines = ["<tr>" + "".join(f"<th>{html.escape(one)}</th>" for one in HEAD) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{html.escape(one)}</td>" for one in cells_of(row)) + "</tr>" for row in summary["results"]]
    (out / "report.html").write_text(f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>wdmoe field rehearsal</title><style>
body {{ font: 15px sans-serif; max-width: 70em; margin: 2em auto; color: #222 }}
table {{ border-collapse: collapse }} td, th {{ padding: .3em .6em; border-bottom: 1px solid #ddd; text-align: left }}
figure {{ margin: 2em 0 }} figcaption {{ color: #555 }} svg {{ width: 100%; height: auto }}
</style></head><body><h1>Field rehearsal</h1>
<p>wdmoe {html.escape(summary['version'])}: models/demo on {len(prepared.agents)} agents in an emulated cell, {summary['streams']} texts at once,
{summary['run_s']:g} s for each combination; a link drops to a tenth after {summary['event_s']:g} s. Cuts are against the first row.</p>
<table>{''.join(lines)}</table>
{''.join(parts)}
<h2>Cell</h2><pre>{html.escape(prepared.scenario.read_text())}</pre></body></html>
""")
