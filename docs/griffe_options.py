"""Shows the options of dataclasses in the reference: the help of ``zoo.option`` as text, its default as the default."""

from __future__ import annotations

import ast
from typing import Any

import griffe


class Options(griffe.Extension):
    """Reads fields such as ``epochs: int = option(4, help="Passes over the training split.", minimum=1)``."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Sets docstring and value of a field that is declared as an option."""
        call = attr.value
        if not isinstance(call, griffe.ExprCall) or str(call.function).rpartition(".")[2] != "option":
            return
        named = {each.name: each.value for each in call.arguments if isinstance(each, griffe.ExprKeyword)}
        positional = [each for each in call.arguments if not isinstance(each, griffe.ExprKeyword)]
        attr.value = positional[0] if positional else None
        try:
            text = ast.literal_eval(str(named["help"]))
        except (KeyError, ValueError):  # another function of that name, or a text that is computed
            return
        bounds = [
            f"{word} {named[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most")) if key in named
        ]
        if bounds:
            text = f"{text.removesuffix('.')}; {', '.join(bounds)}."
        attr.docstring = griffe.Docstring(text, parent=attr, lineno=attr.lineno, endlineno=attr.endlineno)
