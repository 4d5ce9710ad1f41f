"""CTC and the transducer in plain words: multiply probabilities along paths and add up the paths.

Nothing underflows in 50 digits, so the recursions are those of the papers, in probabilities, and only
forwards: the derivative comes with the numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from tests.plain import PROBLEMS, Number, Problem, eighths, plain, reduce_, reductions
from tests.plain.number import CONTEXT, INF, NAN, exp, log, number, total

if TYPE_CHECKING:
    from conformance.arrays import NDArray

Row = list[Number]


@plain
def ctc_loss(t: dict[str, Any], params: dict[str, Any]) -> list[Number]:
    """Graves et al. (2006), equations 2 to 8."""
    rows = t["log_probs"]
    batched = rows if rows.ndim == 3 else rows[:, None]
    losses = []
    spelled = _spelled(t["targets"], t["target_lengths"].reshape(-1))
    for n, frames in enumerate(t["input_lengths"].reshape(-1)):
        used = [[batched[i, n, c] for c in range(batched.shape[2])] for i in range(frames)]
        loss = _path_sum([[exp(x) for x in row] for row in used], spelled[n], params["blank"])
        loss = _dropped(loss) if params["zero_infinity"] and abs(loss.value) == INF else loss
        if abs(loss.value) != INF and not (params["zero_infinity"] and loss.value == 0 and loss.slope == 0):
            # On the simplex the slope is fixed up to multiples of p; the documents' programs add one p.
            loss = Number(loss.value, loss.slope + sum(_along_simplex(row) for row in used))
        losses.append(loss)
    return _mean_by_length(losses, spelled, params["reduction"])


@plain
def ctc_loss_with_logits(t: dict[str, Any], params: dict[str, Any]) -> list[Number]:
    """CTC of softmax(logits); the slope may be divided by the number of frames."""
    losses = []
    spelled = _spelled(t["targets"], t["target_lengths"])
    for n, frames in enumerate(t["input_lengths"]):
        used = [_softmax(list(t["logits"][i, n])) for i in range(frames)]
        loss = _path_sum(used, spelled[n], params["blank"])
        loss = _dropped(loss) if params["zero_infinity"] and abs(loss.value) == INF else loss
        if params["norm_by_times"] and frames:
            loss = Number(loss.value, loss.slope / int(frames))
        losses.append(loss)
    return _mean_by_length(losses, spelled, params["reduction"])


@plain
def ctc_loss_sparse(t: dict[str, Any], params: dict[str, Any]) -> list[Number]:
    """CTC of softmax(logits) with labels as pairs of sample and position."""
    losses = []
    logits = t["logits"]
    for n, frames in enumerate(t["sequence_length"]):
        labels: list[int] = []
        places = {
            tuple(index): label for index, label in zip(t["label_indices"], t["label_values"], strict=True)
        }
        for sample, place in sorted(places):
            label = int(places[sample, place])
            if sample == n and not (params["preprocess_collapse_repeated"] and labels[-1:] == [label]):
                labels.append(label)
        used = [_softmax(list(logits[i, n])) for i in range(frames)]
        loss = _path_sum(used, labels, logits.shape[2] - 1, merge=params["ctc_merge_repeated"])
        ignored = params["ignore_longer_outputs_than_inputs"] and len(labels) > frames
        losses.append(Number(0) if ignored else loss)
    return losses


@plain
def rnnt_loss(t: dict[str, Any], params: dict[str, Any]) -> list[Number]:
    """Graves (2012), equation 16: the forward variable over the lattice, with FastEmit's scaled slopes."""
    losses = []
    scale = 1 + number(params["fastemit_lambda"]).value
    for n, frames in enumerate(t["input_lengths"]):
        y = t["log_probs"][n]
        labels = [int(label) for label in t["targets"][n][: t["target_lengths"][n]]]
        before: dict[tuple[int, int], Number] = {(0, 0): Number(1)}
        for i in range(frames):
            for u in range(len(labels) + 1):
                ways = [before[0, 0]] if i == u == 0 else []
                if i:
                    ways.append(before[i - 1, u] * exp(y[i - 1, u, params["blank"]]))
                if u:
                    emitted = y[i, u - 1, labels[u - 1]]
                    ways.append(before[i, u - 1] * exp(Number(emitted.value, emitted.slope * scale)))
                before[i, u] = total(ways)
        last = y[frames - 1, len(labels), params["blank"]] if frames else None
        losses.append(Number(INF) if last is None else -log(before[frames - 1, len(labels)] * exp(last)))
    return reduce_(losses, params["reduction"])


def _path_sum(probabilities: list[Row], labels: list[int], blank: int, *, merge: bool = True) -> Number:
    """−log of the probability of all paths that spell the labels."""
    states = [blank]
    for label in labels:
        states += [label, blank]
    sums = [Number(1 if s == 0 else 0) for s in range(len(states))]
    for row in probabilities:
        following = []
        for s, state in enumerate(states):
            ways = []
            if s % 2 == 0 or merge:
                ways.append(sums[s])
            if s >= 1:
                ways.append(sums[s - 1])
            if s >= 3 and s % 2 == 1 and not (merge and states[s - 2] == state):
                ways.append(sums[s - 2])
            following.append(total(ways) * row[state])
        sums = following
    probability = sums[-1] + sums[-2] if labels else sums[-1]
    if probability.value == 0:
        return Number(INF, NAN if probability.slope != 0 else 0)
    return -log(probability)


