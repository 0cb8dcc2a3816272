"""The pages of the reference, made from the docstrings of fastnn's public names.

What a page shows follows from the package: a module's ``__all__`` (or, without one, what it defines itself), and what
the modules that find names on first use list in ``__dir__``. A name that two modules share is described in one of them;
the other refers to it.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

# Where to begin, in the order of the pages; modules below them are found.
ROOTS = (
    "fastnn", "fastnn.ops", "fastnn.nn", "fastnn.optim", "fastnn.data", "fastnn.training", "fastnn.sklearn",
    "fastnn.errors",
)  # fmt: skip
# A name that several modules share is described in the first of these that has it, else in the deepest module.
FIRST = ("fastnn.functions", "fastnn.Tensor")
ELEMENT_TYPES = "element types"
WIDTH = 84


@dataclass
class Entry:
    """A public name.

    Attributes
    ----------
    path : ``"fastnn.nn.Linear"``.
    value : what it names.
    group : the heading on the page under which it stands.
    """

    path: str
    value: Any
    group: str = ""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


@dataclass
class Page:
    """A page of the reference: a module, the class Tensor, or the functions of fastnn.

    Attributes
    ----------
    name : ``"fastnn.nn"``; the file's name too.
    doc : the text before the entries.
    title : the heading.
    """

    name: str
    doc: str
    entries: list[Entry] = field(default_factory=list)
    title: str = ""

    @property
    def uri(self) -> str:
        """The page's source, below the folder of the documents."""
        return f"reference/{self.name}.md"


# -- what is public


def public(module: ModuleType) -> dict[str, Any]:
    """The public names of a module and what they name, modules left out."""
    own = module.__name__
    if own == "fastnn.numpy":  # the other names are NumPy's, and described there
        return {"accelerated": module.accelerated, **module.accelerated}
    names = set(getattr(module, "__all__", ()))
    if own == "fastnn":
        names |= set(module.functions.FUNCTIONS)
    if "__dir__" in vars(module):
        names |= {n for n in dir(module) if _belongs(getattr(module, n), "fastnn")}
    elif not names:
        names = {n for n in dir(module) if _belongs(getattr(module, n), own)}
    found = {n: getattr(module, n) for n in sorted(names, key=lambda n: (n.lower(), n)) if not n.startswith("_")}
    return {n: value for n, value in found.items() if not isinstance(value, ModuleType)}


def _belongs(value: Any, package: str) -> bool:
    """Whether a value was made in a package, outside its inner rooms."""
    if isinstance(value, np.dtype):
        return package == "fastnn"
    home = getattr(value, "__module__", None) or ""
    return f"{home}.".startswith(f"{package}.") and "._" not in home


def modules() -> list[ModuleType]:
    """The public modules, each before those below it."""
    found: dict[str, ModuleType] = {}

    def visit(name: str) -> None:
        if name in found:
            return
        module = found[name] = importlib.import_module(name)
        for below in getattr(module, "__all__", ()):
            value = getattr(module, below)
            if isinstance(value, ModuleType) and value.__name__.startswith(f"{name}.") and name != "fastnn":
                visit(value.__name__)

    fastnn = importlib.import_module("fastnn")
    others = (getattr(fastnn, n) for n in fastnn.__all__)
    for name in (*ROOTS, *(x.__name__ for x in others if isinstance(x, ModuleType))):
        visit(name)
    return list(found.values())


def pages() -> list[Page]:
    """All pages, filled."""
    from fastnn import Tensor, functions

    made = []
    for module in modules():
        page = Page(module.__name__, inspect.getdoc(module) or "", title=module.__name__)
        made.append(page)
        for name, value in public(module).items():
            page.entries.append(Entry(f"{module.__name__}.{name}", value, _group(module, value)))
        if module.__name__ != "fastnn":
            continue
        found = Page("fastnn.functions", inspect.getdoc(functions) or "", title="Functions")
        found.entries = [
            Entry(e.path, e.value, functions.FUNCTIONS[e.name]) for e in page.entries if e.name in functions.FUNCTIONS
        ]
        page.entries = [e for e in page.entries if e.name not in functions.FUNCTIONS and e.value is not Tensor]
        made += [_tensor_page(Tensor), found]
    return made


