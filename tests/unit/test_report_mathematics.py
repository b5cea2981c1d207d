"""Formulas in sentences: which are found, how they are set, and that nothing else is touched."""

import html
import re
import time
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twolayer.experiments import EXPERIMENTS
from twolayer.report.mathematics import with_mathematics

MATH = re.compile(r'<math alttext="(.*?)">(.*?)</math>', re.DOTALL)


def formulas(text):
    """The formulas found in a text, as they stand there."""
    return [html.unescape(found) for found, _ in MATH.findall(with_mathematics(text))]


def flat(element):
    """MathML read back as a line: the independent reader of what the page shows."""
    parts = [flat(child) for child in element]
    tag = element.tag
    if tag == "annotation":
        return ""
    if tag in {"mi", "mn", "mo", "mtext"}:
        return {"\u2061": "", "\u2062": " "}.get(element.text, element.text)
    if tag == "mfrac":
        return f"frac[{parts[0]};{parts[1]}]"
    if tag == "msqrt":
        return f"root[{''.join(parts)}]"
    if tag == "msub":
        return f"{parts[0]}_[{parts[1]}]"
    if tag == "msup":
        return f"{parts[0]}^[{parts[1]}]"
    if tag == "msubsup":
        return f"{parts[0]}_[{parts[1]}]^[{parts[2]}]"
    if tag == "munder":
        return f"{parts[0]}_[{parts[1]}]"
    assert tag in {"math", "semantics", "mrow"}, tag
    return "".join(parts)


def shown(text):
    """A text that is one formula, as it is set."""
    [(_, _)] = MATH.findall(with_mathematics(text))
    return flat(ET.fromstring(with_mathematics(text)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("d^-1/2", "d^[−1/2]"),
        ("x^2/2 + x^3/6", "frac[x^[2];2]+frac[x^[3];6]"),
        ("(1+x)^3", "(1+x)^[3]"),
        ("T^(2 n s)", "T^[2 n s]"),
        ("z1 + z1*z2", "z_[1]+z_[1] z_[2]"),
        ("1/2*(He3(z1) - z2)", "frac[1;2] (He_[3](z_[1])−z_[2])"),
        ("(a + b)/(2 m)", "frac[a+b;2 m]"),
        ("tau KL(mu | pi_mu)", "τ KL(μ∣π_[μ])"),
        ("J - J* <= 1e-05", "J−J^[*]≤1×10^[−5]"),
        ("sqrt(width)", "root[width]"),
        ("sqrt(x + 1)/2", "frac[root[x+1];2]"),
        ("lambda_min >= 0.5", "λ_[min]≥0.5"),
        ("sum_i a_i s(w_i.x + b_i)", "∑_[i]a_[i] s(w_[i]⋅x+b_[i])"),
        ("E[y^2]", "𝔼[y^[2]]"),
        ("w ~ N(0, I_d / d)", "w∼N(0,frac[I_[d];d])"),
        ("|c|^2", "|c|^[2]"),
        ("||f - g||^2", "‖f−g‖^[2]"),
        ("log d", "logd"),
        ("x_i^2", "x_[i]^[2]"),
        ("d = infinity", "d=∞"),
        ("a = 1", "a=1"),
        ("log10 d", "log_[10]d"),
        ("steps * gamma / (p d)", "steps frac[γ;p d]"),
        ("|grad L| / L^(2/3)", "frac[|∇L|;L^[frac[2;3]]]"),
        ("(delta sec^2 delta - tan delta) / pi", "frac[δ sec^[2]δ−tanδ;π]"),
        ("sum |w|^2 angle^2", "∑|w|^[2] angle^[2]"),
        ("la lw", "λ_[a] λ_[w]"),
    ],
)
def test_formulas_are_set_as_they_are_meant(text, expected):
    """Powers, fractions, indices, roots, Greek letters and relations, read back from the MathML."""
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A saddle of a leap-2 target lasts a time proportional to log d.", ["log d"]),
        ("N times the excess: N (R_N - R*) falls.", ["N", "N (R_N - R*)"]),
        ("up to t = 1.81 at d = 64.", ["t = 1.81", "d = 64"]),
        ("chen2024subspace, Theorem 3.4, (3.5) and Appendix B.2, Assumption 3.1(i)", []),
        ("demir2025asymptotic, Theorem 4 and Figures 1c, 5a, 5b", []),
        ("The optimum's mean-field limit is cos_sin of I or a thing.", []),
        ("equations 2.3-2.5, 5 % and (3.4)", []),
        ("the finite size may add (1/width + 1/d) of it", ["(1/width + 1/d)"]),
        ("z1 + z1*z2*z3 | cos_sin", ["z1 + z1*z2*z3"]),
        ("for step k-1, k-th and t-test", ["k-1"]),
    ],
)
def test_formulas_are_found_in_prose(text, found):
    """Words, numbers of theorems, bib keys and articles are no formulas."""
    assert formulas(text) == found


TEXTS = st.text(
    st.sampled_from(list("abzEIN012.,^_*/+-=<>|()[]&;'\" "))
    | st.characters(exclude_categories=("Cc", "Cs", "Cn", "Co")),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_any_text_survives(text):
    """Whatever the text, the page shows well-formed markup, and all the text is in it."""
    marked = with_mathematics(text)
    kept = MATH.sub(lambda found: found.group(1), marked)
    assert "<" not in kept
    plain = html.unescape(kept)
    for pair in (("≤", "<="), ("≥", ">="), ("≠", "!="), ("±", "+-"), ("→", "->")):
        if pair[0] not in text:
            plain = plain.replace(*pair)
    assert plain == text
    for source in MATH.finditer(marked):
        ET.fromstring(source.group())


@pytest.mark.parametrize(
    "text",
    ["f(" * 900 + "word" + ")" * 900, "(" * 3000, "|x " * 1000, "x^" * 2000, "sqrt " * 800,
     "sum_i " * 700, "1/" * 2000],
    ids=lambda text: text[:6],
)  # fmt: skip
def test_no_text_takes_long(text):
    """Nesting and repetition cost no exponential time: each took below 0.2 s when written."""
    start = time.process_time()
    with_mathematics(text)
    assert time.process_time() - start < 3


def test_every_statement_is_set():
    """Statements of all experiments are well-formed, and Greek names don't stay words in them."""
    for experiment in EXPERIMENTS.values():
        marked = with_mathematics(experiment.statement)
        for source in MATH.finditer(marked):
            ET.fromstring(source.group())
        assert not re.search(r"\b(tau|alpha|lambda|sigma)\b", MATH.sub("", marked))
