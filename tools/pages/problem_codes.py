"""The list of problem codes, read from the places in the code that refuse."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = ("shared", "services")
REFUSALS: Final = frozenset({"Refused", "MissingPrerequisite"})
NOT_A_REFUSAL: Final = frozenset({"AllowedAction", "Problem"})


@dataclass(frozen=True, order=True)
class Use:
    """One place that refuses."""

    code: str
    module: str
    words: str


def used_codes(root: Path = ROOT) -> list[Use]:
    """Every refusal in the code, by code and place."""
    trees = {
        path.relative_to(root).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for source in SOURCES
        for path in sorted((root / source).rglob("*.py"))
    }
    return sorted({use for module, tree in trees.items() for use in _uses(module, tree, trees)})


def problem_codes_page(uses: list[Use]) -> str:
    """The page `docs/problem-codes.md`."""
    places: dict[str, list[Use]] = defaultdict(list)
    for use in uses:
        places[use.code].append(use)
    rows = [f"| `{code}` | {_words(found)} | {_modules(found)} |" for code, found in sorted(places.items())]
    return "\n".join(
        [
            "# Problem codes",
            "",
            "A refusal is answered with `application/problem+json` (RFC 9457). Programs branch on `code`, which never",
            "changes its meaning; people read `detail`; `facts` holds the figures behind it. `{…}` stands for a fact.",
            "",
            "This page is written by `./dev contracts` from the code.",
            "",
            "| code | what people read | where |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _uses(module: str, tree: ast.Module, trees: dict[str, ast.Module]) -> Iterator[Use]:
    refusing = REFUSALS | _own_refusals(module, trees)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in refusing:
            given = node.args + [word.value for word in node.keywords if word.arg in {"code", "words", "why", "detail"}]
            for code in _texts(given[0]) if given else ():
                yield Use(code, module, next(_texts(given[1]), "") if len(given) > 1 else "")


def _own_refusals(module: str, trees: dict[str, ast.Module]) -> set[str]:
    """Classes of the same service that carry a code, such as the no of a rule."""
    package = module.rsplit("/", 1)[0]
    return {
        node.name
        for path, tree in trees.items()
        if path.rsplit("/", 1)[0] == package and path.startswith("services/")
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name not in NOT_A_REFUSAL and _begins_with_code(node)
    }


def _begins_with_code(node: ast.ClassDef) -> bool:
    for member in node.body:
        if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            return member.target.id == "code"
        if isinstance(member, ast.FunctionDef) and member.name == "__init__":
            return len(member.args.args) > 1 and member.args.args[1].arg == "code"
    return False


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _texts(node: ast.expr) -> Iterator[str]:
    """The texts an expression may be: a literal, both sides of a choice, or a text with facts in it."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp():
            yield from _texts(node.body)
            yield from _texts(node.orelse)
        case ast.JoinedStr():
            yield "".join(part.value if isinstance(part, ast.Constant) else "{…}" for part in node.values)  # type: ignore[misc]
        case _:
            return


def _words(uses: list[Use]) -> str:
    said = dict.fromkeys(use.words for use in uses if use.words)
    return " / ".join(said).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _modules(uses: list[Use]) -> str:
    return ", ".join(dict.fromkeys(f"`{use.module}`" for use in uses))
