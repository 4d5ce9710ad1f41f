"""Losses of sequences: sums over every alignment of a label sequence with the frames of an input.

Each is −log Σ_paths Π of emissions, taken forwards and backwards through time in log space. The
probability that an alignment goes through a state of the lattice, its occupancy, is the derivative.
"""

from dataclasses import dataclass

import numpy as np

from conformance.arithmetic import add, off_by_rounding, reach, total
from conformance.arrays import NDArray
from conformance.definition import reference
from conformance.elementary import exp, log

from .shared import reduced, reduced_vjp
from .stable import log_softmax_of, softmax_of


@reference(differentiable=("log_probs",))
def ctc_loss(
    log_probs: NDArray,
    targets: NDArray,
    input_lengths: NDArray,
    target_lengths: NDArray,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> NDArray:
    """−log Σ_π Π_t p_t[π_t] over the paths π that spell the target: repeats merged, then blanks removed.

    Shapes: log_probs [T, N, C] or [T, C], targets [N, S] (padded) or [Σ S_n] (one after the other), lengths
    [N] or []; losses [N] or []. The mean divides each loss by its target's length (at least 1), then
    averages over the batch. A target that no path spells has an infinite loss.
    The derivative is −(occupancy). A row that is a distribution, as documented, has no derivative off the
    simplex, so any multiple of p may be added; then p − (occupancy), whose sum is 0, stands for it.
    Source: https://docs.pytorch.org/docs/2.13/generated/torch.nn.CTCLoss.html
    """
    lattice = _ctc_lattice(_batched_frames(log_probs), targets, input_lengths, target_lengths, blank)
    losses = _finite(-lattice.likelihood(lattice.forward()[-1]), zero=zero_infinity)
    return _mean_by_length(losses, lattice.lengths, reduction, log_probs.ndim == 2)


@ctc_loss.vjp
def _(
    cotangent: NDArray,
    log_probs: NDArray,
    targets: NDArray,
    input_lengths: NDArray,
    target_lengths: NDArray,
    blank: int,
    reduction: str,
    zero_infinity: bool,
) -> dict[str, NDArray]:
    rows = _batched_frames(log_probs)
    lattice = _ctc_lattice(rows, targets, input_lengths, target_lengths, blank)
    occupancy, losses = lattice.occupancy(rows)
    sums = total(exp(rows), axis=2)
    simplex = abs(sums - rows.dtype.type(1)) <= rows.dtype.type(1 / 64)
    slope = np.where(simplex[:, :, np.newaxis], exp(rows) - occupancy, -occupancy)
    each = _each(cotangent, lattice.lengths, reduction)
    grad = lattice.scaled(slope, each, np.isinf(losses) & zero_infinity)
    return {"log_probs": grad.reshape(log_probs.shape)}


@ctc_loss.variant
def mean_of_losses(
    log_probs: NDArray,
    targets: NDArray,
    input_lengths: NDArray,
    target_lengths: NDArray,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> NDArray:
    """Take the mean as Σ loss / N: no loss is divided by its target's length."""
    losses = ctc_loss.function(
        log_probs, targets, input_lengths, target_lengths, blank, "none", zero_infinity
    )
    return reduced(losses, reduction)


@reference(differentiable=("logits",))
def ctc_loss_with_logits(
    logits: NDArray,
    targets: NDArray,
    input_lengths: NDArray,
    target_lengths: NDArray,
    blank: int = 0,
    reduction: str = "mean",
    norm_by_times: bool = False,
    zero_infinity: bool = False,
) -> NDArray:
    """CTC loss of softmax(logits): ctc_loss(log_softmax(logits)).

    Shapes: logits [T, N, C], targets [N, S], lengths [N]; losses [N]. The mean divides each loss by its
    target's length, then averages over the batch. `norm_by_times` divides the gradient, and only it, by
    the length of the input.
    Source: https://www.paddlepaddle.org.cn/documentation/docs/en/3.3/api/paddle/nn/functional/ctc_loss_en.html
    """
    del norm_by_times
    lattice = _ctc_lattice(log_softmax_of(logits, 2), targets, input_lengths, target_lengths, blank)
    losses = _finite(-lattice.likelihood(lattice.forward()[-1]), zero=zero_infinity)
    return _mean_by_length(losses, lattice.lengths, reduction, unbatched=False)


@ctc_loss_with_logits.vjp
def _(
    cotangent: NDArray,
    logits: NDArray,
    targets: NDArray,
    input_lengths: NDArray,
    target_lengths: NDArray,
    blank: int,
    reduction: str,
    norm_by_times: bool,
    zero_infinity: bool,
) -> dict[str, NDArray]:
    rows = log_softmax_of(logits, 2)
    lattice = _ctc_lattice(rows, targets, input_lengths, target_lengths, blank)
    occupancy, losses = lattice.occupancy(rows)
    each = _each(cotangent, lattice.lengths, reduction)
    if norm_by_times:
        each = each / np.maximum(lattice.frames, 1).astype(each.dtype)
    slope = softmax_of(logits, 2) - occupancy
    return {"logits": lattice.scaled(slope, each, np.isinf(losses) & zero_infinity)}


@reference(differentiable=("logits",))
def ctc_loss_sparse(
    logits: NDArray,
    label_indices: NDArray,
    label_values: NDArray,
    sequence_length: NDArray,
    preprocess_collapse_repeated: bool = False,
    ctc_merge_repeated: bool = True,
    ignore_longer_outputs_than_inputs: bool = False,
) -> NDArray:
    """CTC loss of softmax(logits) with sparse labels; the blank is the last class, C − 1.

    Shapes: logits [T, N, C], label_indices [K, 2] (pairs of sample and position), label_values [K],
    sequence_length [N]; losses [N]. `preprocess_collapse_repeated` merges repeated labels of the target.
    Without `ctc_merge_repeated` repeats of a path are not merged: only blanks are removed.
    `ignore_longer_outputs_than_inputs` gives a target longer than its input the loss 0 instead of ∞.
    Source: https://www.mindspore.cn/docs/en/r2.10.0/api_python/ops/mindspore.ops.CTCLoss.html
    """
    lattice = _sparse_lattice(
        logits, label_indices, label_values, sequence_length, preprocess_collapse_repeated, ctc_merge_repeated
    )
    ignored = ignore_longer_outputs_than_inputs & (lattice.lengths > lattice.frames)
    reach("ignored", ignored)
    return np.where(ignored, logits.dtype.type(0), _finite(-lattice.likelihood(lattice.forward()[-1])))


@ctc_loss_sparse.vjp
def _(
    cotangent: NDArray,
    logits: NDArray,
    label_indices: NDArray,
    label_values: NDArray,
    sequence_length: NDArray,
    preprocess_collapse_repeated: bool,
    ctc_merge_repeated: bool,
    ignore_longer_outputs_than_inputs: bool,
) -> dict[str, NDArray]:
    lattice = _sparse_lattice(
        logits, label_indices, label_values, sequence_length, preprocess_collapse_repeated, ctc_merge_repeated
    )
    ignored = ignore_longer_outputs_than_inputs & (lattice.lengths > lattice.frames)
    slope = softmax_of(logits, 2) - lattice.occupancy(log_softmax_of(logits, 2))[0]
    return {"logits": lattice.scaled(slope, cotangent, ignored)}


@reference(differentiable=("log_probs",))
def rnnt_loss(
    log_probs: NDArray,
    targets: NDArray,
    input_lengths: NDArray,
    target_lengths: NDArray,
    blank: int = 0,
    fastemit_lambda: float = 0.001,
    reduction: str = "mean",
) -> NDArray:
    """−log Σ over the monotone paths through a lattice of T frames and U labels, each ending in a blank.

    A blank at (t, u) goes on to frame t + 1, a label to position u + 1.
    Shapes: log_probs [N, T, U + 1, C], targets [N, U], lengths [N]; losses [N]. The mean is over the batch.
    `fastemit_lambda` scales the derivative by the labels, and only it, by 1 + λ (arXiv:2010.11148).
    Source: https://www.paddlepaddle.org.cn/documentation/docs/en/3.3/api/paddle/nn/functional/rnnt_loss_en.html
    """
    del fastemit_lambda
    stay, move, last = _rnnt_lattice(log_probs, targets, input_lengths, target_lengths, blank)
    return reduced(-_rnnt_forward(stay, move, last)[1], reduction)


@rnnt_loss.vjp
def _(
    cotangent: NDArray,
    log_probs: NDArray,
    targets: NDArray,
    input_lengths: NDArray,
    target_lengths: NDArray,
    blank: int,
    fastemit_lambda: float,
    reduction: str,
) -> dict[str, NDArray]:
    stay, move, last = _rnnt_lattice(log_probs, targets, input_lengths, target_lengths, blank)
    blanks, labels = _rnnt_occupancy(_rnnt_forward(stay, move, last)[0], stay, move, last)
    each = reduced_vjp(cotangent, (len(log_probs),), reduction)[:, np.newaxis, np.newaxis]
    one = log_probs.dtype.type(1)
    zero, classes = log_probs.dtype.type(0), np.arange(log_probs.shape[3])
    grad = np.where(classes == blank, (-each * blanks)[..., np.newaxis], zero)
    chosen = classes == targets[:, np.newaxis, :, np.newaxis]
    by_label = (-each * labels * (one + log_probs.dtype.type(fastemit_lambda)))[:, :, :-1, np.newaxis]
    grad[:, :, :-1] += np.where(chosen, by_label, zero)
    return {"log_probs": grad}


@rnnt_loss.variant
def mean_by_length(
    log_probs: NDArray,
    targets: NDArray,
    input_lengths: NDArray,
    target_lengths: NDArray,
    blank: int = 0,
    fastemit_lambda: float = 0.001,
    reduction: str = "mean",
) -> NDArray:
    """Take the mean as that of CTC: each loss divided by its target's length (at least 1) first."""
    losses = rnnt_loss.function(
        log_probs, targets, input_lengths, target_lengths, blank, fastemit_lambda, "none"
    )
    return _mean_by_length(losses, target_lengths.astype(int), reduction, unbatched=False)


@dataclass(frozen=True)
class _Lattice:
    """The states of CTC: blank, y_1, blank, y_2, …, blank: 2·S + 1 of them for each sample.

    Attributes:
        labels: the class that each state emits [N, 2·S + 1].
        emitted: its log-probability in each frame [T, N, 2·S + 1].
        stays, skips: whether a state may follow itself, and the one before the last [N, 2·S + 1].
        frames, lengths: how many frames and labels each sample has [N].
        classes: C.

    """

    labels: NDArray
    emitted: NDArray
    stays: NDArray
    skips: NDArray
    frames: NDArray
    lengths: NDArray
    classes: int

    def forward(self) -> list[NDArray]:
        """Log Σ of the paths that end in each state [N, 2·S + 1]: before any frame, then after each."""
        nothing = self.emitted.dtype.type(-np.inf)
        states = np.arange(self.labels.shape[1])
        sums = [np.where(states == 0, self.emitted.dtype.type(0), np.full(self.labels.shape, nothing))]
        for frame, emitted in enumerate(self.emitted):
            now = sums[-1]
            stay = np.where(self.stays | (states == 0), now, nothing)
            skip = np.where(self.skips, _shifted(now, 2), nothing)
            following = emitted + _log_plus(_log_plus(stay, _shifted(now, 1)), skip)
            sums.append(np.where((frame < self.frames)[:, np.newaxis], following, now))
        return sums

    def backward(self) -> list[NDArray]:
        """Log Σ of the paths from each state [N, 2·S + 1] on, its own emission included, for each frame."""
        nothing = self.emitted.dtype.type(-np.inf)
        now = np.where(self.ends(), self.emitted.dtype.type(0), np.full(self.labels.shape, nothing))
        sums = []
        for frame in range(len(self.emitted) - 1, -1, -1):
            emitted, last = self.emitted[frame], np.asarray(frame == self.frames - 1)
            stay, skip = np.where(self.stays, now, nothing), _shifted(np.where(self.skips, now, nothing), -2)
            ways = _log_plus(_log_plus(stay, _shifted(now, -1)), skip)
            onward = emitted + np.where(last[:, np.newaxis], now, ways)
            now = np.where((frame < self.frames)[:, np.newaxis], onward, now)
            sums.append(now)
        return sums[::-1]

    def ends(self) -> NDArray:
        """Whether a path may end in a state: the last blank or the last label, bool [N, 2·S + 1]."""
        states, last = np.arange(self.labels.shape[1]), 2 * self.lengths[:, np.newaxis]
        return np.asarray((states == last) | (states == last - 1))

    def likelihood(self, sums: NDArray) -> NDArray:
        """Log Σ of the paths that end where they may [N]: in the last blank or the last label."""
        nothing, last = self.emitted.dtype.type(-np.inf), 2 * self.lengths[:, np.newaxis]
        label = np.where(last > 0, np.take_along_axis(sums, np.maximum(last - 1, 0), axis=1), nothing)
        return _log_plus(np.take_along_axis(sums, last, axis=1), label)[:, 0]

    def occupancy(self, rows: NDArray) -> tuple[NDArray, NDArray]:
        """Probability that a path emits each class in each frame [T, N, C], and the losses [N].

        Paths that end in a state and those that begin in it both count its emission, which is taken out
        again; an emission that is impossible occupies nothing.
        """
        forward = self.forward()
        losses = -self.likelihood(forward[-1])
        chosen = self.labels[:, :, np.newaxis] == np.arange(self.classes)
        both = np.full_like(rows, -np.inf)
        shape = (*rows.shape[:2], self.labels.shape[1])
        ways = np.reshape(forward[1:], shape) + np.reshape(self.backward(), shape)
        for state in range(shape[2]):
            both = np.where(chosen[:, state], _log_plus(both, ways[:, :, state, np.newaxis]), both)
        weight = add(both, losses[:, np.newaxis], -rows)
        return exp(np.where(np.isneginf(rows), rows, weight)), losses

    def scaled(self, slope: NDArray, each: NDArray, dropped: NDArray) -> NDArray:
        """Slopes [T, N, C] times their cotangents [N]; 0 beyond a sample's frames and where it is dropped."""
        unread = np.arange(len(slope))[:, np.newaxis] >= self.frames
        silent = (unread | dropped)[:, :, np.newaxis]
        return np.where(silent, slope.dtype.type(0), slope * each[np.newaxis, :, np.newaxis])


def _ctc_lattice(
    rows: NDArray,
    targets: NDArray,
    input_lengths: NDArray,
    target_lengths: NDArray,
    blank: int,
    *,
    merge: bool = True,
) -> _Lattice:
    """Lay out the states for targets [N, S] or [Σ S_n]; what pads a target is never in a path."""
    frames, lengths = input_lengths.reshape(-1).astype(int), target_lengths.reshape(-1).astype(int)
    width = int(lengths.max(initial=0))
    padded = np.full((len(lengths), width), blank)
    given = targets.reshape(-1) if targets.ndim == 1 else None
    ends = np.cumsum(lengths)
    for n, length in enumerate(lengths):
        row = (targets[n] if given is None else given[ends[n] - length : ends[n]])[:length]
        padded[n, : len(row)] = row
    labels = np.full((len(lengths), 2 * width + 1), blank)
    labels[:, 1::2] = padded
    is_label = np.arange(2 * width + 1) % 2 == 1
    inside = np.arange(2 * width + 1) < 2 * lengths[:, np.newaxis]
    repeats = is_label & inside & (_shifted(labels, 2, -1) == labels)
    skips = is_label & (np.arange(2 * width + 1) > 1) & ~(repeats & merge)
    index = np.broadcast_to(_safe(labels, rows.shape[2]), (len(rows), *labels.shape))
    reach("repeated label", repeats)
    reach("other label", skips & inside)
    reach("empty target", lengths == 0)
    reach("unread frame", np.arange(len(rows))[:, np.newaxis] >= frames)
    stays = np.broadcast_to(~is_label | merge, labels.shape)
    return _Lattice(
        labels, np.take_along_axis(rows, index, axis=2), stays, skips, frames, lengths, rows.shape[2]
    )


def _sparse_lattice(
    logits: NDArray,
    label_indices: NDArray,
    label_values: NDArray,
    sequence_length: NDArray,
    collapse: bool,
    merge: bool,
) -> _Lattice:
    rows: list[list[int]] = [[] for _ in range(logits.shape[1])]
    for place in np.lexsort((label_indices[:, 1], label_indices[:, 0])):
        row, label = rows[int(label_indices[place, 0]) % len(rows)], int(label_values[place])
        if not (collapse and row[-1:] == [label]):
            row.append(label)
    flat = np.array([label for row in rows for label in row], int)
    lengths = np.array([len(row) for row in rows], int)
    return _ctc_lattice(
        log_softmax_of(logits, 2), flat, sequence_length, lengths, logits.shape[2] - 1, merge=merge
    )


def _batched_frames(log_probs: NDArray) -> NDArray:
    """Give unbatched frames [T, C] a batch of one [T, 1, C]."""
    return log_probs[:, np.newaxis] if log_probs.ndim == 2 else log_probs


def _shifted(values: NDArray, by: int, fill: float = -np.inf) -> NDArray:
    """Move each row [N, S] by some places to the right (or left), and fill what is left open."""
    moved = np.full_like(values, fill)
    if by > 0:
        moved[:, by:] = values[:, :-by]
    else:
        moved[:, :by] = values[:, -by:]
    return moved


def _log_plus(one: NDArray, other: NDArray) -> NDArray:
    """log(e^one + e^other), elementwise; of two −∞, −∞.

    It is an elementary function (`logaddexp`), as large as its arguments and off by a rounding as any other.
    """
    gap = np.where(one == other, one.dtype.type(0), -abs(one - other))
    return off_by_rounding(np.maximum(one, other) + log(one.dtype.type(1) + exp(gap)))


def _finite(losses: NDArray, *, zero: bool = False) -> NDArray:
    """Put 0 for infinite losses where that is asked for."""
    infinite = reach("no path", np.isinf(losses))
    return np.where(infinite & zero, losses.dtype.type(0), losses)


def _mean_by_length(losses: NDArray, lengths: NDArray, reduction: str, unbatched: bool) -> NDArray:
    """Reduce; the mean divides each loss by its target's length first."""
    if reduction == "mean":
        losses = losses / np.maximum(lengths, 1).astype(losses.dtype)
    return reduced(losses.reshape(()) if unbatched else losses, reduction)


def _each(cotangent: NDArray, lengths: NDArray, reduction: str) -> NDArray:
    """Cotangent of each loss [N], given that of their reduction."""
    each = reduced_vjp(cotangent, lengths.shape, reduction).reshape(-1)
    return each / np.maximum(lengths, 1).astype(each.dtype) if reduction == "mean" else each


def _safe(targets: NDArray, classes: int) -> NDArray:
    """Class indices, where what only pads a target may be anything."""
    return np.where((targets >= 0) & (targets < classes), targets, 0).astype(np.int64)


def _rnnt_lattice(
    log_probs: NDArray, targets: NDArray, input_lengths: NDArray, target_lengths: NDArray, blank: int
) -> tuple[NDArray, NDArray, NDArray]:
    """Log-probabilities of the blank and of the next label, and whether it is the last place, [N, T, U + 1].

    Places outside a sample's own lattice, and labels beyond its target, have log-probability −∞.
    """
    frames, lengths = (each.reshape(-1, 1, 1).astype(int) for each in (input_lengths, target_lengths))
    _, width, places, classes = log_probs.shape
    frame, place = np.arange(width)[:, np.newaxis], np.arange(places)
    nothing = log_probs.dtype.type(-np.inf)
    inside = (frame < frames) & (place <= lengths)
    index = _safe(targets, classes)[:, np.newaxis, : places - 1, np.newaxis]
    index = np.broadcast_to(index, (len(targets), width, places - 1, 1))
    emitted = np.take_along_axis(log_probs[:, :, :-1], index, axis=3)[..., 0]
    move = np.concatenate([emitted, np.full((*emitted.shape[:2], 1), nothing)], axis=2)
    reach("unread place", ~inside)
    reach("empty target", lengths == 0)
    last = np.broadcast_to((frame == frames - 1) & (place == lengths), inside.shape)
    return (
        np.where(inside, log_probs[..., _safe(np.asarray(blank), classes)], nothing),
        np.where(inside & (place < lengths), move, nothing),
        last,
    )


def _rnnt_forward(stay: NDArray, move: NDArray, last: NDArray) -> tuple[NDArray, NDArray]:
    """Log Σ of the paths that reach each place [N, T, U + 1], and of those through the whole lattice [N]."""
    nothing = stay.dtype.type(-np.inf)
    before = np.full_like(stay, nothing)
    before[:, :1, :1] = 0
    _, frames, places = stay.shape
    for diagonal in range(1, frames + places - 1):
        u = np.arange(max(0, diagonal - frames + 1), min(places, diagonal + 1))
        t = diagonal - u
        by_blank = np.where(t > 0, before[:, t - 1, u] + stay[:, t - 1, u], nothing)
        by_label = np.where(u > 0, before[:, t, u - 1] + move[:, t, u - 1], nothing)
        before[:, t, u] = _log_plus(by_blank, by_label)
    whole = np.where(last, before + stay, nothing)
    return before, np.max(whole, axis=(1, 2), initial=-np.inf).astype(stay.dtype)


def _rnnt_occupancy(before: NDArray, stay: NDArray, move: NDArray, last: NDArray) -> tuple[NDArray, NDArray]:
    """Probability that a path emits the blank, and the label, at each place: twice [N, T, U + 1].

    All paths together are what goes on from the first place; an impossible emission occupies nothing.
    """
    nothing = stay.dtype.type(-np.inf)
    by_blank, by_label = np.full_like(stay, nothing), np.full_like(stay, nothing)
    after = np.full_like(stay, nothing)
    _, frames, places = stay.shape
    for diagonal in range(frames + places - 2, -1, -1):
        u = np.arange(max(0, diagonal - frames + 1), min(places, diagonal + 1))
        t = diagonal - u
        onward = np.where(t + 1 < frames, after[:, np.minimum(t + 1, frames - 1), u], nothing)
        by_blank[:, t, u] = np.where(last[:, t, u], stay.dtype.type(0), onward)
        by_label[:, t, u] = np.where(u + 1 < places, after[:, t, np.minimum(u + 1, places - 1)], nothing)
        after[:, t, u] = _log_plus(by_blank[:, t, u] + stay[:, t, u], by_label[:, t, u] + move[:, t, u])
    whole = after[:, :1, :1]
    blanks, labels = add(before, stay, by_blank) - whole, add(before, move, by_label) - whole
    return exp(np.where(np.isneginf(stay), stay, blanks)), exp(np.where(np.isneginf(move), move, labels))
