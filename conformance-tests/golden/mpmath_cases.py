"""Which losses, on which inputs."""

import random

SEED = 20240817

# The fourteen names, and what theory says they are.
NAMES = {
    "CE": [(1, "ce", {})],
    "CE+L1": [(1, "ce", {}), (1, "l1", {})],
    "CE+KL": [(1, "ce", {}), (1, "kl", {})],
    "CE+DB": [(1, "ce", {}), (1, "db", {})],
    "CE+Dice": [(1, "ce", {}), (1, "dice", {})],
    "CE+LogDice": [(1, "ce", {}), (1, "dice", {"form": "log"})],
    "Focal": [(1, "focal", {})],
    "Focal+L1": [(1, "focal", {}), (1, "l1", {})],
    "Focal+KL": [(1, "focal", {}), (1, "kl", {})],
    "Focal+Dice": [(1, "focal", {}), (1, "dice", {})],
    "Focal+LogDice": [(1, "focal", {}), (1, "dice", {"form": "log"})],
    "Dice": [(1, "dice", {})],
    "LogDice": [(1, "dice", {"form": "log"})],
    "GDice": [(1, "gdice", {})],
}

SOFTMAX = ["softmax/ignored", "softmax/soft_and_weights", "softmax/absent_class"]
BOTH = ["softmax/plain", "softmax/absent_class", "sigmoid/one_channel", "sigmoid/multi_label"]
THREE = ["softmax/ignored", "softmax/soft_and_weights", "sigmoid/labels"]
HARD = ["softmax/absent_class", "softmax/ignored", "sigmoid/one_channel", "softmax/saturated"]
WEIGHTS = [0.2, 1, 3]

# A term with options, and the inputs for it.
OPTIONS = [
    ("ce", {"label_smoothing": 0.1}, BOTH + ["softmax/saturated"]),
    ("ce", {"class_weights": WEIGHTS}, THREE),
    ("ce", {"class_weights": WEIGHTS, "label_smoothing": 0.2, "pooling": "sample"}, THREE),
    ("ce", {"activation": "sigmoid"}, SOFTMAX),
    ("ce", {"pooling": "sample"}, HARD),
    ("focal", {"activation": "softmax"}, SOFTMAX + ["softmax/saturated"]),
    ("focal", {"gamma": 0.5, "activation": "softmax", "class_weights": WEIGHTS}, SOFTMAX),
    ("focal", {"gamma": 0}, BOTH),
    ("focal", {"gamma": 0.5}, HARD),
    ("focal", {"gamma": 3.5, "alpha": 0.25, "pooling": "sample"}, BOTH),
    ("focal", {"class_weights": WEIGHTS, "alpha": 0.75}, THREE),
    ("log_recall", {}, BOTH),
    ("log_recall", {"smooth": 0.5, "pooling": "sample", "temperature": 3, "absent": "count"}, HARD),
    ("log_recall", {"absent": "skip", "class_weights": WEIGHTS}, THREE),
    ("dice", {"squared": True}, BOTH),
    ("dice", {"form": "log", "pooling": "sample", "squared": True, "absent": "skip"}, HARD),
    ("dice", {"pooling": "sample", "smooth_numerator": 1, "smooth_denominator": 2, "absent": "skip"}, HARD),
    ("dice", {"pooling": "sample", "smooth_numerator": 1e-5, "smooth_denominator": 1e-5, "absent": "count"}, BOTH),
    ("dice", {"form": "log", "smooth_numerator": 0.1, "smooth_denominator": 0.1, "temperature": 2, "absent": "count"}, HARD),
    ("dice", {"classes": [1, 2], "class_weights": WEIGHTS}, THREE),
    ("dice", {"activation": "sigmoid"}, SOFTMAX),
    ("tversky", {"alpha": 0.3, "beta": 0.7}, BOTH),
    ("tversky", {"alpha": 0.3, "beta": 0.7, "form": "log"}, ["softmax/plain", "softmax/absent_class"]),
    ("tversky", {"alpha": 1.5, "beta": 0.25, "form": "log", "pooling": "sample"}, HARD),
    ("jaccard", {}, BOTH),
    ("jaccard", {"form": "log"}, BOTH),
    ("jaccard", {"smooth_numerator": 0.5, "smooth_denominator": 0.5, "absent": "skip"}, HARD),
    ("gdice", {"form": "log", "weighting": "simple"}, BOTH),
    ("gdice", {"weighting": "uniform", "pooling": "sample", "classes": [1, 2], "activation": "softmax"}, SOFTMAX),
    ("gdice", {"pooling": "sample", "activation": "softmax"}, ["softmax/plain", "softmax/soft_and_weights"]),
    ("gdice", {"pooling": "sample", "weighting": "simple"}, HARD),
    ("l1", {"temperature": 1, "pooling": "batch"}, BOTH),
    ("l1", {"target": [0.2, 0.3, 0.5]}, THREE),
    ("l1", {"target": "given", "temperature": 2}, ["softmax/soft_and_weights", "sigmoid/one_channel"]),
    ("l1", {"epsilon": 0.01, "classes": [1, 2], "class_weights": WEIGHTS}, THREE),
    ("kl", {"temperature": 1, "pooling": "batch"}, BOTH),
    ("kl", {"target": [0.2, 0, 0.8]}, THREE),
    ("kl", {"temperature": 1, "pooling": "batch", "target": "given"}, ["softmax/soft_and_weights", "sigmoid/one_channel"]),
    ("kl", {"background": "false"}, ["sigmoid/one_channel", "sigmoid/multi_label"]),
    ("kl", {"temperature": 1, "activation": "sigmoid"}, ["softmax/plain", "softmax/ignored"]),
    ("db", {"temperature": 2, "epsilon": 0.001}, BOTH),
    ("db", {"class_weights": WEIGHTS, "temperature": 1}, THREE),
]

