"""Write docs/cli.md from the command line's own declarations, or check that it is up to date.

Usage: python docs/cli_reference.py [--check]
"""

from __future__ import annotations

import inspect
import sys
import typing
from pathlib import Path

from twolayer import cli
from twolayer.experiments import EXPERIMENTS

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# Command line

This page is generated from the commands themselves. Every command answers `--help`; wrong use
ends with one sentence and exit status 2, an interrupt (Ctrl-C) with 130. `run --check` and
`reproduce` end with exit status 1 where theory and training disagree, `sweep` where cells have no
result. Results go to standard output, progress to standard error.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    groups = (("", cli.app), ("store ", cli.cli_store.store_app))
    for group, app in groups:
        for command in app.registered_commands:
            function = inspect.unwrap(command.callback)
            name = group + (command.name or function.__name__)
            parts.append(f"## twolayer {name}\n\n{paragraphs(function)}\n\n{options(function)}")
    parts.append(f"## twolayer run\n\n{cli.run_app.info.help}\n\n{shared()}")
    for name, experiment in EXPERIMENTS.items():
        parts.append(
            f"### twolayer run {name}\n\n{experiment.statement} Tests: {experiment.reference}.\n\n"
            + experiment_options(experiment)
        )
    return "\n".join(parts)


def paragraphs(function) -> str:
    """Its docstring, examples as code."""
    lines = [
        f"    {line.strip()}" if line.strip().startswith("twolayer ") else line
        for line in inspect.cleandoc(function.__doc__).splitlines()
    ]
    return "\n".join(lines)


def options(function) -> str:
    """A table of a command's arguments and options."""
    hints = typing.get_type_hints(function, include_extras=True)
    rows = []
    for name, parameter in inspect.signature(function).parameters.items():
        information = typing.get_args(hints[name])[-1]
        declared = [d for d in (information.param_decls or ()) if d.startswith("-")]
        if isinstance(getattr(information, "default", None), str):
            declared = [information.default, *declared]
        positional = type(information).__name__ == "ArgumentInfo"
        shown = (information.metavar or name.upper()) if positional else ", ".join(declared)
        shown = shown or "--" + name.replace("_", "-")
        rows.append((shown, parameter.default, information.help or ""))
    return table(rows)


def shared() -> str:
    """The options that every experiment has besides its own."""
    return (
        "Besides its own options each experiment takes `--out DIR` for results and figures, "
        "`--json` to print one JSON object, and `--check` for the exit status.\n"
    )


def experiment_options(experiment) -> str:
    """A table of an experiment's parameters."""
    texts = cli._parameter_help(experiment.run.__doc__)
    return table(
        ("--" + name.replace("_", "-"), parameter.default, texts.get(name, ""))
        for name, parameter in experiment.options.items()
    )


def table(rows) -> str:
    """A Markdown table of name, default and meaning."""
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for name, default, text in rows:
        empty = default in {None, "", False, inspect.Parameter.empty}
        shown = "" if empty else f"`{default}`".replace("|", "\\|")
        lines.append(f"| `{name}` | {shown} | {text} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    wanted = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted, encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != wanted:
        sys.exit("docs/cli.md is out of date: run python docs/cli_reference.py")
