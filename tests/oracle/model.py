"""The decoder and its five residual arrangements, in float64, with autograd for the gradients.

Source: Chen et al., "Progressive Residual Warmup for Language Model Pretraining",
arXiv:2603.05369, section 3 (arrangements) and section 4 (model: a Llama decoder).

Nothing here is fast. Layer numbers l count from 1 at the embedding, as in the paper; names count
from 0, as Hugging Face's do.

Legend: B sequences, T positions, C hidden size, H heads, D = C / H, F intermediate, V vocabulary.
"""

import math
from dataclasses import dataclass

import torch

ARRANGEMENTS = ("pre", "post", "sandwich", "deepnorm", "lns")

# Names of a layer's norms. The value says where each one stands.
NORMS = {
    "pre": {"attention_input": "input_layernorm", "mlp_input": "post_attention_layernorm"},
    "lns": {"attention_input": "input_layernorm", "mlp_input": "post_attention_layernorm"},
    "post": {"attention_add": "post_attention_layernorm", "mlp_add": "post_feedforward_layernorm"},
    "deepnorm": {
        "attention_add": "post_attention_layernorm",
        "mlp_add": "post_feedforward_layernorm",
    },
    "sandwich": {
        "attention_input": "input_layernorm",
        "attention_output": "post_attention_layernorm",
        "mlp_input": "pre_feedforward_layernorm",
        "mlp_output": "post_feedforward_layernorm",
    },
}


@dataclass(frozen=True)
class Model:
    """Sizes and the choices that change the mathematics."""

    arrangement: str
    num_layers: int = 4
    hidden_size: int = 32
    num_heads: int = 2
    intermediate_size: int = 28
    vocab_size: int = 61
    norm_eps: float = 1e-5
    rope_base: float = 10000.0

    @property
    def head_dim(self):
        return self.hidden_size // self.num_heads


def parameter_shapes(model):
    """{name: shape} of every parameter: embedding, layers, final norm, head; matrices [out, in]."""
    c, f, v = model.hidden_size, model.intermediate_size, model.vocab_size
    shapes = {"model.embed_tokens.weight": (v, c)}
    for index in range(model.num_layers):
        layer = f"model.layers.{index}"
        for norm in NORMS[model.arrangement].values():
            shapes[f"{layer}.{norm}.weight"] = (c,)
        for projection in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes[f"{layer}.self_attn.{projection}.weight"] = (c, c)
        shapes[f"{layer}.mlp.gate_proj.weight"] = (f, c)
        shapes[f"{layer}.mlp.up_proj.weight"] = (f, c)
        shapes[f"{layer}.mlp.down_proj.weight"] = (c, f)
    shapes["model.norm.weight"] = (c,)
    shapes["lm_head.weight"] = (v, c)
    return shapes


def is_norm(name):
    return name.endswith("norm.weight")


def rms_norm(x, weight, eps):
    """Zhang and Sennrich 2019, eq. 4, with eps inside the root: x / sqrt(mean(x^2) + eps) * w."""
    return x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + eps) * weight


def rotate(x, base):
    """Rotary embedding (Su et al. 2021, eq. 34) of x [B,H,T,D], half-split pairs.

    Channels (i, i + D/2) are the real and imaginary part of a number that turns by
    position * base^(-2i/D).
    """
    positions, half = x.shape[2], x.shape[3] // 2
    frequency = torch.tensor([base ** (-2.0 * i / (2 * half)) for i in range(half)], dtype=x.dtype)
    angle = torch.arange(positions, dtype=x.dtype)[:, None] * frequency[None, :]  # [T, D/2]
    real, imaginary = x[..., :half], x[..., half:]
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.cat((real * cos - imaginary * sin, real * sin + imaginary * cos), dim=-1)


def attention(model, weights, layer, x):
    """Causal multi-head attention, softmax(q k^T / sqrt(D)) v W_o^T (Vaswani et al. 2017, eq. 1).

    x [B,T,C] -> [B,T,C]
    """
    batch, length, _ = x.shape

    def heads(projection):  # [B,T,C] -> [B,H,T,D]
        y = x @ weights[f"{layer}.self_attn.{projection}.weight"].T
        return y.reshape(batch, length, model.num_heads, model.head_dim).transpose(1, 2)

    q = rotate(heads("q_proj"), model.rope_base)
    k = rotate(heads("k_proj"), model.rope_base)
    v = heads("v_proj")
    scores = q @ k.transpose(2, 3) / math.sqrt(model.head_dim)  # [B,H,T,T]
    future = torch.ones(length, length, dtype=torch.bool).triu(diagonal=1)
    scores = scores.masked_fill(future, -math.inf)
    mixed = torch.softmax(scores, dim=-1) @ v
    mixed = mixed.transpose(1, 2).reshape(batch, length, model.hidden_size)
    return mixed @ weights[f"{layer}.self_attn.o_proj.weight"].T


