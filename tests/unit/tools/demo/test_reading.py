"""Reading a shop's file: invoices in their order, unusable lines by reason, never a stop."""

import gzip
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.unit.tools.demo.files import Row, row, write
from tools.demo.reading import (
    OPEN_INVOICES,
    FileUnusable,
    Invoice,
    Line,
    Reason,
    Tally,
    count_invoices,
    find_files,
    read_invoices,
)


def read(file: Path, limit: int | None = None) -> tuple[list[Invoice], Tally]:
    tally = Tally()
    return list(read_invoices([file], tally, limit)), tally


def test_lines_of_a_number_become_one_invoice(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv",
        row("536365", "85123A", 6, "2.55", "17850.0", description=" WHITE  HANGING HEART "),
        row("536365", "71053", 2, "3.3", "17850.0", description=""),
        row("C536366", "71053", -1, "3.3", "17850.0"),
    )
    invoices, tally = read(file)
    assert invoices == [
        Invoice(
            "536365",
            "17850",
            "United Kingdom",
            datetime(2026, 3, 2, 8, 26, tzinfo=UTC),
            [Line("85123A", "WHITE HANGING HEART", 6, 255), Line("71053", "71053", 2, 330)],
        ),
        Invoice(
            "C536366",
            "17850",
            "United Kingdom",
            datetime(2026, 3, 2, 8, 26, tzinfo=UTC),
            [Line("71053", "TEAPOT", 1, 330)],
        ),
    ]
    assert tally == Tally(lines=3)
    assert [invoice.is_cancellation for invoice in invoices] == [False, True]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (row("1", customer=""), Reason.NO_CUSTOMER),
        (row("1", "POST"), Reason.NO_PRODUCT),
        (row("1", "m"), Reason.NO_PRODUCT),
        (row("C1", "D", -1), Reason.NO_PRODUCT),
        (row("1", "BANK CHARGES", -1), Reason.NO_PRODUCT),
        (row("1", price="-11062.06"), Reason.NEGATIVE_PRICE),
        (row("1", price="0.0"), Reason.NO_PRICE),
        (row("1", price="0.004"), Reason.NO_PRICE),
        (row("1", quantity=-3), Reason.WRONG_QUANTITY),
        (row("C1", quantity=3), Reason.WRONG_QUANTITY),
        (row("1", quantity=0), Reason.WRONG_QUANTITY),
        (row("A563185"), Reason.OTHER_DOCUMENT),
        (row(""), Reason.OTHER_DOCUMENT),
        (row("1", price="abc"), Reason.UNREADABLE),
        (row("1", price="NaN"), Reason.IMPLAUSIBLE),
        (row("1", price="1e30"), Reason.IMPLAUSIBLE),
        (row("1", quantity=2_000_000), Reason.IMPLAUSIBLE),
        (row("1", at="yesterday"), Reason.UNREADABLE),
    ],
)
def test_an_unusable_line_is_counted_by_its_reason(tmp_path: Path, line: Row, reason: Reason) -> None:
    invoices, tally = read(write(tmp_path / "a.csv", line, row("99")))
    assert tally.unusable == Counter({reason: 1})
    assert [invoice.number for invoice in invoices if invoice.lines] == ["99"]
    assert tally.lines == 2


def test_a_line_that_ends_early_is_unreadable(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", row("1"))
    with file.open("a") as text:
        text.write("2,T1,TEAPOT,1\n")
    invoices, tally = read(file)
    assert tally.unusable == Counter({Reason.UNREADABLE: 1})
    assert [len(invoice.lines) for invoice in invoices] == [1, 0]


def test_an_unusable_line_leaves_the_rest_of_its_invoice(tmp_path: Path) -> None:
    invoices, tally = read(write(tmp_path / "a.csv", row("1", "POST"), row("1", "T2"), row("1", customer="18000")))
    assert [line.stock_code for line in invoices[0].lines] == ["T2"]
    assert tally.unusable == Counter({Reason.NO_PRODUCT: 1, Reason.OTHER_CUSTOMER: 1})


def test_prices_with_three_decimals_are_rounded_with_a_remark(tmp_path: Path) -> None:
    invoices, tally = read(write(tmp_path / "a.csv", row("1", price="7.125"), row("1", price="7.120")))
    assert [line.price for line in invoices[0].lines] == [713, 712]
    assert tally.remarks == Counter({"price rounded to whole pence": 1})


def test_lines_of_neighbouring_invoices_may_be_mixed(tmp_path: Path) -> None:
    invoices, _ = read(write(tmp_path / "a.csv", row("1"), row("2"), row("1", "T2"), row("2", "T3")))
    assert [(invoice.number, len(invoice.lines)) for invoice in invoices] == [("1", 2), ("2", 2)]


def test_a_limit_takes_whole_invoices_in_their_order(tmp_path: Path) -> None:
    others = [row(str(number)) for number in range(10, 10 + 3 * OPEN_INVOICES)]
    file = write(tmp_path / "a.csv", row("1"), row("2", "POST"), row("3"), row("1", "T2"), *others, row("3", "T9"))
    invoices, tally = read(file, limit=3)
    assert [(invoice.number, len(invoice.lines)) for invoice in invoices] == [("1", 2), ("2", 0), ("3", 1)]
    assert tally.lines == 4
    assert count_invoices([file], 3) == 3


def test_memory_holds_a_few_invoices_only(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", *(row(str(number)) for number in range(1, 500)))
    tally = Tally()
    next(read_invoices([file], tally))
    assert tally.lines == OPEN_INVOICES + 1


def test_compressed_files_folders_and_patterns_are_found(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv.gz", row("1"))
    second = write(tmp_path / "b.csv", row("2"))
    (tmp_path / "README.md").write_text("no data")
    assert find_files([tmp_path]) == [first, second]
    assert find_files([tmp_path / "*.csv*"]) == [first, second]
    assert find_files([second, first]) == [second, first]
    invoices = read_invoices([first, second], Tally())
    assert [invoice.number for invoice in invoices] == ["1", "2"]


def test_files_that_cannot_be_used_are_named_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable, match=r"there is no file .*/nothing\.csv"):
        find_files([tmp_path / "nothing.csv"])
    other = tmp_path / "other.csv"
    other.write_text("InvoiceNo,Quantity\n1,2\n")
    with pytest.raises(FileUnusable, match="has no column StockCode, Description, InvoiceDate"):
        find_files([other])
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(b"this is not gzip")
    with pytest.raises(FileUnusable, match="cannot be read"):
        find_files([broken])


def test_a_file_that_breaks_off_is_counted_and_the_next_is_read(tmp_path: Path) -> None:
    whole = gzip.compress(write(tmp_path / "x.csv", *(row(str(n), f"T{n}") for n in range(1, 3000))).read_bytes())
    torn = tmp_path / "a.csv.gz"
    torn.write_bytes(whole[: len(whole) // 2])
    second = write(tmp_path / "b.csv", row("9999"))
    tally = Tally()
    numbers = [invoice.number for invoice in read_invoices([torn, second], tally)]
    assert tally.unusable == Counter({Reason.FILE_DAMAGED: 1})
    assert numbers[0] == "1"
    assert numbers[-1] == "9999"
