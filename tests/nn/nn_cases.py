"""One table of modules, each made in minidl and in PyTorch by the same line, and what is compared.

Weights and inputs are functions of their names and shapes, so both engines have the same without
either being asked.
"""

import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np


class Case:
    """A module and what it is called with.

    build(nn) : makes the module, with either engine's nn
    inputs : shapes of float inputs, or arrays of whole numbers, lists or other arguments
    lengths : of sequences, for recurrent layers
    train : in training mode or in evaluation; steps : how often it is called (running statistics)
    rtol : where PyTorch itself is less exact
    """

    def __init__(
        self,
        build: Callable[[Any], Any],
        *inputs: Any,
        lengths: list[int] | None = None,
        train: bool = True,
        steps: int = 1,
        rtol: float = 1e-9,
        **options: Any,
    ) -> None:
        self.build, self.inputs, self.lengths = build, inputs, lengths
        self.train, self.steps, self.rtol, self.options = train, steps, rtol, options


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that belong to a name: in ±0.7, none near zero; a variance is positive."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), *shape])
    values = rng.uniform(0.05, 0.7, shape) * rng.choice([-1.0, 1.0], shape)
    return abs(values) if "running_var" in name else values


def inputs_of(case: Case, step: int) -> list[Any]:
    """The inputs of a step as arrays; a tuple of ints is the shape of a float one."""

    def made(i: int, spec: Any) -> Any:
        if isinstance(spec, tuple) and all(isinstance(n, int) for n in spec):
            return drawn(f"input{i}.{step}", spec)
        if isinstance(spec, tuple):
            return tuple([made(10 * i + k, s) for k, s in enumerate(spec)])
        return spec

    return [made(i, spec) for i, spec in enumerate(case.inputs)]


def opened(tree: Any) -> list[Any]:
    """The leaves of nested tuples."""
    if isinstance(tree, (tuple, list)):
        return [leaf for t in tree for leaf in opened(t)]
    return [tree]


def mapped(tree: Any, function: Callable[[Any], Any]) -> Any:
    """Nested tuples with a function applied to every array."""
    if isinstance(tree, tuple):
        return tuple([mapped(t, function) for t in tree])
    return function(tree) if isinstance(tree, np.ndarray) else tree


def evaluate(case: Case, engine: Any) -> dict[str, Any]:
    """The state's names and shapes; outputs, gradients and the state after, as arrays."""
    module = engine.build(case)
    state = {k: tuple(v.shape) for k, v in module.state_dict().items()}
    engine.load(module, {k: drawn(k, s) for k, s in state.items() if "num_batches" not in k})
    module.train(case.train)
    result: dict[str, Any] = {"state": {k: list(s) for k, s in state.items()}, "values": {}}
    values = result["values"]
    for step in range(case.steps):
        leaves: list[Any] = []

        def leaf(array: np.ndarray, leaves: list[Any] = leaves) -> Any:
            leaves.append(engine.leaf(array))
            return leaves[-1]

        args = [mapped(a, leaf) for a in inputs_of(case, step)]
        outputs = opened(engine.call(module, case, args))
        for i, y in enumerate(outputs):
            values[f"out{i}.{step}"] = engine.array(y)
        loss: Any = 0
        for i, y in enumerate(outputs):
            if y.requires_grad:
                loss = loss + (y * engine.constant(drawn(f"weight{i}", tuple(y.shape)))).sum()
        if not isinstance(loss, int):
            loss.backward()
        for i, x in enumerate(leaves):
            if x.grad is not None:
                values[f"grad{i}.{step}"] = engine.array(x.grad)
    for name, p in module.named_parameters():
        if p.grad is not None:
            values[f"grad.{name}"] = engine.array(p.grad)
    for name, b in module.named_buffers():
        values[f"buffer.{name}"] = engine.array(b)
    return result


