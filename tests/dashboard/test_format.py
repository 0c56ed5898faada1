"""Numbers and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dashboard.format import Reading, duration, moment, percent, reading, size


@pytest.mark.parametrize(
    ("language", "value", "unit", "precision", "expected"),
    [
        ("zh", 1234.0, "rows", 0, Reading("1,234", "行")),
        ("zh", 99_999.0, "rows", 0, Reading("99,999", "行")),
        ("zh", 12_345_678.0, "rows", 0, Reading("1,234.6", "万行")),
        ("zh", 1.5e9, "rows", 0, Reading("15.00", "亿行")),
        ("en", 12_345_678.0, "rows", 0, Reading("12.35", "M rows")),
        ("zh", 0.703, "tce", 3, Reading("0.703", "吨标准煤")),
        ("zh", 1234.5678, "tce", 3, Reading("1,235", "吨标准煤")),
        ("zh", 92.0, "s", 2, Reading("92.00", "秒")),
        ("zh", 0.0, "s", 2, Reading("0.00", "秒")),
        ("zh", None, "s", 2, Reading("—", "")),
        ("zh", float("nan"), "s", 2, Reading("—", "")),
        ("zh", 3.0, "furlong", 0, Reading("3", "furlong")),
    ],
)
def test_reading(language: str, value: float | None, unit: str, precision: int, expected: Reading) -> None:
    assert reading(language, value, unit, precision=precision) == expected  # type: ignore[arg-type]


def test_ratios_are_per_cent() -> None:
    assert reading("zh", 0.9714, "1", percent=True, precision=1) == Reading("97.1", "%")
    assert percent(0.089) == "8.9%"
    assert percent(None) == "—"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 秒"),
        (1.25, "1.2 秒"),
        (45, "45 秒"),
        (119, "119 秒"),
        (120, "2 分钟"),
        (7200, "2 小时"),
        (172800, "2 天"),
        (-5, "0 秒"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration("zh", seconds) == expected


def test_times_are_local() -> None:
    assert moment(datetime(2026, 11, 23, 16, 30, tzinfo=UTC), "Asia/Shanghai") == "11-24 00:30"
    assert moment(None, "Asia/Shanghai") == "—"


@pytest.mark.parametrize(
    ("n", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (12 * 2**30, "12 GiB"), (2**43, "8.0 TiB")],
)
def test_sizes(n: int, expected: str) -> None:
    assert size(n) == expected
