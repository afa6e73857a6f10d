"""The words of `reading`: one row for each TeX command it knows."""

from __future__ import annotations

import re

TOKEN = re.compile(
    r"\\operatorname\*|\\[A-Za-z]+|\\.|\d+(?:\{,\}\d{3})*(?:\.\d+)?|\.\d+|\s+|.", re.S
)
GREEK = """alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho
    sigma tau upsilon phi chi psi omega""".split()


def _table(rows: str) -> dict[str, str]:
    """Turn lines of "key: reading" into a dictionary; several keys may share one reading."""
    pairs = (row.strip().split(": ", 1) for row in rows.strip().splitlines())
    return {key: reading for keys, reading in pairs for key in keys.split()}


SYMBOLS = {f"\\{name}": name for name in GREEK}
SYMBOLS |= {f"\\var{name}": name for name in "epsilon theta pi rho sigma phi kappa".split()}
SYMBOLS |= {f"\\{name.capitalize()}": f"capital {name}" for name in GREEK}
SYMBOLS |= _table(r"""
    =: equals
    \ne \neq: is not equal to
    <  \lt: is less than
    >  \gt: is greater than
    \le \leq \leqslant: is at most
    \ge \geq \geqslant: is at least
    \ll: is much less than
    \gg: is much greater than
    \approx: is approximately
    \simeq \cong: is about equal to
    \equiv: is identical to
    \sim: is distributed as
    \propto: is proportional to
    \in: is in
    \notin: is not in
    \subset \subseteq: is a subset of
    \perp: is orthogonal to
    \indep: is independent of
    \coloneqq: is defined as
    \to \rightarrow \longrightarrow: goes to
    \mapsto: maps to
    \leftarrow: is assigned
    \Rightarrow \implies \Longrightarrow: implies
    \iff \Leftrightarrow \Longleftrightarrow: if and only if
    +: plus
    -: minus
    \pm: plus or minus
    \mp: minus or plus
    * \times \cdot \ast: times
    \div: divided by
    /: over
    \otimes: Kronecker product
    \oplus: direct sum
    \odot: elementwise times
    \circ: composed with
    \cup: union
    \cap: intersection
    \setminus: without
    \mid: given
    :: ,
    !: factorial
    ;: ;
    ,: ,
    .: .
    \colon: ,
    \partial: partial
    \nabla \bigtriangledown: gradient of
    \infty: infinity
    \ell: ell
    \hbar: h bar
    \emptyset \varnothing: the empty set
    \forall: for all
    \exists: there is
    \therefore: therefore
    \neg: not
    \ldots \dots \cdots \dotsc \dotsb \vdots \ddots: and so on
    \star: star
    \dagger: dagger
    \top \intercal: transpose
    \prime: prime
    \%: percent
    \$: dollars
    \&: and
    \#: number
    \_: underscore
    ( \lparen: open parenthesis
    ) \rparen: close parenthesis
    [ \lbrack: open bracket
    ] \rbrack: close bracket
    \{ \lbrace: open brace
    \} \rbrace: close brace
    \langle: open angle bracket
    \rangle: close angle bracket
    \lfloor: the floor of
    \rfloor: end floor
    \lceil: the ceiling of
    \rceil: end ceiling
""")
SILENT = set(
    r"""\, \; \: \! \> \quad \qquad \displaystyle \textstyle \scriptstyle \limits \nolimits
    \nonumber \notag \big \Big \bigg \Bigg \bigl \bigr \Bigl \Bigr \biggl \biggr \Biggl \Biggr \bigm
    \Bigm \middle \allowbreak \strut \mathstrut ~ &""".split()
) | {"\\ "}
PLAIN = set(
    r"\substack \mathbf \mathit \mathsf \mathtt \boldsymbol \bm \pmb \mathnormal \boxed".split()
)
TEXT = set(r"\text \textrm \textbf \textit \textsf \texttt \mbox \mathrm".split())
TEXT |= {r"\operatorname", r"\operatorname*"}
DROPPED = set(r"\label \tag \phantom \vphantom \hphantom \hspace \vspace".split())
ACCENTS = _table(r"""
    \hat \widehat: hat
    \bar \overline: bar
    \tilde \widetilde: tilde
    \dot: dot
    \ddot: double dot
    \check: check
    \breve: breve
    \vec: vector
    \underline: underlined
""")
BIG = _table(r"""
    \sum: the sum
    \prod: the product
    \int: the integral
    \iint: the double integral
    \bigcup: the union
    \bigcap: the intersection
    \bigoplus: the direct sum
    \max: the maximum
    \min: the minimum
    \sup: the supremum
    \inf: the infimum
    \lim: the limit
""")
FUNCTIONS = _table(r"""
    \log log: log
    \ln ln: natural log
    \exp exp: the exponential
    \sin: sine
    \cos: cosine
    \tan: tangent
    \det det: the determinant
    \dim dim: the dimension
    \Pr Pr P: the probability
    Var var: the variance
    Cov cov: the covariance
    Corr corr Cor cor: the correlation
    E: the expectation
    SE se: the standard error
    SD sd: the standard deviation
    tr trace: the trace
    diag: the diagonal matrix
    logit: the logit
    rank: the rank
    sign sgn: the sign
    f: f
    h: h
    p: p
    L: L
    \ell: ell
""")
ONLY_WITH_ARGUMENT = set("E P f h p L \\ell".split())
IN_SCRIPT = {",": "comma", r"\cdot": "dot", ".": "dot"}
PAIRED = {"the covariance", "the correlation"}
ARGUMENT_MAX = {"argmax": "maximises", "argmin": "minimises"}
BLACKBOARD = {"R": "the real numbers", "N": "the natural numbers", "Z": "the integers"}
POWERS = _table("""
    2: squared
    3: cubed
    minus-1: inverse
    T transpose: transpose
    times star: star
    dagger: dagger
    composed-with: degrees
    plus: plus
    minus: minus
""")
MATRICES = set("matrix pmatrix bmatrix Bmatrix smallmatrix vmatrix Vmatrix array".split())
LINES = set("aligned align alignat equation gathered gather split multline eqnarray".split())
ENVIRONMENTS = MATRICES | LINES | {"cases"}
ALPHABETS = {r"\mathcal", r"\mathscr", r"\mathbb"}
CLOSERS = {"(": {")", "]"}, "[": {"]", ")"}, r"\{": {r"\}"}}
BARS = {bar: bar for bar in ("|", r"\|", r"\vert", r"\Vert")}
BARS |= {r"\lvert": r"\rvert", r"\lVert": r"\rVert"}
FRACTIONS = _table("""
    1/2: one half
    1/3: one third
    2/3: two thirds
    1/4: one quarter
    3/4: three quarters
""")
COMPOUND = re.compile(
    r"\b(plus|minus|times|over|equals|is|given|product|fraction|comma|goes|of)\b|,(?!\d)|;"
)
MATRIX_PRODUCT = re.compile(
    r"(?:(?:capital \w+|[A-Z])(?: sub \w+| transpose| inverse| hat| tilde)* ?)+"
)