def swiglu_mlp(model, weights, layer, x):
    """Shazeer 2020, eq. 6 without biases: (silu(x W_gate^T) * (x W_up^T)) W_down^T."""
    gate = x @ weights[f"{layer}.mlp.gate_proj.weight"].T
    up = x @ weights[f"{layer}.mlp.up_proj.weight"].T
    silu = gate * torch.sigmoid(gate)
    return (silu * up) @ weights[f"{layer}.mlp.down_proj.weight"].T


def residual_branch(model, weights, index, place, branch, x, alpha):
    """One sub-layer with its residual add (paper, section 3.1; the column "with ProRes").

    place: "attention" or "mlp"; branch: x -> F(x); index: layer from 0; alpha: a(l, t).
    """
    layer_number = index + 1  # the paper's l

    def norm(where, y):
        name = NORMS[model.arrangement][f"{place}_{where}"]
        return rms_norm(y, weights[f"model.layers.{index}.{name}.weight"], model.norm_eps)

    if model.arrangement == "pre":
        return x + alpha * branch(norm("input", x))
    if model.arrangement == "lns":
        return x + alpha * branch(norm("input", x) / math.sqrt(layer_number))
    if model.arrangement == "sandwich":
        return x + alpha * norm("output", branch(norm("input", x)))
    if model.arrangement == "post":
        return norm("add", x + alpha * branch(x))
    if model.arrangement == "deepnorm":
        a = (2.0 * model.num_layers) ** 0.25  # Wang et al. 2022, table 1, decoder-only
        return norm("add", a * x + alpha * branch(x))
    raise ValueError(f"arrangement {model.arrangement!r} is none of {ARRANGEMENTS}")


def forward(model, weights, tokens, alphas):
    """tokens [B,T] -> (logits [B,T,V], residual stream behind each layer: L of [B,T,C])."""
    x = weights["model.embed_tokens.weight"][tokens]
    stream = []
    for index in range(model.num_layers):
        layer = f"model.layers.{index}"
        x = residual_branch(
            model, weights, index, "attention",
            lambda h: attention(model, weights, layer, h), x, alphas[index],
        )
        x = residual_branch(
            model, weights, index, "mlp",
            lambda h: swiglu_mlp(model, weights, layer, h), x, alphas[index],
        )
        stream.append(x)
    x = rms_norm(x, weights["model.norm.weight"], model.norm_eps)
    return x @ weights["lm_head.weight"].T, stream


def token_losses(logits, targets):
    """-log softmax(logits)[target], [B,T]."""
    log_probabilities = logits - torch.logsumexp(logits, dim=-1, keepdim=True)
    return -log_probabilities.gather(-1, targets[..., None])[..., 0]


def loss_and_gradients(model, weights, inputs, targets, alphas, micro_batch_size):
    """One global batch in micro-batches, gradients added in micro-batch order.

    inputs, targets [G,T]. Returns a dict: loss (mean over all G T target tokens), token_losses
    [G,T], logits [G,T,V], stream [L][G,T,C], gradients {name: tensor}.
    """
    leaves = {name: w.detach().clone().requires_grad_(True) for name, w in weights.items()}
    num_targets = targets.numel()
    losses, logits, stream = [], [], []
    for begin in range(0, inputs.shape[0], micro_batch_size):
        part = slice(begin, begin + micro_batch_size)
        part_logits, part_stream = forward(model, leaves, inputs[part], alphas)
        part_losses = token_losses(part_logits, targets[part])
        (part_losses.sum() / num_targets).backward()  # adds to each leaf's .grad
        losses.append(part_losses.detach())
        logits.append(part_logits.detach())
        stream.append([x.detach() for x in part_stream])
    losses = torch.cat(losses)
    return {
        "loss": losses.sum() / num_targets,
        "token_losses": losses,
        "logits": torch.cat(logits),
        "stream": [torch.cat(parts) for parts in zip(*stream)],
        "gradients": {name: leaf.grad for name, leaf in leaves.items()},
    }
