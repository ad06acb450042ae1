"""Size pressure and preferred size by an independent sketch in numpy: pressure.json.

Formulas are written from the definitions of the terms, the pressure is an extrapolated central
difference along the shift of a class's logits, and the preferred size is the least value of a fine
grid, refined. Run with the versions of requirements.txt:

    python pressure_golden.py > pressure.json
"""

import json

import numpy as np
from scipy.optimize import minimize_scalar

FLOOR = 1e-7
EPSILON = 1e-10


def sigmoid(z):
    return np.where(z >= 0, 1 / (1 + np.exp(-np.abs(z))), np.exp(-np.abs(z)) / (1 + np.exp(-np.abs(z))))


def log_sigmoid(z):
    return np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


class Scene:
    """Logits [N, K, S] and one-hot targets; of one channel, sigmoid."""

    def __init__(self, labels, logits):
        self.labels, self.logits = labels, logits
        self.classes = logits.shape[1]
        self.softmax = self.classes > 1
        of = np.arange(self.classes) if self.softmax else np.array([1])
        self.y = (labels[:, None, :] == of[None, :, None]).astype(float)
        self.valid = labels.size

    def p(self, z, tau=1.0, softmax=None):
        softmax = self.softmax if softmax is None else softmax
        return np.exp(log_softmax(tau * z)) if softmax else sigmoid(tau * z)

    def hard(self, z):
        """The hardest tenth, by -log p of the true class: 1 where a pixel is taken."""
        loss = self.nll(z)
        count = int(np.ceil(0.1 * loss.size - 1e-12))
        order = np.sort(loss.ravel())[::-1]
        return (loss >= order[count - 1]).astype(float)

    def nll(self, z):
        if self.softmax:
            return -(self.y * log_softmax(z)).sum(axis=1)
        return -(self.y * log_sigmoid(z) + (1 - self.y) * log_sigmoid(-z))[:, 0]

    def distances(self):
        """Signed distances to the true boundary along the one spatial axis."""
        out = np.zeros_like(self.y)
        places = np.arange(self.y.shape[2])
        for n in range(self.y.shape[0]):
            for k in range(self.classes):
                inside = self.y[n, k] > 0
                if inside.any() and not inside.all():
                    away = lambda to: np.abs(places[:, None] - places[None, to]).min(axis=1)
                    out[n, k] = np.where(inside, -(away(~inside) - 1.0), away(inside))
        return out


def pooled(s, p):
    return p.sum(axis=(0, 2)), s.y.sum(axis=(0, 2)), (p * s.y).sum(axis=(0, 2))


def ce(s, z):
    return s.nll(z).mean() if s.softmax else s.nll(z).mean()


def ce_smoothed(s, z):
    share = 0.1
    y = (1 - share) * s.y + share / s.classes
    return -(y * log_softmax(z)).sum(axis=1).mean()


def focal(s, z, gamma=2.0):
    own, other = log_sigmoid(z), log_sigmoid(-z)
    phi = lambda log: -((1 - np.exp(log)) ** gamma) * log
    return (s.y * phi(own) + (1 - s.y) * phi(other)).sum(axis=1).mean()


def log_recall(s, z):
    _, t, i = pooled(s, s.p(z))
    return np.where(t > 0, -np.log(np.maximum(i / np.maximum(t, FLOOR), FLOOR)), 0).mean()


def dice(s, z):
    p, t, i = pooled(s, s.p(z))
    return np.where(t > 0, 1 - 2 * i / np.maximum(p + t, FLOOR), 0).mean()


def log_dice(s, z):
    p, t, i = pooled(s, s.p(z))
    return np.where(t > 0, -np.log(np.maximum(2 * i / np.maximum(p + t, FLOOR), FLOOR)), 0).mean()


def tversky(s, z, alpha=0.3, beta=0.7):
    p, t, i = pooled(s, s.p(z))
    return np.where(t > 0, 1 - i / np.maximum(i + alpha * (p - i) + beta * (t - i), FLOOR), 0).mean()


def jaccard(s, z):
    p, t, i = pooled(s, s.p(z))
    return np.where(t > 0, 1 - i / np.maximum(p + t - i, FLOOR), 0).mean()


def gdice(s, z):
    p, y = sigmoid(z), s.y
    if s.classes == 1:
        p, y = np.concatenate([p, 1 - p], axis=1), np.concatenate([y, 1 - y], axis=1)
    p, t, i = p.sum(axis=(0, 2)), y.sum(axis=(0, 2)), (p * y).sum(axis=(0, 2))
    w = 1 / np.maximum(t**2, FLOOR)
    return 1 - 2 * (w * i).sum() / np.maximum(w * (p + t), FLOOR).sum()


def proportions(s, z, tau=10.0):
    pixels = z.shape[2]
    return (s.p(z, tau).sum(axis=2) + EPSILON) / (pixels + EPSILON), s.y.sum(axis=2) / pixels


def l1(s, z):
    p, t = proportions(s, z)
    return np.abs(p - t).mean()


