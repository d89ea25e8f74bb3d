"""`sfam live` (= `sfam-live`): one session from a camera or recording to published events."""

from __future__ import annotations

import os

import typer

from .config import Config, load_config, render_yaml
from .live_options import (
    BlindOption,
    CalibrationOption,
    CameraOption,
    ColorOnlyOption,
    ConfigOption,
    DryRunOption,
    DurationOption,
    EngineOption,
    FaceBoxOption,
    ForceOption,
    FromSOption,
    InsecureOption,
    LslOption,
    MarkersOption,
    McapOption,
    MetricsOption,
    ModelOption,
    OutOption,
    OverlayOption,
    PolicyOption,
    PresetOption,
    PrivacyOption,
    PublishOption,
    QuietOption,
    RecordOption,
    RerunOption,
    SetOption,
    SingleProcessOption,
    SpeedOption,
    StepOption,
    SubjectOption,
    ToSOption,
    VerboseOption,
    VideoOption,
    flags_of,
)

EXAMPLES = """Spot micro-expressions in a camera stream or recording and publish them while they happen.

Examples:

    sfam-live                                            the synthetic demo face, no camera needed

    sfam-live --camera interview.bag --out results       a recording, in real time

    sfam-live --camera interview.bag --speed max         the same results, as fast as possible

    sfam-live --camera demo --overlay web                with a page that shows what is seen

    sfam-live --camera realsense:A --camera realsense:B  two cameras, one session

    sfam-live --overlay web --blind                      the page shows quality only; files keep scores and events

Exit codes: 0 ok, 2 usage or config, 3 source, 4 model or engine, 5 sink.
"""


def live(
    camera: CameraOption = None,
    color_only: ColorOnlyOption = False,
    preset: PresetOption = None,
    face_box: FaceBoxOption = None,
    speed: SpeedOption = None,
    from_s: FromSOption = None,
    to_s: ToSOption = None,
    duration: DurationOption = None,
    out: OutOption = None,
    force: ForceOption = False,
    publish: PublishOption = None,
    insecure: InsecureOption = False,
    overlay: OverlayOption = None,
    blind: BlindOption = False,
    metrics: MetricsOption = None,
    lsl: LslOption = False,
    mcap: McapOption = None,
    rerun: RerunOption = None,
    markers: MarkersOption = None,
    engine: EngineOption = None,
    model: ModelOption = None,
    calibration: CalibrationOption = None,
    policy: PolicyOption = None,
    privacy: PrivacyOption = None,
    subject: SubjectOption = None,
    video: VideoOption = None,
    record: RecordOption = None,
    single_process: SingleProcessOption = False,
    step: StepOption = False,
    config: ConfigOption = None,
    assignment: SetOption = None,
    dry_run: DryRunOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Spot micro-expressions in a camera stream or recording; see --help."""
    flags = flags_of(locals())
    settings = load_config(config, os.environ, assignment or (), flags)
    if dry_run:
        typer.echo(render_yaml(settings), nl=False)
        return
    from .detector_process import DetectorProcess

    # Started first: its models take longer to load than all that is imported next.
    detector = DetectorProcess.beside(settings)
    try:
        from .live import run_live

        def reread() -> Config:
            return load_config(config, os.environ, assignment or (), flags)

        code = run_live(
            settings, force=force, step=step, quiet=quiet, verbose=verbose, reread=reread, detector=detector
        )
    finally:
        if detector is not None:
            detector.close()
    raise typer.Exit(code)


live.__doc__ = EXAMPLES
