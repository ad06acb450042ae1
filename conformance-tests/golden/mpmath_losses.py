"""The losses, from their definitions: sums over pixels, formulas over sums. Options have the names and defaults of the library's text.

A term's options come from a spec's text, so numbers in them are binary64 (0.1 is the double nearest to 0.1).
"""

from mpmath import log, mpf

from mpmath_tape import Var, total

FLOOR = mpf(1e-7)
TINY = mpf(1e-30)


class World:
    """Valid pixels of an input, and sums over them per sample and class."""

    def __init__(self, given, activation, ignore):
        shape = given["shape"]
        self.samples, self.classes = shape[0], shape[1]
        self.count = 1
        for length in shape[2:]:
            self.count *= length
        self.activation = activation
        self.logits = [Var(z) for z in given["logits"]]
        self.prior = given.get("prior")
        self.pixels = []
        self.memory = {}
        labels, soft, weights = given.get("labels"), given.get("soft"), given.get("weights")
        for n in range(self.samples):
            for s in range(self.count):
                at = [(n * self.classes + k) * self.count + s for k in range(self.classes)]
                weight = mpf(weights[n * self.count + s]) if weights else mpf(1)
                if soft:
                    target = [mpf(soft[i]) for i in at]
                else:
                    label = labels[n * self.count + s]
                    if label in ignore:
                        continue
                    true = 1 if self.classes == 1 else None
                    target = [mpf(label == (k if true is None else true)) for k in range(self.classes)]
                if weight > 0:
                    self.pixels.append((n, weight, target, [self.logits[i] for i in at]))

    def probability(self, i, activation, tau=1):
        """Per class: p, 1 - p, log p and log(1 - p) of pixel i at a temperature, none of them by subtraction from 1."""
        key = (i, activation, tau)
        if key not in self.memory:
            z = [mpf(tau) * z for z in self.pixels[i][3]]
            if activation == "softmax":
                e = [x.exp() for x in z]
                whole = total(e)
                others = [total(e[:k] + e[k + 1 :]) for k in range(len(e))]
                self.memory[key] = [(a / whole, b / whole, x - whole.log(), None) for a, b, x in zip(e, others, z)]
            else:
                rows = []
                for x in z:
                    up, down = 1 + x.exp(), 1 + (-x).exp()
                    rows.append((Var(1) / down, Var(1) / up, -down.log(), -up.log()))
                self.memory[key] = rows
        return self.memory[key]

    def sums(self, pooling, of):
        """Sum of w * of(i, k, y) over pixels: rows (one for the batch, or one per sample) of K numbers."""
        rows = [[[] for _ in range(self.classes)] for _ in range(self.samples)]
        for i, (n, weight, target, _) in enumerate(self.pixels):
            for k, y in enumerate(target):
                rows[n][k].append(weight * of(i, k, y))
        if pooling == "batch":
            rows = [[sum((row[k] for row in rows), []) for k in range(self.classes)]]
        return [[total(parts) for parts in row] for row in rows]

    def sizes(self, pooling):
        """T per row and class, and M per row: plain numbers."""
        target = [[t.value for t in row] for row in self.sums(pooling, lambda i, k, y: y)]
        valid = [row[0].value for row in self.sums(pooling, lambda i, k, y: mpf(1))]
        return target, valid


def mean(values):
    return total(values) / len(values)


def weights_of(world, o):
    given, only = o.get("class_weights"), o.get("classes")
    weights = [mpf(w) for w in given] if given else [mpf(1)] * world.classes
    return [w if only is None or k in only else mpf(0) for k, w in enumerate(weights)]


def cross_entropy(world, o):
    activation = o.get("activation", world.activation)
    e, c, pooling = mpf(o.get("label_smoothing", 0)), weights_of(world, o), o.get("pooling", "batch")
    outcomes = world.classes if activation == "softmax" else 2

    def pixel(i, k, y):
        _, _, log_p, log_q = world.probability(i, activation)[k]
        inside = ((1 - e) * y + e / outcomes) * log_p
        return inside if activation == "softmax" else inside + ((1 - e) * (1 - y) + e / outcomes) * log_q

    target, valid = world.sizes(pooling)
    rows = []
    for likelihood, t, m in zip(world.sums(pooling, pixel), target, valid):
        if activation == "sigmoid":
            divisor = m * sum(c)
        else:
            divisor = sum(a * b for a, b in zip(c, t)) if o.get("class_weights") else m
        value = -total(a * x for a, x in zip(c, likelihood))
        rows.append(value / divisor if divisor else Var(0))
    return mean(rows)


