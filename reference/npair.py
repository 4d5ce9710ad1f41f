"""The multi-class N-pair loss: a cross-entropy of similarities, and a regulariser of the embeddings."""

import numpy as np

from conformance.arithmetic import add, total
from conformance.arrays import NDArray
from conformance.definition import reference

from .stable import log_softmax_of, softmax_of


@reference(differentiable=("anchor", "positive"))
def npair_loss(anchor: NDArray, positive: NDArray, labels: NDArray, l2_reg: float = 0.002) -> NDArray:
    """Mean_i −Σ_j q[i, j] · log_softmax_j(a_i · p_j) + λ/4 · (mean_i ‖a_i‖² + mean_i ‖p_i‖²).

    The row q[i] is even over the j whose label is that of i, the only ones in the sum. Shapes: anchor and
    positive [N, E], labels [N]; the loss is a scalar. The factor 1/4 is of no document, but of the printed
    example.
    Source: https://www.paddlepaddle.org.cn/documentation/docs/en/3.3/api/paddle/nn/functional/npair_loss_en.html
    """
    even, logarithms = _even(labels, anchor), log_softmax_of(_similar(anchor, positive), 1)
    entropies = -total(np.where(even == 0, anchor.dtype.type(0), even * logarithms), axis=1)
    rows = anchor.dtype.type(len(anchor))
    return add(
        total(entropies) / rows,
        _share(l2_reg, anchor) * _norm(anchor),
        _share(l2_reg, anchor) * _norm(positive),
    )


@npair_loss.vjp
def _(
    cotangent: NDArray, anchor: NDArray, positive: NDArray, labels: NDArray, l2_reg: float
) -> dict[str, NDArray]:
    surplus = softmax_of(_similar(anchor, positive), 1) - _even(labels, anchor)
    rows, pull = anchor.dtype.type(len(anchor)), anchor.dtype.type(2) * _share(l2_reg, anchor)
    by_anchor = total(surplus[:, :, np.newaxis] * positive[np.newaxis], axis=1)
    by_positive = total(surplus[:, :, np.newaxis] * anchor[:, np.newaxis], axis=0)
    return {
        "anchor": np.asarray(cotangent / rows * (by_anchor + pull * anchor)),
        "positive": np.asarray(cotangent / rows * (by_positive + pull * positive)),
    }


@npair_loss.variant
def whole_regulariser(anchor: NDArray, positive: NDArray, labels: NDArray, l2_reg: float = 0.002) -> NDArray:
    """Take the regulariser without the factor 1/4, as its name promises."""
    return np.asarray(npair_loss.function(anchor, positive, labels, anchor.dtype.type(4) * l2_reg))


def _share(l2_reg: float, anchor: NDArray) -> NDArray:
    return np.asarray(l2_reg / anchor.dtype.type(4), anchor.dtype)


def _norm(x: NDArray) -> NDArray:
    """Mean of the squared lengths of the rows."""
    return np.asarray(total(total(x * x, axis=1)) / x.dtype.type(len(x)))


def _similar(anchor: NDArray, positive: NDArray) -> NDArray:
    """Dot product of each anchor with each positive, [N, N]."""
    return total(anchor[:, np.newaxis] * positive[np.newaxis], axis=2)


def _even(labels: NDArray, anchor: NDArray) -> NDArray:
    """1 / (how many rows have the label of row i) where row j is one of them, 0 elsewhere, [N, N]."""
    same = labels[:, np.newaxis] == labels[np.newaxis]
    return np.where(
        same, anchor.dtype.type(1) / total(same.astype(anchor.dtype), axis=1)[:, np.newaxis], 0
    ).astype(anchor.dtype)
