#!/usr/bin/env python3
"""The oracle's own tests: against naive loops, finite differences, and PyTorch's optimizer."""

import math
import unittest

import torch

from initialisation import initial_sigma, truncated_std_factor
from model import (ARRANGEMENTS, Model, attention, forward, is_norm, loss_and_gradients,
                   parameter_shapes, rms_norm, rotate, swiglu_mlp, token_losses)
from optimizer import AdamW, Hyperparameters, clip_factor, is_decayed
from schedules import GATES, learning_rate, residual_alpha
from seeded_inputs import initial_weights, token_batches

TINY = {"num_layers": 2, "hidden_size": 8, "num_heads": 2, "intermediate_size": 6, "vocab_size": 7}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tiny(arrangement="pre"):
    model = Model(arrangement, **TINY)
    weights = initial_weights(model, seed=1, std=0.4)
    inputs, targets = token_batches(model.vocab_size, 1, 2, 5, seed=2)
    return model, weights, inputs[0], targets[0]


class Layers(unittest.TestCase):
    def assert_close(self, a, b, tolerance=1e-13):
        self.assertLessEqual(float((a - b).abs().max()), tolerance * float(b.abs().max()))

    def test_rms_norm_by_hand(self):
        y = rms_norm(torch.tensor([3.0, 4.0], dtype=torch.float64), torch.tensor([1.0, 2.0]), 1e-5)
        root = math.sqrt(12.5 + 1e-5)
        self.assert_close(y, torch.tensor([3.0 / root, 8.0 / root], dtype=torch.float64))

    def test_rotation_by_complex_numbers(self):
        x = random(1, 1, 6, 8)
        y = rotate(x, 10000.0)
        for position in range(6):
            for i in range(4):
                z = complex(x[0, 0, position, i], x[0, 0, position, i + 4])
                z *= complex(math.cos(position * 10000.0 ** (-i / 4)),
                             math.sin(position * 10000.0 ** (-i / 4)))
                self.assertAlmostEqual(float(y[0, 0, position, i]), z.real, places=13)
                self.assertAlmostEqual(float(y[0, 0, position, i + 4]), z.imag, places=13)

    def test_rotated_scores_depend_on_distance_only(self):
        q, k = random(8, seed=1), random(8, seed=2)
        q, k = (rotate(x.expand(1, 1, 9, 8), 10000.0)[0, 0] for x in (q, k))
        self.assertAlmostEqual(float(q[3] @ k[1]), float(q[8] @ k[6]), places=12)

    def test_attention_by_naive_loops(self):
        model, weights, _, _ = tiny()
        x, layer, d = random(2, 5, 8), "model.layers.0", model.head_dim

        def project(name, vector):
            return weights[f"{layer}.self_attn.{name}.weight"] @ vector

        expected = torch.zeros_like(x)
        for b in range(2):
            q, k, v = ([project(name, x[b, t]) for t in range(5)]
                       for name in ("q_proj", "k_proj", "v_proj"))
            for t in range(5):
                mixed = torch.zeros(8, dtype=torch.float64)
                for h in range(2):
                    part = slice(h * d, (h + 1) * d)

                    def turned(vectors, position):
                        padded = torch.zeros(1, 1, position + 1, d, dtype=torch.float64)
                        padded[0, 0, position] = vectors[position][part]
                        return rotate(padded, model.rope_base)[0, 0, position]

                    scores = [float(turned(q, t) @ turned(k, s)) / math.sqrt(d)
                              for s in range(t + 1)]
                    total = sum(math.exp(score) for score in scores)
                    for s, score in enumerate(scores):
                        mixed[part] += math.exp(score) / total * v[s][part]
                expected[b, t] = project("o_proj", mixed)
        self.assert_close(attention(model, weights, layer, x), expected)

    def test_future_tokens_change_nothing_before_them(self):
        model, weights, inputs, _ = tiny()
        before, _ = forward(model, weights, inputs, [1.0, 1.0])
        changed = inputs.clone()
        changed[:, 3] = (changed[:, 3] + 1) % model.vocab_size
        after, _ = forward(model, weights, changed, [1.0, 1.0])
        self.assertTrue(torch.equal(before[:, :3], after[:, :3]))
        self.assertFalse(torch.equal(before[:, 3:], after[:, 3:]))

    def test_swiglu_by_naive_loops(self):
        model, weights, _, _ = tiny()
        x = random(8)
        gate, up, down = (weights[f"model.layers.0.mlp.{name}_proj.weight"]
                          for name in ("gate", "up", "down"))
        hidden = []
        for f in range(6):
            z = float(gate[f] @ x)
            hidden.append(z / (1.0 + math.exp(-z)) * float(up[f] @ x))
        expected = down @ torch.tensor(hidden, dtype=torch.float64)
        self.assert_close(swiglu_mlp(model, weights, "model.layers.0", x), expected)

    def test_loss_is_torchs_cross_entropy(self):
        logits, targets = random(2, 5, 7), torch.arange(10).reshape(2, 5) % 7
        expected = torch.nn.functional.cross_entropy(
            logits.reshape(10, 7), targets.reshape(10), reduction="none").reshape(2, 5)
        self.assert_close(token_losses(logits, targets), expected)


