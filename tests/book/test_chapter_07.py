"""Chapter 7 run cell by cell: degrees of freedom, coverage, and tests at the boundary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cells import run_chapter
from scipy import stats

from pylmm_helpers import coef_table, fit_lmm, icc, refit

METHODS = ["wald", "satterthwaite", "kenward-roger"]


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    return run_chapter("07-inference", skip=r"crosscheck\(|\blmer\(")


def test_satterthwaite_by_hand_is_the_helpers(page: dict[str, Any]) -> None:
    # finite differences with steps of a thousandth leave about 1e-4; statsmodels' optimiser 1e-4
    assert page["nu"] == pytest.approx(page["three"].loc["satterthwaite", "df"], rel=5e-4)


def test_the_method_decides_about_feeding(page: dict[str, Any]) -> None:
    p = page["answers"].astype(float)
    assert p["Wald"] < 0.05 and p["likelihood ratio, ML"] < 0.05
    assert (p[["Satterthwaite", "Kenward-Roger", "parametric bootstrap"]] > 0.05).all()
    three = page["three"]["p_value"]
    assert 1.8 < three["kenward-roger"] / three["wald"] < 2.3  # "twice as large"
    parity = [coef_table(page["fit"], df=m).loc["parity", "ci_low"] for m in METHODS]
    assert np.ptp(parity) < 0.01


def test_a_random_slope_hands_the_effect_to_the_groups(page: dict[str, Any]) -> None:
    df, errors = page["carried"]["df"], page["carried"]["std_error"]
    assert (
        df["one for all"] > 1000 and df["one for each"] < 30 == page["trial"]["hospital"].nunique()
    )
    assert errors["one for each"] > 1.5 * errors["one for all"]


def test_estimating_the_variances_costs_little_where_herd_means_weigh_alike(
    page: dict[str, Any],
) -> None:
    """The same rows and sizes throughout; only the variance between herds changes."""
    rng, study = np.random.default_rng(9), page["study"]
    base, code = fit_lmm(page["formula"], study, groups="herd"), study["herd"].factorize()[0]
    typical = []
    for sigma2_g in (10, 50, 800):
        ratios = []
        for _ in range(60):
            u, e = rng.normal(0, np.sqrt(sigma2_g), 15), rng.normal(0, np.sqrt(750), len(code))
            again = refit(base, u[code] + e)
            if again.cov_re.iloc[0, 0] > 1:
                kr, wald = (coef_table(again, df=m)["std_error"] for m in ("kenward-roger", "wald"))
                ratios.append(kr[page["term"]] / wald[page["term"]])
        typical.append(np.median(ratios) - 1)
    assert typical[0] > 2 * typical[1] > 4 * typical[2] > 0
    assert 0 < page["kr_se"] / page["wald_se"] - 1 < 0.001
    assert page["herd_size"].max() > 5 * page["herd_size"].min(), "sizes are not similar"
    assert page["of_mean"].max() < 1.3 * page["of_mean"].min()


def test_two_questions_about_feeding_have_two_answers(page: dict[str, Any]) -> None:
    one, any_of_three = page["three"]["p_value"], page["joint"]["p_value"]
    assert one["kenward-roger"] < 0.05 < any_of_three["kenward-roger"]


def test_kenward_roger_is_the_exact_test_in_balanced_data(page: dict[str, Any]) -> None:
    kr, anova = page["kr"], page["anova"]
    assert kr["statistic"] == pytest.approx(anova.statistic, rel=1e-8)
    assert kr["df_den"] == pytest.approx(12, rel=1e-8)
    assert kr["p_value"] == pytest.approx(anova.pvalue, rel=1e-8)


def test_coverage_is_as_the_text_says(page: dict[str, Any]) -> None:
    share = page["share"].set_index(["predictor of the", "herds"])
    herd = share.loc["herd"]
    # 2,000 replicates: Monte-Carlo error of 0.5 to 0.7 points
    assert herd.loc[5, "wald"] < 0.91 and herd.loc[20, "wald"] < 0.945
    assert herd["wald"].is_monotonic_increasing
    assert herd["satterthwaite"].between(0.925, 0.965).all()
    assert herd.loc[5, "kenward-roger"] > 0.985
    assert herd.loc[10:, "kenward-roger"].between(0.935, 0.975).all()
    cow = share.loc["cow"].loc[10:, METHODS]
    assert cow.min().min() > 0.925 and cow.max().max() < 0.97


def test_at_a_zero_kenward_roger_keeps_few_degrees_of_freedom(page: dict[str, Any]) -> None:
    for herds in (5, 20):
        code, rows = page["design"](herds)
        start = fit_lmm("milk ~ treated + x", rows, groups="herd")
        # no variance between herds at all: the cows of a herd differ, their means don't
        y = np.random.default_rng(1).normal(0, 28, len(code))
        y = y - (np.bincount(code, y) / np.bincount(code))[code]
        fit = refit(start, y)
        assert fit.cov_re.iloc[0, 0] < 1e-8
        assert 1 < coef_table(fit).loc["treated", "df"] < herds - 2


def test_zero_estimates_make_satterthwaite_too_sure(page: dict[str, Any]) -> None:
    held, zero = page["held"], page["zero"]
    assert 0.25 < zero[5].mean() < 0.4 and zero[100].mean() < 0.01
    for herds in (5, 10):
        at, above = held[herds][zero[herds], :, 0], held[herds][~zero[herds], :, 0]
        assert at.mean(axis=0)[0] < 0.86 and at.mean(axis=0)[1] < 0.87
        assert above.mean(axis=0)[1] > 0.95
        # the means' t test keeps its level over all studies, and falls short after a zero as well
        means = page["by_means"][herds]
        assert 0.93 < means.mean() < 0.97
        assert at.mean(axis=0)[0] < means[zero[herds]].mean() < 0.93


def test_the_null_distribution_of_a_variance_is_the_mixture(page: dict[str, Any]) -> None:
    for (herds, cows), d in page["null"].items():
        exact = stats.f.cdf(1, herds - 1, herds * (cows - 1))  # MSB below MSW
        error = np.sqrt(exact * (1 - exact) / len(d))
        assert (d == 0).mean() == pytest.approx(exact, abs=5 * error)
    table = page["null_table"]
    assert table["unhalved (%)"].max() < 3.2
    assert table["halved (%)"].between(3.6, 5.6).all()
    assert table["zero (%)"].iloc[0] > 54 > 52 > table["zero (%)"].iloc[-1]
    assert (table["halved, ML (%)"] < table["halved (%)"]).all()


def test_halving_finds_the_variance_of_two_cows_a_herd(page: dict[str, Any]) -> None:
    row = page["of_variance"].iloc[0]
    assert row["p_value"] == pytest.approx(row["p_value_naive"] / 2)
    assert row["p_value"] < 0.05 < row["p_value_naive"]
    boot = page["boot_two"].table["p_value"].iloc[0]
    assert boot == pytest.approx(row["p_value"], abs=0.012)


def test_a_random_slope_needs_its_own_mixture(page: dict[str, Any]) -> None:
    many = page["slope_table"]["180 hospitals"]
    # 8,000 replicates: Monte-Carlo error of 0.25 points
    assert 3.7 < many["mixture of 1 and 2 df"] < 5.5
    assert many["chi-squared, 2 df"] < 3.6 and many["half of it"] > 5.3
    assert many["half of chi-squared, 1 df"] > 12
    few = page["slope_table"]["30 hospitals"]
    assert few["mixture of 1 and 2 df"] < many["mixture of 1 and 2 df"] + 0.4
    # at thirty hospitals half of chi-squared on 2 df comes as near by two errors that offset
    assert few["mixture of 1 and 2 df"] < 5 < few["half of it"] < many["half of it"]
    distance = (few[["mixture of 1 and 2 df", "half of it"]] - 5).abs()
    assert distance["half of it"] < distance["mixture of 1 and 2 df"] + 0.25


def test_two_variances_at_once_need_more_parts(page: dict[str, Any]) -> None:
    reference = page["lrt"](page["slope"], "ols")["reference"].iloc[0]
    assert reference.count("chi2") == 4 and page["halved_both"] < 4
    assert (page["d_both"] < 1e-6).mean() > page["zero_expected"] + 0.02, "a limit here as well"
    weights = [float(part.split()[0]) for part in reference.split(" + ")]
    assert sum(weights) == pytest.approx(1, abs=0.002) and page["zero_expected"] == weights[0]


def test_the_criterion_for_many_outcomes_is_that_of_the_fits(page: dict[str, Any]) -> None:
    for reml, fit in [(True, page["full_reml"]), (False, page["full_ml"])]:
        value = page["criterion_of"](page["y"][:, None], fit.cov_re.iloc[0, 0], fit.scale, reml)
        assert value[0] == pytest.approx(fit.criterion, abs=1e-6)
    # the interval by hand against the profile of the package, by ML, and that of the ICC, by REML
    sd = page["profile"].loc["sd(Intercept)"]
    for end in (sd["ci_low"], sd["ci_high"]):
        rise = page["lowest_at"](page["y"][:, None], end, False)[0] - page["full_ml"].criterion
        assert rise == pytest.approx(page["limit"], abs=0.01)
    share, (low, high) = icc(page["full_reml"]), page["by_reml"]
    # at an end of either, sigma stays near its estimate
    scale = page["full_reml"].scale
    of_share = [np.sqrt(scale * share[e] / (1 - share[e])) for e in ("ci_low", "ci_high")]
    assert (low, high) == pytest.approx(of_share, rel=0.02)


def test_the_ml_profile_of_a_variance_lies_too_low(page: dict[str, Any]) -> None:
    missed = page["missed"]
    assert abs(missed.loc["REML", "all"] - 5) < 3.5 * page["missed_mc"]["REML"]
    assert (
        missed.loc["ML", "all"] > 9 and missed.loc["ML", "too low"] > 0.9 * missed.loc["ML", "all"]
    )
    assert missed.loc["REML", ["too low", "too high"]].min() > 1, "on both sides"
    assert page["by_reml"][1] > page["profile"].loc["sd(Intercept)", "ci_high"] + 2


def test_few_groups_make_percentiles_of_a_variance_too_low_and_many_do_not_matter() -> None:
    """Balanced herds, where the estimates are functions of two mean squares.

    Three feeding systems (p = 3) in 15 herds of 30 cows; the bootstrap draws from the REML fit.
    The ML profile is judged with 200 herds and one mean as well.
    """
    rng, m, s2_g, s2 = np.random.default_rng(10), 30, 200.0, 800.0

    def estimate(ms_b: Any, ms_w: Any) -> Any:
        return np.maximum((ms_b - ms_w) / m, 0)

    def mean_squares(variance: Any, within: Any, herds: int, p: int, size: Any) -> Any:
        ms_b = (within + m * variance) * rng.chisquare(herds - p, size) / (herds - p)
        return ms_b, within * rng.chisquare(herds * (m - 1), size) / (herds * (m - 1))

    studies = 1500
    ms = mean_squares(s2_g, s2, 15, 3, (studies, 1))
    again = estimate(*mean_squares(estimate(*ms), ms[1], 15, 3, (studies, 800)))
    low, high = np.percentile(again, [2.5, 97.5], axis=1)
    assert (high < s2_g).mean() > 0.06 and (low > s2_g).mean() < 0.025
    ms_b, ms_w = mean_squares(s2_g, s2, 200, 1, 20_000)
    w, b = 200 * (m - 1), 200  # ML divides the sum of squares between herds by all of them

    def deviance(total: Any, within: Any) -> Any:
        return b * np.log(total) + 199 * ms_b / total + w * np.log(within) + w * ms_w / within

    grid = np.linspace(700, 900, 201)[:, None]
    held = deviance(grid + m * s2_g, grid).min(axis=0)
    lowest = deviance(199 * ms_b / 200, ms_w)
    assert (held - lowest > stats.chi2.ppf(0.95, 1)).mean() == pytest.approx(0.05, abs=0.008)


def test_profiles_and_criteria(page: dict[str, Any]) -> None:
    profile, kr = page["profile"], page["three"].loc["kenward-roger"]
    sd = profile.loc["sd(Intercept)"]
    assert sd["ci_high"] > 2 * sd["ci_low"] > 0
    width = profile.loc[page["term"], "ci_high"] - profile.loc[page["term"], "ci_low"]
    assert width < kr["ci_high"] - kr["ci_low"]
    assert page["criteria"]["aic"].idxmin() == "parity + feeding"
    assert page["criteria"]["bic"].idxmin() == "parity"
    assert (page["null"][50, 4] > 2).mean() == pytest.approx(stats.chi2.sf(2, 1) / 2, abs=0.01)
