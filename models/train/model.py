"""A compact Mixtral for training: the maths of transformers' MixtralForCausalLM, and its names on export.

Tokens are sorted by expert, so an expert costs one matrix pair over its own rows.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn


@dataclasses.dataclass
class Shape:
    vocab: int = 2048
    hidden: int = 192
    ffn: int = 320
    layers: int = 6
    heads: int = 6
    kv_heads: int = 3
    head_dim: int = 32
    experts: int = 8
    top_k: int = 2
    context: int = 512
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5


class Norm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        return F.rms_norm(x, x.shape[-1:], self.weight, self.eps)


def rotary_table(shape: Shape, device) -> tuple[torch.Tensor, torch.Tensor]:
    half = torch.arange(0, shape.head_dim, 2, device=device, dtype=torch.float32) / shape.head_dim
    angle = torch.arange(shape.context, device=device).float()[:, None] / shape.rope_theta ** half[None]
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos(), angle.sin()


def rotate(x, table):
    cos, sin = (part[:x.shape[-2]] for part in table)
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-high, low], dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.qkv = nn.Linear(shape.hidden, (shape.heads + 2 * shape.kv_heads) * shape.head_dim, bias=False)
        self.out = nn.Linear(shape.heads * shape.head_dim, shape.hidden, bias=False)

    def forward(self, x, table):
        s, (rows, length, _) = self.shape, x.shape
        q, k, v = (self.qkv(x).view(rows, length, -1, s.head_dim).transpose(1, 2)
                   .split([s.heads, s.kv_heads, s.kv_heads], dim=1))
        y = F.scaled_dot_product_attention(rotate(q, table), rotate(k, table), v, is_causal=True,
                                           enable_gqa=True)
        return self.out(y.transpose(1, 2).reshape(rows, length, -1))


class Experts(nn.Module):
    """Gate and experts of one layer.  forward: x [rows, length, hidden] -> (same, load-balancing loss)."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.gate = nn.Linear(shape.hidden, shape.experts, bias=False)
        self.gate_up = nn.Parameter(torch.empty(shape.experts, 2 * shape.ffn, shape.hidden))
        self.down = nn.Parameter(torch.empty(shape.experts, shape.hidden, shape.ffn))

    def forward(self, x):
        s, (rows, length, hidden) = self.shape, x.shape
        x = x.reshape(-1, hidden)
        probability = F.softmax(self.gate(x).float(), dim=-1)
        weight, chosen = probability.topk(s.top_k, dim=-1)
        weight = weight / weight.sum(dim=-1, keepdim=True)

        order = chosen.flatten().argsort(stable=True)
        counts = torch.bincount(chosen.flatten(), minlength=s.experts).tolist()
        sorted_rows = x[order // s.top_k].split(counts)
        replies = []
        for expert_rows, gate_up, down in zip(sorted_rows, self.gate_up.unbind(), self.down.unbind()):
            gate, up = (expert_rows @ gate_up.T).chunk(2, dim=-1)
            replies.append((F.silu(gate) * up) @ down.T)
        place = torch.empty_like(order)
        place[order] = torch.arange(order.numel(), device=order.device)
        per_choice = torch.cat(replies)[place].view(-1, s.top_k, hidden)
        y = (per_choice * weight.to(x.dtype)[..., None]).sum(dim=1)

        # Balance within every row: a row is of one kind (prose, tasks), so no kind starves an expert.
        with torch.no_grad():
            load = F.one_hot(chosen, s.experts).sum(1).view(rows, length, -1).float().mean(1) / s.top_k
        balance = s.experts * (load * probability.view(rows, length, -1).mean(1)).sum(-1).mean()
        return y.view(rows, length, hidden), balance


class Block(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.attention_norm, self.attention = Norm(shape.hidden, shape.norm_eps), Attention(shape)
        self.experts_norm, self.experts = Norm(shape.hidden, shape.norm_eps), Experts(shape)

    def forward(self, x, table):
        x = x + self.attention(self.attention_norm(x), table)
        y, balance = self.experts(self.experts_norm(x))
        return x + y, balance


class Mixtral(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.hidden)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.hidden, shape.norm_eps)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                into_residual = name.endswith(("attention.out.weight", "experts.down"))
                nn.init.normal_(parameter, std=0.02 / ((2 * shape.layers) ** 0.5 if into_residual else 1))

    def forward(self, tokens):
        """tokens [rows, length] -> (logits [rows, length, vocab], mean balance loss, 1 = even)."""
        x = self.embedding(tokens)
        table = rotary_table(self.shape, tokens.device)
        balance = 0.0
        for block in self.blocks:
            x, layer_balance = block(x, table)
            balance = balance + layer_balance / self.shape.layers
        return F.linear(self.norm(x), self.embedding.weight), balance


def huggingface_config(shape: Shape) -> dict:
    return {
        "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "torch_dtype": "float16",
        "vocab_size": shape.vocab, "hidden_size": shape.hidden, "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim,
        "num_local_experts": shape.experts, "num_experts_per_tok": shape.top_k,
        "max_position_embeddings": shape.context, "rope_theta": shape.rope_theta,
        "rms_norm_eps": shape.norm_eps, "hidden_act": "silu", "sliding_window": None,
        "tie_word_embeddings": True, "attention_dropout": 0.0, "initializer_range": 0.02,
        "router_aux_loss_coef": 0.02, "router_jitter_noise": 0.0, "output_router_logits": False,
        "use_cache": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }


def huggingface_tensors(model: Mixtral, dtype=torch.float16) -> dict[str, torch.Tensor]:
    """Tensors under the names that transformers writes (v4 layout: one tensor per expert matrix)."""
    shape, tensors = model.shape, {"model.embed_tokens.weight": model.embedding.weight,
                                   "model.norm.weight": model.norm.weight}
    widths = [shape.heads * shape.head_dim] + 2 * [shape.kv_heads * shape.head_dim]
    for index, block in enumerate(model.blocks):
        at = f"model.layers.{index}."
        tensors[at + "input_layernorm.weight"] = block.attention_norm.weight
        tensors[at + "post_attention_layernorm.weight"] = block.experts_norm.weight
        for letter, part in zip("qkv", block.attention.qkv.weight.split(widths)):
            tensors[at + f"self_attn.{letter}_proj.weight"] = part
        tensors[at + "self_attn.o_proj.weight"] = block.attention.out.weight
        tensors[at + "block_sparse_moe.gate.weight"] = block.experts.gate.weight
        for expert in range(shape.experts):
            inside = at + f"block_sparse_moe.experts.{expert}."
            gate, up = block.experts.gate_up[expert].chunk(2)
            tensors[inside + "w1.weight"], tensors[inside + "w3.weight"] = gate, up
            tensors[inside + "w2.weight"] = block.experts.down[expert]
    return {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
