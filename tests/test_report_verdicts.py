"""What stands out in a run: flags, clusters of errors, standings, the matrix."""

from typing import Any

import pytest

from conformance.report.backend_pages import accuracy
from conformance.report.clusters import clusters, normalised
from conformance.report.facts import Facts, Lenient, question
from conformance.report.matrix import matrix
from conformance.report.others import answer, surprises
from conformance.report.verdicts import alone, dtype_of, marks, standings
from tests.report_rows import (
    BASIC,
    CRASHED,
    PADDLE,
    REFUSED,
    TORCH,
    TORCH_CLASS,
    WRONG,
    result,
)

MIND = "mindspore.ops.multi_margin_loss"


KNOWN = {**WRONG, "outcome": "known", "ledger": "torch-margin"}


HALF = "multi_margin_loss/basic[float16,p=1,none]"


def lenient(value: Any) -> Any:
    return Lenient({key: lenient(each) for key, each in value.items()}) if isinstance(value, dict) else value


def facts(rows: list[dict[str, Any]], *, complete: bool = True) -> Facts:
    made = Facts(
        run=lenient({"schema": "conformance/1.0", "suite": {"name": "s", "version": "1"}, "oracle": {}}),
        backends=[
            lenient({"backend": name, "framework": name, "version": "1.2.3", "flags": {"threads": 1}})
            for name in ("torch", "paddle", "mindspore")
        ],
        end=lenient({"complete": complete, "exit": 0}),
    )
    lists = {
        "result": made.results,
        "claim": made.claims,
        "ledger": made.ledger,
        "backend": made.backends,
    }
    for row in map(lenient, rows):
        lists[row["type"]].append(row)
        if row["type"] == "result":
            made.by_question[question(row)].append(row)
    return made


def claim(**more: Any) -> dict[str, Any]:
    told = {"type": "claim", "op": "multi_margin_loss", "api": TORCH, "backend": "torch", "claim": "formula"}
    words = {"says": "p is outside", "source": "https://e.org/d", "verdict": "refuted", "why": "got 3"}
    return {**told, **words, "evidence": [BASIC], "outcome": "known", "disagrees_with": [], **more}


@pytest.mark.parametrize(
    ("statuses", "who"),
    [
        ({TORCH: "fail", PADDLE: "pass", MIND: "pass"}, "torch"),
        ({TORCH: "crash", PADDLE: "pass", MIND: "pass"}, "torch"),
        ({TORCH: "fail", PADDLE: "pass", MIND: "unsupported"}, ""),
        ({TORCH: "fail", PADDLE: "fail", MIND: "pass"}, ""),
        ({TORCH: "fail", TORCH_CLASS: "pass", PADDLE: "pass"}, ""),
        ({TORCH: "fail", TORCH_CLASS: "pass", PADDLE: "pass", MIND: "pass"}, "torch"),
        ({TORCH: "pass", PADDLE: "pass", MIND: "pass"}, ""),
    ],
)
def test_alone_is_who_fails_where_two_other_backends_pass(statuses: dict[str, str], who: str) -> None:
    """A second API of the same backend is no witness, and what is not judged says nothing."""
    assert alone([result(api=api, status=status) for api, status in statuses.items()]) == who


def test_each_flag_is_given_to_the_apis_that_it_is_about() -> None:
    """The canned filters stand on these."""
    rows = [
        result(**KNOWN),  # alone, with a wrong output
        result(api=PADDLE),
        result(api=MIND),
        result(case=HALF, check="grad.input", **{**KNOWN, "kind": "grad_value"}),  # suspect, gradient only
        result(case=HALF, check="grad.input", api=PADDLE, **{**KNOWN, "kind": "grad_value"}),
        result(case=HALF, check="output"),
        result(case=HALF, check="output", api=TORCH_CLASS, **{**WRONG, "digest": "other"}),
        claim(api=MIND, backend="mindspore", evidence=[HALF]),
    ]
    found = {api: (each.flags, each.sets) for (_, api), each in marks(facts(rows)).items()}
    assert found == {
        TORCH: (
            ["alone", "suspect", "gradient"],
            {
                frozenset({"alone", "float32", "value"}),
                frozenset({"suspect", "gradient", "float16", "grad_value"}),
            },
        ),
        PADDLE: (["suspect", "gradient"], {frozenset({"suspect", "gradient", "float16", "grad_value"})}),
        TORCH_CLASS: (["unexpected"], {frozenset({"unexpected", "float16", "value"})}),
        MIND: (["refuted"], {frozenset({"refuted", "float16", "documentation"})}),
    }