def _group(module: ModuleType, value: Any) -> str:
    """The noun under which an entry stands where a module has many."""
    if isinstance(value, np.dtype):
        return ELEMENT_TYPES
    if module.__name__ == "fastnn.ops":
        return _home_of_op(value)
    home = getattr(value, "__module__", None) or ""
    if module.__name__ == "fastnn.nn" and home.startswith("fastnn.nn."):
        return home.rpartition(".")[2]
    return ""


def _home_of_op(op: Any) -> str:
    """The module that declares an op."""
    from fastnn import ops

    if not hasattr(op, "spec"):
        return "" if op.__module__ == ops.__name__ else str(op.__module__.rpartition(".")[2])
    named = [module for module, names in ops.HOMES.items() if op.name in names.split()]
    return named[0] if named else str(op.reference[0].__module__.rpartition(".")[2])


def _tensor_page(tensor: type) -> Page:
    """The class Tensor: its own methods, then those that are functions too."""
    from fastnn import functions

    page = Page("fastnn.Tensor", "", title="Tensor")
    page.entries.append(Entry("fastnn.Tensor", tensor))
    own = {name: value for name, value in members(tensor) if name not in functions.METHODS}
    page.entries += [Entry(f"fastnn.Tensor.{n}", own[n], "Methods and attributes") for n in sorted(own, key=str.lower)]
    for name in sorted(functions.METHODS, key=str.lower):
        page.entries.append(Entry(f"fastnn.Tensor.{name}", functions.method(name), "Methods found on first use"))
    return page


