"""How finished experiments are judged and chosen, by one rule in every notebook."""

from collections.abc import Iterable

from helpers.data.sets import CourseData
from helpers.evaluation import metrics

CHOOSE_ON = ("validation", "shifted_validation")
REPORT_ON = ("test", "shifted_test", "second_acquisition")


def accuracies(
    outcomes: dict, data: CourseData, sets: Iterable[str] = CHOOSE_ON
) -> dict[str, dict[str, metrics.Estimate]]:
    """Return {model: {image set: accuracy}}, as `figures.accuracies` takes it.

    Args:
        outcomes: an `experiments.Outcome` for each model, by its name.
        data: the images they were judged on.
        sets: names of evaluation sets; those that the source does not have are left out.
    """
    present = [name for name in sets if name in data.sets]
    return {
        model: {name: metrics.accuracy(data[name].labels, outcome.logits[name]) for name in present}
        for model, outcome in outcomes.items()
    }


def choose(outcomes: dict, data: CourseData) -> str:
    """Return the name of the model to go on with; no test image is looked at.

    Of the models that McNemar's test cannot tell (at the 5 % level) from the one with the most
    right answers on shifted validation, the one with the most right answers on validation.
    """
    judged = accuracies(outcomes, data)
    leader = max(judged, key=lambda model: judged[model]["shifted_validation"].value)
    labels = data["shifted_validation"].labels
    best = outcomes[leader].logits["shifted_validation"]
    tied = [
        model
        for model, outcome in outcomes.items()
        if metrics.compare(labels, best, outcome.logits["shifted_validation"]).p_value >= 0.05
    ]
    return max(tied, key=lambda model: judged[model]["validation"].value)
