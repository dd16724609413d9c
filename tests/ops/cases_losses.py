"""Cases of minidl/ops/losses.py and minidl/ops/classification.py."""

from typing import Any

from cases import A, Case, D, Drawing, I, P


class Signs(Drawing):
    """1 and -1 as floats that no gradient is asked of."""

    def draw(self, rng: Any) -> Any:
        return rng.choice([-1.0, 1.0], self.shape)


def signs(*shape: Any) -> Any:
    return Signs("sign", shape, constant=True)


def chance(*shape: Any, constant: Any = False) -> Any:
    """Probabilities away from 0 and 1."""
    return P(*shape, low=0.1, high=0.9, constant=constant)


def positive(*shape: Any) -> Any:
    return P(*shape, constant=True)


def of_label(torch: Any, x: Any, target: Any, weight: Any = None, ignore_index: Any = -100) -> Any:
    return torch.nn.functional.cross_entropy(
        x, target, weight, ignore_index=ignore_index, reduction="none"
    )


def of_logits(torch: Any, x: Any, target: Any) -> Any:
    """PyTorch's loss of logits, element by element."""
    return torch.nn.functional.binary_cross_entropy_with_logits(x, target, reduction="none")


def of_logits_mean(torch: Any, x: Any, target: Any) -> Any:
    """The same, its mean."""
    return torch.nn.functional.binary_cross_entropy_with_logits(x, target)


def mean_kl_div(torch: Any, x: Any, target: Any) -> Any:
    """PyTorch warns of reduction="mean"."""
    return torch.nn.functional.kl_div(x, target, reduction="sum") / x.numel()


