"""Trains the demo model: prose, short stories and scored tasks; writes a Hugging Face Mixtral folder.

    python models/train/train.py --out models/demo                       # 2 cores, about 70 minutes
    python models/train/train.py --out big --device cuda --hidden 768 --ffn 2048 --layers 12 \
        --heads 24 --kv-heads 8 --rows 64 --steps 20000                  # larger, on a GPU

Same seed, same text and same number of threads give the same tokens in the same order; sums of
floats still differ between machines.
"""

import argparse
import csv
import json
import math
import pathlib
import random
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import corpus
import tasks
from model import Mixtral, Shape, huggingface_config, huggingface_tensors

HERE = pathlib.Path(__file__).parent
SPECIALS = ["<pad>", "<s>", "</s>"]
BEGIN, END = 1, 2
ROW_KINDS = ["prose", "task", "story", "task", "prose", "task", "prose", "task"]   # in turn, for ever


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for field, default in vars(Shape()).items():
        parser.add_argument("--" + field.replace("_", "-"), type=type(default), default=default)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rows", type=int, default=4,
                        help="sequences of --context tokens a step; until the last quarter, twice as\n"
                             "many of half the length, where attention costs less")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--warmup", type=int, default=100)
    parser.add_argument("--balance", type=float, default=0.02, help="weight of the load-balancing loss")
    parser.add_argument("--decay", type=float, default=0.1, help="weight decay of the matrices")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--export-every", type=int, default=300)
    parser.add_argument("--cache", type=pathlib.Path, default=HERE / "cache")
    parser.add_argument("--resume", action="store_true", help="go on from the cache's last checkpoint")
    return parser.parse_args()


