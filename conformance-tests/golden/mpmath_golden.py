"""Golden numbers from 50-digit arithmetic: python mpmath_golden.py [--check]

Writes mpmath.json beside this script. With --check it writes nothing: it compares the gradients with central differences instead.
"""

import json
import platform
import sys
from pathlib import Path

import mpmath
from mpmath import mp, mpf, nstr

from mpmath_cases import SEED, SPLIT_INPUTS, SPLITS, cases, inputs, random_numbers
from mpmath_losses import TERMS, World, split
from mpmath_tape import gradient, total

DIGITS = 50
IGNORED = 255



def value_and_gradient(terms, given, activation, splits=False):
    world = World(given, activation, [IGNORED])
    values = [TERMS[term](world, options) for _, term, options in terms]
    whole = total(mpf(weight) * value for (weight, _, _), value in zip(terms, values))
    parts = None
    if len(terms) == 1 and SPLITS.get(terms[0][1]) == terms[0][2] and splits:
        parts = split(world, terms[0][1], terms[0][2])
        assert abs(sum(parts) - whole.value) < mpf(10) ** -40, (terms, parts, whole.value)
    return whole.value, [value.value for value in values], gradient(whole, world.logits), parts


def short(x):
    return nstr(x, 20) if x else "0"


def check(every):
    """Central differences, in more digits than the tape."""
    worst = mpf(0)
    for text, terms, name in cases(every):
        if "saturated" in name:
            continue
        given, activation = every[name], name.split("/")[0]
        found = value_and_gradient(terms, given, activation)[2]
        with mp.workdps(80):
            step, z = mpf(10) ** -20, given["logits"]

            def moved(i, by):
                changed = {**given, "logits": [mpf(x) + (by if j == i else 0) for j, x in enumerate(z)]}
                return value_and_gradient(terms, changed, activation)[0]

            slopes = [(moved(i, step) - moved(i, -step)) / (2 * step) for i in range(len(z))]
        scale = max(abs(x) for x in found) or mpf(1)
        off = max(abs(a - b) for a, b in zip(found, slopes)) / scale
        worst = max(worst, off)
        if off > mpf(10) ** -25:
            print(text, name, nstr(off, 3))
    print("worst relative error of the gradients:", nstr(worst, 3))


def main():
    mp.dps = DIGITS
    every = inputs(random_numbers())
    if "--check" in sys.argv:
        return check(every)
    out = []
    for text, terms, name in cases(every):
        activation = name.split("/")[0]
        value, values, slopes, parts = value_and_gradient(terms, every[name], activation, name in SPLIT_INPUTS)
        case = {"name": f"{text}/{name}", "spec": text, "terms": terms, "input": name, "activation": activation}
        case |= {"ignore": IGNORED, "value": short(value), "values": [short(v) for v in values]}
        case |= {"gradient": [short(g) for g in slopes]}
        if parts:
            case["parts"] = [short(p) for p in parts]
        out.append(case)
    made_with = {"python": platform.python_version(), "mpmath": mpmath.__version__, "digits": DIGITS, "seed": SEED}
    lines = [f'{{"made_with": {json.dumps(made_with)},', '"inputs": {']
    lines.append(",\n".join(f"{json.dumps(name)}: {json.dumps(given)}" for name, given in every.items()))
    lines.append('}, "cases": [')
    lines.append(",\n".join(json.dumps(case) for case in out))
    lines.append("]}")
    Path(__file__).with_name("mpmath.json").write_text("\n".join(lines) + "\n")
    print(len(out), "cases")


if __name__ == "__main__":
    main()
