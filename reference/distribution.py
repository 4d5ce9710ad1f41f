"""Losses that are negative log-likelihoods of a distribution, or divergences between two."""

import numpy as np

from conformance.arithmetic import add, clamped_below, gated, reach, step, total
from conformance.arrays import NDArray
from conformance.definition import reference
from conformance.elementary import exp, log, power, sqrt

from .shared import reduced, reduced_vjp
from .stable import unbroadcast

# ruff: noqa: ARG001 - a variant may need less than the op

TWO_PI = np.longdouble("6.28318530717958647692528676655900577")
HALF_LOG_TWO_PI = np.longdouble("0.91893853320467274178032973640561764")


@reference(differentiable=("input", "target"))
def kl_div(input: NDArray, target: NDArray, log_target: bool = False, reduction: str = "mean") -> NDArray:
    """t·(log t − x), elementwise, for log-probabilities x and probabilities t; 0·log 0 is 0.

    With `log_target` the target is a logarithm too: e^t·(t − x). Shapes: input and target [*], which
    broadcast; losses [*]. `batchmean` divides the sum by the length of the input's first axis, the
    number of distributions; only then is the loss the mean divergence.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.KLDivLoss.html
    """
    if log_target:
        return _batch_reduced(exp(target) * (target - input), input, reduction)
    zero = reach("zero target", target == 0)
    losses = np.where(zero, -target * input, target * (log(target) - input))
    return _batch_reduced(losses, input, reduction)


@kl_div.vjp
def _(
    cotangent: NDArray, input: NDArray, target: NDArray, log_target: bool, reduction: str
) -> dict[str, NDArray]:
    shape = np.broadcast_shapes(input.shape, target.shape)
    each = _batch_reduced_vjp(cotangent, shape, input, reduction)
    one = target.dtype.type(1)
    if log_target:
        weight = exp(target)
        slope = weight * add(target, -input, one)
    else:
        weight = target
        slope = add(log(target), -input, one)
    return {
        "input": unbroadcast(np.asarray(-each * weight), input.shape),
        "target": unbroadcast(np.asarray(each * slope), target.shape),
    }


@kl_div.variant
def log_of_input(
    input: NDArray, target: NDArray, log_target: bool = False, reduction: str = "mean"
) -> NDArray:
    """t·(log t − log x): takes probabilities, not their logarithms, as its input."""
    return np.asarray(kl_div.function(log(input), target, log_target, reduction))


@kl_div.variant
def batchmean_of_shape_n(
    input: NDArray, target: NDArray, log_target: bool = False, reduction: str = "mean"
) -> NDArray:
    """Return the sum divided by the batch size as a tensor [N] where the reduction is `batchmean`."""
    loss = kl_div.function(input, target, log_target, reduction)
    return np.broadcast_to(loss, input.shape[:1]) if reduction == "batchmean" else loss


def _batch_size(input: NDArray) -> int:
    """Return the length of the first axis; a tensor without axes is one distribution."""
    return len(input) if input.ndim else 1


def _batch_reduced(losses: NDArray, input: NDArray, reduction: str) -> NDArray:
    if reduction == "batchmean":
        summed = total(losses)
        return np.asarray(summed / summed.dtype.type(_batch_size(input)))
    return reduced(losses, reduction)


def _batch_reduced_vjp(cotangent: NDArray, shape: tuple[int, ...], input: NDArray, reduction: str) -> NDArray:
    if reduction == "batchmean":
        return np.broadcast_to(cotangent / cotangent.dtype.type(_batch_size(input)), shape)
    return reduced_vjp(cotangent, shape, reduction)


@reference(differentiable=("input", "target"))
def poisson_nll_loss(
    input: NDArray,
    target: NDArray,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> NDArray:
    """e^x − t·x, elementwise, for a count t and the logarithm x of its rate.

    Without `log_input` x is the rate: x − t·log(x + ε). `full` adds Stirling's approximation of log t!,
    t·log t − t + log(2πt)/2, where t > 1 and nothing elsewhere: it jumps at t = 1, where it is 0.
    Shapes: input and target [*], the same; losses [*].
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.PoissonNLLLoss.html
    """
    losses = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        counted = reach("stirling", _above_one(target) > 0)
        losses = np.where(counted, losses + _stirling(target), losses)
    return reduced(losses, reduction)


@poisson_nll_loss.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    log_input: bool,
    full: bool,
    eps: float,
    reduction: str,
) -> dict[str, NDArray]:
    each = reduced_vjp(cotangent, input.shape, reduction)
    if log_input:
        by_input, logarithm = each * exp(input) - each * target, input
    else:
        # A quotient, as honest programs have it: of a product, or a product with a reciprocal.
        by_input, logarithm = each - each * target * power(input + eps, -1), log(input + eps)
    beyond, t = _above_one(target), np.where(target > 1, target, target.dtype.type(1))
    by_stirling = each * t.dtype.type(0.5) / t
    by_target = np.asarray(-each * logarithm)
    if full:
        by_target = add(by_target, gated(np.asarray(each * log(t)), beyond), gated(by_stirling, beyond))
    return {"input": np.asarray(by_input), "target": by_target}


