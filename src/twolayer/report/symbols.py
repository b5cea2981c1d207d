"""Words and signs of the formulas in a text: names, tokens, and how a variable is set."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SMALL = {
    "alpha": 0x3B1, "beta": 0x3B2, "gamma": 0x3B3, "delta": 0x3B4, "epsilon": 0x3B5, "zeta": 0x3B6,
    "eta": 0x3B7, "theta": 0x3B8, "kappa": 0x3BA, "lambda": 0x3BB, "mu": 0x3BC, "nu": 0x3BD,
    "xi": 0x3BE, "pi": 0x3C0, "rho": 0x3C1, "sigma": 0x3C3, "tau": 0x3C4, "upsilon": 0x3C5,
    "phi": 0x3C6, "chi": 0x3C7, "psi": 0x3C8, "omega": 0x3C9, "eps": 0x3B5,
}  # fmt: skip
_GREEK = {name: chr(code) for name, code in _SMALL.items()}
_GREEK |= {name.title(): chr(code).upper() for name, code in _SMALL.items() if name != "eps"}
# The two weight decays are lambda with an index.
_GREEK |= {"la": "\u03bb_a", "lw": "\u03bb_w"}
# Functions whose argument may stand behind a space, and those that need a bracket to be one.
SPACED = {
    "log", "log2", "log10", "exp", "sqrt", "sin", "cos", "tan", "sec", "sup", "inf", "min", "max",
    "tanh", "arccos", "grad",
}  # fmt: skip
CALLED = {
    "KL", "Tr", "det", "arcsin", "sign", "sinh", "cosh", "erf", "relu", "dim", "rank", "poly",
    "Var", "Cov", "Ent", "arctan", "softplus", "sigmoid", "vol", "span", "diag",
}  # fmt: skip
RELATIONS = {
    "=": "=", "<=": "≤", ">=": "≥", "<": "<", ">": ">", "!=": "≠", "~": "\u223c", "->": "→",
    "<<": "≪", ">>": "≫", ":=": "≔", "==": "=",
}  # fmt: skip
SIGNS = {"grad": "∇"}  # functions that are not set by their names
LARGE = {"sum": "∑", "prod": "∏"}
SUMS = {"+": "+", "-": "\u2212", "+-": "±"}
TYPOGRAPHY = {"<=": "≤", ">=": "≥", "!=": "≠", "+-": "±", "->": "→"}
ARTICLES = {"a", "A", "I"}  # a variable only next to an operator
ENUMERATED = {
    "Appendix", "Figure", "Figures", "Table", "Section", "Part", "Case", "Theorem", "Phase",
    "Lemma", "Proposition", "Assumption", "Assumptions", "Definition", "Chapter",
}  # fmt: skip

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<prose>                                 # what looks like a formula and is none
        (?<![A-Za-z_])\((?:i{1,3}|iv|vi{0,3}|[a-e])\)     # (ii), (b)
      | [A-Z]\.\d[\d.]*                              # Appendix B.2
      | \d+[A-Za-z]\w*(?<!e)(?<!\de\d)(?<!\de\d\d)     # 1a
      | [A-Za-z]-[a-z]{2,}[\w-]*                     # t-test
      | [A-Za-z]{2,}[A-Za-z0-9]*(?:[-'\u2019][A-Za-z0-9]+)+   # mean-field, neuron's
      | [A-Za-z]['\u2019][a-z]+                          # N's
      )
    | (?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)
    | (?P<word>[A-Za-z]+\d*)
    | (?P<operator><<|>>|<=|>=|!=|:=|==|->|\+-|\|\||[-+*/^_=<>~|()\[\].,])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Token:
    """A word, number, sign or gap of the text, and where it begins."""

    kind: str
    text: str
    start: int


class Tokens(list[Token]):
    """The tokens of a text, with the brackets that are known not to be mathematics.

    They are remembered because a bracket is tried as an argument and as a factor: nested ones
    would take a time exponential in their number.
    """

    def __init__(self, text: str) -> None:
        super().__init__(
            Token(str(match.lastgroup), match.group(), match.start())
            for match in _TOKEN.finditer(text)
        )
        self.hopeless: set[int] = set()

    def text(self, k: int) -> str:
        """Token ``k`` as it stands, nothing behind the end."""
        return self[k].text if k < len(self) else ""

    def skip(self, k: int) -> int:
        """The first place from ``k`` on that is no gap."""
        return k + 1 if k < len(self) and self[k].kind == "space" else k


@dataclass(frozen=True)
class Parsed:
    """A piece of a formula: its MathML, the token behind it, and whether it has a variable."""

    markup: str
    end: int
    strong: bool
    bare: str = ""  # the markup without its outer brackets, for fractions and exponents
    plain: bool = False  # a number and nothing else

    @property
    def row(self) -> str:
        """The piece as one unit, without its brackets where it has some."""
        return f"<mrow>{self.bare or self.markup}</mrow>"

    @property
    def whole(self) -> str:
        """The piece as one unit, brackets and all."""
        return f"<mrow>{self.markup}</mrow>"


def variable(name: str) -> str | None:
    """The markup of a variable: a letter or a Greek name, with a number as its index."""
    letters = name.rstrip("0123456789")
    digits = name[len(letters) :]
    if len(letters) == 1:
        mark = f"<mi>{letters}</mi>"
    elif letters in _GREEK:
        letter, _, index = _GREEK[letters].partition("_")
        mark = f"<mi>{letter}</mi>"
        if index:
            return f"<msub>{mark}<mi>{index}</mi></msub>" if not digits else None
    elif letters == "He" and digits:
        mark = "<mi>He</mi>"
    else:
        return None
    return f"<msub>{mark}<mn>{digits}</mn></msub>" if digits else mark


def number(text: str, k: int) -> Parsed:
    """The number at token ``k``, powers of ten written out."""
    digits, _, power = text.partition("e")
    if not power:
        return Parsed(f"<mn>{digits}</mn>", k + 1, strong=False, plain=True)
    sign = "<mo>\u2212</mo>" if power.startswith("-") else ""
    exponent = power.lstrip("+-").lstrip("0") or "0"
    ten = f"<msup><mn>10</mn><mrow>{sign}<mn>{exponent}</mn></mrow></msup>"
    return Parsed(f"<mn>{digits}</mn><mo>\u00d7</mo>{ten}", k + 1, strong=True, plain=True)