def train_tokenizer(texts: list[str], vocab: int) -> Tokenizer:
    """Byte-level BPE; every digit is a token of its own, so that sums can be learnt."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab, special_tokens=SPECIALS, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", BEGIN)])
    return tokenizer


class Rows:
    """Endless training rows of length + 1 tokens, each of one kind, with a weight per token."""

    def __init__(self, tokenizer: Tokenizer, chapters: list[str], seed: int):
        self.tokenizer, self.length, self.drawn = tokenizer, 0, 0
        self.random = random.Random(seed)
        pieces = []
        for encoding in tokenizer.encode_batch(chapters):
            pieces += [encoding.ids, [END]]
        self.prose = np.concatenate([np.array(p, dtype=np.int64) for p in pieces])
        self.starts = []
        self.pending = {"story": ([], []), "task": ([], [])}

    def next_row(self):
        kind = ROW_KINDS[self.drawn % len(ROW_KINDS)]
        self.drawn += 1
        return self.prose_row() if kind == "prose" else self.packed_row(kind)

    def prose_row(self):
        if not self.starts:      # a new pass: windows side by side from a new offset, in random order
            offset = self.random.randrange(self.length)
            self.starts = list(range(offset, len(self.prose) - self.length, self.length))
            self.random.shuffle(self.starts)
        start = self.starts.pop()
        return self.prose[start:start + self.length], np.ones(self.length, dtype=np.float32)

    def packed_row(self, kind: str):
        tokens, weights = self.pending[kind]
        make = tasks.story_document if kind == "story" else tasks.task_document
        while len(tokens) < self.length:
            encoded = [(self.tokenizer.encode(text, add_special_tokens=False).ids, weight)
                       for text, weight in make(self.random)]
            for ids, weight in [([BEGIN], 0.0), *encoded, ([END], 1.0)]:
                tokens += ids
                weights += [weight] * len(ids)
        row = np.array(tokens[:self.length]), np.array(weights[:self.length], dtype=np.float32)
        self.pending[kind] = (tokens[self.length:], weights[self.length:])
        return row

    def batch(self, rows: int, length: int, device):
        if self.length != length + 1:
            self.length, self.starts = length + 1, []
        drawn = [self.next_row() for _ in range(rows)]
        tokens = torch.from_numpy(np.stack([t for t, _ in drawn])).to(device)
        weights = torch.from_numpy(np.stack([w for _, w in drawn])).to(device)
        return tokens[:, :-1], tokens[:, 1:], weights[:, 1:]


def learning_rate(step: int, options) -> float:
    """Warm-up, a plateau to the middle, then straight down; the end can be moved until the middle."""
    up = (step + 1) / options.warmup
    down = (options.steps - step) / (options.steps / 2)
    return options.rate * min(1.0, up, down)


@torch.no_grad()
def prose_loss(model, tokens: np.ndarray, context: int, device, windows: int = 24) -> float:
    """Mean loss over windows spread evenly through the held-out prose."""
    starts = np.linspace(0, len(tokens) - context - 1, windows).astype(int)
    total = 0.0
    for start in starts:
        window = torch.from_numpy(tokens[start:start + context + 1])[None].to(device)
        logits, _ = model(window[:, :-1])
        total += F.cross_entropy(logits[0].float(), window[0, 1:]).item()
    return total / windows


@torch.no_grad()
def task_accuracy(model, tokenizer, held_out: list[str], device, count: int = 24) -> dict[str, float]:
    """Share of held-out items whose right choice has the highest summed log-probability."""
    result = {}
    for family in tasks.EVALUATION_FAMILIES:
        right = 0
        for item in tasks.evaluation_set(family, count, 99, held_out):
            prompt = tokenizer.encode(item["prompt"]).ids
            endings = [tokenizer.encode(c, add_special_tokens=False).ids for c in item["choices"]]
            width = max(len(prompt) + len(e) for e in endings)
            batch = torch.tensor([(prompt + e + [0] * width)[:width] for e in endings], device=device)
            scores = F.log_softmax(model(batch)[0].float(), dim=-1)
            sums = [sum(scores[i, len(prompt) - 1 + j, token].item() for j, token in enumerate(ending))
                    for i, ending in enumerate(endings)]
            right += max(range(len(sums)), key=sums.__getitem__) == item["answer"]
        result[family] = right / count
    return result


def export(model, tokenizer, out: pathlib.Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    config = huggingface_config(model.shape)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (out / "generation_config.json").write_text(json.dumps(
        {"bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": 0}, indent=2) + "\n")
    (out / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
         "pad_token": "<pad>", "add_bos_token": True, "clean_up_tokenization_spaces": False,
         "model_max_length": model.shape.context}, indent=2) + "\n")
    tokenizer.save(str(out / "tokenizer.json"))
    partial = out / "model.safetensors.partial"
    save_file(huggingface_tensors(model), str(partial), metadata={"format": "pt"})
    partial.replace(out / "model.safetensors")


def main():
    options = arguments()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    shape = Shape(**{field: getattr(options, field) for field in vars(Shape())})

    training, held_out = corpus.load(options.cache)
    checkpoint, saved_tokenizer = options.cache / "checkpoint.pt", options.cache / "tokenizer.json"
    resume = options.resume and checkpoint.exists()
    if resume:
        tokenizer = Tokenizer.from_file(str(saved_tokenizer))
    else:
        rng = random.Random(options.seed)
        examples = ["".join(text for text, _ in make(rng))
                    for make in (tasks.story_document, tasks.task_document) for _ in range(1500)]
        tokenizer = train_tokenizer(training + examples, shape.vocab)
        tokenizer.save(str(saved_tokenizer))
    rows = Rows(tokenizer, training, options.seed)
    held_out_tokens = np.array(tokenizer.encode("\n\n".join(held_out)).ids)
    print(f"prose {len(rows.prose)} tokens, held out {len(held_out_tokens)}", flush=True)

    (options.out / "eval" / "hard").mkdir(parents=True, exist_ok=True)
    (options.out / "eval" / "heldout.txt").write_text("\n\n".join(held_out) + "\n")
    for family in tasks.EVALUATION_FAMILIES:
        folder = options.out / "eval" / ("hard" if family in tasks.HARD_FAMILIES else "")
        with open(folder / f"{family}.jsonl", "w") as file:
            for item in tasks.evaluation_set(family, 200, 7, held_out):
                file.write(json.dumps(item) + "\n")

    model = Mixtral(shape).to(options.device)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": options.decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=options.rate, betas=(0.9, 0.95), fused=True)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)

    first = 0
    if resume:
        saved = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
        rows.random.seed(options.seed + first)     # other rows than the first part saw
    curve = open(options.out / "training.csv", "a" if first else "w", newline="")
    log = csv.writer(curve)
    if not first:
        log.writerow(["step", "tokens", "seconds", "rate", "loss", "balance", "heldout_perplexity",
                      *tasks.EVALUATION_FAMILIES])

    began, recent, recent_balance = time.monotonic(), [], []
    for step in range(first, options.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options)
        parts = 2 if step < options.steps * 3 // 4 else 1
        tokens, targets, weights = rows.batch(options.rows * parts, shape.context // parts, options.device)
        with torch.autocast(options.device, torch.bfloat16, enabled=options.device != "cpu"):
            logits, balance = model(tokens)
        losses = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
        loss = (losses * weights.flatten()).sum() / weights.sum()
        optimizer.zero_grad(set_to_none=True)
        (loss + options.balance * balance).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        recent.append(loss.item())
        recent_balance.append(balance.item())

        done = step + 1
        if done % 50 == 0 or done == options.steps:
            row = [done, done * options.rows * shape.context, round(time.monotonic() - began, 1),
                   f"{learning_rate(step, options):.2e}", f"{np.mean(recent):.4f}",
                   f"{np.mean(recent_balance):.4f}"]
            recent, recent_balance = [], []
            if done % options.export_every == 0 or done == options.steps:
                row.append(f"{math.exp(prose_loss(model, held_out_tokens, shape.context, options.device)):.2f}")
                accuracy = task_accuracy(model, tokenizer, held_out, options.device)
                row += [f"{value:.2f}" for value in accuracy.values()]
                export(model, tokenizer, options.out)
                partial = checkpoint.with_suffix(".partial")
                torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                            "step": done}, partial)
                partial.replace(checkpoint)
            log.writerow(row)
            curve.flush()
            print(*row, flush=True)


if __name__ == "__main__":
    main()
