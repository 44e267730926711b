"""A program as Python source: one statement for each expression, tables as constants, helpers where they are needed.

What heads look at is computed at every token, as numpy arrays; the rest at the last token alone, as numbers. A program
without arrays does not import numpy.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import numpy as np

from thinwire.decompile.expressions import (
    Activated,
    Attended,
    Constant,
    Expression,
    OfPlace,
    OfToken,
    Pattern,
    Product,
    Rivals,
    Scale,
    Step,
    Sum,
    Survivor,
    children,
    walk,
)
from thinwire.decompile.names import Names, table_name
from thinwire.decompile.program import Program
from thinwire.decompile.runtime import CALLS, HELPERS

WIDTH = 120
SHORT = 50
"""Characters up to which an expression has no name of its own where it stands in one place."""
MOST_NAMED = 40
"""Tokens up to which a table has the name of one of them."""
Where = Literal["each", "last"]
"""At every token, as an array; or at the last token alone, as a number."""
_TAKEN = ("tokens", "token", "last", "np", "math", "json", "sys", "answer", "difference", "logits", *HELPERS)


def source(program: Program, head: Sequence[str] = ()) -> str:
    """A Python file whose `answer(tokens)` gives the text of the answer; `head` are the lines of its docstring.

    `difference(tokens)` is the first answer's logit less the other's; of a program with two outputs `logits(tokens)`
    gives both.
    """
    printer = _Printer(program)
    results = [printer.value(x, "last") for x in program.outputs]
    name = "difference" if len(results) == 1 else "logits"
    (first, other), body = program.answers, printer.body
    lines = ['"""' + "\n".join(_escaped(line) for line in head) + ("\n" if len(head) > 1 else "") + '"""', ""]
    functions = [
        f"def {name}(tokens):",
        *(f"    {line}" for line in body),
        f"    return {', '.join(results)}",
        "", "",
    ]  # fmt: skip
    if len(results) == 2:
        functions += [
            "def difference(tokens):",
            "    first, other = logits(tokens)",
            "    return first - other",
            "",
            "",
        ]
    functions += [
        "def answer(tokens):",
        f"    return {_quoted(first)} if difference(tokens) > 0 else {_quoted(other)}",
        "", "",
        'if __name__ == "__main__":',
        "    for line in sys.stdin:  # a JSON list of token texts each",
        "        print(json.dumps(answer(json.loads(line))))",
    ]  # fmt: skip
    helpers = _helpers("\n".join(functions))
    text = "\n".join([*printer.data, *helpers, *functions])
    modules = [name for name in ("json", "math", "sys") if re.search(rf"\b{name}\.", text)]
    lines += [f"import {name}" for name in modules]
    lines += ["", "import numpy as np"] if "np." in text else []
    early = _helpers("\n".join(printer.data))  # constants are made by these
    lines += ["", "", *early] if early else [""]
    lines += [*printer.data, "", ""] if printer.data else [""]
    return "\n".join([*lines, *helpers, *functions]) + "\n"


def _helpers(text: str) -> list[str]:
    """The helpers that a text calls, and those that these call."""
    needed = [name for name in HELPERS if re.search(rf"\b{name}\(", text)]
    needed += [inner for name in needed for inner in CALLS.get(name, ()) if inner not in needed]
    return [line for name in HELPERS if name in needed for line in (*HELPERS[name].splitlines(), "", "")]


class _Printer:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.names = Names(_TAKEN)
        self.data: list[str] = []
        """Lines of constants."""
        self.body: list[str] = []
        """Statements, in order."""
        self.known: dict[tuple[object, Where], str] = {}
        self.constants: dict[object, str] = {}
        self.uses = _uses(program)
        heads = [x for x in walk(*program.outputs) if isinstance(x, Attended)]
        self.looked_at = {part for x in heads for part in walk(x.value)}
        self.keys = {key for x in heads for _, key in x.pattern.scores}

    def value(self, x: Expression, where: Where) -> str:
        """Source of what `x` is worth, after the statements that it needs."""
        if isinstance(x, Constant):
            return number(x.value)
        if (x, where) not in self.known:
            for part in _parts(x, where):  # from the bottom up: no deep recursion
                if (part[0], part[1]) not in self.known and not isinstance(part[0], Constant):
                    self.known[part] = self._statement(*part)
        return self.known[x, where]

    def _statement(self, x: Expression, where: Where) -> str:
        """The name that `x` was given, or its source where that is short and stands in one place."""
        text = self._source(x, where)
        alone = self.uses.get(x, 0) <= 1 and isinstance(x, OfToken | Attended | Scale) and len(text) <= SHORT
        if text.isidentifier() or alone or x in self.program.outputs:
            return text
        name = self.names.new(self._wish(x))
        self.body += _assigned(name, text)
        return name

    def _wish(self, x: Expression) -> str:
        site = self.program.sites.get(x)
        if site is not None:
            return _identifier(site)
        if isinstance(x, OfToken):
            return f"is_{self._named(x)}" if _is_set(x) and x not in self.keys else self._named(x)
        inner = next((y for y in reversed(list(walk(x))) if isinstance(y, OfToken)), None)
        kind = {Attended: "seen", Scale: "scale", Step: "if", Activated: "neuron"}.get(type(x), "sum")
        return kind if inner is None or len(inner.listed) > MOST_NAMED else f"{self._named(inner)}_{kind}"

    def _named(self, x: OfToken) -> str:
        if len(x.listed) > MOST_NAMED:
            return "table"
        if x in self.keys:
            return "attention"
        name = table_name(x, self.program.tokens)
        return name if x in self.looked_at else f"ends_in_{name}"

    def _source(self, x: Expression, where: Where) -> str:
        match x:
            case OfToken():
                return self._of_token(x, where)
            case OfPlace():
                name = self._constant(x, "places", lambda name: _array(name, x.values))
                return f"{name}[: len(tokens)]" if where == "each" else f"{name}[len(tokens) - 1]"
            case Sum():
                return self._sum(x, where)
            case Product():
                return f"{self._factor(x.left, where)} * {self._factor(x.right, where)}"
            case Scale():
                squares = [number(x.constant), *(f"{self._factor(part, where)} ** 2" for part in x.inputs)]
                return f"(({' + '.join(squares)}) / {x.width} + {number(x.eps)}) ** -0.5"
            case Activated():
                return f"{x.function}({self.value(x.input, where)})"
            case Step():
                low, high, test = (
                    number(x.low),
                    number(x.high),
                    f"{self._factor(x.input, where)} >= {number(x.threshold)}",
                )
                return f"np.where({test}, {high}, {low})" if where == "each" else f"{high} if {test} else {low}"
            case Survivor():
                return f"{self._rivals(x.rivals, where)}[..., {x.channel}]"
            case Attended():
                return self._attended(x, where)
            case Constant():
                return number(x.value)

    def _factor(self, x: Expression, where: Where) -> str:
        text = self.value(x, where)
        return text if _is_whole(text) else f"({text})"

    def _sum(self, x: Sum, where: Where) -> str:
        text = number(x.constant) if x.constant or not x.terms else ""
        for weight, term in x.terms:
            sign = " - " if weight < 0 else " + "
            factor = self._factor(term, where) if abs(weight) != 1 else self._added(term, where)
            factor = factor if abs(weight) == 1 else f"{number(abs(weight))} * {factor}"
            text = f"{text}{sign}{factor}" if text else f"-{factor}" if weight < 0 else factor
        return text

    def _added(self, x: Expression, where: Where) -> str:
        """A term of a sum: a product needs no brackets there."""
        text = self.value(x, where)
        return text if " if " not in text and " + " not in text and " - " not in text else self._factor(x, where)

    def _of_token(self, x: OfToken, where: Where) -> str:
        if _is_set(x):
            high = float(x.values[x.listed[0]])
            name = self._constant(x, self._named(x), lambda name: self._set(name, x))
            test = f"np.array([token in {name} for token in tokens])" if where == "each" else f"(tokens[-1] in {name})"
            return test if high == 1 else f"{number(high)} * {test}"
        name = self._constant(x, self._named(x), lambda name: self._table(name, x))
        get = f"{name}.get({{}}, {number(x.rest)})"
        return f"np.array([{get.format('token')} for token in tokens])" if where == "each" else get.format("tokens[-1]")

    def _attended(self, x: Attended, where: Where) -> str:
        values = self.value(x.value, "each")
        if not x.pattern.scores:
            values = values[len("np.array(") : -1] if re.fullmatch(r"np\.array\(\[[^\]]*\]\)", values) else values
            return f"np.mean({values})" if where == "last" else f"running_mean({values})"
        if where == "last":
            scores = self._pattern(x.pattern, "last")
            return f"weighted_mean({values}, {scores})"
        return f"weighted_means({values}, {self._pattern(x.pattern, 'each')})"

    def _pattern(self, pattern: Pattern, where: Where) -> str:
        """Scores: of every token looked at; with `each` a row for every token that looks."""
        if (pattern, where) not in self.known:
            parts = []
            for query, key in pattern.scores:
                look, found = self.value(query, where), self._factor(key, "each")
                if where == "last":
                    parts.append(found if look == "1.0" else f"{self._factor(query, where)} * {found}")
                else:
                    ask = f"np.full(len(tokens), {look})" if isinstance(query, Constant) else look
                    parts.append(f"np.outer({ask}, {found})")
            text = " + ".join(parts)
            if not (text.isidentifier() or (len(text) <= SHORT and self._once(pattern))):
                name = self.names.new("scores")
                self.body += _assigned(name, text)
                text = name
            self.known[pattern, where] = text
        return self.known[pattern, where]

    def _once(self, pattern: Pattern) -> bool:
        heads = [x for x in walk(*self.program.outputs) if isinstance(x, Attended) and x.pattern is pattern]
        return len(heads) == 1

    def _rivals(self, rivals: Rivals, where: Where) -> str:
        """All channels of a site, those that AbsTopK takes at 0."""
        if (rivals, where) not in self.known:
            weights = self._constant(rivals, "weights", lambda name: _sparse(name, rivals.weights))
            bias = self._constant((rivals, "bias"), "bias", lambda name: _array(name, rivals.bias))
            inputs = [self.value(part, where) for part in rivals.inputs]
            inputs = [
                f"np.full(len(tokens), {text})" if where == "each" and _is_number(text) else text for text in inputs
            ]
            text = f"np.stack([{', '.join(inputs)}], -1) @ {weights}.T + {bias}" if inputs else bias
            text = f"{rivals.activation}({text})" if rivals.activation else text
            name = self.names.new("site")
            self.body += _assigned(name, f"top({text}, {rivals.n_kept})")
            self.known[rivals, where] = name
        return self.known[rivals, where]

    def _constant(self, key: object, wish: str, lines: Callable[[str], list[str]]) -> str:
        if key not in self.constants:
            self.constants[key] = self.names.new(wish.upper())
            self.data += lines(self.constants[key])
        return self.constants[key]

    def _set(self, name: str, x: OfToken) -> list[str]:
        return _wrapped(f"{name} = {{", [_quoted(self.program.tokens[token]) for token in x.listed], "}")

    def _table(self, name: str, x: OfToken) -> list[str]:
        listed = sorted(x.listed, key=lambda token: (-abs(x.values[token] - x.rest), token))
        items = [f"{_quoted(self.program.tokens[token])}: {number(float(x.values[token]))}" for token in listed]
        return _wrapped(f"{name} = {{", items, "}")


def _parts(x: Expression, where: Where) -> list[tuple[Expression, Where]]:
    """`x` and all below it with where they are needed, each after those that it is made of."""
    seen: dict[tuple[Expression, Where], None] = {}
    stack: list[tuple[Expression, Where, bool]] = []
    stack.append((x, where, False))
    while stack:
        y, place, opened = stack.pop()
        if opened:
            seen[y, place] = None
        elif (y, place) not in seen:
            stack.append((y, place, True))
            stack.extend((part, there, False) for part, there in _needs(y, place))
    return list(seen)


def _needs(x: Expression, where: Where) -> list[tuple[Expression, Where]]:
    if not isinstance(x, Attended):
        return [(part, where) for part in children(x)]
    found: list[tuple[Expression, Where]] = []
    found.append((x.value, "each"))
    for query, key in x.pattern.scores:
        found.append((query, where))
        found.append((key, "each"))
    return found


def _uses(program: Program) -> dict[Expression, int]:
    counts: dict[Expression, int] = {}
    for x in walk(*program.outputs):
        for part in children(x):
            counts[part] = counts.get(part, 0) + 1
    return counts


def number(value: float) -> str:
    """A number that is read back as itself to nine digits."""
    return repr(float(f"{value:.9g}"))


def _is_whole(text: str) -> bool:
    """Whether source is a number, a name, a call or in brackets already, so that a factor needs none."""
    if re.fullmatch(r"[\w.]*", text):
        return True
    opening = re.match(r"[\w.]*[(\[]", text)
    if not opening or text[-1] not in ")]":
        return False
    depth = 0
    for i, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if depth == 0 and i >= opening.end() and i < len(text) - 1:
            return False
    return True


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[\d.]+(e-?\d+)?", text) is not None


def _is_set(x: OfToken) -> bool:
    return x.rest == 0 and len(np.unique(x.values)) == 2


def _identifier(site: str) -> str:
    """`0.attn.out:212` is `out_212` behind the layer: `layer0_attn_out_212`."""
    layered = re.sub(r"^(\d+)\.", r"layer\1.", site)
    return re.sub(r"\W", "_", layered)


def _quoted(text: str) -> str:
    return repr(text) if '"' in text or "\\" in repr(text) and "'" not in text and '"' in text else _double(text)


def _double(text: str) -> str:
    return '"' + repr(f"'{text}")[2:-1].replace("\\'", "'") + '"' if "'" in text else f'"{repr(text)[1:-1]}"'


def _escaped(line: str) -> str:
    return line.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')


def _assigned(name: str, text: str) -> list[str]:
    """A statement, broken at plus signs where it is too long for a line."""
    if len(name) + len(text) + 7 <= WIDTH or " + " not in text:
        return [f"{name} = {text}"]
    return [f"{name} = (", *(f"    {line}" for line in _filled(re.split(r" (?=\+ )", text), " ", WIDTH - 8)), ")"]


def _wrapped(opening: str, items: Iterable[str], closing: str) -> list[str]:
    """Items in brackets, on one line where they fit."""
    items = list(items)
    whole = f"{opening}{', '.join(items)}{closing}"
    if len(whole) <= WIDTH:
        return [whole]
    return [opening, *(f"    {line}" for line in _filled([f"{item}," for item in items], " ", WIDTH - 4)), closing]


def _filled(items: Iterable[str], between: str, width: int) -> list[str]:
    lines: list[str] = []
    for item in items:
        if lines and len(lines[-1]) + len(between) + len(item) <= width:
            lines[-1] += between + item
        else:
            lines.append(item)
    return lines


def _array(name: str, values: np.ndarray) -> list[str]:
    return _wrapped(f"{name} = np.array([", [number(float(value)) for value in values], "])")


def _sparse(name: str, weights: np.ndarray) -> list[str]:
    """A matrix by its entries that are not 0."""
    entries = [f"({i}, {j}, {number(float(weights[i, j]))})" for i, j in zip(*weights.nonzero(), strict=True)]
    rows, columns = weights.shape
    return _wrapped(f"{name} = matrix({rows}, {columns}, [", entries, "])")
