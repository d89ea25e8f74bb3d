"""Judgements leave: wire format, publisher, subscriber, session folder, overlays."""
