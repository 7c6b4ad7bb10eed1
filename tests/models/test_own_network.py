"""A user's network is read as text: what that shows is found without running it."""

import subprocess
import sys

import pytest

from fmnist.errors import UserError
from fmnist.models.own_network import parse_network
from tests.support.models import SEPARABLE, network_of, separable

HEAD = "def net(layers, images, activation):\n    "


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"def net(:", "line 1: invalid syntax"),
        (b"x = 1\ny = = 2\n", "line 2: invalid syntax"),
        (b"\xff", "is no Python text"),
        (b"def net():\0", "source code string cannot contain null bytes"),
        (b"def other(a, b, c): ...\n", "found no function net, expected one of other"),
        (b"class net: ...\n", "found no function net"),
        (
            b"\ndef net(images): ...\n",
            r"line 2: found net\(images\), expected net\(layers, images, activation\)",
        ),
        (b"def net(a, b, c, d): ...\n", "line 1: found net"),
        (b"def net(a, b, c, *, d): ...\n", "line 1: found net"),
        (f"import helpers\n{HEAD}...".encode(), "line 1: imports helpers, expected installed"),
        (f"{HEAD}from . import blocks".encode(), r"line 2: imports ., expected installed"),
        (f"{HEAD}import tests.support".encode(), "line 2: imports tests.support, expected"),
    ],
)
def test_mistakes_in_the_text(text, problem):
    with pytest.raises(UserError, match=f"^network nets.py:net: {problem}"):
        parse_network("nets.py:net", text)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(UserError, match="2 mistakes") as caught:
        parse_network("nets.py:net", b"import helpers\ndef net(): ...\n")
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    "text",
    [
        "def net(layers, images, activation, width=3): ...",
        "def net(*arguments): ...",
        "net = print",
        "import math, keras.layers, numpy as np\nfrom fmnist.models.architectures import cnn as net"
        "\nnet = net",
    ],
)
def test_other_forms_that_can_be_called_alike(text):
    assert parse_network("nets.py:net", text.encode()).load()


def test_the_name_follows_from_the_text_and_the_function():
    network = separable()
    assert network.name == "separable.0456848333b4"
    assert separable("with_dropout").name.startswith("with_dropout.")
    same = parse_network("elsewhere/other.py:separable", SEPARABLE.encode())
    assert same.name == network.name
    windows = parse_network("nets.py:separable", SEPARABLE.replace("\n", "\r\n").encode())
    assert windows.name == network.name
    assert parse_network("nets.py:separable", SEPARABLE.encode() + b"#").name != network.name


def test_an_error_of_the_file_has_its_line():
    network = network_of("pass", before="width = 8 // 0")
    with pytest.raises(UserError, match=r"nets.py:net: line 1: ZeroDivisionError: "):
        network.load()
    with pytest.raises(UserError, match="net is 3, expected a function"):
        parse_network("nets.py:net", b"net = 3").load()


def test_reading_one_imports_neither_keras_nor_its_own_imports():
    program = (
        "import sys\n"
        "from fmnist.models.own_network import parse_network\n"
        f"parse_network('nets.py:separable', {SEPARABLE.encode()!r})\n"
        "assert not {'keras', 'tensorflow', 'ray', 'numpy'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
