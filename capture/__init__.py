"""Devices and recordings become `RGBDFrame`s; this room imports nothing of ours."""
