"""Formulas written in ASCII inside a sentence, as MathML; nothing is evaluated.

The statements of claims are plain text with formulas such as ``tau KL(mu | pi_mu)``, ``d^-1/2`` or
``z1 + z1*z2``. `with_mathematics` finds them and writes them as browsers set mathematics, with the
text itself as alternative; what it doesn't understand stays the text that it was.

A formula is what this grammar parses and what has a variable in it:

    relation  = sum ((= | < | <= | ~ | -> | ...) sum)*
    sum       = [sign] product ((+ | - | +-) product)*
    product   = power ((* | / | . | nothing) power)*
    power     = atom (_ index | ^ power | * as a star)*
    atom      = number | variable | Greek letter | function atom | ( ... ) | [ ... ] | | ... |
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape

from twolayer.report.symbols import (
    ARTICLES,
    CALLED,
    ENUMERATED,
    LARGE,
    RELATIONS,
    SIGNS,
    SPACED,
    SUMS,
    TYPOGRAPHY,
    Parsed,
    Tokens,
    number,
    variable,
)

_DEPTH = 24  # brackets in brackets: a text may be anybody's
_LONGEST = 4000  # characters in which formulas are looked for


def with_mathematics(text: str) -> str:
    """A sentence as HTML, its formulas as MathML with the text itself as alternative.

    Everything is escaped; formulas are set, never evaluated.

    Parameters
    ----------
    text
        Any text.

    Examples
    --------
    >>> with_mathematics("At most <bound>.")
    'At most &lt;bound&gt;.'
    >>> with_mathematics("The gap falls like d^-1.").partition("<semantics>")[0]
    'The gap falls like <math alttext="d^-1">'
    """
    tokens = Tokens(text[:_LONGEST])
    parts, k = [], 0
    while k < len(tokens):
        found = _formula(tokens, k)
        if found is None:
            parts.append(escape(TYPOGRAPHY.get(tokens[k].text, tokens[k].text)))
            k += 1
            continue
        last = tokens[found.end - 1]
        source = escape(text[tokens[k].start : last.start + len(last.text)])
        parts.append(
            f'<math alttext="{source}"><semantics><mrow>{found.markup}</mrow>'
            f'<annotation encoding="text/plain">{source}</annotation></semantics></math>'
        )
        k = found.end
    return "".join(parts) + escape(text[_LONGEST:])


def _formula(tokens: Tokens, k: int) -> Parsed | None:
    """The formula that begins at token ``k``, or nothing."""
    token = tokens[k]
    if token.kind in {"space", "prose", "other"} or _continues_a_word(tokens, k):
        return None
    if k >= 2 and tokens[k - 1].kind == "space" and tokens[k - 2].text in ENUMERATED:
        return None
    found = _relation(tokens, k, 0)
    return found if found and found.strong else None


def _continues_a_word(tokens: Tokens, k: int) -> bool:
    """Whether something that is no formula ends right before: ``width/d`` stays text."""
    if k == 0 or tokens[k - 1].kind in {"space"}:
        return False
    before = tokens[k - 1]
    if before.text in {"(", "[", ",", "|"} or before.text in RELATIONS:
        return False
    return before.kind != "other" or before.text in "'\u2019"


def _chain(
    tokens: Tokens,
    k: int,
    depth: int,
    part: Callable[[Tokens, int, int], Parsed | None],
    operators: dict[str, str],
) -> Parsed | None:
    """Parts with operators between them."""
    first = part(tokens, k, depth)
    if first is None:
        return None
    markup, end, strong, plain = first.markup, first.end, first.strong, first.plain
    bare = first.bare
    while True:
        place = tokens.skip(end)
        sign = operators.get(tokens.text(place))
        found = part(tokens, tokens.skip(place + 1), depth) if sign else None
        if sign is None or found is None:
            return Parsed(markup, end, strong, bare, plain)
        markup += f"<mo>{escape(sign)}</mo>{found.markup}"
        end, strong, plain, bare = (
            found.end,
            strong or found.strong or tokens.text(k) in ARTICLES,
            False,
            "",
        )


def _relation(tokens: Tokens, k: int, depth: int) -> Parsed | None:
    return _chain(tokens, k, depth, _sum, RELATIONS)


def _sum(tokens: Tokens, k: int, depth: int) -> Parsed | None:
    sign = SUMS.get(tokens.text(k))
    if sign is None:
        return _chain(tokens, k, depth, _product, SUMS)
    if k + 1 >= len(tokens) or tokens[k + 1].kind == "space":
        return None
    found = _chain(tokens, k + 1, depth, _product, SUMS)
    if found is None:
        return None
    markup = f'<mo form="prefix">{sign}</mo>{found.markup}'
    return Parsed(markup, found.end, found.strong, plain=found.plain)


def _product(tokens: Tokens, k: int, depth: int) -> Parsed | None:
    first = _power(tokens, k, depth)
    if first is None:
        return None
    done, last = "", first  # what stands before the last factor, and that factor
    strong, alone = first.strong, True
    while True:
        place = tokens.skip(last.end)
        operator, spaced = tokens.text(place), place > last.end
        if operator == "/":
            below = _power(tokens, tokens.skip(place + 1), depth) or _named(
                tokens, tokens.skip(place + 1), after=last
            )
            if below is None:
                break
            markup = f"<mfrac>{last.row}{below.row}</mfrac>"
            strong = strong or below.strong or tokens.text(place - 1) in ARTICLES
            last = Parsed(markup, below.end, strong)
            alone = False
            continue
        if operator in {"*", "."} and (operator == "*" or not spaced):
            behind = place + 1 if operator == "." else tokens.skip(place + 1)
            dotted = operator == "." and tokens[last.end - 1].kind == "number"
            factor = None if dotted else _power(tokens, behind, depth)
            between = _dot(last, factor, operator)
        else:
            factor = (
                None
                if _bare_article(tokens, place, spaced=True)
                else _factor(tokens, place, depth, last, spaced=spaced)
            )
            between = "<mo>\u2062</mo>"
            if _bare_article(tokens, k, spaced=spaced) and alone:
                factor = None
        if factor is None:
            break
        done += last.markup + between
        strong = strong or factor.strong or (operator == "*" and tokens.text(k) in ARTICLES)
        last, alone = factor, False
    if alone:
        return first
    return Parsed(done + last.markup, last.end, strong)


def _dot(last: Parsed, factor: Parsed | None, operator: str) -> str:
    """A product sign: none between variables, a dot between numbers and for inner products."""
    numbers = factor is not None and last.plain and factor.plain
    return "<mo>⋅</mo>" if operator == "." or numbers else "<mo>\u2062</mo>"


def _factor(tokens: Tokens, k: int, depth: int, last: Parsed, *, spaced: bool) -> Parsed | None:
    """A factor without a product sign; two numbers in a row are no product."""
    if k >= len(tokens) or (tokens[k].text in {"|", "||"} and not spaced):
        return None
    if tokens[k].kind not in {"word", "number"} and tokens[k].text not in {"(", "[", "|", "||"}:
        return None
    found = _power(tokens, k, depth)
    if found is None or (found.plain and (last.plain or spaced)):
        return None
    # "(3.4)" behind a space is a reference, "3 (d)" a remark.
    return found if found.strong else None


def _bare_article(tokens: Tokens, k: int, *, spaced: bool) -> bool:
    """Whether the word there is an English article: nothing but spaces around it."""
    if tokens.text(k) not in ARTICLES or not spaced:
        return False
    return k + 1 >= len(tokens) or tokens[k + 1].text not in {"_", "^", "(", "*"}


def _power(tokens: Tokens, k: int, depth: int) -> Parsed | None:
    base = _atom(tokens, k, depth)
    if base is None:
        return None
    below = above = ""
    end, strong = base.end, base.strong
    while True:
        sign = tokens.text(end)
        if sign == "_" and not below and not above:
            index = _index(tokens, end + 1, depth)
            if index is None:
                break
            below, end, strong = index.row, index.end, True
        elif sign == "^" and not above:
            exponent = _exponent(tokens, end + 1, depth)
            if exponent is None:
                break
            above, end, strong = exponent.row, exponent.end, True
        elif sign == "*" and not above and _ends_a_word(tokens, end + 1) and strong:
            above, end = "<mo>*</mo>", end + 1
        else:
            break
    if below and above:
        markup = f"<msubsup>{base.whole}{below}{above}</msubsup>"
    elif below or above:
        name = "msub" if below else "msup"
        markup = f"<{name}>{base.whole}{below or above}</{name}>"
    else:
        return base
    return Parsed(markup, end, strong)


def _ends_a_word(tokens: Tokens, k: int) -> bool:
    """Whether a star before token ``k`` is no product sign: ``J - J*,``."""
    if k >= len(tokens) or tokens[k].text in {")", "]", ",", ".", "|"}:
        return True
    if tokens[k].kind == "other":
        return True
    return tokens[k].kind == "space"


def _index(tokens: Tokens, k: int, depth: int) -> Parsed | None:
    if k < len(tokens) and tokens[k].kind == "word":
        name = tokens[k].text
        mark = variable(name) or f"<mtext>{escape(name)}</mtext>"
        return Parsed(mark, k + 1, strong=True)
    return _atom(tokens, k, depth)


def _exponent(tokens: Tokens, k: int, depth: int) -> Parsed | None:
    sign = tokens.text(k) if tokens.text(k) in {"-", "+"} else ""
    found = _atom(tokens, k + bool(sign), depth)
    if found is None:
        return None
    markup, end = found.bare or found.markup, found.end
    if sign:
        # d^-1/2 is a root: people write the other power as 1/(2 d).
        behind = tokens[end + 1] if tokens.text(end) == "/" and end + 1 < len(tokens) else None
        if found.plain and behind is not None and behind.kind == "number":
            markup = f"{found.markup}<mo>/</mo><mn>{behind.text}</mn>"
            end += 2
        markup = f'<mo form="prefix">{SUMS[sign]}</mo>{markup}'
    return Parsed(markup, end, strong=True)


def _atom(tokens: Tokens, k: int, depth: int) -> Parsed | None:
    if k >= len(tokens) or depth > _DEPTH:
        return None
    token = tokens[k]
    if token.kind == "number":
        return number(token.text, k)
    if token.kind == "word":
        return _word(tokens, k, depth)
    for opening, closing in (("(", ")"), ("[", "]"), ("||", "||"), ("|", "|")):
        if token.text == opening:
            return _bracket(tokens, k, depth, closing)
    return None


def _word(tokens: Tokens, k: int, depth: int) -> Parsed | None:
    name, behind = tokens[k].text, tokens.text(k + 1)
    if name in CALLED | SPACED:
        return _function(tokens, k, depth, spaced=name in SPACED)
    if name == "infinity":
        return Parsed("<mi>∞</mi>", k + 1, strong=False)
    if name in LARGE and behind.isspace() and tokens.text(k + 2) == "|":
        summand = _product(tokens, k + 2, depth + 1)
        sign = f"<mo>{LARGE[name]}</mo>"
        return summand and Parsed(sign + summand.markup, summand.end, strong=True)
    if name in LARGE and behind == "_":
        below = _index(tokens, k + 2, depth)
        summand = below and _product(tokens, tokens.skip(below.end), depth + 1)
        if below is None or summand is None:
            return None
        markup = f"<munder><mo>{LARGE[name]}</mo>{below.row}</munder>{summand.markup}"
        return Parsed(markup, summand.end, strong=True)
    mark = variable(name)
    if mark is not None:
        # f(x) is a function where the bracket follows at once; E[...] an expectation.
        if name == "E" and behind == "[":
            mark = "<mi>\U0001d53c</mi>"
        if behind in {"(", "["}:
            argument = _bracket(tokens, k + 1, depth, ")" if behind == "(" else "]")
            if argument is not None:
                markup = f"{mark}<mo>\u2061</mo>{argument.markup}"
                return Parsed(markup, argument.end, strong=True)
        return Parsed(mark, k + 1, strong=name not in ARTICLES)
    starred = tokens.text(tokens.skip(k + 1)) == "*" and behind.isspace()
    if (behind == "^" or starred) and name.islower():  # size^-1, steps * gamma
        return Parsed(f"<mi>{escape(name)}</mi>", k + 1, strong=False)
    return None


def _function(tokens: Tokens, k: int, depth: int, *, spaced: bool) -> Parsed | None:
    end, above = k + 1, ""
    if tokens.text(end) == "^":
        exponent = _exponent(tokens, end + 1, depth)
        if exponent is None:
            return None
        above, end = exponent.row, exponent.end
    argument = _argument(tokens, end, depth, spaced=spaced)
    if argument is None:
        return None
    if tokens[k].text == "sqrt" and not above:
        return Parsed(f"<msqrt>{argument.row}</msqrt>", argument.end, strong=True)
    base = tokens[k].text.rstrip("0123456789")
    name = f"<mi>{SIGNS.get(base, base)}</mi>"
    if base != tokens[k].text:
        name = f"<msub>{name}<mn>{tokens[k].text[len(base) :]}</mn></msub>"
    name = f"<msup>{name}{above}</msup>" if above else name
    return Parsed(f"{name}<mo>\u2061</mo>{argument.markup}", argument.end, strong=True)


def _argument(tokens: Tokens, k: int, depth: int, *, spaced: bool) -> Parsed | None:
    """What a function is applied to: a bracket, or one atom behind a space if it may be."""
    if tokens.text(k) in {"(", "["}:
        return _bracket(tokens, k, depth, ")" if tokens.text(k) == "(" else "]")
    place = tokens.skip(k)
    if not spaced or place == k or _bare_article(tokens, place, spaced=True):
        return None
    found = _power(tokens, place, depth + 1)
    return found if found is not None and (found.strong or found.plain) else None


def _bracket(tokens: Tokens, k: int, depth: int, closing: str) -> Parsed | None:
    """Relations with commas and bars between them, in brackets."""
    found = None
    if depth < _DEPTH and k not in tokens.hopeless:
        found = _filled(tokens, k, depth, closing)
    if found is None:
        tokens.hopeless.add(k)
    return found


def _filled(tokens: Tokens, k: int, depth: int, closing: str) -> Parsed | None:
    between = {",": ",", "|": "\u2223"} if closing in {")", "]"} else {}
    inside = partial(_chain, part=_relation, operators=between)
    place = tokens.skip(k + 1)
    found = inside(tokens, place, depth + 1) or _single_name(tokens, place, closing)
    if found is None:
        return None
    end = tokens.skip(found.end)
    if tokens.text(end) != closing:
        return None
    opening = {")": "(", "]": "[", "|": "|", "||": "‖"}[closing]
    shown = {"||": "‖"}.get(closing, closing)
    fence = 'stretchy="false"' if "<mfrac" not in found.markup else ""
    markup = f"<mrow><mo {fence}>{opening}</mo>{found.markup}<mo {fence}>{shown}</mo></mrow>"
    bare = found.markup if closing == ")" else ""
    strong = found.strong or tokens.text(place) in ARTICLES
    return Parsed(markup, end + 1, strong, bare, plain=False)


def _single_name(tokens: Tokens, k: int, closing: str) -> Parsed | None:
    """A quantity called by a word, alone in a function's bracket: ``sqrt(width)``."""
    if k >= len(tokens) or tokens[k].kind != "word" or tokens.text(k + 1) != closing:
        return None
    before = tokens[k - 2] if k >= 2 else None
    if before is None or before.text not in CALLED | SPACED:
        return None
    return Parsed(f"<mi>{escape(tokens[k].text)}</mi>", k + 1, strong=True)


def _named(tokens: Tokens, k: int, *, after: Parsed) -> Parsed | None:
    """A quantity called by a word under a number: ``1/width``."""
    if k >= len(tokens) or tokens[k].kind != "word" or not after.plain:
        return None
    return Parsed(f"<mi>{escape(tokens[k].text)}</mi>", k + 1, strong=True)
