"""The card of a released model as a page, CARD.md.

Every number and name on it comes from the card, `card.json`, which `release` writes and
`released.card` reads; nothing is measured or loaded here, so a page can be made anew from its card
at any time, and is the same to the byte.
"""

from string import Template

from commands import familiarity
from helpers.evaluation.records import CHOOSE_ON, IMAGE_SETS
from helpers.models import released

PAGE = Template("""\
# The released model `$name`

$summary.

## Use

For teaching, **not for diagnosis**. It knows $count classes ($classes) and calls whatever it is
shown one of them.

```python
from helpers.models import released

model = released.load("$name")  # images (N, 96, 96, 3) in 0-255 in, logits out
```

`python -m helpers predict PHOTOGRAPH --model $name` names the cell on a photograph. The
temperature of the logits is $temperature, fitted on the $fitted_n images of the $fitted_on set:
probabilities are meant to be honest on shifted photographs, and may be too modest on photographs
like the training's.$distance

## How good it is

$metrics

## Where it fails

$failures

## Data

$data

## Training

$training

What each setting means: `helpers/training/experiment.py`.

## Files

SHA-256 (the weights are float16, $megabytes MB):

$files
""")

TRAINING = Template("""\
$begin One training (seed $seed), on $train_images images per epoch for $epochs epochs (stopped by:
$stopped_by), the weights of epoch $best_epoch kept; profile $profile, source $source, revision
$revision.

| setting | value |
|---|---|
$settings""")

PBC = """\
Photographs of the Barcelona peripheral-blood-cell set (PBC), as BloodMNIST uses them: the central
200 x 200 pixels of each. Both are published under CC BY 4.0.

- A. Acevedo et al. 2020, *A dataset of microscopic peripheral blood cell images for development of
  automatic recognition systems*, Data in Brief 30:105474.
- J. Yang et al. 2023, *MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical
  image classification*, Scientific Data 10:41."""
DATA = {
    "synthetic": "**Synthetic cells**, made by this course (`helpers/data/synthetic.py`, MIT), no "
    "photographs.",
    "folder": "Images of a folder of the trainer's own; their licence is the trainer's to name.",
}


def page(card: dict) -> str:
    """Return CARD.md: all of it comes from the card."""
    fitted = card["temperature_from"]
    return PAGE.substitute(
        name=card["name"],
        summary=released.summary(card),
        count=len(card["class_names"]),
        classes=", ".join(card["class_names"]),
        temperature=f"{card['temperature']:.3f}",
        fitted_n=f"{fitted['n']:,}",
        fitted_on=IMAGE_SETS[fitted["set"]],
        distance=_familiarity_text(card.get("familiarity")),
        metrics=_metrics_text(card),
        failures=_failures_text(card["failures"]),
        data=DATA.get(card["training"]["source"], PBC),
        training=_training_text(card),
        megabytes=f"{card['bytes'] / 1e6:.1f}",
        files="\n".join(f"- `{file}`: `{value}`" for file, value in card["sha256"].items()),
    )


def _familiarity_text(found: dict | None) -> str:
    if not found:
        return ""
    a, b = found["temperature"]
    rows = [
        f"| {IMAGE_SETS[name]} | {100 * own['unfamiliar']:.1f} % | {own['ece']:.3f} "
        f"({own['ece_interval'][0]:.3f} to {own['ece_interval'][1]:.3f}) | {own['n']:,} |"
        for name, own in found["measured"].items()
    ]
    return "\n".join(
        [
            "",
            "",
            "`predict` knows more: how far a picture's pooled features lie from the training's. It",
            f"names none that lies farther than {100 * familiarity.FAMILIAR:.0f} % of the "
            f"{IMAGE_SETS[found['set']]} set (a distance of {found['limit']:.2f}).",
            f"In the place of the one temperature it takes exp({a:.2f}) times the distance to the "
            f"power of {b:.2f}:",
            "the less a picture looks like the training's, the more modest the answer. Both were",
            "fitted on that set. Other laboratories' photographs are the hard case, and none is",
            "among these:",
            "",
            "| images | unfamiliar | calibration error of the others (95 % interval) | n |",
            "|---|---|---|---|",
            *rows,
        ]
    )


def _metrics_text(card: dict) -> str:
    if not card["metrics"]:
        return "Nothing was recorded of it."
    chose = " (chose the model)"
    rows = [
        f"| {IMAGE_SETS[name]}{chose if name in CHOOSE_ON else ''} | {_cells(found)} |"
        for name, found in card["metrics"].items()
    ]
    notes = "Each number is a record of this course, named in `card.json`."
    if not all("key" in found for found in card["metrics"].values()):
        notes = (
            "The network was trained anew for this release: the numbers are its own, and the "
            "records of the first training differ from them by what a repetition may."
        )
    if half := card.get("half_precision"):
        notes += (
            f" They were measured before the weights were rounded to float16, which gives "
            f"{half['changed']:,} of {half['n']:,} {IMAGE_SETS[half['set']]} images another class."
        )
    head = ["| images | accuracy | 95 % interval | n |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, "", notes])


def _failures_text(failures: dict) -> str:
    parts = [
        f"Classes it misses most on the {IMAGE_SETS[name]}: "
        + ", ".join(map(_accuracy_of, classes))
        for name, classes in failures["classes"].items()
    ]
    listed = {
        "Changes of the shifted test it stands worst, each among others on an image": "changes",
        "Corruptions of MedMNIST-C it stands worst": "corruptions",
    }
    for title, kind in listed.items():
        if failures[kind]:
            parts.append(f"{title}: " + ", ".join(map(_accuracy_of, failures[kind])))
    return "\n".join(f"- {part}." for part in parts) or "It was not looked into."


def _accuracy_of(found: dict) -> str:
    value, interval, n = _cells(found).split(" | ")
    other = found.get("taken_for")
    taken_for = f", most often taken for {other}" if other else ""
    return f"{found['name'].replace('_', ' ')} ({value} correct, {interval}, n = {n}{taken_for})"


def _cells(found: dict) -> str:
    low, high = found["interval"]
    return f"{100 * found['value']:.1f} % | {100 * low:.1f} to {100 * high:.1f} % | {found['n']:,}"


def _training_text(trained: dict) -> str:
    training, settings = trained["training"], trained["experiment"]
    before = settings["starts_from"]
    shown = settings | {"starts_from": before and before["name"]}
    return TRAINING.substitute(
        training,
        begin=_beginning(trained["backbone"], before),
        seed=settings["seed"],
        train_images=f"{training['train_images']:,}",
        settings="\n".join(f"| {key} | {value} |" for key, value in shown.items()),
    )


def _beginning(backbone: dict | None, before: dict | None) -> str:
    text = "It began from random weights."
    if backbone:
        text = (
            f"It began from {backbone['title']}'s ImageNet weights ({backbone['weights_from']}; "
            f"licence: {backbone['licence']}) and changed them."
        )
    if before:
        text += f" This is the last part of its training, after that of `{before['name']}`."
    return text