def _softmax(row: Row) -> Row:
    summed = total(exp(x) for x in row)
    return [exp(x) / summed for x in row]


def _along_simplex(row: Row) -> Any:
    """Slope of Σ p where the row is a distribution, else 0."""
    summed = total(exp(x) for x in row)
    return summed.slope if abs(summed.value - 1) <= CONTEXT.mpf(1) / 64 else 0


def _dropped(loss: Number) -> Number:
    del loss
    return Number(0)


def _spelled(targets: NDArray, lengths: NDArray) -> list[list[int]]:
    """Cut the targets, padded or one after the other, to their lengths."""
    result, start = [], 0
    for n, length in enumerate(lengths):
        row = targets[n] if targets.ndim == 2 else targets[start:]
        result.append([int(label) for label in row[:length]])
        start += length
    return result


def _mean_by_length(losses: list[Number], spelled: list[list[int]], reduction: str) -> list[Number]:
    if reduction == "mean":
        losses = [loss / max(len(labels), 1) for loss, labels in zip(losses, spelled, strict=True)]
    return reduce_(losses, reduction)


@st.composite
def _lengths(draw: st.DrawFn, size: int, least: int, most: int) -> NDArray:
    return np.array(draw(st.lists(st.integers(least, most), min_size=size, max_size=size)))


@st.composite
def _labels(draw: st.DrawFn, shape: tuple[int, ...], classes: int, blank: int) -> NDArray:
    """Labels, none of them the blank."""
    size = int(np.prod(shape))
    drawn = draw(st.lists(st.integers(0, classes - 2), min_size=size, max_size=size))
    return np.array([label + (label >= blank) for label in drawn], int).reshape(shape)


def _off_the_simplex(rows: NDArray) -> bool:
    return bool(np.all(abs(np.exp(rows).sum(axis=-1) - 1) > 1 / 32))


@st.composite
def _ctc(draw: st.DrawFn) -> Problem:
    blank = draw(st.integers(0, 2))
    width = draw(st.integers(0, 2))
    lengths = draw(_lengths(2, 0, width))
    shape = (4, 2, 3)
    targets = draw(_labels((2, width), 3, blank))
    if draw(st.booleans()):
        targets = np.concatenate([row[:length] for row, length in zip(targets, lengths, strict=True)])
    tensors = {
        "log_probs": draw(eighths(shape, -24, 4).filter(_off_the_simplex)),
        "targets": targets,
        "input_lengths": draw(_lengths(2, 3, 4)),
        "target_lengths": lengths,
    }
    return Problem(tensors, {"blank": blank, "zero_infinity": draw(st.booleans()), **draw(reductions)})


@st.composite
def _ctc_with_logits(draw: st.DrawFn) -> Problem:
    blank = draw(st.integers(0, 2))
    tensors = {
        "logits": draw(eighths((4, 2, 3))),
        "targets": draw(_labels((2, 2), 3, blank)),
        "input_lengths": draw(_lengths(2, 3, 4)),
        "target_lengths": draw(_lengths(2, 1, 2)),
    }
    return Problem(tensors, {"blank": blank, "zero_infinity": draw(st.booleans()), **draw(reductions)})


@st.composite
def _ctc_sparse(draw: st.DrawFn) -> Problem:
    lengths = draw(_lengths(2, 0, 3))
    pairs = [(n, place) for n, length in enumerate(lengths) for place in range(length)]
    tensors = {
        "logits": draw(eighths((5, 2, 3))),
        "label_indices": np.array(draw(st.permutations(pairs)), int).reshape(-1, 2),
        "label_values": draw(_labels((len(pairs),), 3, 2)),
        "sequence_length": draw(_lengths(2, 5, 5)),
    }
    flags = ("preprocess_collapse_repeated", "ctc_merge_repeated", "ignore_longer_outputs_than_inputs")
    return Problem(tensors, {flag: draw(st.booleans()) for flag in flags})


@st.composite
def _rnnt(draw: st.DrawFn) -> Problem:
    blank = draw(st.integers(0, 2))
    tensors = {
        "log_probs": draw(eighths((2, 3, 3, 3), -24, 4)),
        "targets": draw(_labels((2, 2), 3, blank)),
        "input_lengths": draw(_lengths(2, 1, 3)),
        "target_lengths": draw(_lengths(2, 0, 2)),
    }
    fastemit = draw(st.sampled_from([0.0, 0.125, 1.0]))
    return Problem(tensors, {"blank": blank, "fastemit_lambda": fastemit, **draw(reductions)})


PROBLEMS["ctc_loss"] = _ctc()
PROBLEMS["ctc_loss_with_logits"] = _ctc_with_logits()
PROBLEMS["ctc_loss_sparse"] = _ctc_sparse()
PROBLEMS["rnnt_loss"] = _rnnt()
