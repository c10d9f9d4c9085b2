"""What people see: the figures, what differs, and plain lines where there is no terminal."""

import io
import os
import subprocess
from collections import Counter

from rich.console import Console

from tools.demo.memory import Memory, descendants, memory_of
from tools.demo.proof import Difference, Proof, Row
from tools.demo.reading import Reason, Tally
from tools.demo.result import show
from tools.demo.run import Summary
from tools.screen import Steps

ROWS = (Row("purchases", 2, 2, None, None), Row("paid, GBP", 123456, 123456, None, None, is_money=True))


def summary(proof: Proof, *, already_there: int = 0) -> Summary:
    return Summary(
        invoices=4,
        tally=Tally(9, Counter({Reason.NO_CUSTOMER: 3})),
        purchases=2,
        refunds=1,
        mails=3,
        already_there={"purchases": already_there, "refunds": 0, "mails": 0},
        refusals=Counter({"refund purchase_not_found": 1}),
        errors=Counter({"email_bounce": 2}),
        seconds={"purchases": 2.0, "refunds": 1.0, "to_last_mail": 75.0, "total": 76.0},
        proof=proof,
    )


def shown(found: Summary) -> str:
    text = io.StringIO()
    show(Console(file=text, width=100), found, {"purchases": Memory(100_000_000, 120_000_000)})
    return text.getvalue()


def test_people_see_counts_reasons_refusals_and_the_verdict() -> None:
    text = shown(summary(Proof(ROWS, (), copies=0)))
    for words in (
        "no customer",
        "1,234.56",
        "refund purchase_not_found 1",
        "email_bounce 2",
        "1 min 15 s",
        "100 MB (at most 120 MB)",
        "Proved: 2 purchases and 1 refunds",
    ):
        assert words in text
    assert "nothing was doubled" not in text


def test_a_second_run_says_that_all_was_there() -> None:
    text = shown(summary(Proof(ROWS, (), copies=1), already_there=2))
    assert "Everything was already there from an earlier run; nothing was doubled." in text
    assert "Second copies of a mail under the same Message-ID: 1" in text


def test_a_proof_that_fails_shows_what_differs() -> None:
    wrong = (Row("purchases", 2, 1, None, None),)
    text = shown(summary(Proof(wrong, (Difference("not there", 1, ("536365",)),), copies=0)))
    assert "wrong" in text
    assert "not there: 1 (536365" in text
    assert "The proof fails" in text
    assert "Proved" not in text


def test_figures_that_differ_fail_without_any_other_difference() -> None:
    assert not Proof((Row("purchases", 2, 2, None, 3),), (), 0).holds


def test_without_a_terminal_progress_is_told_once_it_is_complete() -> None:
    text = io.StringIO()
    with Steps(Console(file=text, width=100)) as steps:
        steps.step("Recording")
        for done in (1, 2, 3, 3):
            steps.progress("invoices", done, 3)
    assert text.getvalue().splitlines() == ["› Recording", "    invoices: 3 of 3"]


def test_memory_of_a_process_is_read_and_a_missing_one_is_not() -> None:
    used = memory_of(os.getpid())
    assert used is not None
    assert used.now > 10_000_000
    assert memory_of(2**22 + 1) is None


def test_what_is_counted_apart_is_no_part_of_the_process_that_started_it() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert child.pid in descendants(os.getpid())
            assert child.pid not in descendants(os.getpid(), {child.pid})
        finally:
            child.kill()
