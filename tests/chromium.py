"""Headless Chromium, driven by Selenium: it shows pages as their readers see them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

PROGRAMS = ("chromium", "chromedriver")
PATIENCE = 900
"""Seconds that an answer may take: of a large page, on a machine that has much else to do."""
OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def missing() -> str:
    """Why there is no browser here; empty when there is one."""
    lacking = [program for program in PROGRAMS if not shutil.which(program)]
    names = " and ".join(lacking)
    return f"{names} not found (Debian: chromium and chromium-driver)" if lacking else ""


def start(profile: Path) -> Chrome:
    """A browser that writes down what it fetches and what its scripts complain about.

    Args:
        profile: an empty directory.
    """
    options = ChromeOptions()
    options.binary_location = str(shutil.which(PROGRAMS[0]))
    # Chromium has no sandbox for root.
    for option in (*OPTIONS, *(() if os.getuid() else ("--no-sandbox",))):
        options.add_argument(option)
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(str(shutil.which(PROGRAMS[1]))))
    connection: Any = driver.command_executor
    connection.client_config.timeout = PATIENCE
    return driver


def log(driver: Chrome, name: str) -> list[dict[str, Any]]:
    """The entries of a log since the last call: ``browser`` or ``performance``."""
    untyped: Any = driver
    return list(untyped.get_log(name))
