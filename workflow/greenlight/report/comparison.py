"""A against B as pages: what differs between two runs, in figures and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from greenlight.judgement.a_against_b import Asked, Errors, Latency, Name
from greenlight.report.formats import mebibytes, milliseconds, percent, seconds
from greenlight.report.render import html_page, markdown_page
from greenlight.report.sides import Side

HEADLINES = {
    "pass": "PASS: b is no worse than a.",
    "fail": "FAIL: b is worse than a.",
    "inconclusive": "INCONCLUSIVE: b is not shown to be worse than a, and not all is shown to be as good.",
}


@dataclass(frozen=True)
class ComparedVariant:
    """One variant on both sides; texts of a and of b where there are two.

    Attributes:
        status: pass, fail or inconclusive, of all that follows.
        reasons: what is worse or not shown, a sentence each.
        forecasts: how much they differ.
        rounds: (a, b) median seconds of each round, as text.
    """

    model: str
    variant: str
    status: str
    reasons: tuple[str, ...]
    forecasts: str
    mae: str
    errors: str
    latency: str
    speed: str
    medians: tuple[str, str]
    cold: tuple[str, str]
    memory: tuple[str, str]
    health: tuple[str, str]
    rounds: tuple[tuple[str, str], ...]

    @property
    def sentence(self) -> str:
        """What matters of it, in a line."""
        told = f"{self.model} {self.variant}: {self.forecasts}; {self.errors}; latency {self.latency}: {self.speed}"
        return "; ".join([f"{self.status.upper()} {told}", *self.reasons])


@dataclass(frozen=True)
class Compared:
    """A whole comparison."""

    a: str
    b: str
    when: str
    status: str
    variants: tuple[ComparedVariant, ...]
    problems: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The answer."""
        return HEADLINES[self.status]

    @property
    def lines(self) -> list[str]:
        """A line a variant."""
        return [variant.sentence for variant in self.variants]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"format": 1, **asdict(self)}


def conclude(
    sides: Sequence[Side],
    latency: Mapping[Name, Latency],
    errors: Mapping[Name, Errors],
    differences: Mapping[Name, tuple[float, str] | None],
    asked: Mapping[tuple[Name, str], Asked],
    when: str,
) -> Compared:
    """The answer over all variants: worse anywhere is worse, and what is not shown is not a pass."""
    a, b = sides
    variants = tuple(
        _variant(name, a, b, latency.get(name), errors.get(name), differences.get(name), asked) for name in a.own
    )
    statuses = {variant.status for variant in variants}
    status = next(
        (word for word in ("fail", "inconclusive") if word in statuses), "pass" if variants else "inconclusive"
    )
    return Compared(a.label, b.label, when, status, variants, tuple(dict.fromkeys([*a.problems, *b.problems])))


def _variant(
    name: Name,
    a: Side,
    b: Side,
    latency: Latency | None,
    errors: Errors | None,
    difference: tuple[float, str] | None,
    asked: Mapping[tuple[Name, str], Asked],
) -> ComparedVariant:
    rows = [side.rows[name] for side in (a, b)]
    # A mode that is the same as another on this device is not run.
    same = any(role.startswith("same as") for row in rows for role in row.roles)
    statuses, reasons = [], []
    if not same:
        statuses += [errors.status if errors else "inconclusive", latency.status if latency else "inconclusive"]
        if latency is None:
            reasons.append("latency was not measured on both sides")
    if rows[0].engaged and rows[1].engaged is False:
        statuses.append("fail")
        reasons.append("b no longer compiles")
    for status, checks in newly_stopping(a, b, name).items():
        again = {check: asked[name, check] for check in checks if (name, check) in asked}
        for found in again.values():
            statuses.append(found.status)
            reasons.append(found.words)
        if rest := [check for check in checks if check not in again]:
            statuses.append(status)
            words = "fail" if status == "fail" else "are inconclusive"
            reasons.append(f"checks that {words} in b and not in a: {', '.join(rest)}")
    status = next((word for word in ("fail", "inconclusive") if word in statuses), "pass")
    bounds = latency.ratio if latency else None
    rounds = zip(*(side.seconds.get(name, []) for side in (a, b)), strict=False)
    return ComparedVariant(
        *name,
        status,
        tuple(reasons),
        _forecasts(difference),
        _change(errors),
        errors.words if errors else "errors are not there on both sides",
        _bounds(bounds.estimate, bounds.lower, bounds.upper) if bounds else "–",
        latency.words if latency else "the same as another here" if same else "not measured",
        _both(milliseconds(row.median_seconds) for row in rows),
        _both(seconds(row.cold) for row in rows),
        _both(mebibytes(row.peak_memory) for row in rows),
        _both(row.health or "–" for row in rows),
        tuple((milliseconds(one), milliseconds(other)) for one, other in rounds),
    )


def newly_stopping(a: Side, b: Side, name: Name) -> dict[str, list[str]]:
    """By status, names of the checks that stop b and not a: fail where it did not, inconclusive where it passed."""
    known, found = a.checks[name], b.checks[name]
    return {
        "fail": [check for check, status in found.items() if status == "fail" and known.get(check) != "fail"],
        "inconclusive": [check for check, status in found.items() if status != "fail" and check not in known],
    }


def _both(texts: Any) -> tuple[str, str]:
    first, second = texts
    return first, second


def _bounds(*values: float) -> str:
    estimate, lower, upper = (f"{value:.3f}" for value in values)
    return f"{estimate} times [{lower}, {upper}]"


def _change(errors: Errors | None) -> str:
    if errors is None or errors.change is None:
        return "–"
    values = (errors.change.estimate, errors.change.lower, errors.change.upper)
    if max(map(abs, values)) < 1e-6:
        return "0%"
    estimate, lower, upper = (f"{100 * value:+.2f}%" for value in values)
    return f"{estimate} [{lower}, {upper}]"


def _forecasts(difference: tuple[float, str] | None) -> str:
    if difference is None:
        return "forecasts are not there on both sides"
    share, where = difference
    if share == 0:
        return "forecasts equal to the bit"
    if share < 1e-6:
        return "forecasts equal but for rounding"
    return f"forecasts differ by up to {percent(share, 4) if share < 1e-3 else percent(share)} of the price ({where})"


def compare_html(compared: Compared) -> str:
    """The page as one HTML file that fetches nothing."""
    return html_page("compare.html.jinja", ["report"], compared=compared)


def compare_markdown(compared: Compared) -> str:
    """The same as Markdown."""
    return markdown_page("compare.md.jinja", compared=compared)
