"""Whole updates of the presets' models in PyTorch: what benchmarks/gpu.py compares with.

The same model (Pre-LN Llama: RMSNorm, rotary, causal attention, SwiGLU, untied head), the same optimizer (AdamW,
gradients clipped to norm 1), random tokens; eager with fused attention, and torch.compile. Where a micro-batch does not
fit, twice as many of half the size. Prints one line of JSON per case. Nothing of Sluice is imported.

In bf16 the residual stream is in bf16 as well, as Sluice has it: autocast alone leaves it in fp32, for an embedding is
no product, and everything between the products then moves twice the bytes.
"""

import argparse
import gc
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

# As src/config/presets.cpp: layers, hidden, MLP, heads.
PRESETS = {
    "llama-71m": (12, 512, 1368, 8), "llama-71m-48": (48, 512, 1368, 8),
    "llama-71m-120": (120, 512, 1368, 8), "llama-130m": (12, 768, 2048, 12),
    "llama-350m": (24, 1024, 2736, 16), "llama-1.3b": (24, 2048, 5632, 32),
    "llama-7b": (32, 4096, 11008, 32), "tiny": (2, 64, 48, 1),
}


class RmsNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        wide = x.float()
        scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)
        return scaled.to(x.dtype) * self.weight.to(x.dtype)


def rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Layer(nn.Module):
    def __init__(self, hidden, intermediate, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = RmsNorm(hidden), RmsNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.out = nn.Linear(hidden, hidden, bias=False)
        self.gate_up = nn.Linear(hidden, 2 * intermediate, bias=False)
        self.down = nn.Linear(intermediate, hidden, bias=False)

    def forward(self, x, cos, sin):
        batch, positions, hidden = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, positions, 3, self.heads, hidden // self.heads)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, positions, hidden))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * up)


class Model(nn.Module):
    def __init__(self, layers, hidden, intermediate, heads, vocabulary, positions, residual):
        super().__init__()
        self.residual = residual # its type
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.layers = nn.ModuleList(Layer(hidden, intermediate, heads) for _ in range(layers))
        self.norm = RmsNorm(hidden)
        self.head = nn.Linear(hidden, vocabulary, bias=False)
        half = hidden // heads // 2
        angles = torch.outer(torch.arange(positions).float(),
                             10000.0 ** (-torch.arange(half).float() / half))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens, targets):
        x = self.embedding(tokens).to(self.residual)
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        for layer in self.layers:
            x = layer(x, cos, sin)
        logits = self.head(self.norm(x))
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def run(arguments, case, compiled):
    vocabulary, positions = (257, 16) if case["preset"] == "tiny" else (32000, 1024)
    precision = case["precision"]
    with torch.device(arguments.device): # drawn there: billions of numbers take minutes elsewhere
        model = Model(*PRESETS[case["preset"]], vocabulary, positions,
                      torch.bfloat16 if "bf16" in precision else torch.float32)
    if precision == "pure-bf16":
        model = model.to(torch.bfloat16)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    step = torch.compile(model) if compiled else model
    fused = {"fused": True} if arguments.device == "cuda" else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1,
                                  **fused)
    # Master weights in fp32, products in bf16: what precision.compute = "bf16" does.
    mixed = torch.autocast(arguments.device, torch.bfloat16, enabled=precision == "bf16")
    size, seconds = case["micro_batch_size"], []
    num_microbatches = case["microbatches"]
    for update in range(arguments.repeat + 2):
        wait(arguments.device)
        begun = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        for _ in range(num_microbatches):
            tokens = torch.randint(vocabulary, (size, positions + 1), device=arguments.device)
            with mixed:
                loss = step(tokens[:, :-1], tokens[:, 1:]) / num_microbatches
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        wait(arguments.device)
        if update >= 2: # warm, and compiled
            seconds.append(time.perf_counter() - begun)
    typical = statistics.median(seconds)
    return {**case, "mode": "compile" if compiled else "eager", "seconds": typical,
            "seconds_range": [min(seconds), max(seconds)],
            "tokens_per_second": num_microbatches * size * positions / typical,
            "torch": torch.__version__}


def run_in_memory(arguments, case, compiled):
    """With micro-batches half as large, and twice as many, until they fit."""
    mode = "compile" if compiled else "eager"
    while True:
        try:
            if compiled:
                torch._dynamo.reset() # or other sizes are compiled for all sizes, which is slower
            return run(arguments, case, compiled)
        except torch.cuda.OutOfMemoryError as error:
            result = {**case, "mode": mode, "failed": str(error).splitlines()[0]}
        except Exception as error: # of whatever kind the compiler's are
            return {**case, "mode": mode, "failed": (str(error).splitlines() or [repr(error)])[0]}
        if case["micro_batch_size"] == 1:
            return result
        gc.collect()
        torch.cuda.empty_cache()
        case = {**case, "micro_batch_size": case["micro_batch_size"] // 2,
                "microbatches": case["microbatches"] * 2}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", required=True,
                        help="PRESET:PRECISION:MICRO_BATCH_SIZE; precision fp32, tf32, bf16 or pure-bf16")
    parser.add_argument("--microbatches", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--eager-only", action="store_true", help="no torch.compile")
    arguments = parser.parse_args()
    if not hasattr(functional, "scaled_dot_product_attention"):
        parser.error(f"PyTorch {torch.__version__} has no fused attention: 2.0 or later is needed")
    for text in arguments.case:
        preset, precision, size = text.split(":")
        case = {"preset": preset, "precision": precision, "micro_batch_size": int(size),
                "microbatches": arguments.microbatches}
        for compiled in (False,) if arguments.eager_only else (False, True):
            result = run_in_memory(arguments, case, compiled)
            if "failed" not in result: # what had room is where compiling begins, which takes long
                case = {key: result[key] for key in case}
            gc.collect()
            if arguments.device == "cuda":
                torch.cuda.empty_cache()
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