# Terms whose value is also given as matching + size + constant.
SPLITS = {"ce": {}, "dice": {"form": "log"}, "jaccard": {"form": "log"}, "tversky": {"alpha": 0.3, "beta": 0.7, "form": "log"}}
SPLIT_INPUTS = {"softmax/plain", "softmax/doubles", "softmax/ignored", "softmax/absent_class", "softmax/soft_and_weights"}

# Sums with weights.
SUMS = [
    ([(1, "ce", {}), (0.5, "dice", {}), (-0.25, "kl", {"temperature": 1})], BOTH),
    ([(0.7, "focal", {"gamma": 0, "alpha": 1}), (0.3, "focal", {"gamma": 2, "alpha": 0})], ["sigmoid/one_channel"]),
    ([(1, "log_recall", {}), (2, "l1", {}), (0.125, "gdice", {})], BOTH),
]


def text(term, options):
    """A term as the library's text."""

    def written(value):
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            return "[" + ", ".join(written(v) for v in value) + "]"
        return value if isinstance(value, str) else repr(value)

    inner = ", ".join(f"{name}={written(value)}" for name, value in options.items())
    return f"{term}({inner})" if inner else term


def sum_text(terms):
    parts = [text(term, o) if weight == 1 else f"{abs(weight)!r} * {text(term, o)}" for weight, term, o in terms]
    signs = ["-" if weight < 0 else "+" for weight, _, _ in terms]
    return parts[0] + "".join(f" {sign} {part}" for sign, part in zip(signs[1:], parts[1:]))


def inputs(rng):
    """Logits are multiples of 1/1024, or of 1/32 (exact in every type), or any double; shares are sixteenths."""
    every = {}

    def add(name, shape, step, **more):
        count = 1
        for length in shape:
            count *= length
        span = 127 if step == 1 / 32 else 4096
        logits = [rng.randint(-span, span) * step if step else rng.gauss(0, 1.5) for _ in range(count)]
        every[name] = {"shape": shape, "logits": logits, **more}
        return every[name]

    def labels(count, classes):
        drawn = list(range(classes)) + [rng.randrange(classes) for _ in range(count - classes)]
        rng.shuffle(drawn)
        return drawn

    def quarters(count):
        return [0.0] + [rng.randint(1, 8) / 4 for _ in range(count - 1)]

    def shares(samples, classes, count):
        soft = [0.0] * (samples * classes * count)
        for n in range(samples):
            for s in range(count):
                left = 16
                for k in range(classes):
                    share = left if k + 1 == classes else rng.randint(0, left)
                    soft[(n * classes + k) * count + s] = share / 16
                    left -= share
        return soft

    def saturate(given):
        given["logits"] = [z if (u := rng.random()) > 0.6 else 1e4 if u > 0.3 else -1e4 for z in given["logits"]]

    add("softmax/plain", [2, 3, 2, 3], 1 / 1024, labels=labels(12, 3))
    add("softmax/doubles", [2, 3, 5], 0, labels=labels(10, 3))
    ignored = add("softmax/ignored", [2, 3, 6], 1 / 32, labels=labels(12, 3))
    ignored["labels"][2] = ignored["labels"][9] = 255
    absent = [0] * 5 + labels(5, 2)
    add("softmax/absent_class", [2, 3, 5], 1 / 32, labels=absent)
    saturate(add("softmax/saturated", [2, 3, 5], 1 / 32, labels=labels(10, 3)))
    add("softmax/one_pixel", [1, 3, 1], 1 / 1024, labels=[1])
    prior = [0.25, 0.5, 0.25, 0.125, 0.375, 0.5]
    add("softmax/soft_and_weights", [2, 3, 4], 1 / 1024, soft=shares(2, 3, 4), weights=quarters(8), prior=prior)
    one = add("sigmoid/one_channel", [2, 1, 6], 1 / 1024, labels=labels(12, 2), prior=[0.25, 0.625])
    one["labels"][4] = 255
    saturate(add("sigmoid/one_channel_saturated", [2, 1, 6], 1 / 32, labels=labels(12, 2)))
    add("sigmoid/labels", [2, 3, 4], 1 / 32, labels=labels(8, 3), weights=quarters(8))
    soft = [rng.choice([0.0, 0.0, 1.0, 1.0, 0.25]) for _ in range(24)]
    add("sigmoid/multi_label", [2, 3, 2, 2], 1 / 1024, soft=soft, weights=quarters(8))
    return every


def cases(every):
    """Name of the case, its text, its terms, and its input."""
    for name, terms in NAMES.items():
        for given in every:
            yield name, terms, given
    for term, options, given in OPTIONS:
        for name in given:
            yield text(term, options), [(1, term, options)], name
    for terms, given in SUMS:
        for name in given:
            yield sum_text(terms), terms, name


def random_numbers():
    return random.Random(SEED)
