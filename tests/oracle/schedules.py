"""Residual gates alpha(l, t) and learning-rate curves, as formulas.

Gates: Chen et al., arXiv:2603.05369, Table 5, with clip(x) = min(max(x, 0), 1). l = 1..L counts
from the embedding, t is the number of completed updates, T the warm-up length of the first layer.
"""

import math


def clip(x):
    return min(max(x, 0.0), 1.0)


def _stagewise(floor):
    """clip((t - T(l-1)) / T) (1 - floor) + floor: layer after layer, each over T updates."""

    def gate(T, L, l, t):
        lowest = floor(L, l)
        return clip((t - T * (l - 1)) / T) * (1.0 - lowest) + lowest

    return gate


GATES = {
    "off": lambda T, L, l, t: 1.0,
    "linear": lambda T, L, l, t: min(t / (T * l), 1.0),
    "linear-sqrt": lambda T, L, l, t: min(t / (T * l), 1.0) ** 0.5,
    "linear-square": lambda T, L, l, t: min(t / (T * l), 1.0) ** 2,
    "equal": lambda T, L, l, t: min(t / T, 1.0),
    "reverse": lambda T, L, l, t: min(t / (T * (L - l + 1)), 1.0),
    "stagewise-0": _stagewise(lambda L, l: 0.0),
    "stagewise-L": _stagewise(lambda L, l: 1.0 / L),
    "stagewise-sqrt-L": _stagewise(lambda L, l: 1.0 / math.sqrt(L)),
    "stagewise-sqrt-l": _stagewise(lambda L, l: 1.0 / math.sqrt(l)),
    "fix-L": lambda T, L, l, t: 1.0 / L,
    "fix-sqrt-L": lambda T, L, l, t: 1.0 / math.sqrt(L),
    "fix-sqrt-l": lambda T, L, l, t: 1.0 / math.sqrt(l),
}


def residual_alpha(schedule, T, L, l, t):
    """alpha(l, t) of Table 5."""
    return GATES[schedule](T, L, l, t)


def residual_alphas(schedule, T, L, t):
    """The gates of layers 1..L."""
    return [residual_alpha(schedule, T, L, l, t) for l in range(1, L + 1)]


def learning_rate(kind, k, *, peak, updates, warmup, decay_fraction, min_lr_ratio):
    """Learning rate of update number k, counted from 0 (the very first of a warm-up is 0).

    Linear from 0 over `warmup` updates, then
      constant  peak for good;
      wsd       peak, then a straight line to min_lr_ratio * peak over the last
                decay_fraction * updates updates (paper, section 4.1);
      linear    a straight line to min_lr_ratio * peak at `updates`;
      cosine    half a cosine to min_lr_ratio * peak at `updates`.
    """
    if k < warmup:
        return peak * k / warmup
    if kind == "constant":
        return peak
    if kind == "wsd":
        start = updates - decay_fraction * updates
        if k < start:
            return peak
    else:
        start = warmup
    progress = (k - start) / (updates - start)
    falling = 0.5 * (1.0 + math.cos(math.pi * progress)) if kind == "cosine" else 1.0 - progress
    return peak * (min_lr_ratio + (1.0 - min_lr_ratio) * falling)
