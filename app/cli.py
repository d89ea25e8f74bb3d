"""The command line: `sfam COMMAND`, and `sfam-live` for the live run. Only this room prints or exits."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from . import (
    cli_batch,
    cli_bench,
    cli_bus,
    cli_calibrate,
    cli_cameras,
    cli_doctor,
    cli_erase,
    cli_evaluate,
    cli_export,
    cli_features,
    cli_files,
    cli_live,
    cli_model,
    cli_notice,
    cli_pause,
    cli_record,
    cli_rehearse,
    cli_report,
    cli_selftest,
    cli_serve,
    cli_sync,
    cli_synth,
    cli_train,
    cli_verify,
)
from .exit_codes import SINK, class_names, exit_code, is_disk_full

app = typer.Typer(
    name="sfam",
    help="Spot facial micro-expressions in depth-camera streams and publish them while they happen.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("live")(cli_live.live)
app.command("record")(cli_record.record)
app.command("report")(cli_report.report)
app.command("pause")(cli_pause.pause)
app.command("resume")(cli_pause.resume)
app.command("notice")(cli_notice.notice)
app.command("erase")(cli_erase.erase)
app.command("serve")(cli_serve.serve)
app.command("repair")(cli_record.repair)
app.command("convert")(cli_record.convert)
app.command("cameras")(cli_cameras.cameras)
app.command("inspect")(cli_files.inspect)
app.command("tail")(cli_bus.tail)
app.command("log")(cli_bus.log)
app.command("export")(cli_export.export)
app.command("synth")(cli_synth.synth)
app.command("train")(cli_train.train)
app.command("features")(cli_features.features)
app.command("calibrate")(cli_calibrate.calibrate)
app.command("evaluate")(cli_evaluate.evaluate)
app.command("batch")(cli_batch.batch)
app.command("doctor")(cli_doctor.doctor)
app.command("rehearse")(cli_rehearse.rehearse)
app.command("verify")(cli_verify.verify)
app.command("sync-test")(cli_sync.sync_test)
app.command("bench")(cli_bench.bench)
app.command("selftest")(cli_selftest.selftest)
app.add_typer(cli_model.app, name="model")
app.add_typer(cli_bus.keys_app, name="keys")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"sfam-live {version('sfam-live')}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Spot facial micro-expressions in depth-camera streams and publish them while they happen."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command; errors of ours become one sentence and the documented exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        app(args=cli_record.with_record_value(arguments), prog_name="sfam", standalone_mode=True)
    except Exception as error:
        code = SINK if is_disk_full(error) else exit_code(class_names(error))
        if code is None or "-v" in arguments:
            raise
        typer.echo(f"sfam: {error}", err=True)
        sys.exit(code)


def main_live() -> None:
    """`sfam-live ...` is `sfam live ...`."""
    arguments = sys.argv[1:]
    main(arguments if arguments == ["--version"] else ["live", *arguments])