class Ours:
    """minidl, as `evaluate` wants an engine."""

    @staticmethod
    def build(case: Case) -> Any:
        from minidl import nn

        return case.build(nn).double()

    @staticmethod
    def load(module: Any, state: dict[str, np.ndarray]) -> None:
        module.load_state_dict(state, strict=False)

    @staticmethod
    def leaf(array: np.ndarray) -> Any:
        import minidl

        return minidl.tensor(array, requires_grad=array.dtype.kind == "f")

    @staticmethod
    def constant(array: np.ndarray) -> Any:
        import minidl

        return minidl.tensor(array)

    @staticmethod
    def array(x: Any) -> np.ndarray:
        return np.array(x.data)

    @staticmethod
    def call(module: Any, case: Case, args: list[Any]) -> Any:
        if case.lengths is not None:
            return module(*args, lengths=case.lengths)
        return module(*args, **case.options)


class Theirs:
    """PyTorch, as `evaluate` wants an engine."""

    @staticmethod
    def build(case: Case) -> Any:
        import torch

        return case.build(torch.nn).double()

    @staticmethod
    def load(module: Any, state: dict[str, np.ndarray]) -> None:
        import torch

        module.load_state_dict({k: torch.tensor(v) for k, v in state.items()}, strict=False)

    @staticmethod
    def leaf(array: np.ndarray) -> Any:
        import torch

        return torch.tensor(array, requires_grad=array.dtype.kind == "f")

    @staticmethod
    def constant(array: np.ndarray) -> Any:
        import torch

        return torch.tensor(array)

    @staticmethod
    def array(x: Any) -> np.ndarray:
        return np.array(x.detach().numpy())

    @staticmethod
    def call(module: Any, case: Case, args: list[Any]) -> Any:
        import torch.nn.utils.rnn as packing

        if case.lengths is None:
            return module(*args, **case.options)
        first = module.batch_first
        packed = packing.pack_padded_sequence(
            args[0], case.lengths, batch_first=first, enforce_sorted=False
        )
        out, state = module(packed, *args[1:])
        length = args[0].shape[1 if first else 0]
        out = packing.pad_packed_sequence(out, batch_first=first, total_length=length)[0]
        return out, state


# ---- the table ----------------------------------------------------------------------------------

LABELS = np.array([2, 0, 1, 2])
SIGNS = np.array([1.0, -1.0, 1.0, -1.0])
ROWS = np.array([[1, 0, 3], [2, 2, 0]])


