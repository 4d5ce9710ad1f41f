"""Losses over trees of classes: a class's probability is the product of the choices on its path."""

from collections.abc import Iterator

import numpy as np

from conformance.arithmetic import gated, reach, total
from conformance.arrays import NDArray
from conformance.definition import reference
from conformance.elementary import exp

from .shared import at_target, batched, one_hot
from .stable import kept_as, log_softmax_of, sigmoid_of, softplus_of


@reference(differentiable=("input", "weight", "bias"))
def hsigmoid_loss(
    input: NDArray,
    label: NDArray,
    weight: NDArray,
    bias: NDArray | None = None,
    path_table: NDArray | None = None,
    path_code: NDArray | None = None,
    num_classes: int = 5,
    feature_size: int = 4,
    is_custom: bool = False,
    is_sparse: bool = False,
) -> NDArray:
    """Σ_j softplus(−z_j) where the path goes right (code 1), softplus(z_j) where it goes left (code 0).

    z_j = w[n_j]·x + b[n_j] for each node n_j on the path from the leaf of the row's class to the root, so
    the loss is −log of the class's probability. Without a path of its own the tree of C classes is the
    complete one in heap order: node k has the children 2k and 2k + 1, the root is 1, class c is the leaf
    C + c, and node k has row k − 1 of the weight.
    Shapes: input [N, D], label [N, 1] or [N], weight [C − 1, D], bias [C − 1, 1], paths and codes [N, L];
    losses [N, 1]. With paths the weight has a row for each number that may stand in them.
    Source: https://www.paddlepaddle.org.cn/documentation/docs/en/3.3/api/paddle/nn/functional/hsigmoid_loss_en.html
    """
    del feature_size, is_custom, is_sparse  # how an API is told of the shapes, and stores a gradient
    nodes, codes, there = _paths(label, path_table, path_code, num_classes, len(weight))
    z = _choices(input, weight, bias, nodes)
    costs = np.where(codes == 1, softplus_of(-z), softplus_of(z))
    return total(np.where(there, costs, input.dtype.type(0)), axis=1)[:, np.newaxis]


@hsigmoid_loss.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    label: NDArray,
    weight: NDArray,
    bias: NDArray | None,
    path_table: NDArray | None,
    path_code: NDArray | None,
    num_classes: int,
    feature_size: int,
    is_custom: bool,
    is_sparse: bool,
) -> dict[str, NDArray]:
    del feature_size, is_custom, is_sparse
    nodes, codes, there = _paths(label, path_table, path_code, num_classes, len(weight))
    choices = _choices(input, weight, bias, nodes)
    taken = sigmoid_of(choices)
    # σ − 1 is −σ(−z): programs that subtract keep it as exact as σ is.
    slopes = np.where(codes == 1, -kept_as(taken, sigmoid_of(-choices)), taken)
    by_choice = np.where(there, cotangent * slopes, input.dtype.type(0))[:, :, np.newaxis]
    by_input = np.where(there[:, :, np.newaxis], gated(weight[nodes], by_choice), input.dtype.type(0))
    gradients = {"input": total(by_input, axis=1)}
    # [N·L, rows]: which choice is made with which row of the weight
    of_row = (nodes[:, :, np.newaxis] == np.arange(len(weight))) & there[:, :, np.newaxis]
    chosen = of_row.reshape(nodes.size, len(weight))[:, :, np.newaxis]
    by_weight = gated(input[:, np.newaxis, :], by_choice).reshape(nodes.size, 1, input.shape[1])
    gradients["weight"] = total(np.where(chosen, by_weight, input.dtype.type(0)), axis=0)
    if bias is not None:
        by_bias = np.where(chosen[:, :, 0], by_choice.reshape(nodes.size, 1), input.dtype.type(0))
        gradients["bias"] = total(by_bias, axis=0).reshape(bias.shape)
    return gradients


def _paths(
    label: NDArray, path_table: NDArray | None, path_code: NDArray | None, num_classes: int, rows: int
) -> tuple[NDArray, NDArray, NDArray]:
    """Return the rows of the weight, the codes, and which of them are on the path at all: each [N, L]."""
    if path_table is not None and path_code is not None:
        nodes, codes = path_table.astype(np.int64), path_code.astype(np.int64)
        there = np.ones(nodes.shape, bool)
    else:
        leaves = label.reshape(-1, 1).astype(np.int64) + num_classes
        steps = np.arange((2 * num_classes - 1).bit_length() - 1)
        parents, codes = leaves >> (steps + 1), (leaves >> steps) & 1
        there, nodes = parents > 0, np.maximum(parents - 1, 0)
    reach("right", there & (codes == 1))
    reach("left", there & (codes == 0))
    reach("shorter path", ~there)
    return nodes % rows, codes, there  # no tree has a node that the weight has no row for