class Arrangements(unittest.TestCase):
    def test_closed_gates_make_the_stack_an_identity(self):
        for arrangement in ("pre", "sandwich", "lns"):
            model, weights, inputs, _ = tiny(arrangement)
            logits, stream = forward(model, weights, inputs, [0.0, 0.0])
            embedded = weights["model.embed_tokens.weight"][inputs]
            for x in stream:
                self.assertTrue(torch.equal(x, embedded))
            normed = rms_norm(embedded, weights["model.norm.weight"], model.norm_eps)
            self.assertTrue(torch.equal(logits, normed @ weights["lm_head.weight"].T))

    def test_closed_gates_leave_only_norms_in_post(self):
        model, weights, inputs, _ = tiny("post")
        _, stream = forward(model, weights, inputs, [0.0, 0.0])
        x = weights["model.embed_tokens.weight"][inputs]
        for norm in ("post_attention_layernorm", "post_feedforward_layernorm"):
            x = rms_norm(x, weights[f"model.layers.0.{norm}.weight"], model.norm_eps)
        self.assertTrue(torch.equal(stream[0], x))

    def test_closed_gates_send_no_gradient(self):
        for arrangement in ARRANGEMENTS:
            model, weights, inputs, targets = tiny(arrangement)
            result = loss_and_gradients(model, weights, inputs, targets, [0.0, 1.0], 1)
            for name, gradient in result["gradients"].items():
                on_stream = arrangement in ("post", "deepnorm") and is_norm(name)
                closed = name.startswith("model.layers.0.") and not on_stream
                self.assertEqual(bool((gradient == 0).all()), closed, name)

    def test_gates_enter_as_the_table_says(self):
        """One layer on one token whose attention is just v W_o: every arrangement by hand."""
        a, eps = 0.4, 1e-5
        for arrangement in ARRANGEMENTS:
            model = Model(arrangement, 1, 8, 2, 6, 7)
            w = initial_weights(model, seed=3, std=0.4)
            layer = "model.layers.0"

            def norm(name, y):
                y = y / math.sqrt(float((y * y).sum()) / 8 + eps)
                return y * w[f"{layer}.{name}.weight"]

            def attend(y):
                return w[f"{layer}.self_attn.o_proj.weight"] @ (
                    w[f"{layer}.self_attn.v_proj.weight"] @ y)

            def mlp(y):
                return swiglu_mlp(model, w, layer, y)

            x = w["model.embed_tokens.weight"][3]
            if arrangement in ("pre", "lns"):  # l = 1: LNS's factor is 1
                x = x + a * attend(norm("input_layernorm", x))
                x = x + a * mlp(norm("post_attention_layernorm", x))
            elif arrangement == "sandwich":
                x = x + a * norm("post_attention_layernorm", attend(norm("input_layernorm", x)))
                x = x + a * norm("post_feedforward_layernorm",
                                 mlp(norm("pre_feedforward_layernorm", x)))
            else:
                scale = 2.0 ** 0.25 if arrangement == "deepnorm" else 1.0
                x = norm("post_attention_layernorm", scale * x + a * attend(x))
                x = norm("post_feedforward_layernorm", scale * x + a * mlp(x))
            _, stream = forward(model, w, torch.tensor([[3]]), [a])
            self.assertLess(float((stream[0][0, 0] - x).abs().max()), 1e-13, arrangement)

    def test_layernorm_scaling_divides_by_the_root_of_the_layer_number(self):
        """LNS is Pre-LN whose norm weights carry 1/sqrt(l)."""
        model, weights, inputs, _ = tiny("lns")
        scaled = dict(weights)
        for name in weights:
            if name.startswith("model.layers.1.") and name.endswith("norm.weight"):
                scaled[name] = weights[name] / math.sqrt(2.0)
        expected, _ = forward(Model("pre", **TINY), scaled, inputs, [0.3, 0.9])
        actual, _ = forward(model, weights, inputs, [0.3, 0.9])
        self.assertLess(float((actual - expected).abs().max()), 1e-13)

    def test_gradients_by_finite_differences(self):
        for arrangement in ARRANGEMENTS:
            model, weights, inputs, targets = tiny(arrangement)
            names = list(parameter_shapes(model))

            def loss(*values):
                logits, _ = forward(model, dict(zip(names, values)), inputs, [0.7, 0.2])
                return token_losses(logits, targets).mean()

            leaves = [weights[name].clone().requires_grad_(True) for name in names]
            self.assertTrue(torch.autograd.gradcheck(loss, leaves, fast_mode=True), arrangement)

    def test_micro_batches_add_to_the_whole(self):
        model, weights, inputs, targets = tiny("sandwich")
        one, two = (loss_and_gradients(model, weights, inputs, targets, [0.7, 0.2], size)
                    for size in (2, 1))
        self.assertAlmostEqual(float(one["loss"]), float(two["loss"]), places=13)
        for name in weights:
            self.assertLess(float((one["gradients"][name] - two["gradients"][name]).abs().max()),
                            1e-14)


