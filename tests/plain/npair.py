"""The N-pair loss, as the textbook has it, in loops over 50-digit numbers."""

import numpy as np
from hypothesis import strategies as st

from tests.plain import PROBLEMS, Params, Problem, Tensors, eighths, plain
from tests.plain.number import Number, exp, log, number, total


@plain
def npair_loss(t: Tensors, params: Params) -> list[Number]:
    """Average log(Σ e^s / e^s of a partner) over the partners of each row, then over the rows."""
    a, p, labels = t["anchor"], t["positive"], t["labels"]
    rows, width = np.shape(a)
    entropies = []
    for i in range(rows):
        s = [total(number(a[i, k]) * p[j, k] for k in range(width)) for j in range(rows)]
        partners = [j for j in range(rows) if labels[j] == labels[i]]
        losses = [log(total(exp(other - s[j]) for other in s)) for j in partners]
        entropies.append(total(losses) / len(partners))
    squares = total(number(one) * one for tensor in (a, p) for one in np.reshape(tensor, -1))
    return [total(entropies) / rows + number(params["l2_reg"]) * squares / rows / 4]


@st.composite
def npair_problem(draw: st.DrawFn) -> Problem:
    """Draw few rows, some of which share a label."""
    rows, width = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    labels = draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))
    tensors = {
        "anchor": draw(eighths((rows, width), -12, 12)),
        "positive": draw(eighths((rows, width), -12, 12)),
        "labels": np.array(labels),
    }
    return Problem(tensors, {"l2_reg": draw(st.sampled_from([0.002, 0.0, 0.5]))})


PROBLEMS["npair_loss"] = npair_problem()