def _choices(input: NDArray, weight: NDArray, bias: NDArray | None, nodes: NDArray) -> NDArray:
    """Return w[n]·x + b[n] [N, L] for the nodes [N, L] of each row's path."""
    z = total(input[:, np.newaxis, :] * weight[nodes], axis=2)
    return z if bias is None else z + bias.reshape(-1)[nodes]


@reference(
    differentiable=("input", "head_weight", "tail1_in", "tail1_out", "head_bias", "tail2_in", "tail2_out")
)
def adaptive_log_softmax(
    input: NDArray,
    target: NDArray,
    head_weight: NDArray,
    tail1_in: NDArray,
    tail1_out: NDArray,
    head_bias: NDArray | None = None,
    tail2_in: NDArray | None = None,
    tail2_out: NDArray | None = None,
    in_features: int = 32,
    n_classes: int = 16,
    cutoffs: tuple[int, ...] = (4, 10),
    buckets: tuple[int, ...] = (4, 10, 16),
    with_bias: bool = False,
) -> NDArray:
    """Return log p(target): the head's log_softmax at the class or its cluster, plus the cluster's.

    The head W·x + b has the frequent classes first and then one score for each cluster i of rare ones, whose
    scores are Out_i·In_i·x. The weights' shapes say which class is where; the other arguments repeat it.
    Shapes: input [N, D] or [D], target [N] or [], head_weight [S + K, D], head_bias [S + K], for each of K
    clusters In_i [H_i, D] and Out_i [C_i, H_i]; result [N] or [].
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.AdaptiveLogSoftmaxWithLoss.html
    """
    del in_features, n_classes, cutoffs, buckets, with_bias
    x, y = batched(input, 2), batched(target, 1).astype(np.int64)
    tails = _tails(tail1_in, tail1_out, tail2_in, tail2_out)
    ends = _ends(head_weight, tails)
    result = at_target(log_softmax_of(_linear(x, head_weight, head_bias), axis=1), _in_head(y, ends))[:, 0]
    for rows, labels, into, out in _clusters(y, ends, tails):
        scores = _linear(_linear(x[rows], into, None), out, None)
        result[rows] = at_target(log_softmax_of(scores, axis=1), labels)[:, 0] + result[rows]
    return result.reshape(target.shape)


@adaptive_log_softmax.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    head_weight: NDArray,
    tail1_in: NDArray,
    tail1_out: NDArray,
    head_bias: NDArray | None,
    tail2_in: NDArray | None,
    tail2_out: NDArray | None,
    in_features: int,
    n_classes: int,
    cutoffs: tuple[int, ...],
    buckets: tuple[int, ...],
    with_bias: bool,
) -> dict[str, NDArray]:
    del in_features, n_classes, cutoffs, buckets, with_bias
    x, y = batched(input, 2), batched(target, 1).astype(np.int64)
    tails = _tails(tail1_in, tail1_out, tail2_in, tail2_out)
    ends, each = _ends(head_weight, tails), cotangent.reshape(y.shape)
    by_head = _by_scores(each, _linear(x, head_weight, head_bias), _in_head(y, ends))
    by_input = _matmul(by_head, head_weight)
    gradients = {"head_weight": _matmul(by_head.T, x), "head_bias": total(by_head, axis=0)}
    # A cluster of which one layer is missing is none: what there is of it has no part in the result.
    gradients |= {"tail2_in": np.zeros_like(tail1_in if tail2_in is None else tail2_in)}
    gradients |= {"tail2_out": np.zeros_like(tail1_out if tail2_out is None else tail2_out)}
    for number, (rows, labels, into, out) in enumerate(_clusters(y, ends, tails), 1):
        hidden = _linear(x[rows], into, None)
        by_scores = _by_scores(each[rows], _linear(hidden, out, None), labels)
        by_hidden = _matmul(by_scores, out)
        by_input[rows] = by_input[rows] + _matmul(by_hidden, into)
        gradients[f"tail{number}_out"] = _matmul(by_scores.T, hidden)
        gradients[f"tail{number}_in"] = _matmul(by_hidden.T, x[rows])
    return gradients | {"input": by_input.reshape(input.shape)}


