"""What the initial weights' standard deviation and range must be, computed analytically.

Source: Chen et al., arXiv:2603.05369, section 4.1 and its appendix on initialisations: a normal of
std 0.02 truncated at two standard deviations; DS-Init (o and down: 0.02 / sqrt(2 l)); Scaled Init
(o and down: 0.02 / sqrt(2 L)); DeepNorm (v, o and MLP weights times B = (8 L)^(-1/4), Wang et al.
2022, table 1). "xavier": the matrices of layers as Wang et al. (figure 2) and the authors' code draw
them for DeepNorm, Xavier normal with gain 1, and B on top.
"""

import math

from model import is_norm, parameter_shapes

INITS = ("standard", "ds", "scaled", "xavier")
TRUNCATION = 2.0  # in standard deviations of the untruncated normal


def truncated_std_factor(cut=TRUNCATION):
    """std of a standard normal truncated to [-cut, cut]: sqrt(1 - 2 c phi(c) / (2 Phi(c) - 1))."""
    density = math.exp(-0.5 * cut * cut) / math.sqrt(2.0 * math.pi)
    return math.sqrt(1.0 - 2.0 * cut * density / math.erf(cut / math.sqrt(2.0)))


def layer_number(name):
    """The paper's l of "model.layers.7...." (8 here), or None."""
    parts = name.split(".")
    return int(parts[2]) + 1 if parts[:2] == ["model", "layers"] else None


def initial_sigma(model, init, name, std=0.02, embedding_scale="one"):
    """Standard deviation before truncation; 0 for norms, which start at the constant 1."""
    if is_norm(name):
        return 0.0
    sigma = std
    kind = name.split(".")[-2]
    if init == "xavier" and layer_number(name):
        outputs, inputs = parameter_shapes(model)[name]
        sigma = math.sqrt(2.0 / (inputs + outputs))
    if init == "ds" and kind in ("o_proj", "down_proj"):
        sigma /= math.sqrt(2.0 * layer_number(name))
    if init == "scaled" and kind in ("o_proj", "down_proj"):
        sigma /= math.sqrt(2.0 * model.num_layers)
    if model.arrangement == "deepnorm" and kind in (
        "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    ):
        sigma *= (8.0 * model.num_layers) ** -0.25
    if kind == "embed_tokens" and embedding_scale == "sqrt_d":
        sigma *= math.sqrt(model.hidden_size)
    return sigma


def initial_norm_weight(model, name, lns="fixed"):
    """1, or 1 / sqrt(l) for the norms inside LNS layers in the authors' variant (lns = "init")."""
    if model.arrangement == "lns" and lns == "init" and layer_number(name):
        return 1.0 / math.sqrt(layer_number(name))
    return 1.0
