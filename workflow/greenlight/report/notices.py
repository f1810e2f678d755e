"""The report in short, for where people decide: the summary of a CI job and a comment on a pull request."""

from __future__ import annotations

import re

from greenlight.report.checks import CheckRow, alike, together
from greenlight.report.facts import Facts
from greenlight.report.markup import anchor
from greenlight.report.render import WORDS, markdown_page

# A summary has under 60 lines whatever the run: so many of each kind, and a line that says how many more there are.
REASONS, MODELS, CHANGES, STOPPED = 5, 10, 10, 12
LONGEST = 400
_WORSE = ("fail", "warn", "inconclusive")
# GitHub calls people by `@name` and tells issues by `#7`; a comment between the two shows the same and calls nobody.
_CALLING = re.compile(r"(`[^`\n]*`)|(@|\\#)(?=\w)")


def summary(facts: Facts) -> str:
    """summary.md: verdict and decision, what changed since the baseline, what stops a variant; under 60 lines."""
    stopped = alike(together(check for check in facts.checks if check.blocking))
    return _page("report-summary.md.jinja", facts, changes=_worse(facts), stopped=stopped)


def comment(facts: Facts) -> str:
    """comment.md: the decision and what got worse since the baseline, for a comment that is updated at each run.

    Its first line is a marker, the same for every run of the same models on the same kind of device, by which the
    comment of the run before is found.
    """
    marker = anchor("greenlight", facts.device, *sorted(model.name for model in facts.models))
    return _page("report-comment.md.jinja", facts, marker=marker, changes=_worse(facts))


def _worse(facts: Facts) -> list[CheckRow]:
    """What is not as it was in the accepted run; a change that could not be told is among it."""
    return [check for check in facts.changes if check.status in _WORSE]


def _page(template: str, facts: Facts, **more: object) -> str:
    limits = {"reasons": REASONS, "models": MODELS, "changes": CHANGES, "stopped": STOPPED}
    compared = any(baseline.state == "compared" for baseline in facts.baselines)
    about = {"words": WORDS[facts.verdict], "compared": compared, "limits": limits, "short": _short}
    text = markdown_page(template, facts=facts, **about, **more)
    text = _CALLING.sub(lambda found: found[1] or f"{found[2]}<!-- -->", text)
    return re.sub(r"\n{3,}", "\n\n", text)


def _short(text: str, longest: int = LONGEST) -> str:
    """A sentence, cut where it is very long: a comment has room for 65,536 characters."""
    return text if len(text) <= longest else f"{text[:longest].rstrip()} …"