@reference(
    differentiable=("input", "head_weight", "tail1_in", "tail1_out", "head_bias", "tail2_in", "tail2_out")
)
def adaptive_log_softmax_with_loss(
    input: NDArray,
    target: NDArray,
    head_weight: NDArray,
    tail1_in: NDArray,
    tail1_out: NDArray,
    head_bias: NDArray | None = None,
    tail2_in: NDArray | None = None,
    tail2_out: NDArray | None = None,
    in_features: int = 32,
    n_classes: int = 16,
    cutoffs: tuple[int, ...] = (4, 10),
    buckets: tuple[int, ...] = (4, 10, 16),
    with_bias: bool = False,
) -> NDArray:
    """−Σ log p(target) / N, the mean over the batch of what `adaptive_log_softmax` gives.

    Shapes: as `adaptive_log_softmax`; result [].
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.AdaptiveLogSoftmaxWithLoss.html
    """
    del in_features, n_classes, cutoffs, buckets, with_bias
    tails = (tail1_in, tail1_out, head_bias, tail2_in, tail2_out)
    each = adaptive_log_softmax.function(input, target, head_weight, *tails)
    return np.asarray(total(-each.reshape(-1)) / input.dtype.type(target.size))


@adaptive_log_softmax_with_loss.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    head_weight: NDArray,
    tail1_in: NDArray,
    tail1_out: NDArray,
    head_bias: NDArray | None,
    tail2_in: NDArray | None,
    tail2_out: NDArray | None,
    in_features: int,
    n_classes: int,
    cutoffs: tuple[int, ...],
    buckets: tuple[int, ...],
    with_bias: bool,
) -> dict[str, NDArray]:
    each = np.broadcast_to(-cotangent / cotangent.dtype.type(target.size), target.shape)
    tails = (tail1_in, tail1_out, head_bias, tail2_in, tail2_out)
    told = (in_features, n_classes, cutoffs, buckets, with_bias)
    vjp = adaptive_log_softmax.vjp_function
    assert vjp is not None
    return vjp(each, input, target, head_weight, *tails, *told)


Tail = tuple[NDArray, NDArray]


def _tails(
    tail1_in: NDArray, tail1_out: NDArray, tail2_in: NDArray | None, tail2_out: NDArray | None
) -> list[Tail]:
    """Return (In, Out) of each cluster that there is."""
    first = [(tail1_in, tail1_out)]
    return first if tail2_in is None or tail2_out is None else [*first, (tail2_in, tail2_out)]


def _ends(head_weight: NDArray, tails: list[Tail]) -> list[int]:
    """Return the class behind the last of the head, of the first cluster, and so on."""
    sizes = [len(head_weight) - len(tails), *(len(out) for _, out in tails)]
    return [sum(sizes[: last + 1]) for last in range(len(sizes))]


def _in_head(y: NDArray, ends: list[int]) -> NDArray:
    """Return where in the head each label [N] is found: itself, or its cluster behind the last class."""
    cluster = np.sum(y[:, np.newaxis] >= np.asarray(ends[:-1]), axis=1)
    for number, name in enumerate(("head", "first cluster", "second cluster")):
        reach(name, cluster == number)
    return np.where(cluster == 0, y, ends[0] + cluster - 1)


def _clusters(
    y: NDArray, ends: list[int], tails: list[Tail]
) -> Iterator[tuple[NDArray, NDArray, NDArray, NDArray]]:
    """Yield for each cluster: the rows [M] whose label is in it, the labels within it, In and Out."""
    for number, (into, out) in enumerate(tails):
        rows = np.flatnonzero((y >= ends[number]) & (y < ends[number + 1]))
        yield rows, y[rows] - ends[number], into, out


def _by_scores(each: NDArray, scores: NDArray, labels: NDArray) -> NDArray:
    """Return the derivative of Σ each·log_softmax(scores)[labels] by the scores [N, C]."""
    mine = one_hot(labels, scores.shape[1]).astype(scores.dtype)
    return np.asarray(each[:, np.newaxis] * (mine - exp(log_softmax_of(scores, axis=1))))


def _linear(x: NDArray, weight: NDArray, bias: NDArray | None) -> NDArray:
    """x·Wᵀ + b [N, C] for rows x [N, D] and a weight [C, D]."""
    scores = _matmul(x, weight.T)
    return scores if bias is None else scores + bias


def _matmul(a: NDArray, b: NDArray) -> NDArray:
    """a·b [N, M] for a [N, K] and b [K, M], with the sums that the context's order asks for."""
    return total(a[:, :, np.newaxis] * b[np.newaxis], axis=1)