class Schedules(unittest.TestCase):
    def test_gates_by_hand(self):
        # schedule, T, L, l, t, alpha
        for schedule, T, L, l, t, expected in (
            ("off", 10, 4, 3, 0, 1.0), ("linear", 10, 4, 1, 0, 0.0), ("linear", 10, 4, 2, 5, 0.25),
            ("linear", 10, 4, 4, 40, 1.0), ("linear", 10, 4, 4, 99, 1.0),
            ("linear-sqrt", 10, 4, 2, 5, 0.5), ("linear-square", 10, 4, 2, 5, 0.0625),
            ("equal", 10, 4, 4, 5, 0.5), ("reverse", 10, 4, 4, 5, 0.5),
            ("reverse", 10, 4, 1, 10, 0.25), ("stagewise-0", 10, 4, 2, 10, 0.0),
            ("stagewise-0", 10, 4, 2, 15, 0.5), ("stagewise-0", 10, 4, 2, 21, 1.0),
            ("stagewise-L", 10, 4, 3, 0, 0.25), ("stagewise-L", 10, 4, 2, 15, 0.625),
            ("stagewise-sqrt-L", 10, 4, 4, 0, 0.5), ("stagewise-sqrt-L", 10, 4, 1, 5, 0.75),
            ("stagewise-sqrt-l", 10, 9, 4, 0, 0.5), ("stagewise-sqrt-l", 10, 9, 1, 0, 1.0),
            ("fix-L", 10, 4, 1, 9, 0.25), ("fix-sqrt-L", 10, 4, 1, 9, 0.5),
            ("fix-sqrt-l", 10, 9, 4, 9, 0.5),
        ):
            self.assertAlmostEqual(residual_alpha(schedule, T, L, l, t), expected, places=15,
                                   msg=f"{schedule} {T} {L} {l} {t}")

    def test_warming_gates_rise_to_one(self):
        for schedule in GATES:
            for l in range(1, 6):
                curve = [residual_alpha(schedule, 3, 5, l, t) for t in range(20)]
                self.assertEqual(curve, sorted(curve), schedule)
                if not schedule.startswith("fix"):
                    self.assertEqual(curve[15], 1.0, schedule)

    def test_learning_rates_by_hand(self):
        def lr(kind, k, low=0.0):
            return learning_rate(kind, k, peak=2.0, updates=100, warmup=10, decay_fraction=0.2,
                                 min_lr_ratio=low)

        for kind in ("wsd", "cosine", "linear", "constant"):
            self.assertEqual([lr(kind, 0), lr(kind, 5), lr(kind, 10)], [0.0, 1.0, 2.0], kind)
        for kind, k, low, expected in (
            ("wsd", 80, 0.0, 2.0), ("wsd", 90, 0.0, 1.0), ("wsd", 95, 0.5, 1.25),
            ("cosine", 55, 0.0, 1.0), ("cosine", 55, 0.5, 1.5), ("cosine", 25, 0.0, 1.8660254037844386),
            ("linear", 55, 0.0, 1.0), ("linear", 55, 0.5, 1.5), ("constant", 99, 0.0, 2.0),
        ):
            self.assertAlmostEqual(lr(kind, k, low), expected, places=13, msg=f"{kind} {k}")


