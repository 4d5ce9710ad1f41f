"""Regression losses: functions of the error x − y, elementwise, and two that reduce it for good."""

import numpy as np

from conformance.arithmetic import add, reach, sign, total
from conformance.arrays import NDArray
from conformance.definition import reference
from conformance.elementary import sqrt

from .shared import reduced, reduced_vjp
from .stable import unbroadcast


@reference(differentiable=("input", "target", "weight"))
def l1_loss(
    input: NDArray, target: NDArray, weight: NDArray | None = None, reduction: str = "mean"
) -> NDArray:
    """|x − y| · w, elementwise.

    Shapes: input and target [*], the same or broadcast; weight [*] that of the input; losses that of
    x − y. The mean is Σ loss / N over the N losses, with weights too.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.L1Loss.html
    """
    error = input - target
    reach("below", error < 0)
    reach("equal", error == 0)
    reach("above", error > 0)
    return reduced(_weighted(abs(error), weight), reduction)


@l1_loss.vjp
def _(
    cotangent: NDArray, input: NDArray, target: NDArray, weight: NDArray | None, reduction: str
) -> dict[str, NDArray]:
    error = input - target
    return _pulled_back(cotangent, input, target, weight, reduction, abs(error), sign(error))


@reference(differentiable=("input", "target", "weight"))
def mse_loss(
    input: NDArray, target: NDArray, weight: NDArray | None = None, reduction: str = "mean"
) -> NDArray:
    """(x − y)² · w, elementwise.

    Shapes: input and target [*], the same or broadcast; weight [*] that of the input; losses that of
    x − y. The mean is Σ loss / N over the N losses, with weights too.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.MSELoss.html
    """
    error = input - target
    return reduced(_weighted(error * error, weight), reduction)


@mse_loss.vjp
def _(
    cotangent: NDArray, input: NDArray, target: NDArray, weight: NDArray | None, reduction: str
) -> dict[str, NDArray]:
    error = input - target
    return _pulled_back(cotangent, input, target, weight, reduction, error * error, error + error)


@reference(differentiable=("input", "target"))
def smooth_l1_loss(input: NDArray, target: NDArray, beta: float = 1.0, reduction: str = "mean") -> NDArray:
    """(x − y)² / 2β where |x − y| < β, |x − y| − β/2 elsewhere: the Huber loss of β, divided by β.

    Shapes: input and target [*], the same or broadcast; losses that of x − y. For β = 0 nothing is
    smoothed: it is |x − y|. The square is never formed by itself, so it cannot overflow before it is divided.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.SmoothL1Loss.html
    """
    size = abs(input - target)
    half, divisor = size.dtype.type(0.5), _divisor(beta, size)
    smoothed = reach("quadratic", size < beta)
    reach("linear", size >= beta)
    losses = np.where(smoothed, half * size * (size / divisor), add(size, -half * beta))
    return reduced(losses, reduction)


@smooth_l1_loss.vjp
def _(cotangent: NDArray, input: NDArray, target: NDArray, beta: float, reduction: str) -> dict[str, NDArray]:
    error = input - target
    smoothed = abs(error) < beta
    slope = np.where(smoothed, error / _divisor(beta, error), sign(np.where(smoothed, beta, error)))
    return _pulled_back(cotangent, input, target, None, reduction, error, slope)


@smooth_l1_loss.variant
def beta_ignored(input: NDArray, target: NDArray, beta: float = 1.0, reduction: str = "mean") -> NDArray:
    """Take a beta that is not positive as not given: as 1."""
    one = input.dtype.type(1)
    return np.asarray(smooth_l1_loss.function(input, target, beta if beta > 0 else one, reduction))


@reference(differentiable=("input", "target", "weight"))
def huber_loss(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    delta: float = 1.0,
    reduction: str = "mean",
) -> NDArray:
    """(x − y)² / 2 · w where |x − y| < δ, δ · (|x − y| − δ/2) · w elsewhere: δ times the smooth L1 loss of δ.

    Shapes: input and target [*], the same or broadcast; weight [*] that of the input; losses that of
    x − y. The mean is Σ loss / N over the N losses, with weights too.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.HuberLoss.html
    """
    error = input - target
    reach("quadratic", abs(error) < delta)
    reach("linear", abs(error) >= delta)
    return reduced(_weighted(_huber(error, delta), weight), reduction)


