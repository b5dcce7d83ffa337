"""Writes tests/golden/demo_greedy.json and demo_perplexity.json: what `transformers` makes of models/demo.

    pip install -r models/train/requirements.txt
    python tests/golden/make_demo.py

Run it again whenever models/demo changes.  README.md beside this file describes the formats.
"""

import hashlib
import json
import pathlib
import sys

import torch
from transformers import logging as transformers_logging

HERE = pathlib.Path(__file__).parent
MODEL = HERE.parent.parent / "models" / "demo"
sys.path.insert(0, str(HERE.parent.parent / "models" / "train"))
from evaluate import load, perplexity  # noqa: E402  (the path must be set first)

GREEDY = 64
OPEN_PROMPTS = 20             # whose continuation does not end within 64 tokens
LEAST_LOGIT_MARGIN = 0.02     # twice what rows in f16 on the wire may change a logit
LEAST_GATE_MARGIN = 2e-4
SCORED_TOKENS = 16384

CANDIDATES = [
    "Once upon a time there was a", "Once upon a time there was a little fox named Tom",
    "Long ago, in a house beside the mill,", "In a small village near the harbour lived", "There was once a",
    "One cold morning the snow lay deep on the ground,", "The captain looked out over the sea, and",
    "The whale", "The ship was", "Captain Ahab stood", "It was a fine morning, and the young lady", "Mr. Darcy",
    "Elizabeth was", "Emma could not", "She had been", "He had not", "It is a truth", "The two sisters", "Her father was",
    "They were all", "My dear Miss", "I have no doubt", "\"What do you mean?\" said", "\"I am very sorry,\" said Anne,",
    "The evening was", "After dinner,", "When the letter came,", "The house was", "There was nothing", "At last the",
    "He was a man", "In the morning", "The old sailor", "All hands", "Nothing could be more", "As soon as they", "Upon the whole,",
    "A few days after", "She was very much", "Mrs. Bennet", "The sea was", "But when he", "If you will", "You must not",
    "User: Tell me a story about a bear.\nAssistant:", "User: Tell me a story about a king.\nAssistant:",
    "User: Tell me a story about an owl.\nAssistant:", "User: Tell me a story about a sailor.\nAssistant:",
    "User: Tell me a story about a fox.\nAssistant:", "User: Tell me a story about a hen.\nAssistant:",
    "Chapter", "The", "A", "1", "I", "And", "\n\n", " ", "Caf\u00e9 \u4e2d\u6587", "The gentleman, who", "For some minutes",
    "\"Yes,\" said he,", "\"No,\" replied", "Miss Crawford", "Sir Thomas", "Marianne", "Colonel Brandon", "Mr. Knightley", "Starbuck",
    "Queequeg", "The carriage", "A letter from", "His manners", "The next day", "Without a word", "It was impossible",
]
SHORT_PROMPTS = [
    "User: Who are you?\nAssistant:", "User: Hello!\nAssistant:", "Question: What is 12 + 7?\nAnswer:",
    "Question: Sort 7 3 9 1 4.\nAnswer:", "User: Sort 8 2 6 0 5.\nAssistant:",
    "Question: Which is the largest of 31, 7, 64, 22, 58, 12?\nAnswer:",
    "Question: Anna has the key. Ben has the drum. Kate has the bell. Sam has the rope. Leo has the cup. "
    "What does Kate have?\nAnswer:",
    "Question: Anna went to the barn. Ben ran to the mill. Leo walked to the church. Anna went to the school. "
    "Ben went to the garden. Where is Anna?\nAnswer:",
    "Question: Which of these is an animal: spoon, cow, coat, seven, boat, red?\nAnswer:",
]


@torch.no_grad()
def greedy(model, tokens: list[int]) -> tuple[list[int], float, float]:
    """(continuation, ended by EOS and then including it; least margin of two tokens; of two experts)."""
    begin, chosen = len(tokens), model.config.num_experts_per_tok
    tokens, logit_margin, gate_margin = list(tokens), float("inf"), float("inf")
    while len(tokens) < begin + GREEDY and tokens[-1] != model.config.eos_token_id:
        output = model(torch.tensor([tokens]), use_cache=False, output_router_logits=True)
        best = output.logits[0, -1].topk(2)
        logit_margin = min(logit_margin, (best.values[0] - best.values[1]).item())
        for router in output.router_logits:
            ranked = router.sort(dim=-1, descending=True).values
            gate_margin = min(gate_margin, (ranked[:, chosen - 1] - ranked[:, chosen]).min().item())
        tokens.append(best.indices[0].item())
    return tokens[begin:], logit_margin, gate_margin


def main():
    transformers_logging.set_verbosity_error()
    torch.set_num_threads(1)
    model, tokenizer = load(MODEL)
    identity = hashlib.sha256((MODEL / "model.safetensors").read_bytes()).hexdigest()

    open_rows, short_rows = [], []
    for prompt in CANDIDATES + SHORT_PROMPTS:
        tokens = tokenizer.encode(prompt).ids
        continuation, logit_margin, gate_margin = greedy(model, tokens)
        stopped = continuation[-1] == model.config.eos_token_id
        row = {"prompt": prompt, "tokens": tokens, "greedy": continuation, "text": tokenizer.decode(continuation),
               "stopped": stopped, "least_logit_margin": round(logit_margin, 5),
               "least_gate_margin": round(gate_margin, 6)}
        if prompt in SHORT_PROMPTS:
            short_rows.append(row)
        elif not stopped and gate_margin >= LEAST_GATE_MARGIN:
            open_rows.append(row)
    open_rows.sort(key=lambda row: -row["least_logit_margin"])
    open_rows = open_rows[:OPEN_PROMPTS]
    if len(open_rows) < OPEN_PROMPTS or open_rows[-1]["least_logit_margin"] < LEAST_LOGIT_MARGIN:
        raise RuntimeError("too few clear prompts: " + str([r["least_logit_margin"] for r in open_rows]))
    short_rows = [row for row in short_rows if row["least_logit_margin"] >= LEAST_LOGIT_MARGIN]
    (HERE / "demo_greedy.json").write_text(
        json.dumps({"model_sha256": identity, "prompts": open_rows + short_rows}, indent=1) + "\n")
    print(f"{len(open_rows)} open prompts, margins {open_rows[-1]['least_logit_margin']} to "
          f"{open_rows[0]['least_logit_margin']}; {len(short_rows)} short ones")

    text = (MODEL / "eval" / "heldout.txt").read_text()
    tokens = tokenizer.encode(text).ids[:SCORED_TOKENS]
    result = {"model_sha256": identity, "text": "models/demo/eval/heldout.txt", "tokens": SCORED_TOKENS,
              "first_tokens": tokens[:16], "last_tokens": tokens[-16:],
              "tokens_sha256": hashlib.sha256(",".join(map(str, tokens)).encode()).hexdigest(),
              "window": 512, "overlap": 0, **perplexity(model, tokens)}
    (HERE / "demo_perplexity.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"perplexity {result['perplexity']:.4f} over {result['tokens_scored']} tokens")


if __name__ == "__main__":
    main()
