"""Writes tests/golden/models/: tiny random Mixtral checkpoints and the logits `transformers` gives.

    pip install -r models/train/requirements.txt
    python tests/golden/make_models.py

Oracle: MixtralForCausalLM with weights widened to float32, eager attention and no cache, so that it
is the plainest reading of the model.  README.md beside this file describes the formats.
"""

import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import MixtralConfig, MixtralForCausalLM
from transformers import logging as transformers_logging

OUT = pathlib.Path(__file__).parent / "models"
PROMPT_LENGTHS = [1, 2, 7, 16, 17, 33, 65, 100, 130]   # either side of pages of 16, 32, 64 positions
GREEDY = 64
# Prompts with a closer call than this, between two tokens or two experts, are drawn again: rounding
# in another order of summation must not decide.
LEAST_LOGIT_MARGIN, LEAST_GATE_MARGIN = 5e-3, 1e-3
TRIES = 2000

COMMON = {
    "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "hidden_act": "silu",
    "attention_dropout": 0.0, "initializer_range": 0.02, "output_router_logits": False,
    "router_aux_loss_coef": 0.001, "router_jitter_noise": 0.0, "use_cache": True,
    "bos_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 256,
}
SHAPES = {
    # Four query heads on two key-value heads, untied, one tensor per expert matrix.
    "base": dict(dtype=torch.float32, layout="v4", vocab_size=192, hidden_size=32, intermediate_size=40,
                 num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, num_local_experts=8,
                 num_experts_per_tok=2, rms_norm_eps=1e-5, rope_theta=1e4, sliding_window=None,
                 tie_word_embeddings=False),
    # Nothing is a multiple of 16 or even of 8; heads are wider than hidden / heads; tied.
    "odd": dict(dtype=torch.float32, layout="v4", vocab_size=131, hidden_size=36, intermediate_size=50,
                num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, head_dim=14,
                num_local_experts=5, num_experts_per_tok=3, rms_norm_eps=1e-6, rope_theta=5e5,
                sliding_window=None, tie_word_embeddings=True),
    # As many key-value heads as heads; each position sees itself and the seven before it.
    "window": dict(dtype=torch.bfloat16, layout="v4", vocab_size=160, hidden_size=32, intermediate_size=48,
                   num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=4, num_local_experts=4,
                   num_experts_per_tok=2, rms_norm_eps=1e-5, rope_theta=1e4, sliding_window=8,
                   tie_word_embeddings=False),
    # As transformers 5 saves: fused experts, rope_parameters, several shards with an index.
    "v5": dict(dtype=torch.float16, layout="v5", vocab_size=200, hidden_size=48, intermediate_size=40,
               num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, num_local_experts=8,
               num_experts_per_tok=2, rms_norm_eps=1e-5, rope_theta=1e6, sliding_window=None,
               tie_word_embeddings=False),
}


