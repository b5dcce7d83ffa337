"""One combination after the other: texts written through the cell, every token timed."""

import dataclasses
import http.client
import json
import math
import random
import re
import threading
import time

from . import cell, settings

PROMPTS = [row["tokens"] for row in json.loads((cell.ROOT / "tests/golden/demo_greedy.json").read_text())["prompts"]]
MAX_TOKENS = 100
STEP_ROWS = 4  # of a step while perplexity is measured


@dataclasses.dataclass(frozen=True)
class Plan:
    event_s: float  # when the link drops; a run is twice as long
    warm_up_s: float  # before the clock starts
    windows: int  # of 512 tokens, for perplexity

    @property
    def run_s(self):
        return 2 * self.event_s


FULL = Plan(event_s=20, warm_up_s=5, windows=6)
QUICK = Plan(event_s=4, warm_up_s=2, windows=1)


@dataclasses.dataclass
class Result:
    setting: settings.Setting
    skipped: str = ""  # why it was not run
    tokens: list = dataclasses.field(default_factory=list)  # {at_s, gap_ms, bs_ms, wait_ms, bytes, kept}
    ratios: list = dataclasses.field(default_factory=list)  # (upper bound, count) of predicted over measured
    airlink: dict = dataclasses.field(default_factory=dict)
    perplexity: float | None = None
    perplexity_change: dict | None = None  # value, low, high; relative to plain top-2


def bsd_flags(prepared, setting):
    flags = ["--selection-policy", setting.policy, "--selection-quality", settings.QUALITY]
    for actuator in setting.actuators:
        flags += ["--radio-actuators", actuator]
    if setting.actuators:
        flags += ["--radio-interface", "air0", "--radio-medium", prepared.medium]
    return flags


def known_actuators():
    text = cell.call(cell.BUILD / "bsd/wdmoe-bsd", "--help")
    found = re.search(r"--radio-actuators.*", text)
    return found[0] if found else ""


def stream(url, prompt, until, note):
    """Writes one text; `note(event time, costs)` for every token, until the time is over."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    body = {"prompt": prompt, "max_tokens": MAX_TOKENS, "temperature": 0, "ignore_eos": True, "stream": True,
            "wdmoe": {"trace": True}}
    connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise cell.Failure(f"/v1/completions: {answer.read().decode().strip()}")
    for line in answer:
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if "error" in event:
            raise cell.Failure(f"a text broke off: {event['error'].get('message')}")
        costs = event.get("wdmoe", {})
        if "bs_ms" in costs and "stages_ms" not in costs:
            note(time.monotonic(), costs)
        if time.monotonic() >= until:
            break
    connection.close()


def write_texts(running, streams, seconds, start):
    """`streams` texts at a time for so long.  A text's first token is its prompt's, not counted."""
    tokens, failures, lock = [], [], threading.Lock()

    def work(first):
        try:
            for index in range(first, 10**9, streams):
                last = None

                def note(now, costs):
                    nonlocal last
                    if last is not None:
                        token = {"at_s": now - start, "gap_ms": 1e3 * (now - last), "bs_ms": costs["bs_ms"],
                                 "wait_ms": costs["wait_ms"], "kept": costs["kept_gate_mass"],
                                 "bytes": costs["bytes_sent"] + costs["bytes_received"]}
                        with lock:
                            tokens.append(token)
                    last = now

                stream(running.url, PROMPTS[index % len(PROMPTS)], start + seconds, note)
                if time.monotonic() >= start + seconds:
                    return
        except (cell.Failure, OSError, http.client.HTTPException) as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    running.check()
    if failures:
        raise cell.Failure(f"{failures[0]}; logs are in {running.folder}")
    return sorted(tokens, key=lambda token: token["at_s"])


def ratio_buckets(metrics):
    """{upper bound: cumulative count} of wdmoe_layer_wait_prediction_ratio."""
    found = re.findall(r'^wdmoe_layer_wait_prediction_ratio_bucket\{le="([^"]+)"\} (\S+)$', metrics, re.M)
    return {float(bound.replace("+Inf", "inf")): float(count) for bound, count in found}


def run(prepared, setting, plan, streams, out):
    result = Result(setting)
    offered = known_actuators()
    missing = [one for one in setting.actuators if one not in offered]
    if missing:
        result.skipped = f"this build has no actuator {', '.join(missing)}"
        print(f"{setting.name}: skipped, {result.skipped}", flush=True)
        return result
    folder = out / setting.name
    folder.mkdir(exist_ok=True)
    print(f"{setting.name}: {setting.policy}, actuators {setting.actuators_text}", flush=True)
    with cell.Cell(prepared, folder, setting.placement, bsd_flags(prepared, setting)) as running:
        write_texts(running, streams, plan.warm_up_s, time.monotonic())
        before = ratio_buckets(running.get("/metrics"))
        start = running.start_scenario()
        result.tokens = write_texts(running, streams, plan.run_s, start)
        metrics = running.get("/metrics")
        (folder / "metrics.txt").write_text(metrics)
        after = ratio_buckets(metrics)
    result.ratios = [(bound, count - before.get(bound, 0)) for bound, count in sorted(after.items())]
    result.airlink = running.airlink_report()
    (folder / "tokens.json").write_text(json.dumps(result.tokens))
    return result


def judge_quality(prepared, results, plan):
    """Perplexity through the cell, once for every policy and placement: actuators do not change
    what is chosen but by what they do to latencies.  Plain top-2 is the same wherever experts are."""
    plain = losses_of("--policy", "topk", "--model", cell.MODEL, "--limit", plan.windows)
    done = {}
    for result in results:
        setting = result.setting
        if result.skipped:
            continue
        key = (setting.policy, setting.placement)
        if key not in done:
            done[key] = plain if setting.policy == "topk" else losses_in_cell(prepared, setting, plan)
        losses, tokens = done[key]
        result.perplexity = math.exp(sum(losses) / tokens)
        result.perplexity_change = change_of(losses, plain[0], tokens / len(losses))


def losses_of(*arguments):
    """([windows] nats, tokens)"""
    row = json.loads(cell.call(cell.TOOL, "eval", "perplexity", "-o", "json", *arguments))["results"][-1]
    return row["window_losses"], row["tokens_scored"]


def losses_in_cell(prepared, setting, plan):
    """In steps of a few rows, as when texts are written: what a policy chooses depends on how many
    rows it may choose for at once."""
    folder = prepared.folder / f"perplexity-{setting.policy}-{setting.placement}"
    folder.mkdir(exist_ok=True)
    print(f"perplexity of {setting.policy} ({setting.placement}), {plan.windows} windows", flush=True)
    flags = [*bsd_flags(prepared, setting), "--engine-prefill-chunk", STEP_ROWS]
    with cell.Cell(prepared, folder, setting.placement, flags) as running:
        write_texts(running, STEP_ROWS, plan.warm_up_s, time.monotonic())
        return losses_of("--bsd", running.url, "--data", cell.MODEL / "eval", "--limit", plan.windows)


def change_of(losses, plain, tokens):
    """Relative change of perplexity; a 95 % interval by resampling windows (paired), if there are enough."""
    differences = [(loss - other) / tokens for loss, other in zip(losses, plain)]
    mean = lambda values: math.expm1(sum(values) / len(values))  # noqa: E731
    change = {"value": mean(differences)}
    if len(differences) >= 5:
        random_numbers = random.Random(1)
        drawn = sorted(mean(random_numbers.choices(differences, k=len(differences))) for _ in range(4000))
        change |= {"low": drawn[99], "high": drawn[3899]}
    return change
