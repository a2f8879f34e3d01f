"""What an update does, computed here once more by the paper's formulas and nothing of the program's: the loss with
its gates partly open, every gradient along random directions, and AdamW's steps. The other tests compare layouts
with one another; this one holds all of them to something else."""

import functools
import json
import os
import unittest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the matrices are small, and other tests run
import h5py
import numpy

from harness import SLUICE, RunTest, call

LAYERS, HEADS, WARMUP = 6, 2, 2  # of the harness's run file
BETAS, EPS, DECAY, CLIP, PEAK = (0.9, 0.95), 1e-8, 0.1, 1.0, 0.01


def gate(layer, completed):
    """ProRes, linear: min(t / (T l), 1) with layers counted from 1."""
    return min(completed / (WARMUP * (layer + 1)), 1.0)


def rate(completed, updates):
    """Two updates up from 0, constant, down to 0 over the last quarter."""
    decay = round(0.25 * updates)
    if completed < 2:
        return PEAK * completed / 2
    return PEAK * min(1.0, (updates - completed) / decay)


def rms_norm(x, weight):
    return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * weight


def rotated(x):
    """[B,T,H,D]: channel i turns with channel i + D/2."""
    half = x.shape[-1] // 2
    angles = numpy.outer(numpy.arange(x.shape[1]), 10000.0 ** (-numpy.arange(half) / half))
    cos, sin = numpy.cos(angles)[:, None], numpy.sin(angles)[:, None]
    first, second = x[..., :half], x[..., half:]
    return numpy.concatenate((first * cos - second * sin, second * cos + first * sin), -1)


def attention(x, weights, layer):
    batch, positions, hidden = x.shape
    q, k, v = ((x @ weights[f"{layer}/self_attn/{name}_proj"].T).reshape(batch, positions, HEADS, -1) for name in "qkv")
    scores = numpy.einsum("bihd,bjhd->bhij", rotated(q), rotated(k)) / numpy.sqrt(hidden / HEADS)
    scores = numpy.where(numpy.tri(positions, dtype=bool), scores, -numpy.inf)
    scores = numpy.exp(scores - scores.max(-1, keepdims=True))
    attended = numpy.einsum("bhij,bjhd->bihd", scores / scores.sum(-1, keepdims=True), v)
    return attended.reshape(batch, positions, hidden) @ weights[f"{layer}/self_attn/o_proj"].T


def mlp(x, weights, layer):
    gates = x @ weights[f"{layer}/mlp/gate_proj"].T
    up = x @ weights[f"{layer}/mlp/up_proj"].T
    return (gates / (1 + numpy.exp(-gates)) * up) @ weights[f"{layer}/mlp/down_proj"].T


def loss_of(weights, tokens, targets, completed):
    x = weights["model/embed_tokens"][tokens]
    for i in range(LAYERS):
        layer, alpha = f"model/layers/{i}", gate(i, completed)
        x = x + alpha * attention(rms_norm(x, weights[f"{layer}/input_layernorm"]), weights, layer)
        x = x + alpha * mlp(rms_norm(x, weights[f"{layer}/post_attention_layernorm"]), weights, layer)
    logits = rms_norm(x, weights["model/norm"]) @ weights["lm_head"].T
    logits -= logits.max(-1, keepdims=True)
    chosen = numpy.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return (numpy.log(numpy.exp(logits).sum(-1)) - chosen).mean()