def focal(world, o):
    activation = o.get("activation", "sigmoid")
    activation = world.activation if activation == "model" else activation
    gamma, c, pooling = o.get("gamma", 2), weights_of(world, o), o.get("pooling", "batch")
    alpha = o.get("alpha")
    inside, outside = (mpf(alpha), 1 - mpf(alpha)) if alpha is not None else (mpf(1), mpf(1))

    def pixel(i, k, y):
        p, q, log_p, log_q = world.probability(i, activation)[k]
        true = y * (q.power(gamma) * -log_p)
        return true if activation == "softmax" else inside * true + (outside * (1 - y)) * (p.power(gamma) * -log_q)

    target, valid = world.sizes(pooling)
    rows = []
    for sums, t, m in zip(world.sums(pooling, pixel), target, valid):
        weighted = activation == "softmax" and o.get("class_weights")
        divisor = sum(a * b for a, b in zip(c, t)) if weighted else m
        value = total(a * x for a, x in zip(c, sums))
        rows.append(value / divisor if divisor else Var(0))
    return mean(rows)


def formed(o, score):
    return -score.at_least(FLOOR).log() if o.get("form", "linear") == "log" else 1 - score


def class_mean(o, c, values, target, valid):
    """Mean over classes with weights c; what an absent class does is an option."""
    absent, rows = o.get("absent", "zero"), []
    for value, t, m in zip(values, target, valid):
        present = [x > 0 for x in t]
        counted = sum(w for w, here in zip(c, present) if here or absent != "skip")
        kept = [w if (m > 0 if absent == "count" else here) else mpf(0) for w, here in zip(c, present)]
        rows.append(total(w * v for w, v in zip(kept, value)) / counted if counted else Var(0))
    return mean(rows)


def masses(world, o):
    """I, P (or the sum of squares), and T (or its squares), per row and class."""
    activation = o.get("activation", world.activation)
    pooling, tau = o.get("pooling", "batch"), o.get("temperature", 1)

    def p(i, k):
        return world.probability(i, activation, tau)[k][0]

    both = world.sums(pooling, lambda i, k, y: y * p(i, k))
    if o.get("squared"):
        mass = world.sums(pooling, lambda i, k, y: p(i, k) * p(i, k))
        true = world.sums(pooling, lambda i, k, y: y * y)
    else:
        mass = world.sums(pooling, lambda i, k, y: p(i, k))
        true = world.sums(pooling, lambda i, k, y: y)
    return both, mass, true


def log_recall(world, o):
    both, _, true = masses(world, o)
    smooth = mpf(o.get("smooth", 0))
    values = [
        [-((i + smooth) / (t + smooth).at_least(FLOOR)).at_least(FLOOR).log() for i, t in zip(*row)] for row in zip(both, true)
    ]
    return class_mean(o, weights_of(world, o), values, *world.sizes(o.get("pooling", "batch")))


def overlap(world, o, score):
    """A class mean of scores; `score` gives numerator and denominator from I, P and T."""
    above, below = mpf(o.get("smooth_numerator", 0)), mpf(o.get("smooth_denominator", 0))

    def value(i, p, t):
        numerator, denominator = score(i, p, t)
        return formed(o, (numerator + above) / (denominator + below).at_least(FLOOR))

    values = [[value(*these) for these in zip(*row)] for row in zip(*masses(world, o))]
    return class_mean(o, weights_of(world, o), values, *world.sizes(o.get("pooling", "batch")))


def dice(world, o):
    return overlap(world, o, lambda i, p, t: (2 * i, p + t))


def jaccard(world, o):
    return overlap(world, o, lambda i, p, t: (i, p + t - i))


def tversky(world, o):
    alpha, beta = mpf(o.get("alpha", 0.5)), mpf(o.get("beta", 0.5))
    return overlap(world, o, lambda i, p, t: (i, i + alpha * (p - i) + beta * (t - i)))


def generalized_dice(world, o):
    activation = o.get("activation", "sigmoid")
    activation = world.activation if activation == "model" else activation
    pooling, only = o.get("pooling", "batch"), o.get("classes") or range(world.classes)
    sides = (0, 1) if world.classes == 1 and activation == "sigmoid" else (0,)
    regions = []
    for side in sides:
        predicted = world.sums(pooling, lambda i, k, y: world.probability(i, activation)[k][side])
        true = world.sums(pooling, lambda i, k, y: (y, 1 - y)[side])
        both = world.sums(pooling, lambda i, k, y: (y, 1 - y)[side] * world.probability(i, activation)[k][side])
        regions.append((both, predicted, true))
    rows = []
    for row, m in enumerate(world.sizes(pooling)[1]):
        if not m:
            rows.append(Var(0))
            continue
        upper, lower = [], []
        for both, predicted, true in regions:
            for k in only:
                t = true[row][k].value
                size = {"square": t * t, "simple": t, "uniform": mpf(1)}[o.get("weighting", "square")]
                w = 1 / max(size, FLOOR)
                upper.append(2 * w * both[row][k])
                lower.append((w * (predicted[row][k] + t)).at_least(FLOOR))
        rows.append(formed(o, total(upper) / total(lower)))
    return mean(rows)


