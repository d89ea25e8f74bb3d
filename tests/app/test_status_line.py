from __future__ import annotations

import io

from sfam.app.status_line import StatusLine


def test_brackets_in_a_message_stay() -> None:
    stream = io.StringIO()
    with StatusLine(stream=stream) as line:
        line.say("run pip install '.[realsense]' in the checkout")
    assert stream.getvalue() == "run pip install '.[realsense]' in the checkout\n"
