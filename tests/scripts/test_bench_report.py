"""What the benchmark says of measurements: from made-up ones, so that every verdict is known."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from typing import Any

import pytest

from scripts.benchmark.measure import (
    Comparison,
    Measurement,
    Processors,
    Row,
    Target,
    at_least,
    at_most,
    merged,
    ratios,
    verdict,
)
from scripts.benchmark.plot import Line, Panel, as_svg, round_step
from scripts.benchmark.report import (
    Section,
    as_data,
    as_markdown,
    closing,
    exit_code,
    heading,
    small_table,
)
from scripts.benchmark.sections import EVENTS, size


def run(per_second: float, processors: Processors | None = None) -> Measurement:
    """One second of answers that took 1, 2, 3 and 4 ms."""
    return Measurement(int(per_second), 1.0, [0.001, 0.002, 0.003, 0.004], processors or Processors())


def rated(rates: Sequence[float], must: float, aim: float | None = None) -> Row:
    aims = None if aim is None else at_least(rates, aim)
    return Row("debits", [run(rate) for rate in rates], at_least(rates, must), aims)


def section(*rows: Row, **more: Any) -> Section:
    return Section("debits", "Debits", "About.", rows, **more)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([2_000, 2_000, 2_000], "aim 3 of 3"),
        ([2_000, 1_200, 2_000], "must 3 of 3, aim 2 of 3"),
        ([1_000, 1_000, 1_000], "must 3 of 3, aim 0 of 3"),
        ([2_000, 2_000, 999], "below must: 2 of 3"),
        ([999], "below must: 0 of 1"),
    ],
)
def test_a_target_is_met_where_every_run_meets_it(rates: list[float], expected: str) -> None:
    row = rated(rates, must=1_000, aim=1_500)
    assert verdict(row.must, row.aim) == expected


def test_without_a_target_there_is_no_verdict_and_without_runs_none_is_met() -> None:
    assert verdict(None, None) == ""
    assert not Target("1,000", []).kept
    assert at_most([1.5, 1.6], 1.5, "1.5 times").met == [True, False]


@pytest.mark.parametrize(("slowest", "code"), [(1_000, 0), (999, 1)])
def test_the_exit_code_follows_the_slowest_run_of_every_section(slowest: float, code: int) -> None:
    sections = [section(rated([2_000, 2_000], must=1_000)), section(rated([5_000, slowest], must=1_000))]
    assert exit_code(sections) == code
    assert closing(sections) == ("Below must: debits: debits." if code else "Every must of these sections is met.")


def test_an_aim_that_is_missed_is_no_failure() -> None:
    assert exit_code([section(rated([1_200], must=1_000, aim=1_500))]) == 0


@pytest.mark.parametrize(("least", "code"), [(0.95, 0), (0.94, 1)])
def test_the_exit_code_follows_the_ratios_of_each_run(least: float, code: int) -> None:
    compared = Comparison("hot to spread", [1.2, least], at_least([1.2, least], 0.95, "0.95"))
    assert exit_code([section(comparisons=[compared])]) == code


def test_a_fault_is_a_failure_however_fast_it_was() -> None:
    lost = section(rated([2_000], must=1_000), faults=["events lost"])
    assert exit_code([lost]) == 1
    assert closing([lost]) == "Below must: debits: events lost."


def test_the_table_has_the_medians_the_costs_and_the_ratio_to_the_yardstick_of_the_same_run() -> None:
    yardstick = [run(1_000), run(2_000), run(500)]
    runs = [run(2_000, Processors(0.2, 0.1)), run(3_000, Processors(0.3, 0.6)), run(1_000, Processors(0.1, 0.1))]
    row = Row("debits", runs, at_least([2_000, 3_000, 1_000], 1_500), beside={"of INSERT": ratios(runs, yardstick)})
    assert as_markdown(section(Row("INSERT", yardstick), row)).splitlines()[4:] == [
        "| row | per second | p50 ms | p99 ms | Python µs | PostgreSQL µs | of INSERT | must | |",
        "|---|--:|--:|--:|--:|--:|--:|--:|---|",
        "| INSERT | 1,000 | 3.00 | 4.00 | - | - |  |  |  |",
        "| debits | 2,000 | 3.00 | 4.00 | 100 | 100 | 2.00 | 1,500 | below must: 2 of 3 |",
    ]


def test_the_cost_of_a_client_has_a_column_where_it_is_known() -> None:
    row = Row("HTTP", [run(1_000, Processors(0.02, 0.01, 0.005))])
    assert "| Python µs | PostgreSQL µs | client µs |" in as_markdown(section(row))
    assert "| 20.0 | 10.0 | 5.0 |" in as_markdown(section(row))


def test_json_has_every_run_and_what_each_met() -> None:
    compared = Comparison("hot to spread", [1.2, 0.9], at_least([1.2, 0.9], 0.95, "0.95"))
    measured = section(rated([2_000, 999], must=1_000, aim=1_500), comparisons=[compared], data={"line": [(1, 0.5)]})
    data = as_data([measured], "18.4", quick=True)
    assert data["quick"] is True
    assert data["below_must"] == {"debits": ["debits", "hot to spread"]}
    told = data["sections"]["debits"]
    assert told["line"] == [(1, 0.5)]
    assert told["ratios"][0]["runs"] == [1.2, 0.9]
    row = told["rows"][0]
    assert row["runs_per_second"] == [2_000, 999]
    assert row["must"] == {"bound": "1,000", "met": [True, False]}
    assert [each["p50_ms"] for each in row["runs"]] == [3.0, 3.0]


def test_parts_of_a_run_add_up_and_what_is_unknown_stays_unknown() -> None:
    whole = merged([run(100, Processors(0.5, None, 1.0)), run(300, Processors(0.25, None))])
    assert (whole.count, whole.seconds, whole.per_second) == (400, 2.0, 200.0)
    assert whole.processors == Processors(0.75, None, 1.0)
    assert len(whole.latencies) == 8


def test_a_smoke_run_says_so() -> None:
    assert "smoke run" in heading(1, "18.4", quick=True)
    assert "smoke run" not in heading(3, "18.4", quick=False)


def test_a_section_by_its_name_is_larger_than_among_the_others() -> None:
    by_name = size(alone=True, quick=False, runs=None, seconds=None, history=None, events=None)
    among = size(alone=False, quick=False, runs=None, seconds=None, history=None, events=None)
    asked = size(alone=True, quick=True, runs=5, seconds=None, history=None, events=7)
    assert (by_name.runs, by_name.events) == (3, EVENTS)
    assert by_name.events["rebuild"] > among.events["rebuild"]
    assert (asked.runs, set(asked.events.values())) == (5, {7})


def test_a_small_table_has_a_column_for_each_figure() -> None:
    assert small_table("callers", "debits/s", [(1, 12.3456), (256, 16_000.4)]).splitlines() == [
        "| callers | 1 | 256 |",
        "|---|--:|--:|",
        "| debits/s | 12.35 | 16,000 |",
    ]


def test_the_picture_has_a_point_for_each_figure_and_higher_ones_lie_higher() -> None:
    panel = Panel("Debits & more", "callers", "per second", [1, 8, 512], [Line("debits", [(1, 900), (512, 21_000)])])
    root = ElementTree.fromstring(as_svg("title <1>", [panel, panel]))
    space = "{http://www.w3.org/2000/svg}"
    low, high = root.findall(f"{space}g")[0].findall(f"{space}circle")
    assert float(high.attrib["cy"]) < float(low.attrib["cy"])
    assert float(high.attrib["cx"]) > float(low.attrib["cx"])
    texts = [each.text for each in root.iter(f"{space}text")]
    assert texts.count("Debits & more") == 2
    assert {"title <1>", "callers", "per second", "1", "8", "512", "0", "5,000", "25,000", "900", "21,000"} <= set(
        texts
    )


@pytest.mark.parametrize(
    ("about", "step"), [(0.21, 0.5), (0.2, 0.2), (1, 1), (1.1, 2), (3_400, 5_000), (6_000, 10_000)]
)
def test_ticks_are_round(about: float, step: float) -> None:
    assert round_step(about) == pytest.approx(step)
