"""Which fixtures there are and what each computes."""

from dataclasses import asdict, dataclass

import numpy

from fixtures import FixtureWriter, path_of
from initialisation import INITS, initial_norm_weight, initial_sigma, truncated_std_factor
from model import ARRANGEMENTS, Model, is_norm, loss_and_gradients, parameter_shapes
from optimizer import AdamW, Hyperparameters
from schedules import GATES, learning_rate, residual_alphas
from seeded_inputs import initial_weights, token_batches

UPDATES, SEQUENCES, MICRO_BATCH, LENGTH = 30, 4, 2, 24
GATE_WARMUP = 3  # T
LR_SCHEDULE = {"updates": UPDATES, "warmup": 5, "decay_fraction": 0.2, "min_lr_ratio": 0.0}

# The third schedule of each arrangement, so that the trajectories between them see seven.
OTHER_SCHEDULE = {
    "pre": "stagewise-0",
    "post": "stagewise-sqrt-L",
    "sandwich": "linear-square",
    "deepnorm": "reverse",
    "lns": "stagewise-sqrt-l",
}
# A limit that clips some updates and not others.
GRAD_CLIP = {"pre": 1.7, "post": 1.4, "sandwich": 2.0, "deepnorm": 1.0, "lns": 1.6}
# Gates of the single pass, by the schedule's place: a plain network, then mixtures with exact 0, 1.
SINGLE_ALPHAS = [[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.625, 0.3], [0.0, 0.25, 1.0, 0.875]]


@dataclass(frozen=True)
class Case:
    arrangement: str
    schedule: str
    single_alphas: tuple
    seed: int

    @property
    def file_name(self):
        return f"{self.arrangement}_{self.schedule}.h5"


def training_cases():
    cases = []
    for row, arrangement in enumerate(ARRANGEMENTS):
        for column, schedule in enumerate(("off", "linear", OTHER_SCHEDULE[arrangement])):
            alphas = tuple(SINGLE_ALPHAS[column])
            cases.append(Case(arrangement, schedule, alphas, seed=100 * row + column))
    return cases


# Heads as wide as those of real models, which GPUs work on in tensor cores (docs/gpu.md), and
# sequences longer than a tile of theirs. One pass; for paths in single precision at best, so stored
# with fewer bits.
WIDE_HEADS = {"num_layers": 2, "hidden_size": 128, "num_heads": 2, "intermediate_size": 32,
              "vocab_size": 29}
WIDE_SEQUENCES, WIDE_LENGTH, WIDE_BITS = 2, 80, 20
WIDE_ALPHAS = (1.0, 0.625)
WIDE_STD = 0.1  # scores behind a norm then have a standard deviation of about 1


def write_wide_heads_case(path, arrangement, seed, num_heads=WIDE_HEADS["num_heads"]):
    """/initial, /tokens, /single, as above."""
    model = Model(arrangement, **{**WIDE_HEADS, "num_heads": num_heads})
    weights = initial_weights(model, seed, WIDE_STD)
    tokens = token_batches(model.vocab_size, 1, WIDE_SEQUENCES, WIDE_LENGTH, seed)
    with FixtureWriter(path, WIDE_BITS) as out:
        out.attributes(**asdict(model), global_batch_size=WIDE_SEQUENCES, micro_batch_size=1,
                       seq_len=WIDE_LENGTH)
        out.tensors("initial", weights)
        out.exact("tokens/inputs", tokens[0].numpy().astype(numpy.int32))
        out.exact("tokens/targets", tokens[1].numpy().astype(numpy.int32))
        write_single(out, model, weights, tokens, WIDE_ALPHAS, micro_batch_size=1)


def write_training_case(path, case):
    """/initial, /tokens, /single (one forward and backward), /trajectory (30 updates)."""
    model = Model(case.arrangement)
    hyper = Hyperparameters(grad_clip=GRAD_CLIP[case.arrangement])
    weights = initial_weights(model, case.seed)
    tokens = token_batches(model.vocab_size, UPDATES, SEQUENCES, LENGTH, case.seed)
    with FixtureWriter(path) as out:
        out.attributes(
            **asdict(model), **asdict(hyper), schedule=case.schedule, gate_warmup=GATE_WARMUP,
            lr_kind="wsd", **{f"lr_{name}": value for name, value in LR_SCHEDULE.items()},
            global_batch_size=SEQUENCES, micro_batch_size=MICRO_BATCH, seq_len=LENGTH,
        )
        out.tensors("initial", weights)
        out.exact("tokens/inputs", tokens[0].numpy().astype(numpy.int32))
        out.exact("tokens/targets", tokens[1].numpy().astype(numpy.int32))
        write_single(out, model, weights, tokens, case.single_alphas)
        write_trajectory(out, model, hyper, weights, tokens, case)


def write_single(out, model, weights, tokens, alphas, micro_batch_size=MICRO_BATCH):
    """The batch of update 0 at fixed gates."""
    result = loss_and_gradients(model, weights, tokens[0][0], tokens[1][0], alphas,
                                micro_batch_size)
    out.exact("single/alpha", numpy.array(alphas))
    out.exact("single/loss", float(result["loss"]))
    out.rounded("single/token_losses", result["token_losses"].numpy())
    out.rounded("single/logits", result["logits"].numpy())
    for index, stream in enumerate(result["stream"]):
        out.rounded(f"single/activations/model/layers/{index}", stream.numpy())
    out.tensors("single/gradients", result["gradients"])


