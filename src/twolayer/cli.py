"""The command line: thin commands over the library. Nothing imports this module."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twolayer import cli_data, cli_store, cli_studies
from twolayer.cli_guard import (
    check_writable,
    end_with_the_reader,
    listen_to_interrupts,
    outlive_workers,
    plain_errors,
)

if TYPE_CHECKING:
    from twolayer.experiments import Experiment

app = typer.Typer(
    name="twolayer",
    help="Will a two-layer network learn it? Theory, simulation, and whether they agree.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
run_app = typer.Typer(
    help="Run one experiment: theory, simulation, comparison, figure and JSON.",
    no_args_is_help=True,
)
app.add_typer(run_app, name="run")

_LEADING_MINUS = re.compile(r"-[-+\s]*(\d|\.|\(|z\d|He\d)")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Out = Annotated[str, typer.Option(help="Directory for results and figures.", metavar="DIR")]


app.command(name="sweep")(plain_errors(cli_studies.sweep))
app.command(name="plot")(plain_errors(cli_studies.plot))
app.command(name="diagnose")(plain_errors(cli_data.diagnose))
for _name, _command in {
    "list": cli_store.list_cells,
    "show": cli_store.show_cell,
    "compare": cli_store.compare_cells,
    "export": cli_store.export_study,
    "gc": cli_store.collect_garbage,
}.items():
    cli_store.store_app.command(name=_name)(plain_errors(_command))
app.add_typer(cli_store.store_app, name="store")


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Will a two-layer network learn it? Theory, simulation, and whether they agree."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"twolayer {installed('twolayer')}")
        raise typer.Exit


@app.command()
@plain_errors
def certify(
    polynomial: Annotated[str, typer.Argument(help="The target, e.g. 'z1 + z1*z2 + He3(z3)'.")],
    activation: Annotated[
        str, typer.Option("--activation", "-a", help="relu, tanh, ..., or a polynomial in x.")
    ] = "cos_sin",
    as_json: Json = False,
) -> None:
    """Decide exactly whether gradient training learns a polynomial of Gaussian inputs.

    The verdict holds for the bias-free two-layer network in the mean-field scaling, in training
    time independent of the dimension. Examples:

        twolayer certify "z1 + z1*z2" --activation tanh

        twolayer certify "He2(z1) + z1*z2/3" --activation "(1+x)^3" --json
    """
    from twolayer.theory.learnability import certify as decide

    certificate = decide(polynomial, activation=activation)
    if as_json:
        typer.echo(json.dumps(certificate.to_json(), indent=1))
        return
    from twolayer.report.tables import certificate_table, show

    show(*certificate_table(certificate))


@app.command(name="list")
@plain_errors
def list_experiments(as_json: Json = False) -> None:
    """List the experiments, each with the paper and the statement that it tests."""
    from twolayer.experiments import EXPERIMENTS

    rows = [
        {"name": e.name, "paper": e.paper, "statement": e.statement, "reference": e.reference}
        for e in EXPERIMENTS.values()
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    from twolayer.report.tables import experiments_table, show

    show(experiments_table(rows))


@app.command()
@plain_errors
def reproduce(
    papers: Annotated[
        list[str] | None, typer.Argument(metavar="[PAPER]...", help="All papers if none is named.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes: minutes.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="The papers' own sizes: many hours.")
    ] = False,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Start over instead of keeping an earlier run's results."),
    ] = False,
    workers: Annotated[
        int, typer.Option(help="Experiments at a time; 0: one a processor, at most 8.")
    ] = 0,
    out: Out = "twolayer-results",
) -> None:
    """Test every claim: predicted, measured +- error, verdict. Exit status 1 if one fails.

    Writes DIR/report.html, DIR/claims.json, and the result and figure of each experiment. A run
    that was interrupted goes on where it stopped: results in DIR of the same parameters and source
    are kept.
    """
    _prepare()
    if quick and full:
        message = "Expected one of --quick and --full. Received: both. Leave one of them out."
        raise ValueError(message)
    from twolayer.engines import processors
    from twolayer.report.tables import claims_table, progress_bar, show
    from twolayer.reproduce import reproduce as run_all
    from twolayer.reproduce import select

    chosen = select(papers or [])
    check_writable(out)
    tier = "quick" if quick else "full" if full else "default"
    with outlive_workers(), progress_bar() as progress:
        number = workers or min(processors(), 8, len(chosen))
        found = run_all(chosen, out, tier=tier, fresh=fresh, workers=number, progress=progress)
    rows = found.rows
    show(claims_table(rows))
    failed = [row["id"] for row in rows if row["verdict"] in {"disagrees", "failed"}]
    agree = sum(row["verdict"] == "agrees" for row in rows)
    if found.kept:
        typer.echo(
            f"Results of {len(found.kept)} of {len(chosen)} experiments were kept from an earlier "
            "run; --fresh starts over."
        )
    typer.echo(
        f"{agree} of {len(rows)} claims agree, {len(failed)} disagree or failed, "
        f"{len(rows) - agree - len(failed)} undecided; written to {out}/claims.json "
        f"and {found.report}"
    )
    if failed:
        raise typer.Exit(1)


@app.command()
@plain_errors
def report(
    results: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RESULT]...", help="Saved results: JSON files or folders of them."),
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            help="The page; report.html beside the first result if none is named.", metavar="FILE"
        ),
    ] = "",
) -> None:
    """Show saved results as one HTML page that works offline.

    Example:

        twolayer report twolayer-results --out report.html
    """
    from twolayer.report.html import gather, unreadable, write_report

    paths = [Path(name) for name in results or ["twolayer-results"]]
    found, failed = gather(paths)
    folder = paths[0] if paths[0].is_dir() else paths[0].parent
    page = Path(out) if out else folder / "report.html"
    if page.is_dir():
        message = f"Expected --out to be a file. Received: {out!r}, which is a directory."
        raise ValueError(message)
    check_writable(str(page.parent))
    written = write_report(found, page, failed)
    count = len(found) + len(failed)
    typer.echo(f"Report of {count} result{'s' * (count != 1)}: {written}")
    for file in unreadable(paths):
        typer.echo(f"Left out, as no result that can be read: {file}", err=True)


@app.command()
@plain_errors
def cite(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Experiments, papers or saved results."),
    ] = None,
) -> None:
    """Print the BibTeX of what experiments, papers or saved results rest on (all if none named)."""
    from twolayer.citations import bibtex

    typer.echo(bibtex(names or []))


def _prepare() -> None:
    """Theory and training of the command line run in double precision."""
    if "jax" not in sys.modules:
        os.environ.setdefault("JAX_ENABLE_X64", "1")


def _experiment_command(experiment: Experiment) -> Callable[..., None]:
    """A command whose options are the experiment's own parameters."""
    import inspect

    keyword = inspect.Parameter.KEYWORD_ONLY
    help_texts = _parameter_help(experiment.run.__doc__ or "")
    parameters = []
    for name, parameter in experiment.options.items():
        kind = type(parameter.default)
        option = typer.Option(help=help_texts.get(name, ""))
        parameters.append(
            inspect.Parameter(
                name, keyword, default=parameter.default, annotation=Annotated[kind, option]
            )
        )
    check = typer.Option("--check", help="Exit status 1 if theory and training disagree.")
    parameters += [
        inspect.Parameter("out", keyword, default="twolayer-results", annotation=Out),
        inspect.Parameter("as_json", keyword, default=False, annotation=Json),
        inspect.Parameter("check", keyword, default=False, annotation=Annotated[bool, check]),
    ]

    def command(*, out: str, as_json: bool, check: bool, **values: Any) -> None:
        _run(experiment, values, out, as_json=as_json, check=check)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = f"{experiment.statement}\n\nTests: {experiment.reference}."
    guarded = plain_errors(command)
    guarded.__signature__ = command.__signature__  # type: ignore[attr-defined]
    return guarded


