"""A model card (Mitchell 2018, arXiv:1810.03993): what a model is, how good, for what, and for what not, as Markdown."""

from collections import Counter
from typing import Any

from rarn_edge.contract.spec import FER2013, FERPLUS, ModelSpec
from rarn_edge.evaluation.judge import Judgement
from rarn_edge.evaluation.votes import VoteFigures
from rarn_edge.models.catalog import CatalogEntry
from rarn_edge.stats.classification import Evaluation

_INTENDED = """\
- Gray 48x48 crops of one roughly upright, frontal face, from a camera or a picture.
- Research, prototypes and interfaces where a wrong answer costs little and a person can correct it.
"""

MISUSE = """\
- It reads expressions, not feelings: labels that strangers gave to web pictures. A smile is not happiness.
- Not for decisions about people: hiring, schooling, policing, credit, health, or watching people at work. Inferring emotions
  at work and in schools is prohibited in the European Union (Regulation 2024/1689, article 5).
- Not for finding out who somebody is.
"""

LIMITS = """\
- The pictures came from web searches: age, skin tone, culture and occlusion are unbalanced and unlabelled, so accuracy by
  group is unknown. Measure it on your own users before relying on it.
"""

_RARE = "- Some classes are rare (see the number of faces above); their figures are uncertain.\n"


def _averaged_line(provenance: dict[str, Any]) -> list[str]:
    """How many sets of weights the released ones are the mean of, where they are one."""
    times = [each["times"] for each in provenance.get("mean_of", ())]
    if others := Counter(each["weights_sha256"] for each in provenance.get("averaged_with", ())):  # until November 2026
        times = [1, *others.values()]
    if not times:
        return []
    counted = "" if set(times) == {1} else f", counted {', '.join(map(str, times[:-1]))} and {times[-1]} times"
    return [
        f"- The released weights are the mean of {len(times)} sets of weights{counted}: the last phase's, and others that it went"
        " through before or that started there (arXiv:2203.05482)."
    ]


def _scaled_line(provenance: dict[str, Any]) -> list[str]:
    """How the classifier was calibrated, where it was."""
    scaling = provenance.get("class_scaling")
    if scaling is None:
        return []
    return [
        f"- The logit of each class has a factor and an offset, fitted on {scaling['fitted_on']} to calibrate it"
        f" (arXiv:1706.04599, section 4.2). Fitted on nine tenths of them and measured on the other:"
        f" {scaling['cross_fitted_accuracy']:.2%} right, calibration error {scaling['cross_fitted_error']:.1%} (float32)."
    ]


def model_card(
    entry: CatalogEntry, spec: ModelSpec, provenance: dict[str, Any], float32: Evaluation, judged: Judgement
) -> str:
    """The card of one released model; `float32` is its accuracy before quantization, `judged` the INT8 file's judgement."""
    release = f"{entry.name}.{spec.label_source}"
    int8, confidence, copies = judged.evaluation, judged.confidence, judged.without_copies
    lines = [
        f"# Model card: {entry.name}, labels {spec.label_source}",
        "",
        f"{entry.parameters / 1e6:.2f} M parameters, {entry.multiply_adds / 1e6:.1f} M multiply-adds,"
        f" {entry.side_px}x{entry.side_px} gray, {len(spec.classes)} classes:"
        f" {', '.join(spec.classes)}. Source: {entry.source}. Licence of the weights: Apache-2.0.",
        "",
        "Written by `python export/build_release.py`, like every figure below.",
        "",
        "## Training",
        "",
        f"- Labels: {LABELS[spec.label_source]}",
        f"- Data: the Training split of FER-2013, {provenance.get('train_images', 0):,} faces, pixel mean"
        f" {provenance.get('train_pixel_mean')}, deviation {provenance.get('train_pixel_std')}.",
        *(_phase_line(release, number, phase) for number, phase in enumerate(provenance["phases"], start=1)),
        "- Every setting is in the header of the weights file. Of each phase the averaged weights after its last epoch are taken;"
        " no epoch was selected.",
        *_averaged_line(provenance),
        *_scaled_line(provenance),
        "",
        f"## Measured on {judged.faces}, single view",
        "",
        "| form | accuracy | 95 % interval | macro-F1 |",
        "|---|--:|--:|--:|",
        _accuracy_row("float32", float32),
        _accuracy_row("INT8", int8),
        "",
        "| class (INT8) | precision | recall | F1 | faces |",
        "|---|--:|--:|--:|--:|",
        *(f"| {s.name} | {s.precision:.3f} | {s.recall:.3f} | {s.f1:.3f} | {s.support} |" for s in int8.classes),
        "",
        f"- Calibration error {confidence.error:.1%} (15 bins) at temperature {confidence.temperature:.2f}, which is in the"
        f" file and was fitted on these faces; fitted on one half and measured on the other: {confidence.error_scaled:.1%}"
        + (" (the class scaling was fitted on both halves)." if "class_scaling" in provenance else "."),
    ]
    if judged.votes is not None:
        lines += _votes_lines(judged.votes)
    if copies is not None:
        lines.append(
            f"- Without the {copies.copies} faces that have an identical copy in Training: {copies.accuracy:.2%}"
            f" [{copies.accuracy_low:.2%}, {copies.accuracy_high:.2%}]."
        )
    lines += [
        "",
        "| roll, degrees | " + " | ".join(str(point.roll_deg) for point in judged.roll) + " |",
        "|---|" + "--:|" * len(judged.roll),
        "| accuracy (INT8) | " + " | ".join(f"{point.accuracy:.1%}" for point in judged.roll) + " |",
        "",
        "## Intended use",
        "",
        _INTENDED,
        "## Misuse",
        "",
        MISUSE,
        "## Limits",
        "",
        f"{_LABEL_LIMITS[spec.label_source]}{LIMITS}{_RARE}",
    ]
    return "\n".join(lines).rstrip() + "\n"


