"""Names for what a program computes, made of the tokens that it is about."""

import keyword
import re

from thinwire.decompile.expressions import OfToken

WORDS = {
    "(": "paren", ")": "close", "[": "bracket", "]": "unbracket", "{": "brace", "}": "unbrace", "<": "less",
    ">": "greater", '"': "double_quote", "'": "single_quote", "`": "backtick", ":": "colon", ";": "semicolon",
    ",": "comma", ".": "dot", "=": "equals", "+": "plus", "-": "minus", "*": "star", "/": "slash", "\\": "backslash",
    "%": "percent", "&": "and", "|": "bar", "^": "caret", "~": "tilde", "!": "bang", "?": "question", "@": "at",
    "#": "hash", "$": "dollar", "_": "underscore", "\n": "newline", " ": "space", "\t": "tab",
}  # fmt: skip
LONGEST = 24


def token_name(token: str) -> str:
    """A token as part of an identifier: `("` is `paren_double_quote`."""
    if token and not token.strip(" "):
        return f"spaces_{len(token)}"
    spoken = [
        part if part.isascii() and part.isidentifier() or part.isdecimal() else WORDS.get(part, "other")
        for part in re.findall(r"[A-Za-z]+|[0-9]+|.", token.strip(" ") or token, re.DOTALL)
    ]
    return "_".join(spoken)[:LONGEST].strip("_").lower()


def table_name(table: OfToken, tokens: tuple[str, ...]) -> str:
    """The name of the token that a table sets furthest apart; how many more it lists."""
    listed = sorted(table.listed, key=lambda token: (-abs(table.values[token] - table.rest), token))
    return token_name(tokens[listed[0]]) if listed else "same"


class Names:
    """Identifiers that are all different."""

    def __init__(self, taken: tuple[str, ...]) -> None:
        self.taken = {*taken, *keyword.kwlist}

    def new(self, wish: str) -> str:
        name, n = wish, 2
        while name in self.taken:
            name, n = f"{wish}_{n}", n + 1
        self.taken.add(name)
        return name
