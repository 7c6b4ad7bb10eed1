"""The model card: its front matter, its text, and its five lines of Python, run as printed."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from markdown_it import MarkdownIt
from PIL import Image

from fmnist.ingest.decode import decode_image
from fmnist.models.classifier import Classifier
from fmnist.runs.card import CARD, model_card, usage
from fmnist.tasks import COMPETITION, FASHION, Task
from tests.support import models
from tests.support.pages.comparisons import HOSTILE
from tests.support.pages.runs import a_run, scores

CODE = re.compile(r"^```python\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
NAMES = (*(name for name in HOSTILE if name.isprintable()), 'it\'s "so" \\ 😀', "1e5", "---")


def front_matter(card: str) -> dict:
    """Reads the YAML at the top of a card."""
    begin, text, _ = card.split("---\n", 2)
    assert begin == ""
    return yaml.safe_load(text)


def test_the_five_lines_predict_what_training_would_have_seen(tmp_path: Path) -> None:
    """A photo of another size goes through the printed lines, and through our own decoding."""
    task = Task(name="odd", classes=NAMES, shape=(12, 20, 3))
    model = models.dense(task)
    model.save(tmp_path / "model.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (50, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    card = model_card(replace(a_run(classes=NAMES), task=task))
    (tmp_path / CARD).write_text(card, encoding="utf-8")
    (lines,) = CODE.findall(card)
    assert len(lines.splitlines()) == 5
    done = subprocess.run(
        [sys.executable, "-I", "-c", lines], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    decoded = decode_image((tmp_path / "image.png").read_bytes(), task.shape)
    expected = Classifier(model)(decoded[None]).argmax()
    assert done.stdout.splitlines()[-1] == NAMES[expected]


@pytest.mark.parametrize(("channels", "call"), [(1, '.convert("L")'), (4, 'np.load("image.npy")')])
def test_the_five_lines_suit_the_channels(channels: int, call: str) -> None:
    task = replace(FASHION, shape=(28, 28, channels))
    lines = usage(replace(a_run(), task=task))
    compile(lines, CARD, "exec")
    assert call in lines and f"reshape(1, 28, 28, {channels})" in lines


def test_the_front_matter_has_the_scores_on_the_test_images() -> None:
    run = a_run()
    fields = front_matter(model_card(run))
    assert (fields["library_name"], fields["pipeline_tag"]) == ("keras", "image-classification")
    (model,) = fields["model-index"]
    (result,) = model["results"]
    assert model["name"] == run.id
    assert result["dataset"] == {"type": "fashion", "name": "fashion", "split": "test"}
    found = {metric["type"]: metric["value"] for metric in result["metrics"]}
    assert found == {name: run.evaluations["test"][name] for name in found} and len(found) == 6


@pytest.mark.parametrize("name", ["1e5", "0x1F", "null", "yes", "2020-01-01", "12"])
def test_a_name_in_the_front_matter_stays_a_name(name: str) -> None:
    card = model_card(replace(a_run(id=name), task=replace(FASHION, name=name)))
    (model,) = front_matter(card)["model-index"]
    assert model["name"] == model["results"][0]["dataset"]["name"] == name
    assert name.isalpha() or f'name: "{name}"' in card  # for readers of YAML 1.2


def test_names_are_shown_as_they_are_and_do_nothing() -> None:
    facts = {name: name for name in HOSTILE}
    run = a_run(classes=NAMES, config=facts, dataset=facts, command="```\n# no heading\n````")
    shown = model_card(run).split("\n---\n", 1)[1]
    tokens = MarkdownIt("commonmark").enable("table").parse(shown)
    inline = [child for token in tokens for child in token.children or []]
    html = {child.content for child in inline if child.type == "html_inline"}
    assert html == {"<br>", "<sub>", "</sub>"}
    assert not {token.type for token in tokens} & {"html_block", "link_open", "hr"}
    assert {child.type for child in inline} <= {"text", "text_special", "html_inline"}
    cells = ["".join(c.content for c in token.children or []) for token in tokens if token.children]
    assert set(NAMES) <= set(cells)
    headings = [token for token in tokens if token.type == "heading_open" and token.tag == "h1"]
    assert len(headings) == 1


def test_the_limits_follow_from_what_was_evaluated() -> None:
    few = scores(60, FASHION.classes)
    card = model_card(a_run(evaluations={"validation": few}))
    assert "There were no test images." in card
    assert "fewer than 30 validation images: T-shirt/top, Trouser" in card
    worst = min(few["per_class"], key=lambda each: each["recall"])
    assert f"It is worst at {worst['name']}, of which it finds {worst['recall']:.2%}" in card
    trained = model_card(a_run(evaluations={"train": few}))
    assert "All images that it was evaluated on were trained on" in trained
    usual = model_card(a_run())
    assert "no test images" not in usual and "fewer than" not in usual
    assert "sum of an image's pixels" not in usual
    assert "sum of an image's pixels" in model_card(replace(a_run(), task=COMPETITION))


def test_the_same_run_gives_the_same_card_whatever_the_machine() -> None:
    card = model_card(a_run())
    assert card == model_card(a_run(seconds={"training": 1.0}, hardware={"cpu": "another"}))
    for fact in ("c0ffee" * 10, "a folder", "3.15.1", "learning rate: 0.001"):
        assert fact in card, fact
