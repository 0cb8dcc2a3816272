"""The tests run against the installed wheel, never against the source tree."""

import importlib.metadata
import sysconfig
from pathlib import Path

import fastnn


def test_fastnn_is_the_installed_one():
    assert Path(sysconfig.get_path("platlib")) in Path(fastnn.__file__).parents


def test_one_version():
    assert importlib.metadata.version("fastnn-cpu") == fastnn.__version__