@poisson_nll_loss.variant
def log_of_target(
    input: NDArray,
    target: NDArray,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> NDArray:
    """Return x − t·log t, with the logarithm of the target where that of the input belongs."""
    return reduced(input - target * log(target), reduction)


@poisson_nll_loss.variant
def clamped_input(
    input: NDArray,
    target: NDArray,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> NDArray:
    """Return x − t·log max(x, ε): ε as a lower bound of the rate, not added to it."""
    if log_input:
        return np.asarray(poisson_nll_loss.function(input, target, log_input, full, eps, reduction))
    losses = input - target * log(clamped_below(input, eps))
    return reduced(np.where(target > 1, losses + _stirling(target), losses) if full else losses, reduction)


@poisson_nll_loss.variant
def stirling_everywhere(
    input: NDArray,
    target: NDArray,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> NDArray:
    """Add Stirling's approximation for every target where `full` asks for it, at t ≤ 1 too."""
    losses = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        stirling = add(target * log(target), -target, log(target.dtype.type(TWO_PI) * target) / 2)
        losses = losses + stirling
    return reduced(losses, reduction)


def _above_one(target: NDArray) -> NDArray:
    """1 where t > 1, 0 elsewhere. A jump, not a kink: at t = 1 the definition decides, and says 0."""
    beyond = target - target.dtype.type(1)
    return step(np.where(beyond == 0, target.dtype.type(-1), beyond))


def _stirling(target: NDArray) -> NDArray:
    """t·log t − t + log(2πt)/2 where t > 1; elsewhere a number that nobody looks at."""
    t = np.where(target > 1, target, target.dtype.type(1))
    return add(t * log(t), -t, t.dtype.type(0.5) * log(t.dtype.type(TWO_PI) * t))


@reference(differentiable=("input", "target", "var"))
def gaussian_nll_loss(
    input: NDArray,
    target: NDArray,
    var: NDArray,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
    through_clamp: bool = True,
) -> NDArray:
    """(log v + (x − t)²/v) / 2 with v = max(var, ε), elementwise; `full` adds log(2π)/2.

    Shapes: input [*]; target and var broadcast to it; a var [*] without the input's last axis has one
    variance for each row of it. `through_clamp` says what the gradient by var is where the clamp holds:
    what it would be at v (the clamp is ignored), or 0, the derivative of the formula.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.GaussianNLLLoss.html
    """
    v = clamped_below(_aligned(var, input), eps)
    reach("clamped", var < eps)
    half = input.dtype.type(0.5)
    deviation = (input - target) / sqrt(v)
    losses = add(
        half * log(v), half * deviation * deviation, input.dtype.type(HALF_LOG_TWO_PI if full else 0)
    )
    return reduced(losses, reduction)


@gaussian_nll_loss.vjp
def _(
    cotangent: NDArray,
    input: NDArray,
    target: NDArray,
    var: NDArray,
    full: bool,
    eps: float,
    reduction: str,
    through_clamp: bool,
) -> dict[str, NDArray]:
    aligned = _aligned(var, input)
    v = clamped_below(aligned, eps)
    shape = np.broadcast_shapes(input.shape, target.shape, v.shape)
    each = reduced_vjp(cotangent, shape, reduction)
    difference, half = input - target, input.dtype.type(0.5)
    by_input = np.asarray(each * (difference / v))
    deviation = difference / sqrt(v)
    by_var = np.asarray(each * (half / v - half / v * deviation * deviation))
    if not through_clamp:
        by_var = gated(by_var, np.broadcast_to(step(aligned - eps), shape))
    return {
        "input": unbroadcast(by_input, input.shape),
        "target": unbroadcast(-by_input, target.shape),
        "var": unbroadcast(by_var, aligned.shape).reshape(var.shape),
    }


@gaussian_nll_loss.variant
def eps_added(
    input: NDArray,
    target: NDArray,
    var: NDArray,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
    through_clamp: bool = True,
) -> NDArray:
    """Take v = var + ε, not max(var, ε)."""
    return np.asarray(gaussian_nll_loss.function(input, target, var + eps, full, eps, reduction))


def _aligned(var: NDArray, input: NDArray) -> NDArray:
    """Give a var that lacks the input's last axis one of length 1."""
    lacking = var.shape != input.shape and var.shape == input.shape[:-1]
    return var[..., np.newaxis] if reach("one variance a row", lacking) else var
