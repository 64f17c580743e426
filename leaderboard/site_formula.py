"""Formulas of the glossary, which are plain text, set as MathML.

They mix words with mathematics: words stay text, which breaks into lines; each run of mathematics becomes one `<math>`
element, which browsers lay out by themselves and screen readers speak. A single letter is a variable, `a_b` a
subscript, `^` a power, a bracket over a bracket a fraction; a name of several letters stands upright. What is not
understood stays as it was written: nothing is dropped.
"""

import re
from collections.abc import Sequence

from markupsafe import Markup, escape

_TOKEN = re.compile(
    r"`[^`]*`"  # names of metrics
    r"|\d+(?:th|st|nd)\b|[A-Za-z]+(?:-[A-Za-z]+)+(?:'s)?|[A-Za-z]{2,}'s?(?![A-Za-z])|[A-Za-z]'s\b"  # words
    r"|[A-Za-z][A-Za-z0-9]*(?:_k\+1|_[A-Za-z0-9]+)?'?"
    r"|\d+(?:\.\d+)?(?:e-?\d+|%)?|>=|<=|\|\||."
)
_SIGNS = {"-": "−", "*": "·", ">=": "≥", "<=": "≤", "||": "∥", "|": "|", "^": "^"}
_SIGNS |= {sign: sign for sign in "/=+<>"}
_LARGE = {"int": "∫", "sum": "∑", "prod": "∏"}
_NAMES = {"clip", "min", "max", "ln", "log", "exp", "sqrt", "floor", "ceil"}
_NAMES |= {"MAE", "MSE", "Var", "CKA", "AUC", "RR", "KL", "TV", "W1", "tv"}
_MODELS = {"original", "retrained", "unlearned", "retrained'"}
"""Words that are mathematics where they are arguments."""
_MEAN = "mean "
"""The word where it is a function of what follows."""
_OPEN, _CLOSE = {"(": ")", "[": "]", "{": "}"}, {")", "]", "}"}
_LETTERS = {"tau": "τ", "xi": "ξ", "Delta": "Δ", "epsilon": "ε", "sigma": "σ", "delta": "δ"}
_NUMBER = r"\d+(\.\d+)?(e-?\d+|%)?"
_INDEXED = r"([A-Za-z][A-Za-z0-9]?|xi|max)_(k\+1|[A-Za-z0-9]+)'?"


def typeset(formula: str) -> Markup:
    """Return a formula as HTML: text with MathML in it.

    >>> typeset("1 - x_a")
    Markup('<math><mn>1</mn><mo>−</mo><msub><mi>x</mi><mi>a</mi></msub></math>')
    >>> str(typeset("mean of <rows>"))
    'mean of &lt;rows&gt;'
    """
    return Markup("").join(_runs(_read(_TOKEN.findall(" ".join(formula.split())))))


def _read(lexemes: Sequence[str]) -> list[str]:
    """Return lexemes in which a mean or sum of words is a word, and one of mathematics stands before its argument."""
    found: list[str] = []
    for at, lexeme in enumerate(lexemes):
        after = lexemes[at + 2] if at + 2 < len(lexemes) else "of"
        applied = not re.fullmatch(r"[a-z]{2,}.*", after) or "_" in after
        blank = lexemes[at + 1 : at + 2] == [" "]
        if lexeme in ("mean", *_LARGE) and not (blank and (applied or after in _LARGE)):
            found.append(lexeme + "\u200b")  # no name of anything: a word
        elif found and found[-1] == _MEAN and lexeme == " ":
            continue
        else:
            found.append(_MEAN if lexeme == "mean" else lexeme)
    return found


def _runs(lexemes: Sequence[str]) -> list[Markup]:
    """Return text and mathematics in turn."""
    found: list[Markup] = []
    run: list[str] = []
    at = 0
    while at < len(lexemes):
        end = _end(lexemes, at)
        piece = list(lexemes[at:end])
        if _is_math(piece) or (piece == [" "] and run and _mathematical_after(lexemes, at)):
            run += piece
        else:
            found += [*_flush(run), *_words(piece)]
            run = []
        at = end
    return [*found, *_flush(run)]


def _mathematical_after(lexemes: Sequence[str], at: int) -> bool:
    """Return whether a blank stands between two pieces of mathematics."""
    after = at + 1
    return after < len(lexemes) and _is_math(list(lexemes[after : _end(lexemes, after)]))


def _end(lexemes: Sequence[str], at: int) -> int:
    """Return where the piece at a place ends: after its closing bracket, or after one lexeme."""
    if lexemes[at] not in _OPEN:
        return at + 1
    depth = 0
    for place in range(at, len(lexemes)):
        depth += (lexemes[place] in _OPEN) - (lexemes[place] in _CLOSE)
        if depth == 0:
            return place + 1
    return at + 1


def _is_math(piece: Sequence[str]) -> bool:
    """Return whether all of a piece is mathematics; a bracket that holds a word is not."""
    if len(piece) > 1:
        inside = {" ", ",", *_OPEN, *_CLOSE, *_MODELS}
        return all(lexeme in inside or _is_math([lexeme]) for lexeme in piece)
    lexeme = piece[0]
    return lexeme in {_MEAN, *_SIGNS, *_LARGE} or _named(lexeme)


