"""Measures a checkpoint with `transformers` and writes evaluation.json beside it.

    python models/train/evaluate.py models/demo

Held-out perplexity (also with every MoE layer skipped, and with one expert fewer or more), accuracy on
each evaluation set, load per layer and expert, and a few samples.  Float32, eager attention.
"""

import argparse
import json
import math
import pathlib
import time

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from transformers import MixtralForCausalLM
from transformers import logging as transformers_logging

WINDOW = 512
STORY_PROMPTS = ["Once upon a time there was a", "It was a fine morning, and the young lady",
                 "The captain looked out over the sea, and"]
CHAT_PROMPTS = ["User: What is 12 + 7?\nAssistant:", "User: Sort 7 3 9 1 4.\nAssistant:",
                "User: Tell me a story about a fox.\nAssistant:", "User: Who are you?\nAssistant:"]


def load(folder: pathlib.Path):
    model = MixtralForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                               experts_implementation="eager").eval()
    return model, Tokenizer.from_file(str(folder / "tokenizer.json"))


@torch.no_grad()
def perplexity(model, tokens: list[int], limit: int | None = None) -> dict:
    """Windows of 512 side by side, each read alone; its first token is context only."""
    tokens = tokens[:limit]
    loss, count = 0.0, 0
    for start in range(0, len(tokens) - WINDOW + 1, WINDOW):
        window = torch.tensor([tokens[start:start + WINDOW]])
        logits = model(window, use_cache=False).logits[0, :-1]
        loss += F.cross_entropy(logits.double(), window[0, 1:], reduction="sum").item()
        count += WINDOW - 1
    return {"perplexity": math.exp(loss / count), "nll_per_token": loss / count, "tokens_scored": count}


@torch.no_grad()
def accuracy(model, tokenizer, path: pathlib.Path) -> dict:
    """An item is right if its answer has the highest summed log-probability of all choices."""
    items = [json.loads(line) for line in path.read_text().splitlines()]
    right, chance = 0, 0.0
    for item in items:
        prompt = tokenizer.encode(item["prompt"]).ids
        endings = [tokenizer.encode(c, add_special_tokens=False).ids for c in item["choices"]]
        width = max(map(len, endings))
        batch = torch.tensor([prompt + e + [0] * (width - len(e)) for e in endings])
        scores = F.log_softmax(model(batch, use_cache=False).logits, dim=-1)
        sums = [sum(scores[row, len(prompt) - 1 + at, token].item() for at, token in enumerate(ending))
                for row, ending in enumerate(endings)]
        right += max(range(len(sums)), key=sums.__getitem__) == item["answer"]
        chance += 1 / len(item["choices"])
    share, n = right / len(items), len(items)
    return {"items": n, "accuracy": share, "chance": chance / n,
            "standard_error": math.sqrt(share * (1 - share) / n)}


@torch.no_grad()
def expert_load(model, tokens: list[int]) -> list[list[float]]:
    """Share of a layer's choices that each expert gets, [layers][experts]; a row sums to 1."""
    config = model.config
    counts = torch.zeros(config.num_hidden_layers, config.num_local_experts)
    for start in range(0, len(tokens) - WINDOW + 1, WINDOW):
        output = model(torch.tensor([tokens[start:start + WINDOW]]), use_cache=False, output_router_logits=True)
        for layer, router in enumerate(output.router_logits):
            chosen = router.topk(config.num_experts_per_tok, dim=-1).indices.flatten()
            counts[layer] += torch.bincount(chosen, minlength=config.num_local_experts)
    return (counts / counts.sum(dim=1, keepdim=True)).tolist()


def without_experts(model):
    """Hooks that make every MoE layer answer zero; the caller removes them."""
    return [layer.mlp.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
            for layer in model.model.layers]


def set_top_k(model, count: int) -> None:
    for layer in model.model.layers:
        layer.mlp.gate.top_k = count


@torch.no_grad()
def sample(model, tokenizer, prompt: str, temperature: float, count: int = 80, seed: int = 1) -> str:
    generator = torch.Generator().manual_seed(seed)
    tokens = tokenizer.encode(prompt).ids
    begin = len(tokens)
    for _ in range(count):
        logits = model(torch.tensor([tokens]), use_cache=False).logits[0, -1]
        if temperature == 0:
            token = logits.argmax().item()
        else:
            token = torch.multinomial(F.softmax(logits / temperature, dim=-1), 1, generator=generator).item()
        if token == model.config.eos_token_id:
            break
        tokens.append(token)
    return tokenizer.decode(tokens[begin:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers_logging.set_verbosity_error()
    began = time.monotonic()
    model, tokenizer = load(options.folder)
    tokens = tokenizer.encode((options.folder / "eval" / "heldout.txt").read_text()).ids

    result = {"heldout": perplexity(model, tokens), "heldout_first_16384": perplexity(model, tokens, 16384)}
    for name, count in (("top_1", 1), ("top_3", 3)):
        set_top_k(model, count)
        result[f"heldout_first_16384_{name}"] = perplexity(model, tokens, 16384)
    set_top_k(model, model.config.num_experts_per_tok)
    hooks = without_experts(model)
    result["heldout_first_16384_without_moe"] = perplexity(model, tokens, 16384)
    for hook in hooks:
        hook.remove()
    for name, value in result.items():
        print(f"{name}: perplexity {value['perplexity']:.3f}", flush=True)

    result["expert_load"] = expert_load(model, tokens)
    for layer, shares in enumerate(result["expert_load"]):
        print(f"layer {layer}: " + " ".join(f"{100 * share:.1f}%" for share in shares), flush=True)

    result["tasks"] = {}
    for path in sorted((options.folder / "eval").rglob("*.jsonl")):
        result["tasks"][path.stem] = score = accuracy(model, tokenizer, path)
        print(f"{path.stem}: {100 * score['accuracy']:.1f} % +- {100 * score['standard_error']:.1f} of {score['items']}, "
              f"chance {100 * score['chance']:.1f} %, {score['accuracy'] / score['chance']:.1f} times", flush=True)

    result["samples"] = []
    for prompt in STORY_PROMPTS + CHAT_PROMPTS:
        for temperature in (0.0, 0.8):
            text = sample(model, tokenizer, prompt, temperature)
            result["samples"].append({"prompt": prompt, "temperature": temperature, "text": text})
            print(f"--- {prompt!r} at {temperature}\n{text}", flush=True)
    (options.folder / "evaluation.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