def random_tensors(shape: dict, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """v4 names.  Scales keep every part audible: attention, each expert and the gate all matter."""
    hidden, ffn, heads = shape["hidden_size"], shape["intermediate_size"], shape["num_attention_heads"]
    head_dim = shape.get("head_dim", hidden // heads)

    def matrix(rows, columns, gain):
        return torch.randn(rows, columns, generator=generator) * gain / columns ** 0.5

    def norm():
        return 1 + 0.2 * torch.randn(hidden, generator=generator)
    tensors = {"model.embed_tokens.weight": torch.randn(shape["vocab_size"], hidden, generator=generator),
               "model.norm.weight": norm()}
    if not shape["tie_word_embeddings"]:
        tensors["lm_head.weight"] = matrix(shape["vocab_size"], hidden, 3.0)
    else:
        tensors["model.embed_tokens.weight"] *= 0.5
    for layer in range(shape["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        tensors[at + "input_layernorm.weight"] = norm()
        tensors[at + "post_attention_layernorm.weight"] = norm()
        keys = shape["num_key_value_heads"] * head_dim
        for letter, rows, gain in (("q", heads * head_dim, 2.0), ("k", keys, 2.0), ("v", keys, 1.5)):
            tensors[at + f"self_attn.{letter}_proj.weight"] = matrix(rows, hidden, gain)
        tensors[at + "self_attn.o_proj.weight"] = matrix(hidden, heads * head_dim, 1.5)
        tensors[at + "block_sparse_moe.gate.weight"] = matrix(shape["num_local_experts"], hidden, 1.5)
        for expert in range(shape["num_local_experts"]):
            inside = at + f"block_sparse_moe.experts.{expert}."
            tensors[inside + "w1.weight"] = matrix(ffn, hidden, 1.5)
            tensors[inside + "w3.weight"] = matrix(ffn, hidden, 1.5)
            tensors[inside + "w2.weight"] = matrix(hidden, ffn, 1.5)
    return {name: tensor.to(shape["dtype"]) for name, tensor in tensors.items()}


def write_v4(folder: pathlib.Path, shape: dict, tensors: dict) -> None:
    keys = {key: value for key, value in shape.items() if key not in ("dtype", "layout")}
    config = {**COMMON, **keys, "torch_dtype": str(shape["dtype"]).removeprefix("torch."),
              "transformers_version": "4.57.0"}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_v5(folder: pathlib.Path, shape: dict, tensors: dict) -> None:
    """Lets transformers 5 save it, in its own layout."""
    write_v4(folder, shape, tensors)
    model = MixtralForCausalLM.from_pretrained(folder, dtype=shape["dtype"])
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, save_original_format=False, max_shard_size="100KB")


def load_reference(folder: pathlib.Path) -> MixtralForCausalLM:
    return MixtralForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                              experts_implementation="eager").eval()


@torch.no_grad()
def forward(model, tokens: list[int]) -> tuple[torch.Tensor, float]:
    """(logits [positions, vocab], the closest call between the last expert chosen and the next)."""
    output = model(torch.tensor([tokens]), use_cache=False, output_router_logits=True)
    chosen = model.config.num_experts_per_tok
    margin = float("inf")
    for router in output.router_logits:
        ranked = router.sort(dim=-1, descending=True).values
        margin = min(margin, (ranked[:, chosen - 1] - ranked[:, chosen]).min().item())
    return output.logits[0], margin


def greedy(model, prompt: list[int], count: int) -> tuple[list[int], float, float]:
    """(continuation, least margin between the two best tokens, least gate margin); no EOS rule."""
    tokens, logit_margin, gate_margin = list(prompt), float("inf"), float("inf")
    for _ in range(count):
        logits, gate = forward(model, tokens)
        best = logits[-1].topk(2)
        logit_margin = min(logit_margin, (best.values[0] - best.values[1]).item())
        gate_margin = min(gate_margin, gate)
        tokens.append(best.indices[0].item())
    return tokens[len(prompt):], logit_margin, gate_margin


def golden(folder: pathlib.Path, generator: torch.Generator) -> None:
    model = load_reference(folder)
    prompts, logits = [], {}
    for length in PROMPT_LENGTHS:
        for _ in range(TRIES):
            prompt = torch.randint(3, model.config.vocab_size, (length,), generator=generator).tolist()
            reference, gate = forward(model, prompt)
            if gate < LEAST_GATE_MARGIN:
                continue
            continuation, logit_margin, gate_margin = greedy(model, prompt, GREEDY)
            if logit_margin >= LEAST_LOGIT_MARGIN and gate_margin >= LEAST_GATE_MARGIN:
                break
        else:
            raise RuntimeError(f"{folder.name}: no clear prompt of {length} tokens in {TRIES} tries")
        logits[f"logits.{len(prompts)}"] = reference.contiguous()
        prompts.append({"tokens": prompt, "greedy": continuation, "least_logit_margin": round(logit_margin, 6),
                        "least_gate_margin": round(gate_margin, 6)})
    (folder / "golden.json").write_text(json.dumps({"prompts": prompts}, separators=(",", ":")) + "\n")
    save_file(logits, folder / "golden.safetensors")
    spread = torch.cat(list(logits.values())).std().item()
    distinct = [len(set(p["greedy"])) for p in prompts]
    print(f"{folder.name}: logit spread {spread:.2f}, distinct greedy tokens {distinct}, least margins "
          f"{min(p['least_logit_margin'] for p in prompts)} and {min(p['least_gate_margin'] for p in prompts)}")


def main():
    transformers_logging.set_verbosity_error()
    torch.set_num_threads(1)
    for seed, (name, shape) in enumerate(SHAPES.items()):
        generator = torch.Generator().manual_seed(1000 + seed)
        folder = OUT / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write = write_v5 if shape["layout"] == "v5" else write_v4
        write(folder, shape, random_tensors(shape, generator))
        golden(folder, generator)


if __name__ == "__main__":
    main()