def _run(
    experiment: Experiment, values: dict[str, Any], out: str, *, as_json: bool, check: bool
) -> None:
    _prepare()
    from twolayer.report.figures import save_animation, save_figure
    from twolayer.report.tables import progress_bar, result_table, show
    from twolayer.results import as_json as to_json
    from twolayer.results import save

    check_writable(out)
    with progress_bar() as progress:
        result = experiment.run(progress=progress, **values)
    path = save(result, out)
    drawn = [f"Figure: {save_figure(result, out)}"]
    if result.details.get("paths"):
        drawn.append(f"Animation: {save_animation(result, out)}")
    if as_json:
        typer.echo(json.dumps(to_json(result), indent=1))
    else:
        show(*result_table(result))
        typer.echo("\n".join([f"Result: {path}", *drawn]))
    verdicts = {finding.verdict for finding in result.findings}
    if check and verdicts & {"disagrees", "failed"}:
        raise typer.Exit(1)


def _parameter_help(docstring: str) -> dict[str, str]:
    """The texts under ``Parameters`` of a numpy docstring, by name."""
    import inspect

    texts: dict[str, str] = {}
    section = inspect.cleandoc(docstring).partition("Parameters\n----------\n")[2]
    name = ""
    for line in section.splitlines():
        if line.startswith("----"):
            texts.pop(name, None)
            break
        if line and not line.startswith(" "):
            name = line.strip()
            texts[name] = ""
        elif line.strip():
            texts[name] = f"{texts[name]} {line.strip()}".strip()
    return texts


def main() -> None:
    """Entry point of the ``twolayer`` command."""
    end_with_the_reader()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        listen_to_interrupts()
    if sys.argv[1:2] == ["certify"]:
        # A space keeps a polynomial that begins with a minus sign from being read as an option.
        sys.argv[2:] = [" " * bool(_LEADING_MINUS.match(word)) + word for word in sys.argv[2:]]
    if sys.argv[1:2] == ["run"]:  # the other commands need not wait for the experiments
        _register_experiments(sys.argv[2] if len(sys.argv) > 2 else "")
    app()


def _register_experiments(wanted: str) -> None:
    from twolayer.experiments import EXPERIMENTS, find_experiment

    if wanted and not wanted.startswith("-"):
        try:
            find_experiment(wanted)
        except ValueError as error:
            typer.echo(f"Error: {error}", err=True)
            sys.exit(2)
    for name, experiment in EXPERIMENTS.items():
        run_app.command(name=name)(_experiment_command(experiment))