def _named(lexeme: str) -> bool:
    """Return whether a lexeme is a number, a variable, or a name that formulas use."""
    if lexeme in _NAMES or lexeme in _LETTERS:
        return True
    if lexeme == "a":  # the article; no formula has a variable of this name
        return False
    return bool(re.fullmatch(rf"{_NUMBER}|[A-Za-z]'?|{_INDEXED}", lexeme))


def _words(piece: Sequence[str]) -> list[Markup]:
    """Return text; what a bracket of words holds may have mathematics in it."""
    if len(piece) > 1:
        return [escape(piece[0]), *_runs(piece[1:-1]), escape(piece[-1])]
    lexeme = piece[0]
    if len(lexeme) > 1 and lexeme.startswith("`"):
        return [Markup("<code>{}</code>").format(lexeme[1:-1])]
    if "_" in lexeme:
        return [Markup("<code>{}</code>").format(lexeme)]
    return [escape(lexeme.rstrip("\u200b"))]


# Mathematics --------------------------------------------------------------------------------------------------


def _flush(run: Sequence[str]) -> list[Markup]:
    """Return a run as one element, a blank behind it if it ends with one."""
    if run[:1] == ["^"] and len(run) > 1 and run[1] != " ":  # the power of a bracket of words
        return [Markup("<sup>{}</sup>").format(run[1]), *_flush(run[2:])]
    inner = [lexeme for lexeme in run if lexeme != " "]
    if not any(_named(lexeme) for lexeme in inner):
        return [escape("".join(_SIGNS.get(lexeme, lexeme) for lexeme in run))]
    blank = Markup(" ") if run[-1] == " " else Markup("")
    return [Markup("<math>{}</math>").format(_row(inner)), blank]


def _row(lexemes: Sequence[str]) -> Markup:
    """Return MathML of a row; a bracket over a bracket is a fraction, one with `^` behind it a power."""
    atoms: list[Markup] = []
    plain: dict[int, Markup] = {}  # by place among the atoms, what a bracket holds that is no argument
    at = 0
    while at < len(lexemes):
        end = _end(lexemes, at)
        if lexemes[at] == "^" and atoms and end < len(lexemes):
            stop = _exponent(lexemes, end)
            atoms[-1] = Markup("<msup>{}<mrow>{}</mrow></msup>").format(atoms[-1], _row(lexemes[end:stop]))
            plain.pop(len(atoms) - 1, None)
            at = stop
            continue
        if end - at > 1:
            inside = _row(lexemes[at + 1 : end - 1])
            over = len(atoms) - 2
            if lexemes[at - 1] == "/" and at > 0 and over in plain and lexemes[end : end + 1] != ["^"]:
                fraction = Markup("<mfrac><mrow>{}</mrow><mrow>{}</mrow></mfrac>").format(
                    plain.pop(over), inside
                )
                atoms[over:] = [fraction]
            else:
                if at == 0 or lexemes[at - 1] in {",", _MEAN, *_SIGNS, *_LARGE, *_OPEN}:
                    plain[len(atoms)] = inside
                atoms.append(
                    Markup("<mrow>{}{}{}</mrow>").format(
                        _fence(lexemes[at]), inside, _fence(lexemes[end - 1])
                    )
                )
        else:
            spaced = at > 0 and lexemes[at - 1] in {"Var", "ln", "log"}
            atoms.append(Markup("{}{}").format(_GAP if spaced else "", _atom(lexemes[at])))
        at = end
    return Markup("").join(atoms)


_GAP = Markup('<mspace width="0.2em"/>')


def _exponent(lexemes: Sequence[str], at: int) -> int:
    """Return where the exponent that begins at a place ends: a sign, a name, and a bracket behind them."""
    at += lexemes[at] == "-"
    named = at < len(lexemes) and lexemes[at] in _NAMES
    at = _end(lexemes, at) if at < len(lexemes) else at
    return _end(lexemes, at) if named and at < len(lexemes) and lexemes[at] in _OPEN else at


def _fence(sign: str) -> Markup:
    return Markup('<mo stretchy="false">{}</mo>').format(sign)


def _atom(lexeme: str) -> Markup:
    if lexeme == _MEAN:
        return Markup('<mi mathvariant="normal">mean</mi>') + _GAP
    if lexeme in _LARGE:
        return Markup('<mo largeop="true">{}</mo>').format(_LARGE[lexeme])
    if lexeme in _SIGNS or not lexeme[0].isalnum():
        return Markup("<mo>{}</mo>").format(_SIGNS.get(lexeme, lexeme))
    if re.fullmatch(_NUMBER, lexeme):
        return Markup("<mn>{}</mn>").format(lexeme)
    base, _, below = lexeme.rstrip("'").partition("_")
    name = _name(base)
    if below and lexeme.endswith("'"):
        return Markup("<msubsup>{}{}<mo>′</mo></msubsup>").format(name, _name(below))
    if below:
        return Markup("<msub>{}{}</msub>").format(name, _name(below))
    return Markup("<msup>{}<mo>′</mo></msup>").format(name) if lexeme.endswith("'") else name


def _name(text: str) -> Markup:
    """Return a number, a variable in italics, or a name of several letters upright."""
    if text.isdigit():
        return Markup("<mn>{}</mn>").format(text)
    if len(text) == 1 or text in _LETTERS:
        return Markup("<mi>{}</mi>").format(_LETTERS.get(text, text))
    return Markup('<mi mathvariant="normal">{}</mi>').format(text)