CASES = {
    "mse_loss": [
        Case(A(2, 3), A(2, 3)),
        Case(A(3), A(3), reduction="sum"),
        Case(A(2, 1), A(2, 1), reduction="none"),
        Case(A(0), A(0), reduction="sum"),
        Case(A(2, 3), A(2, 3), weight=P(2, 3)),
        Case(A(3), A(3), reduction="sum", weight=P(3)),
    ],
    "l1_loss": [
        Case(A(2, 3), P(2, 3, low=3, high=4)),
        Case(A(3), P(3, low=3, high=4), reduction="none"),
        Case(A(2, 3), P(2, 3, low=3, high=4), weight=P(2, 3)),
        Case(A(3), P(3, low=3, high=4), reduction="none", weight=P(3)),
    ],
    "smooth_l1_loss": [
        Case(P(6, low=-0.4, high=0.4), P(6, low=-0.4, high=0.4)),
        Case(A(4), P(4, low=3.5, high=4), reduction="none"),
        Case(P(4, low=1, high=2), P(4, low=-1, high=0), reduction="sum", beta=0.25),
        Case(P(4, low=1, high=2), P(4, low=-1, high=0), beta=0.0),
    ],
    "huber_loss": [
        Case(P(6, low=-0.4, high=0.4), P(6, low=-0.4, high=0.4)),
        Case(P(4, low=1, high=2), P(4, low=-1, high=0), reduction="sum", delta=0.25),
        Case(P(4, low=-0.4, high=0.4), P(4, low=-0.4, high=0.4), reduction="none", delta=2.0),
        Case(P(6, low=-0.4, high=0.4), P(6, low=-0.4, high=0.4), weight=P(6)),
    ],
    "gaussian_nll_loss": [
        Case(A(2, 3), A(2, 3), P(2, 3)),
        Case(A(2, 3), A(2, 3), P(2, 1), True),
        Case(A(2, 3), A(2, 3), P(2), reduction="none"),
        Case(A(3), A(3), P(3, low=1, high=2), eps=0.5, reduction="sum"),
    ],
    "poisson_nll_loss": [
        Case(A(4), positive(4)),
        Case(P(4), positive(4), log_input=False, full=True),
        Case(A(6), P(6, high=4, constant=True), full=True, reduction="none"),
        Case(P(3), positive(3), log_input=False, eps=0.1, reduction="sum"),
    ],
    "cosine_similarity": [
        Case(A(2, 3), A(2, 3)),
        Case(A(3, 2), A(3, 2), 0),
        Case(A(2, 3), A(1, 3)),
        Case(A(2, 3), A(2, 3), dim=-1, eps=0.1),
    ],
    "pairwise_distance": [
        Case(A(2, 3), A(2, 3)),
        Case(D(3), P(3, low=-9, high=-8), 1.0, keepdim=True),
        Case(P(2, 3), P(2, 3, low=3, high=4), 3, 0.1),
    ],
    "cosine_embedding_loss": [
        Case(A(4, 3), A(4, 3), signs(4), -1.5),
        Case(A(3), A(3), signs(), 1.5),
        Case(A(2, 3), A(2, 3), signs(2), -2.0, reduction="sum"),
    ],
    "margin_ranking_loss": [
        Case(A(4), A(4), signs(4), 5.0),
        Case(A(4), A(4), signs(4), -5.0),
        Case(P(4), P(4), signs(4), 2.5, reduction="none"),
    ],
    "hinge_embedding_loss": [
        Case(P(6, high=0.9), signs(6)),
        Case(P(6, low=1.5), signs(6), reduction="none"),
        Case(P(6), signs(6), margin=2.5, reduction="sum"),
    ],
    "triplet_margin_loss": [
        Case(A(2, 3), A(2, 3), A(2, 3), 9.0),
        Case(A(2, 3), P(2, 3, low=8, high=9), A(2, 3), swap=True, reduction="none"),
        Case(P(2, 3), P(2, 3, low=3, high=4), P(2, 3, low=-2, high=-1), 9.0, 3.0, reduction="sum"),
    ],
    # ---- classes ----
    "label_cross_entropy": [
        Case(A(4, 3), I(3, 4), torch=of_label),
        Case(A(2, 3, 2), I(3, 2, 2), positive(3), 1, torch=of_label),
    ],
    "logistic_loss": [
        Case(A(3, 4), chance(3, 4), torch=of_logits),
        Case(A(9), A(9), torch=of_logits),
    ],
    "mean_logistic_loss": [
        Case(A(3, 4), chance(3, 4), torch=of_logits_mean),
        Case(A(9), A(9), torch=of_logits_mean),
    ],
    "cross_entropy": [
        Case(A(4, 3), I(3, 4)),
        Case(A(4, 3), I(3, 4), positive(3)),
        Case(A(3), I(3)),
        Case(A(3), I(3), positive(3), reduction="none"),
        Case(A(2, 3, 2, 2), I(3, 2, 2, 2), reduction="none"),
        Case(A(2, 3, 9), I(3, 2, 9), positive(3), ignore_index=1),
        Case(A(6, 3), I(3, 6), ignore_index=0, reduction="sum", label_smoothing=0.1),
        Case(A(5, 3), I(3, 5), positive(3), label_smoothing=0.3),
        Case(A(5, 3), I(3, 5), positive(3), label_smoothing=1.0, reduction="none"),
        Case(A(2, 3), chance(2, 3)),
        Case(A(3), chance(3), positive(3)),
        Case(A(2, 3, 2), chance(2, 3, 2), positive(3), label_smoothing=0.2),
        Case(A(2, 3), chance(2, 3), reduction="none"),
        Case(A(0, 3), I(3, 0), reduction="sum"),
        Case(A(2, 1), I(1, 2)),
    ],
    "nll_loss": [
        Case(A(4, 3), I(3, 4)),
        Case(A(4, 3), I(3, 4), positive(3)),
        Case(A(3), I(3)),
        Case(A(2, 3, 9), I(3, 2, 9), positive(3), ignore_index=2),
        Case(A(2, 3, 2, 2), I(3, 2, 2, 2), reduction="none"),
        Case(A(0, 3), I(3, 0), reduction="sum"),
    ],
    "bernoulli_nll": [
        Case(
            chance(2, 3),
            chance(2, 3),
            torch=lambda torch, x, t: torch.nn.functional.binary_cross_entropy(
                x, t, reduction="none"
            ),
        ),
    ],
    "binary_cross_entropy": [
        Case(chance(2, 3), chance(2, 3)),
        Case(chance(2, 3), chance(2, 3), positive(3), reduction="sum"),
        Case(chance(3), chance(3), reduction="none"),
    ],
    "binary_cross_entropy_with_logits": [
        Case(A(2, 3), chance(2, 3)),
        Case(A(2, 3), chance(2, 3), positive(3), reduction="sum"),
        Case(A(2, 3), chance(2, 3), pos_weight=positive(3), reduction="none"),
    ],
    "kl_div": [
        Case(A(2, 3), P(2, 3), torch=mean_kl_div),
        Case(A(2, 3), P(2, 3), reduction="batchmean"),
        Case(A(2, 3), A(2, 3), reduction="sum", log_target=True),
        Case(A(3), P(3), reduction="none"),
    ],
}