def kl(s, z):
    p, t = proportions(s, z)
    part = lambda t, p: np.where(t > 0, t * np.log(np.where(t > 0, t, 1) / p), 0)
    value = part(t, p)
    if not s.softmax:
        rest = (s.p(-z, 10.0).sum(axis=2) + EPSILON) / (z.shape[2] + EPSILON)
        value = value + part(1 - t, rest)
    return value.sum(axis=1).mean()


def db(s, z):
    p, t = proportions(s, z)
    return np.log(p + t + EPSILON).mean()


def boundary(s, z):
    first = 1 if s.softmax else 0
    return (s.distances() * s.p(z))[:, first:].sum() / s.valid


def size_cap(s, z):
    """The user's term of the tests."""
    p = s.p(z).sum(axis=2) / z.shape[2]
    return (np.maximum(p - 0.2, 0) ** 2).sum(axis=1).mean()


def top_k(s, z, hard=None):
    hard = s.hard(z) if hard is None else hard
    return (hard * s.nll(z)).sum() / hard.sum()


LOSSES = {
    "ce": ce,
    "ce(label_smoothing=0.1)": ce_smoothed,
    "focal": focal,
    "topk": top_k,
    "log_recall": log_recall,
    "dice": dice,
    "dice(form=log)": log_dice,
    "tversky(alpha=0.3, beta=0.7)": tversky,
    "jaccard": jaccard,
    "gdice": gdice,
    "l1": l1,
    "kl": kl,
    "db": db,
    "boundary": boundary,
    "size_cap": size_cap,
    "ce + dice": lambda s, z: ce(s, z) + dice(s, z),
    "ce + l1": lambda s, z: ce(s, z) + l1(s, z),
    "ce + kl": lambda s, z: ce(s, z) + kl(s, z),
}


def shifted(z, k, b):
    z = z.copy()
    z[:, k] += b
    return z


def pressure(s, loss, k):
    if loss is top_k:
        # Which pixels are hard is held.
        hard = s.hard(s.logits)
        value = lambda b: top_k(s, shifted(s.logits, k, b), hard)
    else:
        value = lambda b: loss(s, shifted(s.logits, k, b))
    slope = lambda h: (value(h) - value(-h)) / (2 * h)
    return (4 * slope(1e-4) - slope(2e-4)) / 3


def preferred(s, loss, k):
    value = lambda b: loss(s, shifted(s.logits, k, b))
    grid = np.arange(-40, 40.01, 0.05)
    values = np.array([value(b) for b in grid])
    best = int(values.argmin())
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        return {"kind": "indifferent"}
    near = lambda end: end <= values.min() + 1e-9 * (value(0.0) - values.min())
    if near(values[0]):
        return {"kind": "nothing"}
    if near(values[-1]):
        return {"kind": "everything"}
    options = {"xatol": 1e-9}
    found = minimize_scalar(value, bounds=(grid[best - 1], grid[best + 1]), method="bounded", options=options)
    z = shifted(s.logits, k, found.x)
    decided = (z.argmax(axis=1) == k).mean() if s.softmax else (z > 0).mean()
    return {
        "kind": "size",
        "value": float(found.fun),
        "predicted": float(s.p(z)[:, k].mean()),
        "decided": float(decided),
        "target": float(s.y[:, k].mean()),
    }


def scene(generator, samples, shares, distance, sharpness, pixels):
    """Runs of pixels of each class, and calibrated logits of Gaussian features, sharpened."""
    shares = np.array(shares)
    labels = np.zeros((samples, pixels), dtype=int)
    for n in range(samples):
        start = generator.integers(20, 40)
        for k in range(1, len(shares)):
            length = int(round(shares[k] * pixels))
            labels[n, start : start + length] = k
            start += length + generator.integers(10, 30)
    x = generator.normal(size=(samples, len(shares), pixels))
    for k in range(len(shares)):
        x[:, k] += distance / np.sqrt(2) * (labels == k)
    score = distance / np.sqrt(2) * x + np.log(shares)[None, :, None]
    z = sharpness * (score if len(shares) > 2 else score[:, 1:] - score[:, :1])
    return Scene(labels, np.round(z, 4))


def main():
    generator = np.random.default_rng(2104_08717)
    scenes = {
        "rare, vague": scene(generator, 2, [0.9, 0.08, 0.02], 2.5, 1.0, 250),
        "rare, sharp": scene(generator, 1, [0.9, 0.08, 0.02], 2.5, 3.0, 300),
        "one channel": scene(generator, 2, [0.95, 0.05], 2.5, 1.0, 200),
    }
    out = []
    for name, s in scenes.items():
        losses = []
        for text, loss in LOSSES.items():
            if "smoothing" in text and not s.softmax:
                continue
            classes = [{"pressure": pressure(s, loss, k), "preferred": preferred(s, loss, k)} for k in range(s.classes)]
            losses.append({"loss": text, "classes": classes})
        out.append(
            {
                "scene": name,
                "shape": list(s.logits.shape),
                "labels": s.labels.ravel().tolist(),
                "logits": s.logits.ravel().tolist(),
                "losses": losses,
            }
        )
    print(json.dumps(out, indent=None, separators=(",", ":")).replace('{"scene"', '\n{"scene"').replace('{"loss"', '\n{"loss"'))


main()
