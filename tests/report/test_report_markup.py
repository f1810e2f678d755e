"""Names and messages are shown in Markdown and are never markup."""

from __future__ import annotations

import markdown
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlight.report.markup import anchor, code, escape, fenced, visible

HOSTILE = [
    "<script>alert(1)</script>",
    "a|b",
    "`code`",
    "*bold* _em_ __both__",
    "[text](javascript:alert(1))",
    "![image](http://host/x.png)",
    "# heading",
    "1. item",
    "- item",
    "a\n\n# heading\n",
    "&lt;b&gt;",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "$x$",
    "~~gone~~",
    "<!-- comment -->",
]


def rendered(text: str) -> str:
    return markdown.markdown(text, extensions=["tables", "fenced_code", "sane_lists"])


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_one_paragraph_without_markup(text):
    page = rendered(escape(text))
    assert page.startswith("<p>") and page.endswith("</p>")
    inner = page.removeprefix("<p>").removesuffix("</p>")
    assert "<" not in inner and ">" not in inner
    assert "\n" not in inner


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_in_its_table_cell(text):
    page = rendered(f"| A | B |\n|---|---|\n| {escape(text)} | end |")
    assert page.count("<td>") == 2
    assert "<td>end</td>" in page


@settings(max_examples=150)
@given(st.text(alphabet=st.sampled_from("ab<>&|`*_[]()#!~\\-+=1. \n\t\r\x1b\u202e"), max_size=25))
def test_no_text_makes_an_element_or_a_second_line(text):
    safe = escape(text)
    assert "\n" not in safe and "\x1b" not in safe and "\u202e" not in safe
    inner = rendered(f"- word {safe} word")
    assert inner.count("<") == 4, inner  # <ul><li></li></ul>


def test_plain_names_and_intervals_stay_readable():
    assert escape("SIM_CALM 1.31 [1.25, 1.36] +0.5%") == "SIM_CALM 1.31 [1.25, 1.36] +0.5%"
    assert code("static-default") == "`static-default`"
    assert escape(None) == ""


def test_a_name_that_a_code_span_cannot_hold_is_escaped():
    assert "`" not in code("a`b|c").replace("\\`", "")
    assert "\\|" in code("a|b")


@pytest.mark.parametrize("text", ["plain", "with ``` fence", "````\n```", "`"])
def test_a_fence_is_longer_than_any_inside(text):
    page = rendered(fenced(text))
    assert page.count("<pre>") == 1 and page.endswith("</code></pre>")


def test_an_anchor_has_letters_digits_and_hyphens_only():
    assert anchor("symbols", '"><script>') == "symbols-script"


def test_lone_surrogates_can_be_written():
    written = visible("\ud800 name").encode("utf-8").decode("utf-8")
    assert written.endswith(" name")
