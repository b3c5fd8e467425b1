"""Renderers of one documented report. Know nothing but that document."""