def test_a_conforming_answer_without_its_bits_clears_the_oracle() -> None:
    """What conforms may have been folded to a few figures."""
    wrong = [result(**KNOWN), result(api=PADDLE, **KNOWN)]
    assert marks(facts(wrong))["multi_margin_loss", TORCH].flags == ["suspect"]
    found = marks(facts([*wrong, result(api=MIND, digest="")]))
    assert "suspect" not in found["multi_margin_loss", TORCH].flags


def test_a_refusal_hits_the_output_too_and_is_no_matter_of_gradients_only() -> None:
    """Every check of a call that is refused fails."""
    rows = [result(check=check, **REFUSED) for check in ("output", "grad.input")]
    assert marks(facts(rows))["multi_margin_loss", TORCH].counts == {"unexpected": 2}


def test_a_claim_that_no_case_of_a_run_speaks_of_is_no_news() -> None:
    """A part of the cases has a part of the evidence. The run calls nothing unexpected, nor does its site."""
    silent = claim(verdict="notrun", outcome="notrun", why="", evidence=[])
    found = facts([result(), silent])
    assert surprises(found, [], {}) == []
    assert answer(found, [])[0] == "No"
    assert not marks(found)
    told = facts([result(), claim(outcome="regression")])
    assert answer(told, surprises(told, [], {})) == ("Yes", "Among 1 result: 1 claim with a new verdict.")


def test_what_did_not_run_and_what_is_stale_is_unexpected() -> None:
    """Silence is not conformance."""
    rows = [
        result(status="notrun", outcome="notrun"),
        result(api=PADDLE, outcome="stale", ledger="x"),
        result(api=MIND, status="unsupported"),
    ]
    found = marks(facts(rows))
    flags = {api: each.flags for (_, api), each in found.items()}
    assert flags == {TORCH: ["unexpected"], PADDLE: ["unexpected"]}


def test_the_dtype_is_read_from_the_brackets_only() -> None:
    """A case may be named after a dtype."""
    ids = (BASIC, HALF, "op/float64-cast[bfloat16,none]", "op/int32[]", "op/float64", "op/x[float8_e4m3fn]")
    assert [dtype_of(case) for case in ids] == ["float32", "float16", "bfloat16", "", "", "float8_e4m3fn"]


def test_the_matrix_keeps_outputs_gradients_and_domains_apart() -> None:
    """Failing of judged, the worst error, and what was not judged."""
    rows = [
        result(),
        result(**WRONG),
        result(check="grad.input", **{**KNOWN, "kind": "grad_missing", "error_over_bound": None}),
        result(domain="extended", **{**KNOWN, "error_over_bound": 3.0}),
        result(domain="undefined", check="raises"),
        result(status="unsupported"),
        result(status="harness", outcome="regression"),
    ]
    (table,) = matrix(facts(rows), {}, marks(facts(rows)))
    (line,) = table.lines
    cells = {key: (c.failing, c.total, c.state, c.shown_worst, c.why) for key, c in line.cells.items()}
    assert cells == {
        ("defined", "output"): (1, 2, "regression", "5.0e6×", "wrong value 1"),
        ("defined", "gradient"): (1, 1, "known", "", "no gradient 1"),
        ("extended", "output"): (1, 1, "known", "3×", "wrong value 1"),
        ("undefined", "any"): (0, 1, "pass", "0.25×", ""),
    }
    assert (table.failing, table.total, line.missing, table.state) == (3, 5, 1, "regression")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("at 0x7f3a: size 3", "at 0xdeadbeef: size 12"),
        ("kernel `softmax` of float16", "kernel `log_softmax` of bfloat16"),
        ("shape [2, 3] and (4,)", "shape [5] and (1, 1)"),
        ("expected 'Long'\n  but got \"Int\"", "expected 'Half' but got \"Double\""),
        ("scale -1.5e-3 failed", "scale 2 failed"),
        ("param_Parameter_696 is null", "param_Parameter_7 is null"),
        ("in[Float16], out[Bool];in[Int8], out[Bool];", "in[Int8], out[Int8];" * 3),
    ],
)
def test_messages_that_differ_in_what_varies_are_equal(one: str, other: str) -> None:
    """Numbers, addresses, dtypes, shapes and quoted words are not what an error is about."""
    assert normalised(one) == normalised(other)


