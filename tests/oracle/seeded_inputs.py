"""Initial weights and tokens of the fixtures: the oracle's own random numbers.

Only `random.Random.random()` is drawn from, whose stream Python guarantees, and weights are rounded
to multiples of 2^-8: they are the same on every machine, exact in float32, and small in a file.
"""

import math
import random

import torch

from model import is_norm, parameter_shapes

WEIGHT_GRID = 256.0


def _normals(generator, count):
    """Box-Muller."""
    return [
        math.sqrt(-2.0 * math.log(1.0 - generator.random()))
        * math.cos(2.0 * math.pi * generator.random())
        for _ in range(count)
    ]


def initial_weights(model, seed, std=0.15):
    """Matrices normal with `std` (large, so that attention is far from uniform), norms 1 with
    noise of std 0.1."""
    weights = {}
    for name, shape in parameter_shapes(model).items():
        generator = random.Random(f"{seed}/{name}")
        values = torch.tensor(_normals(generator, math.prod(shape)), dtype=torch.float64)
        values = 1.0 + 0.1 * values if is_norm(name) else std * values
        weights[name] = (torch.round(values * WEIGHT_GRID) / WEIGHT_GRID).reshape(shape)
    return weights


def token_batches(vocab_size, updates, sequences, length, seed):
    """(inputs, targets) int64 [updates, sequences, length], targets one position ahead.

    The next token is often twice the last plus one, so that there is something to learn; otherwise
    it is drawn with a preference for small ids, so that some rows of the embedding see no token in
    an update and others see many.
    """
    generator = random.Random(f"{seed}/tokens")
    batches = []
    for _ in range(updates * sequences):
        tokens = [int(vocab_size * generator.random())]
        for _ in range(length):
            if generator.random() < 0.6:
                tokens.append((2 * tokens[-1] + 1) % vocab_size)
            else:
                tokens.append(int(vocab_size * generator.random() ** 2))
        batches.append(tokens)
    tokens = torch.tensor(batches).reshape(updates, sequences, length + 1)
    return tokens[..., :-1].contiguous(), tokens[..., 1:].contiguous()
