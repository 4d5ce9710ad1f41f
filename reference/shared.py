"""Pieces that many losses share: batching, class weights, reductions and their derivatives."""

import numpy as np

from conformance.arithmetic import total
from conformance.arrays import NDArray


def reduced(losses: NDArray, reduction: str) -> NDArray:
    """Reduce the losses: `none` leaves them, `sum` adds them, `mean` divides the sum by their number.

    The mean of nothing is 0/0.
    """
    if reduction == "none":
        return losses
    summed = total(losses)
    return summed / summed.dtype.type(losses.size) if reduction == "mean" else summed


def reduced_vjp(cotangent: NDArray, shape: tuple[int, ...], reduction: str) -> NDArray:
    """Cotangent of the losses [shape], given the cotangent of their reduction."""
    if reduction == "none":
        return cotangent
    size = int(np.prod(shape))
    share = cotangent / cotangent.dtype.type(size) if reduction == "mean" else cotangent
    return np.broadcast_to(share, shape)


def batched(tensor: NDArray, rank: int) -> NDArray:
    """Give an unbatched tensor (one axis less than `rank`) a batch of one."""
    return tensor[np.newaxis] if tensor.ndim == rank - 1 else tensor


def one_hot(target: NDArray, classes: int) -> NDArray:
    """Mark the target class of each row: bool [N, C] from labels [N]."""
    return np.asarray(target[:, np.newaxis] == np.arange(classes))


def at_target(input: NDArray, target: NDArray) -> NDArray:
    """Pick input[n, target[n]] as [N, 1]."""
    return np.take_along_axis(input, target[:, np.newaxis].astype(np.int64), axis=1)
