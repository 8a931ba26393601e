"""Plays a plan on a runtime and keeps the record; knows no runtime by name."""
