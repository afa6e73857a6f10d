"""Formulas of a mixed-models book are read aloud in words that mean the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offline_render.speech import read_tex, words

READINGS = [
    # letters, indices, powers
    (
        r"y_{ij} = \beta_0 + u_j + \varepsilon_{ij}",
        "y sub i j equals beta sub 0 plus u sub j plus epsilon sub i j",
    ),
    (r"\sigma_g^2", "sigma sub g squared"),
    (r"\sigma^2_g", "sigma squared sub g"),
    (r"x^3", "x cubed"),
    (r"x^23", "x squared 3"),
    (r"10^{-6}", "10 to the power minus 6"),
    (r"\sigma^{-1/2}", "sigma to the power minus one half"),
    (r"y^{\lambda - 1}", "y to the power lambda minus 1 end power"),
    (r"x_{i+1}", "x sub i plus 1 end sub"),
    (r"\gamma_{00} + \tau_{01}", "gamma sub 0 0 plus tau sub 0 1"),
    (r"x_{10}", "x sub 10"),
    (r"\chi^2_{10}", "chi squared sub 10"),
    (r"t_{0.975, \nu}", "t sub 0.975 comma nu end sub"),
    (r"y^{(\lambda)}", "y superscript lambda"),
    (r"u^{\text{new}}_j", "u superscript new sub j"),
    (r"\hat\theta^*", "theta hat star"),
    (r"\bar{y}_{\cdot j}", "y bar sub dot j"),
    (r"\overline{x - y}", "x minus y, all with a bar"),
    (r"\tilde{\Sigma} \Lambda_\theta", "capital sigma tilde capital lambda sub theta"),
    # matrices: transpose and inverse
    (
        r"\mathbf{y} = \mathbf{X}\boldsymbol{\beta} + \mathbf{Z}\mathbf{u}",
        "y equals X beta plus Z u",
    ),
    (r"\mathbf{Z}\mathbf{G}\mathbf{Z}^\top + R", "Z G Z transpose plus R"),
    (
        r"(X' V^{-1} X)^{-1}",
        "open parenthesis X transpose V inverse X close parenthesis inverse",
    ),
    (r"X^{\prime} X^T X^{\mathrm{T}}", "X transpose X transpose X transpose"),
    (r"y_{i'j}", "y sub i prime j"),
    (r"\ell'(\theta)", "ell prime of theta"),
    (r"\mathbf{1}_n \otimes I_q", "1 sub n Kronecker product I sub q"),
    (
        r"\begin{pmatrix} \tau_{00} & \tau_{01} \\ \tau_{01} & \tau_{11} \end{pmatrix}",
        "the matrix of 2 rows: row 1: tau sub 0 0, tau sub 0 1; "
        "row 2: tau sub 0 1, tau sub 1 1; end matrix",
    ),
    (
        r"\begin{bmatrix} u_{0j} \\[2pt] u_{1j} \end{bmatrix}",
        "the matrix of 2 rows: row 1: u sub 0 j; row 2: u sub 1 j; end matrix",
    ),
    # fractions and roots
    (r"\frac12 x", "one half x"),
    (r"\frac{\sigma^2}{n}", "the fraction sigma squared over n"),
    (
        r"\frac{\sigma_g^2}{\sigma_g^2 + \sigma^2} = \frac{200}{1{,}000}",
        "the fraction with numerator sigma sub g squared and denominator "
        "sigma sub g squared plus sigma squared, end fraction, "
        "equals the fraction 200 over 1,000",
    ),
    (r"\sqrt{n}", "the square root of n"),
    (r"\sqrt[3]{a+b} c", "the cube root of a plus b, end root, c"),
    (r"\binom{n}{k}", "n choose k"),
    # sums, products, integrals, limits
    (r"\sum_{i=1}^{n_j} x_i", "the sum from i equals 1 to n sub j of x sub i"),
    (r"\prod_j p(y_j)", "the product over j of p of y sub j"),
    (
        r"\int p(y \mid u)\,du",
        "the integral of p of open parenthesis y given u close parenthesis d u",
    ),
    (r"\lim_{m \to \infty} \lambda", "the limit as m goes to infinity of lambda"),
    (r"\max(0, \hat\sigma^2)", "the maximum of 0 and sigma hat squared"),
    (
        r"\hat\theta = \arg\max_\theta L(\theta)",
        "theta hat equals the value of theta that maximises L of theta",
    ),
    (r"\operatorname*{arg\,min}_{\beta} f", "the value of beta that minimises f"),
    (r"\frac{\partial\ell}{\partial\theta}", "the fraction partial ell over partial theta"),
    # named functions
    (r"\operatorname{Var}(y_{ij})", "the variance of y sub i j"),
    (r"\mathrm{Cov}(u_{0j}, u_{1j})", "the covariance of u sub 0 j and u sub 1 j"),
    (r"\mathbb{E}[y \mid x]", "the expectation of open parenthesis y given x close parenthesis"),
    (
        r"\Pr\left(Z > 1.96\right)",
        "the probability of open parenthesis Z is greater than 1.96 close parenthesis",
    ),
    (r"\log_{10} x", "log base 10 of x"),
    (r"\exp\{-x\}", "the exponential of open parenthesis minus x close parenthesis"),
    (r"-2\ell + 2p", "minus 2 ell plus 2 p"),
    (r"\log \lvert V \rvert", "log of the determinant of V"),
    (r"|x| \le 1", "the absolute value of x is at most 1"),
    (r"\lVert y - X\beta \rVert^2", "the norm of y minus X beta, end norm, squared"),
    (r"\left. \frac{df}{dx} \right|_{x=0}", "the fraction d f over d x, evaluated at x equals 0"),
    # distributions and relations
    (
        r"u_j \sim \mathcal{N}(0, \sigma_g^2)",
        "u sub j is distributed as a normal distribution with mean 0 "
        "and variance sigma sub g squared",
    ),
    (
        r"y_{ij} | u_j \sim N\left(\mu_j, \sigma^2\right)",
        "y sub i j given u sub j is distributed as a normal distribution with mean mu sub j "
        "and variance sigma squared",
    ),
    (
        r"u \overset{\text{iid}}{\sim} N_q(0, G)",
        "u is distributed as, with iid above, a normal distribution in q dimensions "
        "with mean 0 and covariance matrix G",
    ),
    (r"N = 50", "N equals 50"),
    (r"p \approx 0.05 \ne 0", "p is approximately 0.05 is not equal to 0"),
    (r"H_0\colon \sigma_g^2 = 0", "H sub 0, sigma sub g squared equals 0"),
    (r"L(\theta) := 1", "L of theta is defined as 1"),
    # layout
    (
        r"\begin{aligned} y &= X\beta \\ u &\sim N(0, G) \end{aligned}",
        "y equals X beta; u is distributed as a normal distribution with mean 0 and variance G",
    ),
    (
        r"\begin{cases} \log y, & \lambda = 0 \\ y, & \text{otherwise} \end{cases}",
        "either log of y, when lambda equals 0; or y, otherwise; end cases",
    ),
    (
        r"\underbrace{X\beta}_{\text{fixed}} + \overbrace{Zu}^{\text{random}}",
        "X beta, labelled fixed, plus Z u, labelled random",
    ),
    (r"x_1, \ldots, x_n.", "x sub 1, and so on, x sub n"),
    (r"a \quad b \, c \; d \label{eq-x}", "a b c d"),
    (r"95\,\% \text{ of } 1{,}000 = 1\,000", "95 percent of 1,000 equals 1,000"),
    (r"\text{if $x > 0$}", "if x is greater than 0"),
]


@pytest.mark.parametrize(("tex", "reading"), READINGS, ids=[tex for tex, _ in READINGS])
def test_a_formula_is_read_as_a_lecturer_would_say_it(tex: str, reading: str) -> None:
    assert read_tex(tex) == reading


@pytest.mark.parametrize(
    ("tex", "names", "remedy"),
    [
        (r"\foo x", r"\foo", "speech/words.py"),
        ("β_0", "β", "speech/words.py"),
        (r"\begin{tikzcd} a \end{tikzcd}", "tikzcd", "use aligned, cases or pmatrix"),
        (r"\begin{cases} a \end{aligned}", "aligned", "close it by its own name"),
        ("{a", "}", "balance its braces"),
        ("a}", "}", "balance its braces"),
        ("x^", "ends too early", "give the missing argument"),
        (r"\frac{1}", "ends too early", "give the missing argument"),
        (r"\left( x", r"\right", "balance its braces"),
        (r"\text{a", "brace", "close it"),
        (r"\arg x", r"\arg", r"write \arg\max"),
        ("  ", "empty", "remove its dollar signs"),
    ],
)
def test_what_has_no_reading_stops_with_its_name_and_the_remedy(
    tex: str, names: str, remedy: str
) -> None:
    with pytest.raises(ValueError) as caught:
        read_tex(tex)
    assert names in str(caught.value)
    assert remedy in str(caught.value)


TOKENS = [*words.SYMBOLS, *words.FUNCTIONS, *words.BIG, *words.BARS]
TOKENS += [*words.ACCENTS, *words.SILENT, r"\frac", r"\sqrt", r"\left", r"\right"]
TOKENS += [
    *"{}^_'xyN&12",
    "{,}",
    r"\\",
    r"\begin{cases}",
    r"\end{cases}",
    r"\text{if }",
    r"\mathcal{N}",
]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(TOKENS), max_size=14))
def test_any_row_of_tokens_is_read_or_refused(tokens: list[str]) -> None:
    try:
        reading = read_tex(" ".join(tokens))
    except ValueError as refusal:
        reason = str(refusal)
    else:
        reason = ""
    if reason:
        assert "cannot read the formula" in reason or "empty" in reason
    else:
        assert reading == " ".join(reading.split())
        assert "\\" not in reading and "\0" not in reading
