"""Makes the numbers that tests/peers.rs compares with, by other people's code on the same input.

    python -m venv venv
    venv/bin/pip install numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0 pandas==3.1.1
    venv/bin/python study/tests/golden/make.py > study/tests/golden/golden.json

Scores and differences are made by the rules of `differences` and `table`, which peers.rs has as
well: nothing but results is kept.
"""

import importlib.metadata
import json
import math

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

KINDS = ["plain", "ties", "zeros", "ties and zeros"]


def noise(seed, index):
    """A hash of 32 bits as a number in [0, 1)."""
    x = (index * 2654435761 + seed * 40503 + 12345) & 0xFFFFFFFF
    x ^= x >> 16
    x = (x * 0x45D9F3B) & 0xFFFFFFFF
    x ^= x >> 16
    x = (x * 0x45D9F3B) & 0xFFFFFFFF
    x ^= x >> 16
    return x / 4294967296.0


def differences(kind, n):
    """Exact in binary, so that ties are ties everywhere."""
    values = []
    for i in range(n):
        d = noise(4 * n + kind, i) - 0.375
        if kind % 2 == 1:
            d = math.floor(8 * d) / 8
            if kind == 1 and d == 0:
                d = 0.125
        if kind >= 2 and i % 5 == 2:
            d = 0.0
        values.append(d)
    return values


def wilcoxon():
    cases = []
    for kind in range(4):
        for n in range(1, 61):
            d = np.array(differences(kind, n))
            if not d.any():
                continue  # scipy refuses, or has NaN
            result = stats.wilcoxon(d)
            case = {"kind": kind, "n": n, "statistic": float(result.statistic), "p": float(result.pvalue)}
            # From the definitions: scipy has neither effect.
            ranks = stats.rankdata(np.abs(d[d != 0]))
            signs = np.sign(d[d != 0])
            case["rank_biserial"] = float((ranks * signs).sum() / ranks.sum())
            # A paired t-test is d_z times the root of n.
            varies = n > 1 and np.ptp(d) > 0
            case["d_z"] = float(stats.ttest_1samp(d, 0).statistic / math.sqrt(n)) if varies else None
            cases.append(case)
    return cases


def holm():
    cases = []
    for seed, m in enumerate([1, 2, 3, 6, 10, 25]):
        p = [noise(seed, i) ** 3 for i in range(m)]
        if m > 5:
            p[3] = p[1]
        cases.append({"p": p, "corrected": multipletests(p, method="holm")[1].tolist()})
    return cases


def table(design, seeds, images, missing):
    """Rows (seed, image, value); images of a nested design are numbered through."""
    rows = []
    for s in range(seeds):
        for i in range(images):
            of_image = noise(900 + s, i) if design == "nested" else noise(900, i)
            value = 0.02 * noise(901, s) + 0.1 * of_image + 0.05 * noise(902 + s, i)
            if missing and noise(990 + s, i) < 0.15:
                continue
            rows.append((s, s * images + i if design == "nested" else i, value))
    return pd.DataFrame(rows, columns=["seed", "image", "value"])


def mean(design, data):
    inner, outer = ("image", "seed") if design == "crossed" else ("seed", "image")
    return data.groupby(inner)["value"].mean().mean()


def anova():
    """Spreads from mean squares where no number is missing; else from the jackknife, and the
    residual from least squares. Intervals by the formula of `Interval::Variances`."""
    cases = []
    t = lambda df: stats.t.ppf(0.975, df)
    for design, seeds, images, missing in [
        ("crossed", 4, 12, False),
        ("crossed", 3, 30, False),
        ("crossed", 4, 12, True),
        ("crossed", 6, 9, True),
        ("nested", 4, 12, False),
        ("nested", 5, 7, True),
    ]:
        data = table(design, seeds, images, missing)
        m = mean(design, data)
        if design == "crossed":
            fit = ols("value ~ C(seed) + C(image)", data).fit()
            residual = fit.mse_resid
            n = images
            squares = 1 / data.groupby("image")["value"].count()
            v_rest = residual * squares.sum() / images**2
            jack = [mean(design, data[data.seed != s]) for s in range(seeds)]
            v_seeds = (seeds - 1) / seeds * np.sum((np.array(jack) - np.mean(jack)) ** 2)
            jack = [mean(design, data[data.image != i]) for i in range(images)]
            v_images = (images - 1) / images * np.sum((np.array(jack) - np.mean(jack)) ** 2)
            if not missing:
                squares = anova_lm(fit)["mean_sq"]
                assert abs(squares["C(seed)"] / len(data) / v_seeds - 1) < 1e-9
                assert abs(squares["C(image)"] / len(data) / v_images - 1) < 1e-9
                assert abs(squares["Residual"] / len(data) / v_rest - 1) < 1e-9
            more = max(0.0, v_images - v_rest)
            half = math.sqrt(
                max(t(images - 1) ** 2 * v_images, t(seeds - 1) ** 2 * v_seeds + t(images - 1) ** 2 * more)
            )
            sd_images = math.sqrt(more * images)
        else:
            fit = ols("value ~ C(seed)", data).fit()
            residual = fit.mse_resid
            groups = data.groupby("seed")["value"]
            v_seeds = groups.mean().var() / seeds
            v_rest = (groups.var() / groups.count()).sum() / seeds**2
            half = math.sqrt(max(t(seeds - 1) ** 2 * v_seeds, t(len(data) - seeds) ** 2 * v_rest))
            sd_images = 0.0
        cases.append(
            {
                "design": design,
                "seeds": seeds,
                "images": images,
                "missing": missing,
                "mean": float(m),
                "half": float(half),
                "sd_seeds": math.sqrt(max(0.0, v_seeds - v_rest) * seeds),
                "sd_images": sd_images,
                "sd_rest": math.sqrt(residual),
            }
        )
    return cases


def power():
    """Seeds alone vary: a t-test of their means, on the side of the difference."""
    cases = []
    for seeds in [2, 3, 4, 8, 30, 200]:
        for effect in [0.3, 1.0, 2.0, 5.0]:
            for level in [0.8, 0.95, 0.99]:
                quantile = stats.t.ppf(0.5 + level / 2, seeds - 1)
                found = stats.nct.sf(quantile, seeds - 1, effect * math.sqrt(seeds))
                cases.append({"seeds": seeds, "effect": effect, "level": level, "power": float(found)})
    return cases


def main():
    packages = ["numpy", "scipy", "statsmodels", "pandas"]
    golden = {
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "wilcoxon": wilcoxon(),
        "holm": holm(),
        "anova": anova(),
        "power": power(),
    }
    print(json.dumps(golden, indent=1))


main()