def block(nn: Any) -> Any:
    """A convolutional network as one writes it."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


CASES: dict[str, Case] = {
    "cnn": Case(block, (2, 2, 6, 6), steps=2),
    "cnn-eval": Case(block, (2, 2, 6, 6), train=False),
    "linear": Case(lambda nn: nn.Linear(3, 4), (2, 5, 3)),
    "linear-no-bias": Case(lambda nn: nn.Linear(3, 4, bias=False), (3,)),
    "bilinear": Case(lambda nn: nn.Bilinear(2, 3, 4), (5, 2), (5, 3)),
    "identity": Case(lambda nn: nn.Identity(1, a=2), (2, 3)),
    "flatten": Case(lambda nn: nn.Flatten(0, 1), (2, 3, 4)),
    "unflatten": Case(lambda nn: nn.Unflatten(1, (2, 2)), (3, 4)),
    "conv1d": Case(lambda nn: nn.Conv1d(2, 4, 3, 2, 1, groups=2), (2, 2, 7)),
    "conv2d-single": Case(lambda nn: nn.Conv2d(1, 2, (3, 2), dilation=(1, 2)), (1, 5, 5)),
    "conv2d-same": Case(lambda nn: nn.Conv2d(1, 2, (3, 2), padding="same"), (1, 1, 4, 5)),
    "conv2d-reflect": Case(
        lambda nn: nn.Conv2d(1, 2, 3, padding=(1, 2), padding_mode="reflect"), (1, 1, 4, 5)
    ),
    "conv2d-circular": Case(
        lambda nn: nn.Conv2d(1, 2, (3, 2), padding="same", padding_mode="circular"), (1, 1, 4, 5)
    ),
    "conv1d-replicate": Case(
        lambda nn: nn.Conv1d(1, 2, 3, padding=2, padding_mode="replicate"), (2, 1, 4)
    ),
    "conv3d": Case(lambda nn: nn.Conv3d(1, 2, 2, padding=1), (1, 1, 2, 3, 3)),
    "conv_transpose1d": Case(lambda nn: nn.ConvTranspose1d(2, 4, 3, 2, 1, 1, groups=2), (2, 2, 4)),
    "conv_transpose2d": Case(
        lambda nn: nn.ConvTranspose2d(2, 3, 3, stride=2), (1, 2, 3, 3), output_size=(8, 7)
    ),
    "conv_transpose3d": Case(lambda nn: nn.ConvTranspose3d(1, 2, 2), (1, 1, 2, 2, 2)),
    "unfold": Case(lambda nn: nn.Unfold((2, 3), padding=1), (1, 2, 3, 4)),
    "fold": Case(lambda nn: nn.Fold((3, 4), 2, stride=1), (1, 8, 6)),
    "max_pool1d": Case(lambda nn: nn.MaxPool1d(2, 1), (2, 2, 5)),
    "max_pool2d": Case(lambda nn: nn.MaxPool2d(3, 2, 1, 1, False, True), (2, 2, 6, 6)),
    "max_pool3d": Case(lambda nn: nn.MaxPool3d(2), (1, 2, 4, 4, 4)),
    "avg_pool1d": Case(lambda nn: nn.AvgPool1d(2, 1, 1), (2, 2, 5)),
    "avg_pool2d": Case(lambda nn: nn.AvgPool2d(2, 2, 1, True, False), (1, 2, 5, 5)),
    "avg_pool3d": Case(lambda nn: nn.AvgPool3d(2), (1, 1, 4, 4, 4)),
    "adaptive_avg_pool1d": Case(lambda nn: nn.AdaptiveAvgPool1d(3), (1, 2, 7)),
    "adaptive_avg_pool2d": Case(lambda nn: nn.AdaptiveAvgPool2d((2, None)), (1, 2, 5, 3)),
    "adaptive_max_pool2d": Case(lambda nn: nn.AdaptiveMaxPool2d(2), (1, 2, 5, 3)),
    "upsampling_nearest2d": Case(lambda nn: nn.UpsamplingNearest2d(scale_factor=2), (1, 1, 2, 3)),
    "upsampling_bilinear2d": Case(lambda nn: nn.UpsamplingBilinear2d((3, 5)), (1, 1, 2, 3)),
    "upsample": Case(lambda nn: nn.Upsample(scale_factor=2, mode="bilinear"), (1, 1, 2, 3)),
    "batch_norm1d": Case(lambda nn: nn.BatchNorm1d(3), (4, 3), steps=2),
    "batch_norm1d-sequence": Case(lambda nn: nn.BatchNorm1d(3, momentum=None), (4, 3, 2), steps=3),
    "batch_norm1d-eval": Case(lambda nn: nn.BatchNorm1d(3), (4, 3), train=False),
    "batch_norm2d-plain": Case(
        lambda nn: nn.BatchNorm2d(2, affine=False, track_running_stats=False),
        (2, 2, 3, 3),
        train=False,
    ),
    "batch_norm3d": Case(lambda nn: nn.BatchNorm3d(2, eps=1e-3), (2, 2, 2, 1, 2)),
    "layer_norm": Case(lambda nn: nn.LayerNorm((3, 4)), (2, 3, 4)),
    "layer_norm-no-bias": Case(lambda nn: nn.LayerNorm(4, bias=False), (2, 3, 4)),
    "group_norm": Case(lambda nn: nn.GroupNorm(2, 4), (2, 4, 3)),
    "instance_norm1d": Case(lambda nn: nn.InstanceNorm1d(2), (2, 4)),
    "instance_norm2d": Case(
        lambda nn: nn.InstanceNorm2d(2, affine=True, track_running_stats=True),
        (3, 2, 2, 3),
        steps=2,
    ),
    "instance_norm2d-eval": Case(
        lambda nn: nn.InstanceNorm2d(2, track_running_stats=True), (3, 2, 2, 3), train=False
    ),
    "rms_norm": Case(lambda nn: nn.RMSNorm(4), (2, 3, 4)),
    "relu": Case(lambda nn: nn.ReLU(inplace=False), (2, 3)),
    "relu6": Case(lambda nn: nn.ReLU6(), (2, 3)),
    "leaky_relu": Case(lambda nn: nn.LeakyReLU(0.2), (2, 3)),
    "prelu": Case(lambda nn: nn.PReLU(3), (2, 3, 2)),
    "elu": Case(lambda nn: nn.ELU(0.5), (2, 3)),
    "celu": Case(lambda nn: nn.CELU(0.5), (2, 3)),
    "selu": Case(lambda nn: nn.SELU(), (2, 3)),
    "gelu": Case(lambda nn: nn.GELU("tanh"), (2, 3)),
    "silu": Case(lambda nn: nn.SiLU(), (2, 3)),
    "mish": Case(lambda nn: nn.Mish(), (2, 3)),
    "sigmoid": Case(lambda nn: nn.Sigmoid(), (2, 3)),
    "logsigmoid": Case(lambda nn: nn.LogSigmoid(), (2, 3)),
    "hardsigmoid": Case(lambda nn: nn.Hardsigmoid(), (2, 3), rtol=1e-7),  # its 1/6 is a float32
    "hardswish": Case(lambda nn: nn.Hardswish(), (2, 3)),
    "tanh": Case(lambda nn: nn.Tanh(), (2, 3)),
    "hardtanh": Case(lambda nn: nn.Hardtanh(-0.2, 0.3), (2, 3)),
    "tanhshrink": Case(lambda nn: nn.Tanhshrink(), (2, 3)),
    "softplus": Case(lambda nn: nn.Softplus(2), (2, 3)),
    "softsign": Case(lambda nn: nn.Softsign(), (2, 3)),
    "softshrink": Case(lambda nn: nn.Softshrink(0.3), (2, 3)),
    "hardshrink": Case(lambda nn: nn.Hardshrink(0.3), (2, 3)),
    "threshold": Case(lambda nn: nn.Threshold(0.1, 9.0), (2, 3)),
    "glu": Case(lambda nn: nn.GLU(0), (4, 3)),
    "softmax": Case(lambda nn: nn.Softmax(1), (2, 3)),
    "log_softmax": Case(lambda nn: nn.LogSoftmax(dim=0), (2, 3)),
    "softmax2d": Case(lambda nn: nn.Softmax2d(), (3, 2, 2)),
    "softmin": Case(lambda nn: nn.Softmin(1), (2, 3)),
    "dropout-eval": Case(lambda nn: nn.Dropout(0.9), (2, 3), train=False),
    "embedding": Case(lambda nn: nn.Embedding(4, 3, padding_idx=-1), ROWS),
    "reflection_pad1d": Case(lambda nn: nn.ReflectionPad1d(2), (1, 2, 4)),
    "reflection_pad2d": Case(lambda nn: nn.ReflectionPad2d((1, 0, 2, 1)), (1, 1, 3, 3)),
    "replication_pad1d": Case(lambda nn: nn.ReplicationPad1d((0, 3)), (1, 2, 4)),
    "replication_pad2d": Case(lambda nn: nn.ReplicationPad2d(1), (1, 1, 3, 3)),
    "circular_pad2d": Case(lambda nn: nn.CircularPad2d(1), (1, 1, 3, 3)),
    "constant_pad1d": Case(lambda nn: nn.ConstantPad1d(1, 2.5), (2, 3)),
    "constant_pad2d": Case(lambda nn: nn.ConstantPad2d((1, 2, 0, -1), 2.5), (1, 3, 3)),
    "constant_pad3d": Case(lambda nn: nn.ConstantPad3d(1, 2.5), (1, 2, 1, 2)),
    "reflection_pad3d": Case(lambda nn: nn.ReflectionPad3d(1), (1, 2, 3, 2)),
    "replication_pad3d": Case(lambda nn: nn.ReplicationPad3d((1, 0, 0, 1, 2, 0)), (1, 1, 2, 2, 2)),
    "circular_pad3d": Case(lambda nn: nn.CircularPad3d(1), (1, 1, 2, 1, 2)),
    "zero_pad3d": Case(lambda nn: nn.ZeroPad3d(1), (1, 1, 2, 1)),
    "zero_pad2d": Case(lambda nn: nn.ZeroPad2d(1), (1, 1, 2, 2)),
    "rnn": Case(lambda nn: nn.RNN(3, 2), (4, 2, 3)),
    "rnn-relu": Case(lambda nn: nn.RNN(3, 2, 2, "relu", batch_first=True), (2, 4, 3), (2, 2, 2)),
    "rnn-lengths": Case(lambda nn: nn.RNN(3, 2, bidirectional=True), (4, 2, 3), lengths=[2, 4]),
    "lstm": Case(lambda nn: nn.LSTM(3, 2), (4, 2, 3), ((1, 2, 2), (1, 2, 2))),
    "lstm-single": Case(lambda nn: nn.LSTM(3, 2, bias=False), (4, 3), ((1, 2), (1, 2))),
    "lstm-deep": Case(
        lambda nn: nn.LSTM(3, 2, num_layers=2, batch_first=True, bidirectional=True),
        (3, 4, 3),
        ((4, 3, 2), (4, 3, 2)),
        lengths=[4, 1, 3],
    ),
    "gru": Case(lambda nn: nn.GRU(3, 2, 2), (4, 2, 3)),
    "gru-deep": Case(
        lambda nn: nn.GRU(3, 2, 2, bidirectional=True, batch_first=True),
        (3, 4, 3),
        (4, 3, 2),
        lengths=[1, 4, 2],
    ),
    "rnn_cell": Case(lambda nn: nn.RNNCell(3, 2, nonlinearity="relu"), (2, 3), (2, 2)),
    "rnn_cell-tanh": Case(lambda nn: nn.RNNCell(3, 2), (2, 3)),
    "lstm_cell": Case(lambda nn: nn.LSTMCell(3, 2), (2, 3), ((2, 2), (2, 2))),
    "gru_cell": Case(lambda nn: nn.GRUCell(3, 2, bias=False), (2, 3)),
    "sequential-named": Case(
        lambda nn: nn.Sequential(OrderedDict(a=nn.Linear(2, 3), b=nn.Tanh())),
        (4, 2),
    ),
    "mse_loss": Case(lambda nn: nn.MSELoss(), (2, 3), (2, 3)),
    "l1_loss": Case(lambda nn: nn.L1Loss(reduction="sum"), (2, 3), (2, 3)),
    "smooth_l1_loss": Case(lambda nn: nn.SmoothL1Loss(beta=0.5), (2, 3), (2, 3)),
    "huber_loss": Case(lambda nn: nn.HuberLoss(delta=0.5), (2, 3), (2, 3)),
    "cross_entropy": Case(
        lambda nn: nn.CrossEntropyLoss(ignore_index=1, label_smoothing=0.1), (4, 3), LABELS
    ),
    "nll_loss": Case(lambda nn: nn.NLLLoss(reduction="none"), (4, 3), LABELS),
    "bce_with_logits": Case(lambda nn: nn.BCEWithLogitsLoss(), (4, 3), np.ones((4, 3))),
    "bce": Case(lambda nn: nn.BCELoss(), abs(drawn("p", (4, 3))), np.full((4, 3), 0.25)),
    "kl_div": Case(
        lambda nn: nn.KLDivLoss(reduction="batchmean"), (4, 3), abs(drawn("target", (4, 3)))
    ),
    "poisson_nll_loss": Case(lambda nn: nn.PoissonNLLLoss(full=True), (4,), np.full(4, 3.0)),
    "gaussian_nll_loss": Case(
        lambda nn: nn.GaussianNLLLoss(full=True), (4,), (4,), np.full(4, 0.5)
    ),
    "hinge_embedding_loss": Case(lambda nn: nn.HingeEmbeddingLoss(), (4,), SIGNS),
    "margin_ranking_loss": Case(lambda nn: nn.MarginRankingLoss(0.1), (4,), (4,), SIGNS),
    "cosine_embedding_loss": Case(lambda nn: nn.CosineEmbeddingLoss(), (4, 3), (4, 3), SIGNS),
    "cosine_similarity": Case(lambda nn: nn.CosineSimilarity(0), (4, 3), (4, 3)),
    "pairwise_distance": Case(lambda nn: nn.PairwiseDistance(1, keepdim=True), (4, 3), (4, 3)),
    "triplet_margin_loss": Case(lambda nn: nn.TripletMarginLoss(), (4, 3), (4, 3), (4, 3)),
}
