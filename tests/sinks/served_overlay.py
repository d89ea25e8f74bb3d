"""A web overlay in a process of its own, as the application runs it, until killed."""

from __future__ import annotations

import argparse

from sfam.sinks.overlay_web import WebOverlay, serve_overlay

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("addresses", nargs="+")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--token", default="")
    parser.add_argument("--ring", nargs=2, action="append", default=[], metavar=("CAMERA", "RING"))
    asked = parser.parse_args()
    overlay = WebOverlay(tuple(asked.addresses), asked.host, 0, asked.token)
    rings = dict(asked.ring)
    serve_overlay(overlay, ready=lambda address: print(address, flush=True), rings=lambda: rings)