def test_messages_that_differ_in_words_are_not_equal() -> None:
    """An apostrophe quotes nothing, and a name keeps its digits."""
    assert normalised("it doesn't fit, it can't") == "it doesn't fit, it can't"
    assert normalised("Conv2d failed") != normalised("Conv3d failed")
    assert normalised("log1p of x") != normalised("expm1 of x")


def test_clusters_count_cases_and_apis_of_each_backend() -> None:
    """Passing and observed refusals are no cluster; an unexpected one stands first and is the example."""
    known = {**REFUSED, "outcome": "known"}
    crash = {**CRASHED, "outcome": "known"}
    rows = [
        result(case=f"multi_margin_loss/x{n}[float32]", api=api, **known)
        for n in range(3)
        for api in (TORCH, TORCH_CLASS)
    ]
    rows += [result(check="grad.input", **REFUSED), result(api=PADDLE, **crash), result(api=PADDLE, **known)]
    rows += [result(status="observed", error=REFUSED["error"]), result(**KNOWN)]
    found = clusters(facts(rows).results)
    assert [(c.backend, c.what, len(c.cases), len(c.apis), c.rows, c.unexpected) for c in found] == [
        ("torch", "RuntimeError", 4, 2, 7, 1),
        ("paddle", "RuntimeError", 1, 1, 1, 0),
        ("paddle", "SIGSEGV", 1, 1, 1, 0),
    ]
    assert found[0].example["case"] == BASIC


def test_where_each_backend_stands() -> None:
    """An operator differs if one API of it does; entries with one reason are one mechanism."""
    rows = [
        *(result(case=f"{BASIC}{n}", **{**KNOWN, "ledger": f"e{n}"}) for n in range(3)),
        result(api=TORCH_CLASS),
        result(api=PADDLE),
        result(api=PADDLE, status="observed"),
        claim(),
        claim(verdict="confirmed"),
    ]
    torch, paddle, mind = standings(facts(rows), {"e0": "same", "e1": "same", "e2": "another"})
    assert (torch.differ, torch.agree, torch.failing, torch.judged, torch.mechanisms) == (1, 0, 3, 4, 2)
    assert (torch.apis, torch.claims, torch.refuted) == (2, 2, 1)
    assert (paddle.differ, paddle.agree, paddle.observed) == (0, 1, 1)
    assert (mind.differ, mind.agree, mind.judged) == (0, 0, 0)


def test_accuracy_tells_conforming_results_from_failing_ones() -> None:
    """The defined domain only; NaN is no maximum, a refusal has no number."""
    rows = facts(
        [
            result(max_ulp=0.5),
            result(max_ulp=2.0),
            result(max_ulp="NaN"),
            result(domain="extended", max_ulp=99.0),
            result(check="grad.input", **REFUSED),
            result(case=HALF, max_ulp=800.0, **KNOWN),
        ]
    ).results
    cells = accuracy(rows, ["multi_margin_loss"]).ops["multi_margin_loss"]
    assert {key: (each.passing, each.failing, each.fails) for key, each in cells.items()} == {
        ("float32", "output"): (2.0, None, 0),
        ("float32", "gradient"): (None, None, 1),
        ("float16", "output"): (None, 800.0, 1),
    }