class OneUpdate(RunTest):
    updates = 8
    layouts = ((1, "alone", ()), (2, "pipeline", ("pipeline.schedule=zb-v",)), (2, "replicas", ("pipeline.replicas=2", "batch.micro_batch_size=1")))

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for ranks, name, overrides in cls.layouts:
            cls().train(ranks, name, overrides=("precision.compute=fp64", "checkpoint.every_updates=1",
                                                "eval.every_updates=0", *overrides))

    def arrays(self, name, update, group):
        """By parameter: "model/layers/0/mlp/up_proj"."""
        found = {}

        def walk(item, path):
            for key in item:
                if isinstance(item[key], h5py.Group):
                    walk(item[key], f"{path}{key}/")
                else:
                    found[path[:-1]] = item[key][...].astype(float)

        with h5py.File(self.folder / name / f"checkpoints/update-{update:08}/checkpoint.h5") as file:
            walk(file[group], "")
        return found

    @functools.cache
    def batch(self, update):
        shown = json.loads(call(SLUICE, "data", "show", self.run_file, "--update", update, "--json",
                                cwd=self.folder).stdout)
        return [numpy.array(shown[key]).reshape(10, 32) for key in ("inputs", "targets")]

    def clipping(self, row):
        return min(1.0, CLIP / row["grad_norm"])

    def test_losses_with_gates_partly_open(self):
        for _, name, _ in self.layouts:
            for row in self.metrics(name)[1:] if name == "alone" else self.metrics(name)[3:5]:
                weights = self.arrays(name, row["update"] - 1, "parameters")
                loss = loss_of(weights, *self.batch(row["update"]), row["update"] - 1)
                self.assertAlmostEqual(row["loss"] / loss, 1, delta=1e-12, msg=name)

    def test_gradients_along_random_directions(self):
        """What the moments took in, beside differences of the loss."""
        random = numpy.random.default_rng(3)
        for _, name, _ in self.layouts:
            for update in (2, 4, 7) if name == "alone" else (4,):  # one gate opening, some of them, nearly all
                row = self.metrics(name)[update - 1]
                weights = self.arrays(name, update - 1, "parameters")
                before, after = (self.arrays(name, u, "optimizer/first_moment") for u in (update - 1, update))
                tokens, targets = self.batch(update)
                gradient = {path: (after[path] - BETAS[0] * before[path]) / (1 - BETAS[0]) / self.clipping(row)
                            for path in weights}
                norm = numpy.sqrt(sum((g * g).sum() for g in gradient.values()))
                self.assertAlmostEqual(row["grad_norm"] / norm, 1, delta=1e-9, msg=name)
                for layer in ("", "layers/0/", f"layers/{LAYERS - 1}/"):  # of all, and where gates differ most
                    along = {path: random.standard_normal(value.shape) * (layer in path)
                             for path, value in weights.items()}
                    step = 1e-5
                    ends = [loss_of({path: weights[path] + sign * step * along[path] for path in weights}, tokens,
                                    targets, update - 1) for sign in (1, -1)]
                    slope = sum((gradient[path] * along[path]).sum() for path in weights)
                    self.assertAlmostEqual((ends[0] - ends[1]) / (2 * step), slope, delta=1e-6 * norm + 1e-9,
                                           msg=f"{name}, update {update}, {layer}")

    def test_steps_are_adamws(self):
        for _, name, _ in self.layouts:
            for update in range(2, self.updates + 1) if name == "alone" else (4, 5):
                row = self.metrics(name)[update - 1]
                self.assertAlmostEqual(row["lr"], rate(update - 1, self.updates), delta=1e-15)
                weights, after = (self.arrays(name, u, "parameters") for u in (update - 1, update))
                before, second = (self.arrays(name, u, "optimizer/second_moment") for u in (update - 1, update))
                old, first = (self.arrays(name, u, "optimizer/first_moment") for u in (update - 1, update))
                for path, w in weights.items():
                    g = (first[path] - BETAS[0] * old[path]) / (1 - BETAS[0])
                    numpy.testing.assert_allclose(second[path], BETAS[1] * before[path] + (1 - BETAS[1]) * g * g,
                                                  rtol=1e-9, atol=1e-25)
                    step = first[path] / (1 - BETAS[0] ** update) / (
                        numpy.sqrt(second[path] / (1 - BETAS[1] ** update)) + EPS)
                    decay = 0.0 if w.ndim == 1 or path == "model/embed_tokens" else DECAY
                    numpy.testing.assert_allclose(after[path], w - row["lr"] * (step + decay * w), rtol=1e-12,
                                                  atol=1e-15)


if __name__ == "__main__":
    unittest.main()