class Optimizer(unittest.TestCase):
    def test_against_torch(self):
        names = ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight")
        weights = {name: random(3, 4, seed=i) for i, name in enumerate(names)}
        hyper = Hyperparameters(grad_clip=1.5)
        ours = AdamW(weights, hyper)
        leaves = {name: torch.nn.Parameter(w.clone()) for name, w in weights.items()}
        theirs = torch.optim.AdamW(
            [{"params": [leaf], "weight_decay": 0.1 if is_decayed(name) else 0.0}
             for name, leaf in leaves.items()], lr=0.0, betas=(0.9, 0.95), eps=hyper.eps)
        for update in range(12):
            gradients = {name: (0.1 + 0.1 * update) * random(3, 4, seed=100 + 3 * update + i)
                         for i, name in enumerate(names)}
            lr = 0.01 * (update + 1)
            for name, leaf in leaves.items():
                leaf.grad = gradients[name].clone()
            their_norm = torch.nn.utils.clip_grad_norm_(leaves.values(), hyper.grad_clip)
            for group in theirs.param_groups:
                group["lr"] = lr
            theirs.step()
            weights, norm = ours.step(weights, gradients, lr)
            self.assertAlmostEqual(norm, float(their_norm), places=13)
        for name, leaf in leaves.items():  # 1e-5: torch divides by norm + 1e-6 when it clips
            self.assertLess(float((weights[name] - leaf.detach()).abs().max()), 1e-5, name)

    def test_against_torch_without_clipping(self):
        weights = {"lm_head.weight": random(3, 4)}
        ours = AdamW(weights, Hyperparameters(grad_clip=0.0))
        leaf = torch.nn.Parameter(weights["lm_head.weight"].clone())
        theirs = torch.optim.AdamW([leaf], lr=0.02, betas=(0.9, 0.95), eps=1e-4, weight_decay=0.1)
        for update in range(12):
            gradient = random(3, 4, seed=50 + update)
            leaf.grad = gradient.clone()
            theirs.step()
            weights, _ = ours.step(weights, {"lm_head.weight": gradient}, 0.02)
        error = (weights["lm_head.weight"] - leaf.detach()).abs().max()
        self.assertLess(float(error), 1e-13)

    def test_clip_factor(self):
        self.assertEqual(clip_factor(4.0, 1.0), 0.25)
        self.assertEqual(clip_factor(0.5, 1.0), 1.0)
        self.assertEqual(clip_factor(4.0, 0.0), 1.0)

    def test_only_matrices_but_not_the_embedding_are_decayed(self):
        left = [name for name in parameter_shapes(Model("pre", num_layers=1))
                if not is_decayed(name)]
        self.assertEqual(left, [
            "model.embed_tokens.weight", "model.layers.0.input_layernorm.weight",
            "model.layers.0.post_attention_layernorm.weight", "model.norm.weight"])


class Initialisation(unittest.TestCase):
    def test_truncated_normal_by_sampling(self):
        self.assertAlmostEqual(truncated_std_factor(), 0.8796256610342398, places=15)
        sample = random(2_000_000)
        sample = sample[sample.abs() <= 2.0]
        self.assertAlmostEqual(float(sample.std()), truncated_std_factor(), places=2)

    def test_sigma_by_hand(self):
        # arrangement, init, parameter, sigma / 0.02 with L = 4
        for arrangement, init, name, expected in (
            ("pre", "standard", "self_attn.o_proj", 1.0), ("pre", "ds", "self_attn.o_proj", 6**-0.5),
            ("pre", "scaled", "mlp.down_proj", 8**-0.5), ("pre", "ds", "mlp.up_proj", 1.0),
            ("deepnorm", "standard", "self_attn.v_proj", 32**-0.25),
            ("deepnorm", "standard", "self_attn.q_proj", 1.0),
        ):
            sigma = initial_sigma(Model(arrangement), init, f"model.layers.2.{name}.weight")
            self.assertAlmostEqual(sigma, 0.02 * expected, places=15)

    def test_xavier_by_hand(self):
        model = Model("deepnorm", hidden_size=16, intermediate_size=48)
        for name, expected in (
            ("model.layers.2.self_attn.q_proj.weight", 16**-0.5),
            ("model.layers.2.self_attn.o_proj.weight", 16**-0.5 * 32**-0.25),
            ("model.layers.0.mlp.down_proj.weight", 32**-0.5 * 32**-0.25),
            ("lm_head.weight", 0.02), ("model.embed_tokens.weight", 0.02), ("model.norm.weight", 0.0),
        ):
            self.assertAlmostEqual(initial_sigma(model, "xavier", name), expected, places=15)


if __name__ == "__main__":
    unittest.main()
