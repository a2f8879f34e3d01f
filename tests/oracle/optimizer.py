"""AdamW with decoupled weight decay and global-norm clipping, written out.

Source: Loshchilov and Hutter 2019, algorithm 2, with the schedule's multiplier in `lr`; Pascanu et
al. 2013, algorithm 1, for the clipping. Plain arithmetic on tensors; no torch.optim.
"""

import math
from dataclasses import dataclass

import torch

from model import is_norm


@dataclass(frozen=True)
class Hyperparameters:
    """The paper's, but for eps (1e-8 there). With so small an eps the first updates are the sign of
    the gradient, and a rounding error of 1e-15 in a gradient near 0 grows to 1e-10 and more in the
    weights of update 30; with 1e-4 it stays at 1e-14, and where eps stands is seen as well.
    """

    peak_lr: float = 3e-3
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-4
    weight_decay: float = 0.1
    grad_clip: float = 1.0


def is_decayed(name):
    """Every matrix is decayed except the embedding; norms are not."""
    return not is_norm(name) and name != "model.embed_tokens.weight"


def global_norm(gradients):
    """2-norm of all gradients as one vector."""
    return math.sqrt(sum(float((g * g).sum()) for g in gradients.values()))


def clip_factor(norm, limit):
    """min(1, limit / norm); a limit of 0 stands for no clipping."""
    return limit / norm if limit > 0 and norm > limit else 1.0


class AdamW:
    def __init__(self, weights, hyper):
        self.hyper = hyper
        self.first_moment = {name: torch.zeros_like(w) for name, w in weights.items()}
        self.second_moment = {name: torch.zeros_like(w) for name, w in weights.items()}
        self.completed = 0

    def step(self, weights, gradients, lr):
        """New weights; advances the moments. Returns (weights, gradient norm before clipping).

        m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w = w - lr wd w - lr mhat / (sqrt(vhat) +
        eps), with mhat = m / (1 - b1^s), vhat = v / (1 - b2^s), s counted from 1.
        """
        h = self.hyper
        self.completed += 1
        norm = global_norm(gradients)
        factor = clip_factor(norm, h.grad_clip)
        updated = {}
        for name, w in weights.items():
            g = factor * gradients[name]
            m = h.beta1 * self.first_moment[name] + (1.0 - h.beta1) * g
            v = h.beta2 * self.second_moment[name] + (1.0 - h.beta2) * g * g
            self.first_moment[name], self.second_moment[name] = m, v
            m_hat = m / (1.0 - h.beta1**self.completed)
            v_hat = v / (1.0 - h.beta2**self.completed)
            decay = h.weight_decay if is_decayed(name) else 0.0
            updated[name] = w - lr * decay * w - lr * m_hat / (torch.sqrt(v_hat) + h.eps)
        return updated, norm