LABELS = {
    FER2013: "FER-2013, one label a face as the challenge published it. What somebody saw in a face, not what the person feels.",
    FERPLUS: "FER+ (Barsoum 2016, arXiv:1608.01041; MIT licence), the votes of ten people for each face. What people see"
    " in a face, not what the person feels.",
}
_LABEL_LIMITS = {
    FER2013: "- FER-2013's labels are noisy: about 75 to 77 % is the practical ceiling, and people reach about 65 %.\n",
    FERPLUS: "- Ten people looked at each face for a moment; where they disagree there is no right answer. Disgust and contempt"
    " are rare in the votes, so these two are seldom answered, and many of their faces are missed.\n",
}


def _votes_lines(votes: VoteFigures) -> list[str]:
    return [
        f"- Beside the votes themselves ({votes.faces:,} faces, with and without a majority): cross-entropy"
        f" {votes.cross_entropy:.3f} (the votes' own entropy is {votes.entropy:.3f}), total variation"
        f" {votes.total_variation:.3f}, probability against vote share {votes.share_error:.1%}.",
        f"- One person names the majority of the others on {votes.person_accuracy:.1%} (each of {votes.person_votes:,} votes"
        " taken out of the count before the majority of the rest is formed by the same rule).",
    ]


def log_name(model: str, phase: int) -> str:
    """File name of the log of one training phase, counted from 1."""
    return f"{model}-{phase}.csv"


def _phase_line(model: str, number: int, phase: dict[str, Any]) -> str:
    teachers = len(phase.get("teachers") or ())
    taught = f", {teachers} teacher{'s' if teachers > 1 else ''}" if teachers else ""
    precision = ", in bfloat16" if phase.get("trained_in") == "bf16" else ""
    device = phase.get("trained_on", "cpu")
    place = f", on {device}" if device != "cpu" else ""
    done, planned = phase["epochs_done"], phase["recipe"]["epochs"]
    epochs = f"{done} epochs" if done == planned else f"{done} of its {planned} epochs"
    start = "from the weights of the phase before" if number > 1 else "from random weights"
    return (
        f"- Phase {number}: recipe `{phase['recipe']['name']}` {start}, {epochs}, seed {phase['seed']}"
        f"{taught}{precision}{place}, torch {phase['torch']}; log `export/logs/{log_name(model, number)}`."
    )


def _accuracy_row(form: str, evaluation: Evaluation) -> str:
    interval = f"{evaluation.accuracy_low:.2%} to {evaluation.accuracy_high:.2%}"
    return f"| {form} | {evaluation.accuracy:.2%} | {interval} | {evaluation.macro_f1:.3f} |"
