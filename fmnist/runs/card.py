"""Makes a run's model card: Markdown with the front matter of Hugging Face's model cards.

The same run gives the same bytes: neither times nor the machine are in it.
https://huggingface.co/docs/hub/model-cards
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml  # type: ignore[import-untyped]

from fmnist.pages import markdown
from fmnist.pages.html import Table
from fmnist.pages.markdown import bullets, code_block, escaped
from fmnist.pages.scores import (
    CLASS_HEADERS,
    SCORES,
    SPLITS,
    EvaluationJson,
    class_rows,
    score_cell,
    score_rows,
)
from fmnist.runs.page import RunPage, in_order, make_headline, provenance

CARD = "README.md"
SHOWN = ("Configuration", "Data", "Versions")  # of what the page says of the run's making
FEW = 30  # images of a class; scores of fewer are rough
MODES = {1: "L", 3: "RGB"}  # Pillow's names, by channels
WORD = re.compile("[A-Za-z][A-Za-z_ -]*")


def model_card(run: RunPage) -> str:
    """Returns the card: scores, classes, how to load and predict, what it is made of, limits."""
    headline = make_headline(run)
    height, width, channels = run.task.shape
    evaluations = in_order(run.evaluations)
    splits = ["Score", *(SPLITS[split].capitalize() for split in evaluations)]
    evidence = list(evaluations.values())[-1]
    parts = [
        _front_matter(run, evaluations),
        f"# {escaped(run.id)}",
        f"{headline.title}. {headline.certainty}",
        f"A Keras 3 model of {run.parameters:,} parameters for the task {escaped(run.task.name)}: "
        f"images of {height} × {width} pixels and {_count(channels, 'channel')}, "
        f"{len(run.task.classes)} classes. fmnist has trained it.",
        "## Load it and predict",
        code_block(usage(run), "python"),
        f"The model takes raw pixels, uint8 (images, {height}, {width}, {channels}), which it "
        "scales itself, and returns the probability of each class.",
        "## Scores",
        markdown.table(Table("", splits, score_rows(evaluations))),
        "In small print: 95% confidence intervals. Precision, recall, F1 and ROC AUC (one class "
        "against the rest) are means over the classes.",
        f"## By class, on the {headline.split} images",
        markdown.table(Table("", CLASS_HEADERS, class_rows(evidence))),
        escaped(headline.mistake),
        "## Limits",
        "\n".join(f"- {escaped(limit)}" for limit in _limits(run, headline.split, evidence)),
        "## How it was made",
        code_block(run.command),
    ]
    made = provenance(run)
    for title in SHOWN:
        parts += [f"### {title}", bullets(made[title])]
    return "\n\n".join(parts) + "\n"


def usage(run: RunPage) -> str:
    """Returns five lines of Python that predict the class of an image beside the model."""
    height, width, channels = run.task.shape
    if channels in MODES:
        size = f"({width}, {height}), PIL.Image.Resampling.BILINEAR"
        image = f'PIL.Image.open("image.png").convert("{MODES[channels]}").resize({size})'
    else:
        image = 'np.load("image.npy")'
    reshaped = f"np.asarray(image).reshape(1, {height}, {width}, {channels})"
    return "\n".join(
        [
            "import keras, numpy as np, PIL.Image",
            'model = keras.saving.load_model("model.keras")',
            f"image = {image}",
            f"classes = {list(run.task.classes)!r}",
            f"print(classes[model.predict({reshaped}).argmax()])",
        ]
    )


def _front_matter(run: RunPage, evaluations: dict[str, EvaluationJson]) -> str:
    """Returns what Hugging Face reads; its metrics, of the same names, are the best evidence."""
    split, evidence = list(evaluations.items())[-1]
    scores: dict[str, Any] = {**evidence}
    metrics = [
        {"type": metric, "name": title, "value": scores[metric]}
        for metric, title in SCORES.items()
        if scores[metric] is not None
    ]
    task = {"type": "image-classification"}
    dataset = {"type": run.task.name, "name": run.task.name, "split": split}
    result = {"task": task, "dataset": dataset, "metrics": metrics}
    fields = {
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["fmnist"],
        "model-index": [{"name": run.id, "results": [result]}],
    }
    text = yaml.dump(fields, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{text}---"


class _Dumper(yaml.SafeDumper):
    """Quotes text, but for plain words: YAML 1.1 and 1.2 read `1e5` and others differently."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if WORD.fullmatch(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _quoted)


def _limits(run: RunPage, split: str, evidence: EvaluationJson) -> Iterator[str]:
    classes = len(run.task.classes)
    yield (
        f"It knows {classes} classes. An image of anything else gets one of them too, maybe with a "
        "high probability: the probabilities were not calibrated."
    )
    yield (
        f"The scores hold for images that were chosen as the {split} images were. The intervals "
        "say what chance there was in that choice, and nothing of other data or another seed."
    )
    if split == SPLITS["validation"]:
        yield "There were no test images. The validation images may have had a part in choices."
    if split == SPLITS["train"]:
        yield "All images that it was evaluated on were trained on: new ones are not that easy."
    found = [each for each in evidence["per_class"] if each["recall"] is not None]
    worst = min(found, key=lambda each: each["recall"] or 0.0)
    recall = score_cell("recall", worst)
    interval = f" ({recall.small})" if recall.small else ""
    yield f"It is worst at {worst['name']}, of which it finds {recall.value}{interval}."
    if rare := [each["name"] for each in evidence["per_class"] if each["support"] < FEW]:
        names = ", ".join(rare)
        yield f"Scores are rough where there were fewer than {FEW} {split} images: {names}."
    if run.task.label_rule:
        yield (
            "The labels of this task depend on the sum of an image's pixels: a brighter image may "
            "belong to another class."
        )
    yield "No licence is stated. Whoever passes the model on asks what the data's licence allows."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
