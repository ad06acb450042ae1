"""Preferred sizes of made predictions, independently of segloss: integrals over the feature.

Prints the rows of `preferred_sizes_are_those_of_an_independent_program` in cli_landscape.rs. Needs
Python alone: python3 cli/tests/golden/landscape.py
"""
from math import exp, log, pi, sqrt

STEP = 1 / 128
TAU = 10


def sigmoid(z):
    return 1 / (1 + exp(-z)) if z >= 0 else exp(z) / (1 + exp(z))


def softplus(z):
    return max(z, 0) + log(1 + exp(-abs(z)))


def grid(share, distance):
    """Feature, and the masses of true and of false pixels there."""
    for i in range(round(-9 / STEP), round((9 + distance) / STEP)):
        x = (i + 0.5) * STEP
        density = lambda mean: exp(-((x - mean) ** 2) / 2) / sqrt(2 * pi) * STEP
        yield x, share * density(distance), (1 - share) * density(0)


def losses(share, points, shift):
    sums = dict.fromkeys(["p", "hard", "inside", "ce", "focal", "decided"], 0.0)
    for z, true, false in points:
        z += shift
        p = sigmoid(z)
        both = true + false
        sums["p"] += both * p
        sums["hard"] += both * sigmoid(TAU * z)
        sums["inside"] += true * p
        sums["ce"] += true * softplus(-z) + false * softplus(z)
        sums["focal"] += true * (1 - p) ** 2 * softplus(-z) + false * p**2 * softplus(z)
        sums["decided"] += both * (z > 0)
    p, hard, inside, ce = (sums[name] for name in ["p", "hard", "inside", "ce"])
    dice = 2 * inside / (p + share)
    kl = share * log(share / hard) + (1 - share) * log((1 - share) / (1 - hard))
    values = [
        ce,
        ce + abs(hard - share),
        ce + kl,
        1 - dice,
        -log(dice),
        1 - inside / (p + share - inside),
        ce + 1 - dice,
        1 - inside / (inside + 0.3 * (p - inside) + 0.7 * (share - inside)),
        sums["focal"],
    ]
    return values, p / share, sums["decided"] / share


def preferred(share, distance, sharpness):
    points = [
        (sharpness * (log(share / (1 - share)) + distance * x - distance**2 / 2), true, false)
        for x, true, false in grid(share, distance)
    ]
    seen = {}

    def at(shift):
        return seen.setdefault(shift, losses(share, points, shift))

    for loss in range(9):
        low, high = -8.0, 8.0
        for _ in range(2):
            steps = [low + (high - low) * i / 32 for i in range(33)]
            best = min(range(33), key=lambda i: at(steps[i])[0][loss])
            low, high = steps[max(best - 1, 0)], steps[min(best + 1, 32)]
        while high - low > 1e-4:
            third = (high - low) / 3
            if at(low + third)[0][loss] < at(high - third)[0][loss]:
                high -= third
            else:
                low += third
        _, probability, decisions = at((low + high) / 2)
        yield probability, decisions


for setting in [(0.005, 2.5, 1), (0.02, 2.5, 1), (0.3, 2.5, 1), (0.02, 2.5, 3), (0.02, 4, 1)]:
    rows = ", ".join(f"[{probability:.3f}, {decisions:.3f}]" for probability, decisions in preferred(*setting))
    print(f'("{setting[0]}", "{setting[1]}", "{setting[2]}", [{rows}]),')