def proportions(world, o, value):
    """Per row, the values of each class (0 where nothing is valid): value(p, 1 - p, t, 1 - t)."""
    activation, tau = o.get("activation", world.activation), o.get("temperature", 10)
    pooling, e = o.get("pooling", "sample"), mpf(o.get("epsilon", 1e-10))
    mass = world.sums(pooling, lambda i, k, y: world.probability(i, activation, tau)[k][0])
    rest = world.sums(pooling, lambda i, k, y: world.probability(i, activation, tau)[k][1])
    true, valid = world.sizes(pooling)
    given, rows = o.get("target", "truth"), []
    for row, m in enumerate(valid):
        if not m:
            rows.append([Var(0)] * world.classes)
            continue
        these = []
        for k in range(world.classes):
            if given == "truth":
                t, out = (true[row][k] + e) / (m + e), (m - true[row][k]) / (m + e)
            elif given == "given":
                t = given_proportion(world, pooling, row, k)
                out = 1 - t
            else:
                t, out = mpf(given[k]), 1 - mpf(given[k])
            these.append(value((mass[row][k] + e) / (m + e), rest[row][k] / (m + e), t, out))
        rows.append(these)
    return rows


def given_proportion(world, pooling, row, k):
    """Each sample's own proportion; for a batch, their mean weighted by valid pixels."""
    given = [mpf(world.prior[n * world.classes + k]) for n in range(world.samples)]
    if pooling == "sample":
        return given[row]
    sizes = world.sizes("sample")[1]
    return sum(g * m for g, m in zip(given, sizes)) / sum(sizes)


def averaged(world, o, rows):
    c = weights_of(world, o)
    return mean([total(w * v for w, v in zip(c, row)) / sum(c) for row in rows])


def l1(world, o):
    return averaged(world, o, proportions(world, o, lambda p, _, t, __: (p - t).magnitude()))


def dice_bias(world, o):
    e = mpf(o.get("epsilon", 1e-10))
    return averaged(world, o, proportions(world, o, lambda p, _, t, __: (p + t + e).log()))


def kl(world, o):
    both = o.get("background", "true") == "true" and o.get("activation", world.activation) == "sigmoid"

    def divergence(t, p):
        return t * log(t) - t * p.at_least(TINY).log() if t else Var(0)

    def value(p, q, t, out):
        return divergence(t, p) + divergence(out, q) if both else divergence(t, p)

    c = weights_of(world, o)
    return mean([total(w * v for w, v in zip(c, row)) for row in proportions(world, o, value)])


TERMS = {
    "ce": cross_entropy,
    "focal": focal,
    "log_recall": log_recall,
    "l1": l1,
    "kl": kl,
    "db": dice_bias,
    "dice": dice,
    "tversky": tversky,
    "jaccard": jaccard,
    "gdice": generalized_dice,
}


def split(world, term, o):
    """Matching, size and constant of the identities: Cross-Entropy, and logarithms of ratios, pooled over the batch."""
    true, (m,) = world.sizes("batch")
    t = true[0]
    sums = world.sums("batch", lambda i, k, y: world.probability(i, world.activation)[k][0])[0]
    if term == "ce":
        likelihood = world.sums("batch", lambda i, k, y: y * world.probability(i, world.activation)[k][2])[0]
        seen = [k for k in range(world.classes) if t[k] > 0]
        matching = sum((t[k] * log(sums[k].value / m) - likelihood[k].value) / m for k in seen)
        size = sum(t[k] / m * log(t[k] / sums[k].value) for k in seen)
        constant = sum(-t[k] / m * log(t[k] / m) for k in seen)
        return matching, size, constant
    inside = world.sums("batch", lambda i, k, y: y * world.probability(i, world.activation)[k][0])[0]
    matching = size = constant = mpf(0)
    for k in (k for k in range(world.classes) if t[k] > 0):
        i, p = inside[k].value, sums[k].value
        alpha, beta = mpf(o.get("alpha", 0.5)), mpf(o.get("beta", 0.5))
        both, factor = {
            "dice": (p + t[k], 2),
            "jaccard": (p + t[k] - i, 1),
            "tversky": ((1 - alpha - beta) * i + alpha * p + beta * t[k], 1),
        }[term]
        matching -= log(i / t[k]) / world.classes
        size += log(both / m) / world.classes
        constant -= log(factor * t[k] / m) / world.classes
    return matching, size, constant