def write_trajectory(out, model, hyper, weights, tokens, case):
    """Training: gates at t = completed updates, learning rate at k = the update from 0."""
    optimizer = AdamW(weights, hyper)
    curves = {"loss": [], "grad_norm": [], "lr": [], "alpha": []}
    for update in range(UPDATES):
        alphas = residual_alphas(case.schedule, GATE_WARMUP, model.num_layers, update)
        lr = learning_rate("wsd", update, peak=hyper.peak_lr, **LR_SCHEDULE)
        result = loss_and_gradients(
            model, weights, tokens[0][update], tokens[1][update], alphas, MICRO_BATCH
        )
        weights, norm = optimizer.step(weights, result["gradients"], lr)
        for name, value in zip(curves, (float(result["loss"]), norm, lr, alphas)):
            curves[name].append(value)
    clipped = sum(norm > hyper.grad_clip for norm in curves["grad_norm"])
    if not 3 <= clipped <= UPDATES - 3:
        raise RuntimeError(
            f"{case.file_name}: {clipped} of {UPDATES} updates are clipped; set GRAD_CLIP so that "
            f"some are and some are not ({sorted(curves['grad_norm'])})"
        )
    for name, values in curves.items():
        out.exact(f"trajectory/{name}", numpy.array(values))
    out.tensors("trajectory/weights", weights)
    if case.schedule == "linear":  # a third of the bytes; the weights depend on them in any case
        out.tensors("trajectory/first_moment", optimizer.first_moment)
        out.tensors("trajectory/second_moment", optimizer.second_moment)


def write_schedules(path):
    """/gates/T3_L4/<name> [updates, L], and /learning_rate/<curve> [updates + 1] with its
    parameters as the curve's neighbours."""
    with FixtureWriter(path) as out:
        for T, L in ((3, 4), (1, 1), (1, 5), (7, 3), (10, 12)):
            updates = T * L + 3
            for name in GATES:
                table = [residual_alphas(name, T, L, t) for t in range(updates)]
                out.exact(f"gates/T{T}_L{L}/{name}", numpy.array(table))
        curves = {
            "wsd": ("wsd", 50, 5, 0.2, 0.0),
            "wsd_to_tenth": ("wsd", 40, 8, 0.25, 0.1),
            "cosine": ("cosine", 50, 5, 0.0, 0.0),
            "cosine_to_tenth": ("cosine", 37, 4, 0.0, 0.1),
            "linear": ("linear", 50, 5, 0.0, 0.0),
            "linear_to_fifth": ("linear", 33, 6, 0.0, 0.2),
            "constant": ("constant", 20, 5, 0.0, 0.0),
            "no_warmup": ("wsd", 20, 0, 0.5, 0.0),
        }
        for name, (kind, updates, warmup, decay_fraction, min_lr_ratio) in curves.items():
            settings = {
                "updates": updates, "warmup": warmup, "decay_fraction": decay_fraction,
                "min_lr_ratio": min_lr_ratio,
            }
            values = [learning_rate(kind, k, peak=3e-3, **settings) for k in range(updates)]
            out.exact(f"learning_rate/{name}/values", numpy.array(values))
            out.exact(f"learning_rate/{name}/kind", numpy.bytes_(kind))
            out.exact(f"learning_rate/{name}/peak", 3e-3)
            for setting, value in settings.items():
                out.exact(f"learning_rate/{name}/{setting}", float(value))


def write_initialisation(path):
    """/<arrangement>/<init>/sigma/<parameter>, std before truncation (0: a norm); /norm_weight/...
    for the fixed and the init variant of LNS; /embedding_sqrt_d: its sigma in the authors' code."""
    with FixtureWriter(path) as out:
        out.attributes(**asdict(Model("pre")), init_std=0.02,
                       truncated_std_factor=truncated_std_factor(), truncation_sigmas=2.0)
        for arrangement in ARRANGEMENTS:
            model = Model(arrangement)
            names = parameter_shapes(model)
            for init in INITS:
                for name in names:
                    out.exact(f"{arrangement}/{init}/sigma/{path_of(name)}",
                              initial_sigma(model, init, name))
        lns = Model("lns")
        for variant in ("fixed", "init"):
            for name in filter(is_norm, parameter_shapes(lns)):
                out.exact(f"norm_weight/{variant}/{path_of(name)}",
                          initial_norm_weight(lns, name, variant))
        out.exact("embedding_sqrt_d", initial_sigma(
            lns, "standard", "model.embed_tokens.weight", embedding_scale="sqrt_d"))


def all_fixtures():
    """[(file name, function that writes it to a path)]"""
    writers = [
        (case.file_name, lambda path, case=case: write_training_case(path, case))
        for case in training_cases()
    ]
    writers += [
        (f"{arrangement}_wide-heads.h5",
         lambda path, arrangement=arrangement, seed=1000 + row:
             write_wide_heads_case(path, arrangement, seed))
        for row, arrangement in enumerate(ARRANGEMENTS)
    ]
    return writers + [
        ("pre_wider-heads.h5", lambda path: write_wide_heads_case(path, "pre", 1010, num_heads=1)),
        ("schedules.h5", write_schedules),
        ("initialisation.h5", write_initialisation),
    ]