@huber_loss.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    weight: NDArray | None,
    delta: float,
    reduction: str,
) -> dict[str, NDArray]:
    error = input - target
    squared = abs(error) < delta
    slope = np.where(squared, error, delta * sign(np.where(squared, delta, error)))
    return _pulled_back(cotangent, input, target, weight, reduction, _huber(error, delta), slope)


@huber_loss.variant
def delta_ignored(
    input: NDArray,
    target: NDArray,
    weight: NDArray | None = None,
    delta: float = 1.0,
    reduction: str = "mean",
) -> NDArray:
    """Take a delta that is not positive as not given: as 1."""
    one = input.dtype.type(1)
    return np.asarray(huber_loss.function(input, target, weight, delta if delta > 0 else one, reduction))


@reference(differentiable=("input", "target"))
def rmse_loss(input: NDArray, target: NDArray) -> NDArray:
    """√(Σ (x − y)² / N) over all N elements.

    Shapes: input and target [*], the same or broadcast; loss []. The largest error is taken out of the
    squares, which so neither overflow nor vanish. Where every error is 0 the root has a kink: its
    subgradients are the vectors no longer than 1/√N.
    Source: https://www.mindspore.cn/docs/en/r2.10.0/api_python/nn/mindspore.nn.RMSELoss.html
    """
    root, _ = _root_mean_square(input - target)
    return root


@rmse_loss.vjp
def _(cotangent: NDArray, input: NDArray, target: NDArray) -> dict[str, NDArray]:
    error = input - target
    root, size = _root_mean_square(error)
    at_kink = root.dtype.type(1) / sqrt(size)
    slope = np.where(root == 0, at_kink, error / np.where(root == 0, root.dtype.type(1), root) / size)
    return _pulled_back(cotangent, input, target, None, "sum", error, sign(root) * slope)


@reference(differentiable=("input",))
def l2_loss(input: NDArray) -> NDArray:
    """Σ x² / 2 over all elements: half the squared norm, not half the norm.

    Shapes: input [*]; loss [].
    Source: https://www.mindspore.cn/docs/en/r2.10.0/api_python/ops/mindspore.ops.L2Loss.html
    """
    return total(input.dtype.type(0.5) * input * input)


@l2_loss.vjp
def _(cotangent: NDArray, input: NDArray) -> dict[str, NDArray]:
    return {"input": cotangent * input}


def _weighted(losses: NDArray, weight: NDArray | None) -> NDArray:
    return losses if weight is None else losses * weight


def _pulled_back(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    weight: NDArray | None,
    reduction: str,
    losses: NDArray,
    slope: NDArray,
) -> dict[str, NDArray]:
    """Gradients of reduced w · f(x − y), given the unweighted losses f and the slope f′ [that of x − y]."""
    each = reduced_vjp(cotangent, _weighted(losses, weight).shape, reduction)
    by_error = _weighted(each, weight) * slope
    gradients = {
        "input": unbroadcast(by_error, input.shape),
        "target": unbroadcast(-by_error, target.shape),
    }
    if weight is not None:
        gradients["weight"] = unbroadcast(each * losses, weight.shape)
    return gradients


def _divisor(beta: float, like: NDArray) -> float:
    """β where it divides; where nothing is smoothed, 1, which divides nothing that is kept."""
    return beta if beta > 0 else like.dtype.type(1)


def _huber(error: NDArray, delta: float) -> NDArray:
    size, half = abs(error), error.dtype.type(0.5)
    return np.where(size < delta, half * size * size, delta * add(size, -half * delta))


def _root_mean_square(error: NDArray) -> tuple[NDArray, NDArray]:
    """√(Σ error² / N) [] and N [], with the largest error taken out before squaring."""
    size = error.dtype.type(error.size)
    largest = np.max(abs(error), initial=error.dtype.type(0))
    scale = np.where(np.isfinite(largest) & (largest > 0), largest, error.dtype.type(1))
    scaled = error / scale
    return np.asarray(scale * sqrt(total(scaled * scaled) / size)), np.asarray(size)