def members(cls: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties of a class with a docstring of their own; those of its hidden bases too."""
    seen = set()
    elsewhere = {b for base in cls.__mro__[1:] if not _is_hidden(base) for b in base.__mro__}
    for base in cls.__mro__:
        if base in elsewhere:
            continue
        for name, value in vars(base).items():
            plain = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
            is_function = "." not in getattr(plain, "__qualname__", ".")  # one that is described as such
            is_member = (inspect.isroutine(plain) or inspect.isdatadescriptor(plain)) and not is_function
            if name.startswith("_") or name in seen or not is_member or name == "extra_repr":
                continue
            seen.add(name)
            if getattr(plain, "__doc__", None) and not inspect.ismemberdescriptor(plain):
                yield name, plain


def _is_hidden(cls: type) -> bool:
    """Whether a base class is of no interest by itself."""
    return cls.__module__.startswith("fastnn") and ("._" in cls.__module__ or cls.__name__.startswith("_"))


def is_constant(value: Any) -> bool:
    """Whether a value is neither a class, nor something to call."""
    return isinstance(value, np.dtype) or not callable(value)


def undocumented() -> list[str]:
    """Public names without a docstring: of functions, classes, and methods that no base describes."""
    missing = []
    for page in pages():
        for entry in page.entries:
            value = entry.value
            if is_constant(value):
                continue
            if not (value.__doc__ or "").strip():
                missing.append(entry.path)
            if inspect.isclass(value):
                missing += [f"{entry.path}.{name}" for name in _silent(value)]
    return missing


def _silent(cls: type) -> list[str]:
    """Public methods and properties that a class defines and nobody describes."""
    found = []
    for name, value in vars(cls).items():
        plain = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if name.startswith("_") or not (inspect.isroutine(plain) or isinstance(plain, property)):
            continue
        described = (getattr(vars(base).get(name), "__doc__", None) for base in cls.__mro__)
        if not any(described):
            found.append(name)
    return found


# -- from names to Markdown


class Renderer:
    """Writes pages; knows all of them, so that names in docstrings become links."""

    def __init__(self, all_pages: list[Page]) -> None:
        from fastnn import ops

        self.ops = ops.every()
        self.homes: dict[int, str] = {}
        self.links: dict[str, str] = {}
        last = len(FIRST)
        order = sorted(all_pages, key=lambda p: (FIRST.index(p.name) if p.name in FIRST else last, -p.name.count(".")))
        for page in order:
            self.links[page.name] = page.uri
            for entry in page.entries:
                self.links.setdefault(entry.path, f"{page.uri}#{entry.path}")
                if not isinstance(entry.value, np.dtype):
                    self.homes.setdefault(id(entry.value), entry.path)
                if inspect.isclass(entry.value) and page.name != "fastnn.Tensor":
                    for name, _ in members(entry.value):
                        path = f"{entry.path}.{name}"
                        self.links[path] = f"{page.uri}#{path}"

    def page(self, page: Page) -> str:
        """A page's Markdown."""
        lines = [f"# {page.title}", "", self.text(page.doc, page.name), ""]
        groups: dict[str, list[Entry]] = {}
        for entry in page.entries:
            groups.setdefault(entry.group, []).append(entry)
        for group, entries in groups.items() if page.name == "fastnn.Tensor" else sorted(groups.items()):
            if group and len(groups) > 1:
                lines += [f"## {group.replace('_', ' ').capitalize()}", ""]
            if group == ELEMENT_TYPES:
                lines += self._dtypes(entries)
                continue
            for entry in entries:
                lines += self.entry(entry, page)
        return "\n".join(lines) + "\n"

    def entry(self, entry: Entry, page: Page) -> list[str]:
        """A heading, the signature, what the docstring says, and a class's members."""
        value, path = entry.value, entry.path
        lines = [f"### `{entry.name}` {{ #{path} }}", ""]
        if page.name == "fastnn.numpy" and not is_constant(value):
            site = f"https://numpy.org/doc/stable/reference/generated/numpy.{entry.name}.html"
            return [*lines, f"NumPy's [`{entry.name}`]({site}).", ""]
        home = self.homes[id(value)]
        if home != path:
            summary = (inspect.getdoc(value) or "").partition("\n\n")[0]
            return [*lines, f"As {self._link(home, home)}: {self.text(summary, page.name)}", ""]
        if is_constant(value):
            return [*lines, *self._constant(value)]
        shown = path if not path.startswith("fastnn.Tensor.") else path.removeprefix("fastnn.")
        lines += _code(signature(shown, value))
        formula, _, _ = _described(value).partition("\n\nShapes: ``")
        lines += [self.text(formula, page.name, _parameters(value)), ""]
        declared = value if hasattr(value, "spec") else self.ops.get(entry.name)
        if page.name == "fastnn.ops" and declared is not None:
            lines += _declaration(declared)
        if inspect.isclass(value) and path != "fastnn.Tensor":
            lines += self._function(value) + self._bases(value)
            for name, member in members(value):
                lines += [f"#### `{entry.name}.{name}` {{ #{path}.{name} }}", ""]
                lines += _code(signature(f"{entry.name}.{name}", member))
                lines += [self.text(inspect.getdoc(member) or "", path, _parameters(member)), ""]
        return lines

    def _constant(self, value: Any) -> list[str]:
        """What a value is that is described by its class."""
        if isinstance(value, dict):
            return [f"A dictionary with the keys {', '.join(f'`{key}`' for key in value)}.", ""]
        home = self.homes.get(id(type(value)))
        kind = self._link(home, type(value).__name__) if home else f"`{type(value).__name__}`"
        return [f"A {kind}: `{value!r}`." if " object at " not in repr(value) else f"A {kind}.", ""]

    def _dtypes(self, entries: list[Entry]) -> list[str]:
        """A table of names and NumPy's dtypes."""
        rows = [f"| <span id='{e.path}'></span>`{e.path}` | `numpy.{e.value.name}` |" for e in entries]
        return ["| name | dtype |", "|---|---|", *rows, ""]

    def _function(self, cls: type) -> list[str]:
        """Where a module's options are described: with the function that it applies."""
        own = vars(cls).get("_function") or vars(cls).get("function")
        home = self.homes.get(id(own.__func__ if isinstance(own, staticmethod) else own))
        return [f"The function, with what it takes: {self._link(home, home)}.", ""] if home else []

    def _bases(self, cls: type) -> list[str]:
        known = [self._link(self.homes[id(b)], b.__name__) for b in cls.__bases__ if id(b) in self.homes]
        other = [f"`{b.__name__}`" for b in cls.__bases__ if b.__module__ == "builtins" and b is not object]
        return [f"Derives from {', '.join(known + other)}.", ""] if known or other else []

    # -- text

    def text(self, doc: str, scope: str = "", skip: tuple[str, ...] = ()) -> str:
        """A docstring as Markdown: sections become lists, names become links."""
        lines = inspect.cleandoc(doc).splitlines()
        out: list[str] = []
        section = False
        i = 0
        while i < len(lines):
            line = lines[i]
            if i + 1 < len(lines) and line.strip() and re.fullmatch(r"-{3,}", lines[i + 1].strip()):
                out += ["", f"**{line.strip()}**", ""]
                section, i = True, i + 2
                continue
            item = re.fullmatch(r"([\w.*, \[\]'\"]+?) : (.*)", line) if section else None
            alone = section and line and not line[0].isspace() and i + 1 < len(lines) and lines[i + 1][:1].isspace()
            if item or (alone and not item):
                names, first = (item[1], item[2]) if item else (line, "")
                block = [first] if first else []
                i += 1
                while i < len(lines) and (lines[i][:1].isspace() or (not lines[i] and lines[i + 1 : i + 2] != [""])):
                    if not lines[i] and not (i + 1 < len(lines) and lines[i + 1][:1].isspace()):
                        break
                    block.append(lines[i].strip())
                    i += 1
                named = ", ".join(f"`{n.strip()}`" for n in names.split(","))
                out.append(f"- {named}: {self._inline(' '.join(block), scope, skip)}")
                continue
            if not line.strip() and section:
                section = False
                out.append("")
            elif line.startswith("    "):  # a block of code
                block = []
                while i < len(lines) and (lines[i].startswith("    ") or not lines[i].strip()):
                    block.append(lines[i][4:])
                    i += 1
                out += ["", *_code("\n".join(block).strip("\n"))]
                continue
            else:
                out.append(line)
            i += 1
        return self._prose("\n".join(out), scope, skip)

    def _prose(self, text: str, scope: str, skip: tuple[str, ...]) -> str:
        """Inline marks of all paragraphs that are not lists or code already."""
        done = []
        fenced = False
        for block in re.split(r"(\n\n+)", text):
            fenced ^= block.count("```") % 2 == 1
            plain = not (fenced or block.startswith(("```", "- ", "**")) or "```" in block)
            done.append(self._inline(block, scope, skip) if plain else block)
        return "".join(done)

    def _inline(self, text: str, scope: str, skip: tuple[str, ...]) -> str:
        parts = re.split(r"(``[^`]+``|`[^`]+`)", text)
        for i, part in enumerate(parts):
            if i % 2:
                name = part.strip("`")
                parts[i] = self._named(name, scope, skip) if not part.startswith("``") else part
            else:
                arxiv = r"[\1](https://arxiv.org/abs/\2)"
                parts[i] = re.sub(r"(arXiv:(\d{4}\.\d{4,5}))", arxiv, escape(part))
        return "".join(parts)

    def _named(self, name: str, scope: str, skip: tuple[str, ...]) -> str:
        """A code span; a link where it names something public, as seen from a scope."""
        plain = name.removesuffix("()")
        if plain in skip or not re.fullmatch(r"[A-Za-z_][\w.]*", plain):
            return f"`{name}`"
        around = scope.split(".")
        scopes = [".".join(around[:n]) for n in range(len(around), 0, -1)]
        for path in (*(f"{s}.{plain}" for s in scopes), plain):
            if path in self.links and path != scope:
                return self._link(path, name)
        return f"`{name}`"

    def _link(self, path: str, shown: str) -> str:
        return f"[`{shown}`]({self.links[path].removeprefix('reference/')})"


SECTION = re.compile(r"^Parameters\n-+\n(?:.+\n?)+", re.MULTILINE)


def _described(value: Any) -> str:
    """A docstring; a class that says nothing of its parameters has those of its base."""
    doc = inspect.getdoc(value) or ""
    if not inspect.isclass(value) or SECTION.search(doc):
        return doc
    for base in value.__mro__[1:]:
        found = SECTION.search(inspect.cleandoc(base.__doc__ or "")) if base.__module__.startswith("fastnn") else None
        if found:
            return f"{doc}\n\n{found[0].strip()}"
    return doc


def _declaration(op: Any) -> list[str]:
    """What an op's declaration says: shapes, dtypes, what its backward pass needs."""
    lines = ["| | shape | holds |", "|---|---|---|"]
    inputs = [(p, _numbers(op, p.name, taken=True) + (", or None" if p.optional else "")) for p in op.spec.inputs]
    outputs = [(p, _numbers(op, p.name, taken=False)) for p in op.spec.returned]
    for kind, places in (("takes", inputs), ("gives", outputs)):
        for place, holds in places:
            dims = "any" if place.dims is None else f"({', '.join(place.dims)})"
            lines.append(f"| {kind} `{place.name}` | {escape(dims)} | {holds} |")
    kept = ", ".join(f"`{s}`" for s in op.saves) or "nothing"
    apart = ", ".join(f"`{c}`" for c in op.constant)
    gradient = f"Its gradient needs {kept}" + (f"; none flows to {apart}." if apart else ".")
    return [*lines, "", "It has no gradient." if op.reference[1] is None else gradient, ""]


def escape(text: str) -> str:
    """Prose, with the characters that Markdown would take for marks."""
    return re.sub(r"([*_\[\]<>|])", r"\\\1", text)


def _code(text: str) -> list[str]:
    return ["```python", text, "```", ""]


def _numbers(op: Any, name: str, *, taken: bool) -> str:
    """What an input or output holds, in words."""
    if name in op.integer:
        return "integers"
    if name in op.mask:
        return "bools"
    if not taken and op.result:
        return "bools" if op.result == "bool" else str(op.result)
    return "numbers (integers become floats)" if taken and op.floating else "numbers"


def _parameters(value: Any) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return ()


def signature(path: str, value: Any) -> str:
    """A call as Python writes it, without annotations that say nothing; broken where it is long."""
    if isinstance(value, property) or inspect.isdatadescriptor(value):
        return path
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return path
    parameters = list(found.parameters.values())
    is_method = path.startswith("Tensor.") and "." not in getattr(value, "__qualname__", ".")
    if parameters and (is_method or parameters[0].name == "self") and not inspect.isclass(value):
        parameters = parameters[1:]
    words = list(_declared(parameters))
    result = _annotation(found.return_annotation)
    arrow = f" -> {result}" if result and result != "None" and not inspect.isclass(value) else ""
    line = f"{path}({', '.join(words)}){arrow}"
    if len(line) <= WIDTH:
        return line
    return f"{path}(\n" + "".join(f"    {w},\n" for w in words) + f"){arrow}"


def _declared(parameters: list[inspect.Parameter]) -> Iterator[str]:
    """The parameters of a signature as text, with the marks between their kinds."""
    star = False
    for i, p in enumerate(parameters):
        if p.kind is p.KEYWORD_ONLY and not star:
            star = True
            yield "*"
        star |= p.kind is p.VAR_POSITIONAL
        kind = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        typed = _annotation(p.annotation)
        text = f"{kind}{p.name}" + (f": {typed}" if typed else "")
        if p.default is not p.empty:
            text += f" = {_default(p.default)}" if typed else f"={_default(p.default)}"
        yield text
        following = parameters[i + 1 : i + 2]
        if p.kind is p.POSITIONAL_ONLY and (not following or following[0].kind is not p.POSITIONAL_ONLY):
            yield "/"


def _annotation(given: Any) -> str:
    if given is inspect.Parameter.empty:
        return ""
    text = given if isinstance(given, str) else getattr(given, "__name__", str(given))
    text = text.strip("'\"").replace("_builtins.", "")
    return "" if text in ("Any", "*Any") else text


def _default(value: Any) -> str:
    if isinstance(value, np.dtype):
        return value.name
    text = repr(value)
    if callable(value):
        return getattr(value, "__name__", text)
    return re.sub(r"<(\w[\w.]*) object at 0x[0-9a-f]+>", r"\1()", text)


def build() -> dict[str, str]:
    """The source of every page, by its place below the folder of the documents."""
    everything = pages()
    renderer = Renderer(everything)
    return {page.uri: renderer.page(page) for page in everything}
